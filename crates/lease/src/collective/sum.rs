//! Sums whose bits do not depend on who has the summands.
//!
//! Summands are numbered. Neighbours are added first, then neighbouring sums of two, and so on: a tree over the summands
//! alone. A process has a run of them, adds up what the tree adds up within it, and the processes exchange the rest: each
//! gets its slice of every process's sums, adds them up in order, and gives the result to all. An MPI library's own
//! reduction may add in any order.

use bytemuck::Pod;

use super::Collective;

/// A number that can be summed over processes.
pub trait Number: Pod {
    /// a + b.
    fn plus(self, other: Self) -> Self;
}

impl Number for f32 {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Number for f64 {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// The sums that are under way in a run of summands: those that the tree has not added to anything yet.
pub(crate) struct Sum<T> {
    /// Sums with the number of their summands, which decreases.
    sums: Vec<(usize, T)>,
    /// The most summands of a sum.
    most: usize,
    plus: fn(T, T) -> T,
}

impl<T> Sum<T> {
    /// No summands yet; sums grow to `most` summands, a power of two.
    pub fn new(most: usize, plus: fn(T, T) -> T) -> Self {
        Self {
            sums: Vec::new(),
            most,
            plus,
        }
    }

    /// Takes in the next summand.
    pub fn add(&mut self, summand: T) {
        let mut last = (1, summand);
        while let Some((count, _)) = self.sums.last()
            && *count == last.0
            && last.0 < self.most
            && let Some((count, before)) = self.sums.pop()
        {
            last = (count + last.0, (self.plus)(before, last.1));
        }
        self.sums.push(last);
    }

    /// The sums of runs of `most`.
    pub fn parts(self) -> Vec<T> {
        self.sums.into_iter().map(|(_, sum)| sum).collect()
    }

    /// The sum of all; none of nothing.
    pub fn total(self) -> Option<T> {
        let plus = self.plus;
        let all = self.parts().into_iter();
        all.rev().reduce(|after, before| plus(before, after))
    }
}

/// Messages below this many bytes are gathered whole: sending them twice takes longer.
const SMALL: usize = 4096;

/// The sum over all processes of rows of numbers, one summand a row: each process has as many, all of one length.
pub(crate) fn summed<F: Number>(peers: &dyn Collective, own: Vec<Vec<F>>) -> Vec<F> {
    let (size, count) = (peers.size(), own.len());
    let length = own.first().map_or(0, Vec::len);
    if size == 1 {
        return added(own);
    }
    if length * count * size_of::<F>() < SMALL {
        let mine: Vec<u8> = own.iter().flat_map(|row| bytes(row)).copied().collect();
        let all = peers.gather(mine).into_iter();
        return added(all.flat_map(|rows| rows_of(&rows, count)).collect());
    }
    let slice = |rank: usize| length * rank / size..length * (rank + 1) / size;
    let to = (0..size).map(|rank| {
        let rows = own.iter().flat_map(|row| bytes(&row[slice(rank)]));
        rows.copied().collect()
    });
    let got = peers.exchange(to.collect()).into_iter();
    let mine: Vec<F> = added(got.flat_map(|rows| rows_of(&rows, count)).collect());
    let all = peers.gather(bytes(&mine).to_vec());
    all.iter()
        .flat_map(|slice| from_bytes::<F>(slice))
        .collect()
}

/// The sum of rows, by the tree.
fn added<F: Number>(rows: Vec<Vec<F>>) -> Vec<F> {
    let mut sum = Sum::new(usize::MAX, |mut a: Vec<F>, b: Vec<F>| {
        a.iter_mut().zip(&b).for_each(|(a, b)| *a = a.plus(*b));
        a
    });
    rows.into_iter().for_each(|row| sum.add(row));
    sum.total().unwrap_or_default()
}

fn bytes<F: Number>(numbers: &[F]) -> &[u8] {
    bytemuck::cast_slice(numbers)
}

/// The numbers that these bytes are.
pub(crate) fn from_bytes<F: Number>(bytes: &[u8]) -> Vec<F> {
    let numbers = bytes.chunks_exact(size_of::<F>());
    numbers.map(bytemuck::pod_read_unaligned).collect()
}

/// So many rows of one length.
fn rows_of<F: Number>(bytes: &[u8], count: usize) -> Vec<Vec<F>> {
    let all = from_bytes::<F>(bytes);
    let length = all.len() / count.max(1);
    (0..count)
        .map(|row| all[row * length..(row + 1) * length].to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{alone, threads};
    use super::*;

    #[test]
    fn sums_have_the_same_bits_however_the_summands_are_spread() {
        // Numbers of all sizes, so that any other order rounds otherwise; few and many, so that both ways are gone.
        for length in [3, 5000] {
            let summand = |part: usize| -> Vec<f32> {
                let number = |i: usize| {
                    let bits = (part * 7919 + i * 104_729) as u32 % 1000;
                    (bits as f32 - 500.0) * 10f32.powi((part * 5 + i) as i32 % 7 - 3)
                };
                (0..length).map(number).collect()
            };
            for parts in [6, 8, 12] {
                let whole = summed(&*alone(), (0..parts).map(summand).collect());
                for size in [2, 3, 4].into_iter().filter(|size| parts % size == 0) {
                    let each = parts / size;
                    let sum_of = |peer: &dyn Collective| {
                        let most = 1 << each.trailing_zeros();
                        let mut sum = Sum::new(most, |a: Vec<f32>, b: Vec<f32>| {
                            a.iter().zip(&b).map(|(a, b)| a + b).collect()
                        });
                        let first = peer.rank() * each;
                        (first..first + each).for_each(|part| sum.add(summand(part)));
                        summed(peer, sum.parts())
                    };
                    std::thread::scope(|scope| {
                        let all: Vec<_> = threads(size)
                            .into_iter()
                            .map(|peer| scope.spawn(move || sum_of(&peer)))
                            .collect();
                        for sum in all {
                            assert_eq!(sum.join().unwrap(), whole, "{parts} over {size}");
                        }
                    });
                }
            }
        }
    }
}
