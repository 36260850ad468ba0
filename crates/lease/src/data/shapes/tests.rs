use super::*;
use crate::data::{DataConfig, DataSettings, Dataset, DatasetKind};

fn settings(side: usize, classes: usize) -> ShapesSettings {
    ShapesSettings {
        side,
        classes,
        count: 2 * classes,
        test_count: classes,
        object: 0.13,
        fills: true,
        distractors: 6,
        ..ShapesSettings::default()
    }
}

#[test]
fn the_same_seed_draws_the_same_images_for_ever() {
    let digest = |seed| {
        let shapes = ShapesSettings {
            seed,
            ..settings(48, 12)
        };
        let images = DataSettings {
            dataset: DatasetKind::Shapes,
            ..DataSettings::default()
        };
        let config = DataConfig {
            images,
            shapes,
            ..DataConfig::default()
        };
        Dataset::load(&config).unwrap().whole_digest()
    };
    assert_eq!(
        digest(7),
        "8eaacfb4e7e066ff4904786831c1484823bda21a2910d4ed7e433e3c7921cd0d"
    );
    assert_ne!(digest(7), digest(8));
}

#[test]
fn an_object_is_whole_on_its_mask_and_nothing_touches_it() {
    for (side, classes) in [(16, 12), (40, 48)] {
        let settings = settings(side, classes);
        let some = |distractors| ShapesSettings {
            distractors,
            ..settings.clone()
        };
        for (number, kind) in settings.kinds().iter().enumerate() {
            let mut rng = stream(3, Purpose::Shapes, number as u64);
            let with = draw(kind, &some(12), &mut rng);
            let mut rng = stream(3, Purpose::Shapes, number as u64);
            let alone = draw(kind, &some(0), &mut rng);
            assert_eq!(with.mask, alone.mask);
            let area = with.mask.iter().filter(|m| **m).count() as f64;
            let share = area / (side * side) as f64;
            assert!((0.045..0.15).contains(&share), "{} {share}", kind.name());
            let border = |at: usize| {
                [at / side, at % side]
                    .iter()
                    .any(|v| *v == 0 || *v == side - 1)
            };
            assert!((0..side * side).all(|at| !with.mask[at] || !border(at)));
            // What distractors change is more than grain, and is never beside the object.
            let changed = |at: usize| {
                let pixel = |of: &Picture| i32::from(of.pixels[side * side + at]);
                (pixel(&with) - pixel(&alone)).abs() > 12
            };
            for at in (0..side * side).filter(|at| with.mask[*at]) {
                for next in [at, at - 1, at + 1, at - side, at + side] {
                    assert!(!changed(next), "{} at {side}", kind.name());
                }
            }
            assert!(side < 40 || (0..side * side).any(changed), "no distractor");
        }
    }
}

#[test]
fn a_written_folder_holds_the_images_that_are_drawn_in_memory() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("shapes");
    let settings = settings(32, 3);
    let stop = std::sync::atomic::AtomicBool::new(false);
    write(&settings, &folder, &|_| (), &stop).unwrap().unwrap();
    let config = DataSettings {
        dataset: DatasetKind::Folder,
        path: folder.to_str().unwrap().into(),
        image_size: crate::config::ImageSize::square(32),
        ..DataSettings::default()
    };
    let read = Dataset::load(&config.clone().into()).unwrap();
    let (_, mut classes, train, _) = load(&settings).unwrap();
    classes.sort();
    assert_eq!(read.classes, classes);
    // Images of a folder are in the order of their classes.
    assert_eq!(read.train.image(0), train.image(0));
    let mask = image::open(folder.join("masks/train/disc/000000.png")).unwrap();
    let mask: Vec<bool> = mask.to_luma8().iter().map(|level| *level == 255).collect();
    assert_eq!(Some(mask.as_slice()), train.relevant(0));
    assert_eq!(read.train.relevant(0), train.relevant(0));
    let last = read.test().len() - 1;
    assert!(read.test().relevant(last).unwrap().contains(&true));
    // Without all of them there are none.
    std::fs::remove_file(folder.join("masks/train/disc/000000.png")).unwrap();
    assert!(Dataset::load(&config.into()).unwrap().train.masks.is_none());
    // A second time is refused, and a stop leaves nothing.
    let again = write(&settings, &folder, &|_| (), &stop).unwrap_err();
    assert!(again.to_string().contains("there already"), "{again}");
    let stopped = std::sync::atomic::AtomicBool::new(true);
    let other = root.path().join("other");
    assert!(
        write(&settings, &other, &|_| (), &stopped)
            .unwrap()
            .is_none()
    );
    assert_eq!(root.path().read_dir().unwrap().count(), 1);
}
