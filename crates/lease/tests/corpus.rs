//! The kept inputs of `fuzz/`: made by hand for each branch of a grammar, or found by fuzzing. Those called `valid-…`
//! must be read, those called `refused-…` must be refused with an error that says something.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus-kept")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn kept_inputs_are_read_or_refused_as_they_must_be() {
    let mut known: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    known.sort();
    assert_eq!(names(&kept()), known);
    for target in known {
        let (mut valid, mut refused) = (0, 0);
        let folder = kept().join(target);
        for name in names(&folder) {
            let outcome = targets::run(target, &fs::read(folder.join(&name)).unwrap());
            println!("{target}/{name}: {outcome:?}");
            match (name.split_once('-'), outcome) {
                (Some(("valid", _)), Ok(())) => valid += 1,
                (Some(("refused", _)), Err(_)) => refused += 1,
                (_, outcome) => panic!("{target}/{name}: {outcome:?}"),
            }
        }
        assert!(valid > 0 && refused > 0, "{target}: {valid} and {refused}");
    }
}
