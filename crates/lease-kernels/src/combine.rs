//! Weighted sums of planes.

use pulp::{Simd, WithSimd};

use crate::Lanes;
use crate::plane::Rows;
use crate::simd::{lanes, load, run};

/// What becomes of a sum.
#[derive(Clone, Copy, Debug)]
pub enum Store<'a> {
    /// It is the output.
    Set,
    /// max(it, 0) is the output.
    Rectified,
    /// It is the output where this plane, which lies as the output does, is above 0; the rest is 0.
    Gated(&'a [Lanes]),
    /// It is added to the output.
    Add,
}

/// constant + Σ coefficient · plane.
pub fn combine(constant: &Lanes, terms: &[(Lanes, &[Lanes])], out: &mut [Lanes], store: Store) {
    let rows = Rows::whole(out.len());
    combine_into(constant, terms, (out, rows), store);
}

/// The same in these rows of a plane; the terms' planes are whole.
pub fn combine_into(
    constant: &Lanes,
    terms: &[(Lanes, &[Lanes])],
    out: (&mut [Lanes], Rows),
    store: Store,
) {
    run(Combine {
        constant,
        terms,
        out,
        store,
    });
}

struct Combine<'a> {
    constant: &'a Lanes,
    terms: &'a [(Lanes, &'a [Lanes])],
    out: (&'a mut [Lanes], Rows),
    store: Store<'a>,
}

/// Pixels that are worked on for all terms before the next ones, so that sums stay in the first cache.
const STRIP: usize = 128;

/// Terms that are added up at a time, so that coefficients stay in registers.
const TERMS: usize = 6;

/// Places of a plane where one or two terms are worked on in turn: memory gives two streams faster than one.
const STREAMS: usize = 2;

/// Pixels of planes that are worth it.
const LONG: usize = 256;

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        if self.out.1.width * self.out.1.count >= LONG {
            match (self.terms, self.store) {
                (&[a], Store::Set) => return self.in_streams::<S, 1, false, false>(s, [a]),
                (&[a], Store::Add) => return self.in_streams::<S, 1, true, false>(s, [a]),
                (&[a], Store::Rectified) => return self.in_streams::<S, 1, false, true>(s, [a]),
                (&[a, b], Store::Set) => return self.in_streams::<S, 2, false, false>(s, [a, b]),
                (&[a, b], Store::Add) => return self.in_streams::<S, 2, true, false>(s, [a, b]),
                _ => {}
            }
        }
        let (out, rows) = self.out;
        let groups = self.terms.len().div_ceil(TERMS).max(1);
        for y in 0..rows.count {
            let row = rows.row(y);
            for (strip, out) in out[row.clone()].chunks_mut(STRIP).enumerate() {
                let from = y * rows.width + strip * STRIP;
                let at = row.start + strip * STRIP;
                let mut add = matches!(self.store, Store::Add);
                let mut constant = load::<S>(self.constant);
                for group in 0..groups {
                    let terms = &self.terms[TERMS * group..];
                    let store = match self.store {
                        _ if group + 1 < groups => Store::Set,
                        Store::Gated(gate) => Store::Gated(&gate[at..at + out.len()]),
                        other => other,
                    };
                    let how = (add, store);
                    match *terms {
                        [a, b, c, d, e, f, ..] => {
                            combine_some(s, constant, [a, b, c, d, e, f], from, out, how);
                        }
                        [a, b, c, d, e] => {
                            combine_some(s, constant, [a, b, c, d, e], from, out, how);
                        }
                        [a, b, c, d] => combine_some(s, constant, [a, b, c, d], from, out, how),
                        [a, b, c] => combine_some(s, constant, [a, b, c], from, out, how),
                        [a, b] => combine_some(s, constant, [a, b], from, out, how),
                        [a] => combine_some(s, constant, [a], from, out, how),
                        _ => combine_some(s, constant, [], from, out, how),
                    }
                    (add, constant) = (true, s.splat_f32s(0.0));
                }
            }
        }
    }
}

impl Combine<'_> {
    /// Few terms, in so many places of their planes at once.
    #[inline(always)]
    fn in_streams<S: Simd, const N: usize, const ADD: bool, const RECTIFY: bool>(
        self,
        s: S,
        terms: [(Lanes, &[Lanes]); N],
    ) {
        let (out, rows) = self.out;
        let (zero, constant) = (s.splat_f32s(0.0), load::<S>(self.constant));
        let coefficients = terms.map(|(c, _)| load::<S>(&c));
        // Each stream is some whole rows, or a part of the only one.
        let whole = rows.count == 1;
        let (lines, width) = if whole {
            (1, rows.width / STREAMS)
        } else {
            (rows.count / STREAMS, rows.width)
        };
        let part = |k: usize, line: usize| -> (usize, usize) {
            let (y, x) = if whole {
                (0, k * width)
            } else {
                (k * lines + line, 0)
            };
            (y * rows.width + x, rows.row(y).start + x)
        };
        for line in 0..lines {
            let parts: [(usize, usize); STREAMS] = std::array::from_fn(|k| part(k, line));
            let places = parts.map(|(_, at)| at..at + width);
            let Ok(outs) = out.get_disjoint_mut(places) else {
                unreachable!("rows of a plane lie apart");
            };
            let planes = terms.map(|(_, plane)| parts.map(|(from, _)| &plane[from..from + width]));
            for i in 0..width {
                for k in 0..STREAMS {
                    let mut sum = constant;
                    if ADD {
                        sum = s.add_f32s(sum, load::<S>(&outs[k][i]));
                    }
                    for t in 0..N {
                        sum = s.mul_add_e_f32s(load::<S>(&planes[t][k][i]), coefficients[t], sum);
                    }
                    if RECTIFY {
                        sum = s.max_f32s(sum, zero);
                    }
                    outs[k][i] = lanes::<S>(sum);
                }
            }
        }
        // What is left over.
        let store = if RECTIFY {
            Store::Rectified
        } else {
            Store::Set
        };
        let done = STREAMS * lines * width;
        for y in done / rows.width..rows.count {
            let row = rows.row(y);
            let x = done.saturating_sub(y * rows.width);
            let out = &mut out[row.start + x..row.end];
            combine_some(s, constant, terms, y * rows.width + x, out, (ADD, store));
        }
    }
}

/// Some terms from their planes' pixel `from` on.
#[inline(always)]
fn combine_some<S: Simd, const N: usize>(
    s: S,
    constant: S::f32s,
    terms: [(Lanes, &[Lanes]); N],
    from: usize,
    out: &mut [Lanes],
    (add, store): (bool, Store),
) {
    let zero = s.splat_f32s(0.0);
    let range = from..from + out.len();
    let coefficients = terms.map(|(c, _)| load::<S>(&c));
    let planes = terms.map(|(_, plane)| &plane[range.clone()]);
    let sum = |i: usize, out: &Lanes| {
        let mut sum = constant;
        if add {
            sum = s.add_f32s(sum, load::<S>(out));
        }
        for k in 0..N {
            sum = s.mul_add_e_f32s(load::<S>(&planes[k][i]), coefficients[k], sum);
        }
        sum
    };
    match store {
        Store::Set | Store::Add => {
            for (i, out) in out.iter_mut().enumerate() {
                *out = lanes::<S>(sum(i, out));
            }
        }
        Store::Rectified => {
            for (i, out) in out.iter_mut().enumerate() {
                *out = lanes::<S>(s.max_f32s(sum(i, out), zero));
            }
        }
        Store::Gated(gate) => {
            for (i, (out, gate)) in out.iter_mut().zip(gate).enumerate() {
                let open = s.greater_than_f32s(load::<S>(gate), zero);
                *out = lanes::<S>(s.select_f32s(open, sum(i, out), zero));
            }
        }
    }
}
