//! Gradients of convolutions' weights, in two steps that always add in the same order: chunks of the images, then the chunks.

use cubecl::prelude::*;

use super::conv::reads;
use super::{ADDERS, LANES, least};

/// Rows of a group's tile of a dense gradient.
pub const ROWS: u32 = 16;

/// Those of dense convolutions, in tiles of [`ROWS`] outputs and `across` weights of each; a thread has four of either. Record: x, its
/// channels, y's adjoint, its channels, the first one, how many; images, height and width of x, of y; dilation, stride, minus the
/// padding, whether x is rectified, images of a chunk, chunks, the first one's number, where the gradients go, weights of an output, the
/// first of x's among them, weights in all.
#[cube(launch_unchecked)]
pub fn dense_weights(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] side: u32,
    #[comptime] across: u32,
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let channels = table[at + 1];
    let outputs = table[at + 5];
    let columns = channels * comptime![side * side];
    let beside = (columns + comptime![across - 1]) / across;
    let down = (outputs + ROWS - 1) / ROWS;
    let chunks = table[at + 16];
    if CUBE_POS_X < beside * down * chunks {
        // Pixels that are staged at a time; a row more keeps threads of a column in different banks.
        let pixels = comptime![if dual { 32u32 } else { 64u32 }];
        let row_length = comptime![pixels + 1];
        let of_g = comptime![(ROWS * (pixels + 1)) as usize];
        let of_x = comptime![(across * (pixels + 1)) as usize];
        let mut gs = Shared::<[f32]>::new_slice(of_g);
        let mut xs = Shared::<[f32]>::new_slice(of_x);
        let mut ts = Shared::<[f32]>::new_slice(comptime![if dual { of_g } else { 1 }]);
        let mut ys = Shared::<[f32]>::new_slice(comptime![if dual { of_x } else { 1 }]);
        let chunk = CUBE_POS_X % chunks;
        let tile = CUBE_POS_X / chunks;
        let first_column = tile % beside * across;
        let first_output = tile / beside * ROWS;
        let begin = chunk * table[at + 15];
        let images = least(table[at + 15], table[at + 6] - begin);
        let h = table[at + 7];
        let w = table[at + 8];
        let width = table[at + 10];
        let area = table[at + 9] * width;
        let dilation = table[at + 11];
        let stride = table[at + 12];
        let shift = table[at + 13];
        let rectify = table[at + 14] != 0;
        let count = images * area;
        let own_pixel = UNIT_POS % pixels;
        let own_row = UNIT_POS / pixels;
        // Threads that share a tile; where it takes fewer than there are, each lot of them has a share of the pixels.
        let lot = comptime![ROWS / 4 * across / 4];
        let lots = comptime![ADDERS / lot];
        let of_lot = comptime![pixels / lots];
        let unit = UNIT_POS % lot;
        let first_pixel = UNIT_POS / lot * of_lot;
        let row = unit / comptime![across / 4];
        let column = unit % comptime![across / 4];
        let mut sums = Array::<f32>::new(16usize);
        #[unroll]
        for k in 0..16usize {
            sums[k] = 0.0;
        }
        let mut start = 0u32;
        while start < count {
            let i = start + own_pixel;
            let there = i < count;
            let i = select(there, i, 0);
            let image = begin + i / area;
            let within = i % area;
            let y = within / width;
            let x = within % width;
            #[unroll]
            for k in 0..comptime![ROWS * pixels / ADDERS] {
                let r = own_row + comptime![k * (ADDERS / pixels)];
                let slot = (r * row_length + own_pixel) as usize;
                let output = first_output + r;
                let inside = there && output < outputs;
                let channel = image * table[at + 3] + table[at + 4] + select(inside, output, 0);
                let place = (table[at + 2] + channel * area + within) as usize;
                gs[slot] = select(inside, a[place], 0.0);
                if dual {
                    ts[slot] = select(inside, b[place], 0.0);
                }
            }
            #[unroll]
            for k in 0..comptime![across * pixels / ADDERS] {
                let r = own_row + comptime![k * (ADDERS / pixels)];
                let slot = (r * row_length + own_pixel) as usize;
                let c = first_column + r;
                let known = there && c < columns;
                let c = select(known, c, 0);
                let channel = c / comptime![side * side];
                let tap = c % comptime![side * side];
                let (iy, below) = reads(y, tap / side * dilation, stride, shift, h, false);
                let (ix, after) = reads(x, tap % side * dilation, stride, shift, w, false);
                let inside = known && below && after;
                let plane = table[at] + (image * channels + channel) * h * w;
                let place = (plane + select(inside, iy * w + ix, 0)) as usize;
                let read = a[place];
                let open = inside && (!rectify || read > 0.0);
                xs[slot] = select(open, read, 0.0);
                if dual {
                    ys[slot] = select(open, b[place], 0.0);
                }
            }
            sync_cube();
            for k in 0..of_lot {
                let pixel = first_pixel + k;
                let mut own_xs = Array::<f32>::new(4usize);
                let mut own_ys = Array::<f32>::new(4usize);
                #[unroll]
                for c in 0..4u32 {
                    let column = column + comptime![c * (across / 4)];
                    let from = (column * row_length + pixel) as usize;
                    own_xs[c as usize] = xs[from];
                    if dual {
                        own_ys[c as usize] = ys[from];
                    }
                }
                #[unroll]
                for r in 0..4u32 {
                    let from = ((row + comptime![r * (ROWS / 4)]) * row_length + pixel) as usize;
                    let g = gs[from];
                    #[unroll]
                    for c in 0..4u32 {
                        sums[(r * 4 + c) as usize] += g * own_xs[c as usize];
                    }
                    if dual {
                        let t = ts[from];
                        #[unroll]
                        for c in 0..4u32 {
                            sums[(r * 4 + c) as usize] += t * own_ys[c as usize];
                        }
                    }
                }
            }
            sync_cube();
            start += pixels;
        }
        let mut of_lots = Shared::<[f32]>::new_slice((4 * ADDERS) as usize);
        #[unroll]
        for r in 0..4u32 {
            #[unroll]
            for c in 0..4u32 {
                of_lots[(UNIT_POS * 4 + c) as usize] = sums[(r * 4 + c) as usize];
            }
            sync_cube();
            if UNIT_POS < lot {
                let output = first_output + row + comptime![r * (ROWS / 4)];
                #[unroll]
                for c in 0..4u32 {
                    let weight = first_column + column + comptime![c * (across / 4)];
                    let mut sum = 0.0f32;
                    #[unroll]
                    for l in 0..lots {
                        sum += of_lots[((unit + l * lot) * 4 + c) as usize];
                    }
                    if output < outputs && weight < columns {
                        let weight = output * table[at + 19] + table[at + 20] + weight;
                        let first = table[at + 18] + (table[at + 17] + chunk) * table[at + 21];
                        p[(first + weight) as usize] = sum;
                    }
                }
            }
            sync_cube();
        }
    }
}

/// Those of depthwise convolutions. Record: x, y's adjoint, channels, images, height and width of x, of y, dilation, stride, minus the
/// padding, whether x is rectified, images of a chunk, chunks, the first one's number, where the gradients go.
#[cube(launch_unchecked)]
pub fn depthwise_weights(
    a: &mut [f32],
    b: &mut [f32],
    p: &mut [f32],
    _q: &mut [f32],
    table: &[u32],
    #[comptime] side: u32,
    #[comptime] dual: bool,
) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let channels = table[at + 2];
    let chunks = table[at + 13];
    if CUBE_POS_X < channels * chunks {
        let taps = comptime![(side * side) as usize];
        let channel = CUBE_POS_X / chunks;
        let chunk = CUBE_POS_X % chunks;
        let begin = chunk * table[at + 12];
        let images = least(table[at + 12], table[at + 3] - begin);
        let h = table[at + 4];
        let w = table[at + 5];
        let width = table[at + 7];
        let area = table[at + 6] * width;
        let dilation = table[at + 8];
        let stride = table[at + 9];
        let shift = table[at + 10];
        let rectify = table[at + 11] != 0;
        let count = images * area;
        let mut sums = Array::<f32>::new(taps);
        #[unroll]
        for t in 0..taps {
            sums[t] = 0.0;
        }
        let mut i = UNIT_POS_X;
        while i < count {
            let plane = (begin + i / area) * channels + channel;
            let within = i % area;
            let y = within / width;
            let x = within % width;
            let place = (table[at + 1] + plane * area + within) as usize;
            let g = a[place];
            let mut t = 0.0f32;
            if dual {
                t = b[place];
            }
            #[unroll]
            for ty in 0..side {
                let (iy, below) = reads(y, ty * dilation, stride, shift, h, false);
                #[unroll]
                for tx in 0..side {
                    let (ix, beside) = reads(x, tx * dilation, stride, shift, w, false);
                    // Without branches, so that all loads are under way at once.
                    let inside = below && beside;
                    let place = table[at] + plane * h * w + select(inside, iy * w + ix, 0);
                    let value = a[place as usize];
                    let open = inside && (!rectify || value > 0.0);
                    let tap = comptime![(ty * side + tx) as usize];
                    sums[tap] += select(open, g * value, 0.0);
                    if dual {
                        sums[tap] += select(open, t * b[place as usize], 0.0);
                    }
                }
            }
            i += LANES;
        }
        let kernel = (table[at + 14] + chunk) * channels + channel;
        store_taps(p, &sums, table[at + 15], kernel, comptime![side * side]);
    }
}

/// Writes the sums over a group's threads of a kernel's taps, always added in the same order, as that kernel of those at `to`.
#[cube]
fn store_taps(p: &mut [f32], sums: &Array<f32>, to: u32, kernel: u32, #[comptime] taps: u32) {
    let mut shared = Shared::<[f32]>::new_slice(comptime![(taps * LANES) as usize]);
    #[unroll]
    for t in 0..comptime![taps as usize] {
        shared[(UNIT_POS_X * taps) as usize + t] = sums[t];
    }
    sync_cube();
    if UNIT_POS_X < taps {
        let mut sum = 0.0f32;
        for k in 0..LANES {
            sum += shared[(k * taps + UNIT_POS_X) as usize];
        }
        p[(to + kernel * taps + UNIT_POS_X) as usize] = sum;
    }
}

/// Sums of lists of numbers. Record: where the sums go, how many, lists, then each: its first number of the first sum, numbers of a
/// sum, from one to the next.
#[cube(launch_unchecked)]
pub fn totals(_a: &mut [f32], _b: &mut [f32], p: &mut [f32], _q: &mut [f32], table: &[u32]) {
    let at = table[CUBE_POS_Y as usize] as usize;
    let i = CUBE_POS_X * LANES + UNIT_POS_X;
    if i < table[at + 1] {
        let mut sum = 0.0f32;
        for l in 0..table[at + 2] {
            let list = at + 3 + l as usize * 3;
            let first = table[list] + i;
            for k in 0..table[list + 1] {
                sum += p[(first + k * table[list + 2]) as usize];
            }
        }
        p[(table[at] + i) as usize] = sum;
    }
}
