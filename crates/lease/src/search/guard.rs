//! Safeguards against collapse: rules by which a search ends early and goes back to an earlier choice.

use serde::{Deserialize, Serialize};

use super::SearchSettings;

/// What is remembered of each epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Watched {
    /// The genotype that would have been derived, as JSON.
    pub genotype: String,
    /// Its skip-connects, in the normal cell.
    pub skip_connects: usize,
    /// The dominant eigenvalue of ∇²_A L_val, in epochs in which it was computed.
    pub eigenvalue: Option<f64>,
    /// The validation accuracy of the supernet with only what would have been derived, where it is wanted.
    #[serde(default)]
    pub discrete_accuracy: Option<f64>,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fired {
    /// Why.
    pub reason: String,
    /// The epoch, from 0, whose choice is taken.
    pub epoch: usize,
}

/// Epochs that eigenvalues are averaged over, and compared across.
const WINDOW: usize = 5;

/// Whether a rule ends the search after the epochs so far.
///
/// - By skip-connects (DARTS+, arXiv 1909.06035): when the normal cell has as many, with the choice of the epoch
///   before, or of the first.
/// - By eigenvalue (Zela et al., arXiv 1909.09656): when the mean over five epochs, five epochs ago, falls below
///   a share of the mean over the last five, with the choice of five epochs ago.
pub(super) fn fired(settings: &SearchSettings, watched: &[Watched]) -> Option<Fired> {
    let last = watched.len().checked_sub(1)?;
    let skips = watched[last].skip_connects;
    if settings.stop_skip_connects > 0 && skips >= settings.stop_skip_connects {
        return Some(Fired {
            reason: format!(
                "the normal cell of epoch {} has {skips} skip-connects (--stop-skip-connects {})",
                last + 1,
                settings.stop_skip_connects
            ),
            epoch: last.saturating_sub(1),
        });
    }
    if settings.stop_eigenvalue_ratio > 0.0 && last + 1 >= 2 * WINDOW {
        let mean = |end: usize| {
            let all = watched[end + 1 - WINDOW..=end].iter();
            let sum: Option<f64> = all.map(|w| w.eigenvalue).sum();
            sum.map(|s| s / WINDOW as f64)
        };
        let (before, now) = (mean(last - WINDOW)?, mean(last)?);
        if now > 0.0 && before / now < settings.stop_eigenvalue_ratio {
            return Some(Fired {
                reason: format!(
                    "the dominant eigenvalue of the architecture's Hessian grew from {before:.3} to {now:.3} \
                     within {WINDOW} epochs (--stop-eigenvalue-ratio {})",
                    settings.stop_eigenvalue_ratio
                ),
                epoch: last - WINDOW,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(eigenvalues: &[f64], skips: &[usize]) -> Vec<Watched> {
        let both = eigenvalues.iter().zip(skips);
        both.map(|(e, s)| Watched {
            genotype: String::new(),
            skip_connects: *s,
            eigenvalue: Some(*e),
            discrete_accuracy: None,
        })
        .collect()
    }

    #[test]
    fn a_sharp_rise_of_the_eigenvalue_goes_back_five_epochs() {
        let settings = SearchSettings {
            stop_eigenvalue_ratio: 0.75,
            ..SearchSettings::default()
        };
        let flat = watched(&[1.0; 12], &[0; 12]);
        assert_eq!(fired(&settings, &flat), None);
        let mut rising = vec![1.0; 10];
        rising.extend([1.1, 1.5, 2.2]);
        let rising = watched(&rising, &[0; 13]);
        // Means of the last five: 1.02, 1.12, 1.36; five epochs before: 1.
        assert_eq!(fired(&settings, &rising[..12]), None);
        assert_eq!(fired(&settings, &rising).unwrap().epoch, 7);
        let off = SearchSettings::default();
        assert_eq!(fired(&off, &rising), None);
    }

    #[test]
    fn too_many_skip_connects_go_back_one_epoch() {
        let settings = SearchSettings {
            stop_skip_connects: 2,
            ..SearchSettings::default()
        };
        let all = watched(&[1.0; 4], &[0, 1, 1, 2]);
        assert_eq!(fired(&settings, &all[..3]), None);
        assert_eq!(fired(&settings, &all).unwrap().epoch, 2);
    }
}
