//! Parts drawn class by class.

/// For a set without a test part: every fifth image of each class, in order.
pub(super) fn every_fifth(labels: &[u16], classes: usize) -> Vec<u32> {
    let mut seen = vec![0; classes];
    let fifth = |label: &u16| {
        let count = &mut seen[usize::from(*label)];
        *count += 1;
        *count % 5 == 0
    };
    let fifth: Vec<bool> = labels.iter().map(fifth).collect();
    let numbers = (0..).zip(fifth);
    numbers
        .filter(|(_, fifth)| *fifth)
        .map(|(n, _)| n)
        .collect()
}

/// How many images of each class there are.
pub(super) fn counts(labels: &[u16], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for label in labels {
        counts[usize::from(*label)] += 1;
    }
    counts
}

/// How many of each class, of which there are so many, belong to a part of `wanted`: as near to its share as whole
/// images allow, and at least one on either side where the class has two and the parts have room.
pub(super) fn quotas(counts: &[usize], wanted: usize) -> Vec<usize> {
    let all: usize = counts.iter().sum();
    let wanted = wanted.min(all);
    if all == 0 {
        return counts.to_vec();
    }
    let share = |count: usize| count as u128 * wanted as u128;
    let mut quotas: Vec<usize> = counts
        .iter()
        .map(|count| (share(*count) / all as u128) as usize)
        .collect();
    // The largest remainders are rounded up, of equal ones the first.
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|class| std::cmp::Reverse(share(counts[*class]) % all as u128));
    let missing = wanted - quotas.iter().sum::<usize>();
    for class in order.into_iter().take(missing) {
        quotas[class] += 1;
    }
    // A class that would be on one side alone changes places with the one that has most there.
    for class in 0..counts.len() {
        let others = |quota: usize, other: usize| counts[other] - quota;
        if counts[class] >= 2 && quotas[class] == 0 {
            let most = (0..counts.len()).max_by_key(|other| quotas[*other]);
            if let Some(from) = most.filter(|from| quotas[*from] >= 2) {
                (quotas[from], quotas[class]) = (quotas[from] - 1, 1);
            }
        } else if counts[class] >= 2 && quotas[class] == counts[class] {
            let most = (0..counts.len()).max_by_key(|other| others(quotas[*other], *other));
            if let Some(to) = most.filter(|to| others(quotas[*to], *to) >= 2) {
                quotas[to] += 1;
                quotas[class] -= 1;
            }
        }
    }
    quotas
}

/// The first `wanted` of some images (given by their numbers, in any order), class by class, and the others, each in the order
/// that they have.
pub(super) fn drawn(
    images: &[u32],
    label: impl Fn(u32) -> u16,
    classes: usize,
    wanted: usize,
) -> (Vec<u32>, Vec<u32>) {
    let labels: Vec<u16> = images.iter().map(|image| label(*image)).collect();
    let mut left = quotas(&counts(&labels, classes), wanted);
    images
        .iter()
        .zip(labels)
        .map(|(image, label)| (*image, label))
        .fold(
            (Vec::new(), Vec::new()),
            |(mut those, mut others), (image, label)| {
                let left = &mut left[usize::from(label)];
                if *left > 0 {
                    *left -= 1;
                    those.push(image);
                } else {
                    others.push(image);
                }
                (those, others)
            },
        )
}

/// The numbers of the first `limit` images, class by class; all if it is 0.
pub(super) fn limited(labels: &[u16], classes: usize, limit: usize) -> Vec<u32> {
    let all: Vec<u32> = (0..labels.len() as u32).collect();
    match limit {
        0 => all,
        _ => drawn(&all, |image| labels[image as usize], classes, limit).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_each_class_by_its_share_and_one_of_each_where_it_can() {
        assert_eq!(quotas(&[50, 30, 20], 10), [5, 3, 2]);
        assert_eq!(quotas(&[1000, 2, 2], 10), [8, 1, 1]);
        assert_eq!(quotas(&[6, 2, 2], 7), [5, 1, 1]);
        assert_eq!(quotas(&[5, 5], 100), [5, 5]);
        assert_eq!(quotas(&[0, 7], 3), [0, 3]);
        let labels = [0, 0, 0, 0, 1, 1, 2];
        assert_eq!(limited(&labels, 3, 4), [0, 1, 4, 6]);
        assert_eq!(every_fifth(&[0, 1].repeat(10), 2), [8, 9, 18, 19]);
    }
}
