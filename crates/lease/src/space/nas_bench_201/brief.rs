//! What the cells of NAS-Bench-201 reach after 12 epochs instead of 200: the benchmark's own short trainings, by which cheap
//! estimates are compared.

use std::sync::LazyLock;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use super::cell::Cell;

/// The benchmark's table (see `data/README.md` for source and licence).
const EMBEDDED: &[u8] = include_bytes!("../../../data/nas_bench_201_12.csv.gz");

/// Mean accuracies in percent after 12 epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// On the validation half of CIFAR-10's training images.
    pub cifar10_valid: f64,
    /// On the test images of CIFAR-10.
    pub cifar10_test: f64,
    /// On CIFAR-100's validation half of the test images.
    pub cifar100_valid: f64,
    /// On CIFAR-100's other half.
    pub cifar100_test: f64,
    /// On the validation images of ImageNet16-120.
    pub in16_valid: f64,
    /// On its test images.
    pub in16_test: f64,
}

#[derive(Deserialize)]
struct Line {
    arch: String,
    #[serde(flatten)]
    brief: Brief,
}

impl Brief {
    /// What a cell reaches; none if the embedded table is not what it was made as.
    pub fn of(cell: &Cell) -> Option<Self> {
        static TABLE: LazyLock<Vec<Option<Brief>>> = LazyLock::new(|| {
            let mut all = vec![None; Cell::COUNT];
            let lines = csv::Reader::from_reader(GzDecoder::new(EMBEDDED)).into_deserialize();
            for line in lines.map_while(|line: Result<Line, _>| line.ok()) {
                if let Ok(cell) = Cell::parse(&line.arch) {
                    all[cell.index()] = Some(line.brief);
                }
            }
            all
        });
        TABLE[cell.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_a_short_training() {
        let all = (0..Cell::COUNT).map(|index| Brief::of(&Cell::numbered(index)));
        let best = all.map(|brief| brief.unwrap().cifar10_test);
        let best = best.fold(0.0, f64::max);
        assert!(best > 85.0 && best < 94.0, "{best}");
        let text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|";
        let brief = Brief::of(&Cell::parse(text).unwrap()).unwrap();
        assert_eq!((brief.cifar10_valid, brief.in16_test), (63.364, 17.0));
    }
}
