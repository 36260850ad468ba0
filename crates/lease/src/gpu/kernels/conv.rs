//! Convolutions and what carries their adjoints back.

use cubecl::prelude::*;

use super::{LANES, PLANES, least};

/// Output channels that a thread works on.
pub const OUTPUTS: usize = 8;

/// Their weights are read four at a time.
const QUADS: usize = OUTPUTS / 4;

/// Inputs whose weights a group has near it at a time, unless their taps are many.
const STAGED: u32 = 32;

/// Inputs whose numbers are under way at the same time.
const AT_ONCE: u32 = 4;

/// Four numbers.
type Quad = Vector<f32, Const<4>>;

/// Where along one dimension a tap reads for a result at `o`: the place, and whether it is inside of `n`. Backward, which results
/// a pixel's tap went to. Strides are 1 or 2.
#[cube]
pub fn reads(
    o: u32,
    tap: u32,
    stride: u32,
    shift: u32,
    n: u32,
    #[comptime] back: bool,
) -> (u32, bool) {
    // What lies before the first pixel wraps around, and so lies behind the last.
    if back {
        let at = o - tap - shift;
        let place = at >> (stride - 1);
        (place, (at & (stride - 1)) == 0 && place < n)
    } else {
        let place = o * stride + tap + shift;
        (place, place < n)
    }
}

/// Depthwise convolutions. Record: x, y, taps, channels, planes, height and width of x, of y, dilation, stride, padding (as what is
/// added to a place: minus it), whether x is rectified.
#[cube(launch_unchecked)]
pub fn depthwise(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    #[comptime] side: u32,
    #[comptime] back: bool,
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let planes = table[at + 4];
    let plane = CUBE_POS_X * PLANES + UNIT_POS_Y;
    if plane < planes {
        let channel = plane % table[at + 3];
        let h = table[at + 5];
        let w = table[at + 6];
        let width = table[at + 8];
        let area = table[at + 7] * width;
        let x = table[at] + plane * h * w;
        let y = table[at + 1] + plane * area;
        let dilation = table[at + 9];
        let stride = table[at + 10];
        let shift = table[at + 11];
        let rectify = table[at + 12] != 0;
        let first = (table[at + 2] + channel * side * side) as usize;
        let count = comptime![(side * side) as usize];
        let mut taps = Array::<f32>::new(count);
        let mut tangents = Array::<f32>::new(count);
        #[unroll]
        for t in 0..count {
            taps[t] = p[first + t];
            if dual {
                tangents[t] = q[first + t];
            }
        }
        let mut pixel = UNIT_POS_X;
        while pixel < area {
            let row = pixel / width;
            let column = pixel - row * width;
            let mut sum = 0.0f32;
            let mut tangent = 0.0f32;
            #[unroll]
            for ty in 0..side {
                let (iy, below) = reads(row, ty * dilation, stride, shift, h, back);
                #[unroll]
                for tx in 0..side {
                    // Without branches, so that all loads are under way at once.
                    let (ix, beside) = reads(column, tx * dilation, stride, shift, w, back);
                    let inside = below && beside;
                    let t = comptime![(ty * side + tx) as usize];
                    let place = (x + select(inside, iy * w + ix, 0)) as usize;
                    let value = a[place];
                    let open = inside && (!rectify || value > 0.0);
                    let value = select(open, value, 0.0);
                    sum += taps[t] * value;
                    if dual {
                        let moving = select(open, b[place], 0.0);
                        tangent += taps[t] * moving;
                        if back {
                            sum += tangents[t] * moving;
                        } else {
                            tangent += tangents[t] * value;
                        }
                    }
                }
            }
            a[(y + pixel) as usize] = sum;
            if dual {
                b[(y + pixel) as usize] = tangent;
            }
            pixel += LANES;
        }
    }
}

/// Dense convolutions of several inputs. Record: y, its channels, the first to be set, how many; from one output's weights to the
/// next's, from one input's; pixels of y in all images; height and width of x, of y; dilation, stride, minus the padding, whether x
/// is rectified; how many inputs, then each: x, its channels, the first that is read, how many, its weights, what is added to places.
#[cube(launch_unchecked)]
pub fn dense(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    q: &mut [f32],
    table: &[u32],
    #[comptime] side: u32,
    #[comptime] back: bool,
    #[comptime] pixels: usize,
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let count = table[at + 3];
    let tiles = (count + comptime![OUTPUTS as u32 - 1]) / comptime![OUTPUTS as u32];
    let first = CUBE_POS_X % tiles * comptime![OUTPUTS as u32];
    let block = CUBE_POS_X / tiles * comptime![LANES * pixels as u32];
    let all = table[at + 6];
    if block < all {
        let h = table[at + 7];
        let w = table[at + 8];
        let width = table[at + 10];
        let area = table[at + 9] * width;
        let dilation = table[at + 11];
        let stride = table[at + 12];
        let pad = table[at + 13];
        let rectify = table[at + 14] != 0;
        let along = table[at + 5];
        let taps = comptime![side * side];
        let most = comptime![Ord::clamp(STAGED * 9 / (side * side), 1, STAGED)];
        let staging = comptime![(most * side * side) as usize * QUADS];
        let mut weights = Shared::<[Quad]>::new_slice(staging);
        let mut tangent_weights =
            Shared::<[Quad]>::new_slice(comptime![if dual { staging } else { 1 }]);
        let mut sums = Array::<f32>::new(comptime![OUTPUTS * pixels]);
        let mut tangents = Array::<f32>::new(comptime![OUTPUTS * pixels]);
        #[unroll]
        for s in 0..comptime![OUTPUTS * pixels] {
            sums[s] = 0.0;
            if dual {
                tangents[s] = 0.0;
            }
        }
        let mut images = Array::<u32>::new(pixels);
        let mut rows = Array::<u32>::new(pixels);
        let mut columns = Array::<u32>::new(pixels);
        #[unroll]
        for k in 0..pixels {
            let pixel = block + comptime![k as u32 * LANES] + UNIT_POS_X;
            let pixel = least(pixel, all - 1);
            images[k] = pixel / area;
            let within = pixel - images[k] * area;
            rows[k] = within / width;
            columns[k] = within - rows[k] * width;
        }
        let mut places = Array::<u32>::new(pixels);
        let mut insides = Array::<u32>::new(pixels);
        for e in 0..table[at + 15] {
            let input = at + 16 + e as usize * 6;
            let x = table[input];
            let channels = table[input + 1];
            let begin = table[input + 2];
            let inputs = table[input + 3];
            let shift = table[input + 5] + pad;
            let mut staged = 0u32;
            while staged < inputs {
                let here = least(inputs - staged, most);
                sync_cube();
                // In the order of taps, inputs and outputs; zeros for outputs that there are not.
                let mut slot = UNIT_POS;
                while slot < here * comptime![taps * QUADS as u32] {
                    let quad = slot % comptime![QUADS as u32];
                    let pair = slot / comptime![QUADS as u32];
                    let weight = (staged + pair % here) * along + pair / here + table[input + 4];
                    let mut values = Quad::empty();
                    let mut movings = Quad::empty();
                    #[unroll]
                    for k in 0..4usize {
                        let output = first + quad * 4 + comptime![k as u32];
                        let there = output < count;
                        let from = weight + select(there, output, 0) * table[at + 4];
                        values.insert(k, select(there, p[from as usize], 0.0));
                        if dual {
                            movings.insert(k, select(there, q[from as usize], 0.0));
                        }
                    }
                    weights[slot as usize] = values;
                    if dual {
                        tangent_weights[slot as usize] = movings;
                    }
                    slot += LANES;
                }
                sync_cube();
                #[unroll]
                for ty in 0..side {
                    #[unroll]
                    for tx in 0..side {
                        #[unroll]
                        for k in 0..pixels {
                            let (iy, below) = reads(rows[k], ty * dilation, stride, shift, h, back);
                            let (ix, beside) =
                                reads(columns[k], tx * dilation, stride, shift, w, back);
                            let inside = below && beside;
                            let plane = images[k] * channels + begin + staged;
                            places[k] = x + plane * h * w + select(inside, iy * w + ix, 0);
                            insides[k] = u32::cast_from(inside);
                        }
                        let weight = comptime![ty * side + tx] * here;
                        let mut i = 0u32;
                        while i < here {
                            let mut values =
                                Array::<f32>::new(comptime![AT_ONCE as usize * pixels]);
                            let mut movings =
                                Array::<f32>::new(comptime![AT_ONCE as usize * pixels]);
                            #[unroll]
                            for n in 0..AT_ONCE {
                                let there = i + n < here;
                                let plane = select(there, i + n, i) * h * w;
                                #[unroll]
                                for k in 0..pixels {
                                    let slot = comptime![n as usize * pixels + k];
                                    let place = (places[k] + plane) as usize;
                                    let value = a[place];
                                    let inside = there && insides[k] != 0;
                                    let open = inside && (!rectify || value > 0.0);
                                    values[slot] = select(open, value, 0.0);
                                    if dual {
                                        movings[slot] = select(open, b[place], 0.0);
                                    }
                                }
                            }
                            #[unroll]
                            for n in 0..AT_ONCE {
                                let own = weight + select(i + n < here, i + n, i);
                                #[unroll]
                                for quad in 0..QUADS {
                                    let from =
                                        own * comptime![QUADS as u32] + comptime![quad as u32];
                                    let factors = weights[from as usize];
                                    #[unroll]
                                    for o in 0..4usize {
                                        let factor = factors.extract(o);
                                        #[unroll]
                                        for k in 0..pixels {
                                            let slot = comptime![n as usize * pixels + k];
                                            let to = comptime![(quad * 4 + o) * pixels + k];
                                            sums[to] += factor * values[slot];
                                            if dual {
                                                tangents[to] += factor * movings[slot];
                                            }
                                        }
                                    }
                                    if dual {
                                        let factors = tangent_weights[from as usize];
                                        #[unroll]
                                        for o in 0..4usize {
                                            let factor = factors.extract(o);
                                            #[unroll]
                                            for k in 0..pixels {
                                                let slot = comptime![n as usize * pixels + k];
                                                let to = comptime![(quad * 4 + o) * pixels + k];
                                                if back {
                                                    sums[to] += factor * movings[slot];
                                                } else {
                                                    tangents[to] += factor * values[slot];
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                            i += AT_ONCE;
                        }
                    }
                }
                staged += most;
            }
        }
        let y = table[at];
        #[unroll]
        for k in 0..pixels {
            let pixel = block + comptime![k as u32 * LANES] + UNIT_POS_X;
            if pixel < all {
                let within = rows[k] * width + columns[k];
                #[unroll]
                for o in 0..OUTPUTS {
                    let output = first + comptime![o as u32];
                    if output < count {
                        let channel = images[k] * table[at + 1] + table[at + 2] + output;
                        let place = (y + channel * area + within) as usize;
                        a[place] = sums[o * pixels + k];
                        if dual {
                            b[place] = tangents[o * pixels + k];
                        }
                    }
                }
            }
        }
    }
}
