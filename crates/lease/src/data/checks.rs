//! Whether the images of a data set are enough to learn from and to be tested by.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{DataError, DataSettings, Images, Loaded, Watch, parts};

/// Looks at the images of a data set that was read.
///
/// # Errors
/// If a class is missing in the training or the test part, or all of its training images are equal.
pub(super) fn check(
    (_, classes, train, test): &Loaded,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Result<(), DataError> {
    let invalid = |reason: String| {
        let place = match settings.dataset.is_embedded() {
            true => "the embedded digits".into(),
            false => Path::new(&settings.path).into(),
        };
        Err(DataError::Invalid {
            path: place,
            reason,
        })
    };
    for (images, part, flag, limit) in [
        (train, "training", "--limit", settings.limit),
        (test, "test", "--test-limit", settings.test_limit),
    ] {
        let counts = parts::counts(&images.labels, classes.len());
        let Some(class) = counts.iter().position(|count| *count == 0) else {
            continue;
        };
        return invalid(match limit {
            0 => format!("class {} has no {part} image; add some", classes[class]),
            _ => format!(
                "class {} has no {part} image with {flag} {limit}; there are {} classes, each of which needs one: raise \
                 {flag}, or add images",
                classes[class],
                classes.len()
            ),
        });
    }
    // Those that come along are known.
    if settings.dataset.is_embedded() {
        return Ok(());
    }
    let (trained, tested) = (digests(train), digests(test));
    if let Some(class) = alike(&trained, &train.labels, classes.len()) {
        let all = trained.windows(2).all(|two| two[0] == two[1]);
        let what = match all {
            true => "all training images are equal".into(),
            false => format!(
                "all {} training images of class {} are equal",
                class.1, classes[class.0]
            ),
        };
        return invalid(format!(
            "{what} once they are read with {} by {} pixels; look at them: what tells them apart may have the colour of \
             --background, or be lost when they are made smaller or scaled to 8 bits",
            train.shape[1], train.shape[2]
        ));
    }
    let known: HashMap<&[u8; 32], usize> = trained.iter().zip(0..).collect();
    let both: Vec<usize> = tested
        .iter()
        .filter_map(|digest| known.get(digest))
        .copied()
        .collect();
    if let Some(first) = both.first() {
        watch.warn(&format!(
            "{} of {} test images are training images too (equal in every pixel; the first is of class {}): the test \
             accuracy will be better than it should be.",
            both.len(),
            tested.len(),
            classes[usize::from(train.labels[*first])]
        ));
    }
    Ok(())
}

/// A digest of each image's pixels.
pub(super) fn digests(images: &Images) -> Vec<[u8; 32]> {
    match images.digests() {
        Some(known) => known.copied().collect(),
        None => {
            let numbers: Vec<usize> = (0..images.len()).collect();
            let digest = |image| Sha256::digest(images.image(image)).into();
            numbers.into_par_iter().map(digest).collect()
        }
    }
}

/// A class of several images that are all equal, and how many they are.
fn alike(digests: &[[u8; 32]], labels: &[u16], classes: usize) -> Option<(usize, usize)> {
    let mut different = vec![HashSet::new(); classes];
    for (digest, label) in digests.iter().zip(labels) {
        let different = &mut different[usize::from(*label)];
        if different.len() < 2 {
            different.insert(digest);
        }
    }
    let counts = parts::counts(labels, classes);
    let equal = |class: &usize| counts[*class] > 1 && different[*class].len() == 1;
    let class = (0..classes).find(equal)?;
    Some((class, counts[class]))
}
