//! What is fuzzed: one function for each kind of foreign bytes. Each reads the bytes as the program does, holds what
//! was read against what must be true of it, and says what was wrong with what was refused.

mod folders;
mod images;
mod tensors;
mod texts;

/// Nothing where the bytes were read; else the error that a person would see.
pub type Outcome = Result<(), String>;

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]) -> Outcome);

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("genotype", texts::genotype),
    ("config", texts::config),
    ("table", texts::table),
    ("case", tensors::case),
    ("case_settings", tensors::case_settings),
    ("checkpoint", tensors::checkpoint),
    ("run", folders::run),
    ("resume", folders::resume),
    ("cifar", images::cifar),
    ("image", images::image),
    ("image_folder", images::folder),
];

/// Runs the target of this name on these bytes.
///
/// # Panics
/// If there is no such target, if what was read is not as it must be, or if an error says nothing.
pub fn run(name: &str, bytes: &[u8]) -> Outcome {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    let outcome = target(bytes);
    if let Err(error) = &outcome {
        assert!(!error.trim().is_empty(), "an error that says nothing");
    }
    outcome
}

/// An error as a person sees it.
fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
