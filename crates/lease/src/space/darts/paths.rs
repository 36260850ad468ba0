//! Whether a cell leads from its inputs to its output: with `none` on its edges it need not.

use super::{CellGenotype, DartsGenotype, Edge, Operation};
use crate::space::GenotypeError;

impl CellGenotype {
    /// The joined states at which nothing of the cell's inputs arrives, and which are therefore zero, or noise.
    pub fn unreached(&self) -> Vec<usize> {
        let mut reached = vec![true; 2];
        let at = |reached: &[bool], state: usize| reached.get(state) == Some(&true);
        for edges in &self.nodes {
            let arrives = |Edge(operation, from): &Edge| {
                !matches!(operation, Operation::None | Operation::Noise) && at(&reached, *from)
            };
            reached.push(edges.iter().any(arrives));
        }
        let joined = self.concat.iter().copied();
        joined.filter(|state| !at(&reached, *state)).collect()
    }

    /// Whether there is a path from an input to the output.
    pub fn is_connected(&self) -> bool {
        self.unreached().len() < self.concat.len()
    }
}

impl DartsGenotype {
    /// Whether both cells have a path from an input to the output.
    pub fn is_connected(&self) -> bool {
        self.check_paths().is_ok()
    }

    /// The same, with words for whom it is from.
    ///
    /// # Errors
    /// Names the cell that has none.
    pub fn check_paths(&self) -> Result<(), GenotypeError> {
        path(self.normal.is_connected(), "normal cell")?;
        path(self.reduce.is_connected(), "reduction cell")
    }
}

fn path(is_there: bool, cell: &'static str) -> Result<(), GenotypeError> {
    if is_there {
        Ok(())
    } else {
        Err(GenotypeError::NoPath { cell })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Noise, None, SepConv3x3, SkipConnect};

    #[test]
    fn a_cell_of_darts_is_connected_if_something_arrives_at_a_joined_state() {
        let of = |nodes: &[[Edge; 2]], concat: &[usize]| {
            let cell = CellGenotype {
                nodes: nodes.to_vec(),
                concat: concat.to_vec(),
            };
            assert_eq!(cell.is_connected(), cell.unreached().len() < concat.len());
            cell
        };
        let dead = [Edge(None, 0), Edge(Noise, 1)];
        let live = [Edge(None, 0), Edge(SkipConnect, 1)];
        let after = |state| [Edge(SepConv3x3, state), Edge(None, 0)];
        assert_eq!(of(&[dead, after(2)], &[2, 3]).unreached(), [2, 3]);
        assert_eq!(of(&[live, after(2)], &[3]).unreached(), [0; 0]);
        assert_eq!(of(&[dead, live], &[2, 3]).unreached(), [2]);
        let (ends, passes) = (of(&[live, dead], &[3]), of(&[live, dead], &[2, 3]));
        assert!(!ends.is_connected() && passes.is_connected());
        let both = |normal: &CellGenotype, reduce: &CellGenotype| {
            let (normal, reduce) = (normal.clone(), reduce.clone());
            DartsGenotype { normal, reduce }
        };
        assert!(both(&passes, &passes).is_connected());
        let error = both(&passes, &ends).check_paths().unwrap_err().to_string();
        assert!(error.contains("the genotype's reduction cell"), "{error}");
    }
}
