//! Whether a JPEG file is all there. Decoders accept files that are cut off or have holes, and fill the rest with grey or with
//! noise; here the entropy-coded data are gone through (ITU-T T.81, annexes F and G), without computing a pixel.

mod bits;

use bits::{Bits, Huffman};

/// Whether the data of a JPEG file are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// They are; an end marker may be missing.
    Complete,
    /// The file ends before its data do.
    CutOff,
    /// Data within the file are missing or wrong.
    Damaged,
}

/// One component of the picture.
#[derive(Clone, Debug, Default)]
struct Component {
    id: u8,
    /// Blocks of an MCU, across and down.
    sampling: [usize; 2],
    /// Blocks in rows of their own scan.
    blocks: [usize; 2],
    /// Blocks in a row of interleaved scans.
    stride: usize,
    /// Which coefficients of each block are not zero so far, in progressive files.
    nonzero: Vec<u64>,
    /// The lowest bit of each coefficient that was there, in progressive files; of a sequential one 0 once it was there.
    lowest: Vec<u8>,
}

/// What of the file was read.
#[derive(Default)]
struct Reader {
    progressive: bool,
    components: Vec<Component>,
    /// MCUs of an interleaved scan, across and down.
    mcus: [usize; 2],
    restart: usize,
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Whether data were missing or wrong.
    broken: bool,
    /// Whether there were more data than were needed.
    surplus: bool,
}

/// The part of the coefficients that a scan has.
struct Scan {
    /// Component, table of DC, table of AC.
    components: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    /// Whether it refines what other scans began.
    refines: bool,
    lowest: u8,
}

/// How a run of blocks ended.
enum End {
    /// All were there.
    Whole,
    /// With a code that is none, or at a marker.
    Broken,
    /// The file ends in it.
    Cut,
}

/// Whether the data of this file are all there. What is no JPEG of a known kind is left to the decoder.
pub(super) fn state(bytes: &[u8]) -> State {
    let mut reader = Reader::default();
    let mut at = 2;
    loop {
        let Some((code, start)) = marker(bytes, at) else {
            return reader.ended();
        };
        if code == 0xD9 {
            // The data may not have begun where only the preview within a damaged header was found.
            return match reader.components.is_empty() {
                true => State::CutOff,
                false if reader.broken || reader.surplus || !reader.is_begun() => State::Damaged,
                false => State::Complete,
            };
        }
        // Markers without a segment.
        if matches!(code, 0x01 | 0xD0..=0xD8) {
            at = start;
            continue;
        }
        let length = bytes
            .get(start..start + 2)
            .map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let segment = length.and_then(|length| bytes.get(start + 2..start + length.max(2)));
        let Some(segment) = segment else {
            return reader.ended();
        };
        at = start + 2 + segment.len();
        match code {
            0xC0..=0xC2 if reader.frame(segment, code == 0xC2).is_none() => return State::Complete,
            // Lossless, hierarchical and arithmetic-coded files.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return State::Complete,
            0xC4 => reader.broken |= reader.tables(segment).is_none(),
            0xDD if segment.len() >= 2 => {
                reader.restart = usize::from(u16::from_be_bytes([segment[0], segment[1]]));
            }
            0xDA => match reader.scan(segment, bytes, at) {
                Some(next) => at = next,
                None => return State::CutOff,
            },
            _ => {}
        }
    }
}

/// The next marker from a position on, and where what follows it begins.
fn marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let begins = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF);
    let found = rest.windows(2).position(begins)?;
    Some((rest[found + 1], at + found + 2))
}

impl Reader {
    /// Whether some data were there.
    fn is_begun(&self) -> bool {
        let begun = |c: &Component| c.lowest.first().is_some_and(|lowest| *lowest < u8::MAX);
        self.components.iter().all(begun)
    }

    /// What a file is that ends without an end marker.
    fn ended(&self) -> State {
        let whole = |c: &Component| c.lowest.iter().all(|lowest| *lowest == 0);
        let whole = !self.components.is_empty() && self.components.iter().all(whole);
        match whole && !self.broken {
            true if self.surplus => State::Damaged,
            true => State::Complete,
            false => State::CutOff,
        }
    }

    /// A frame header; nothing if it is of no kind that is known.
    fn frame(&mut self, segment: &[u8], progressive: bool) -> Option<()> {
        let [_, h0, h1, w0, w1, count, rest @ ..] = segment else {
            return None;
        };
        let size = [[*w0, *w1], [*h0, *h1]].map(|b| usize::from(u16::from_be_bytes(b)));
        let parts: Vec<&[u8]> = rest.chunks_exact(3).take(usize::from(*count)).collect();
        let known = |c: &&[u8]| (1..=4).contains(&(c[1] >> 4)) && (1..=4).contains(&(c[1] & 15));
        let number = parts.len();
        if size.contains(&0) || number == 0 || number > 4 || !parts.iter().all(known) {
            return None;
        }
        let sampling = |c: &[u8]| [usize::from(c[1] >> 4), usize::from(c[1] & 15)];
        let most = |axis: usize| parts.iter().map(|c| sampling(c)[axis]).max();
        let most = [most(0)?, most(1)?];
        self.mcus = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        self.progressive = progressive;
        let component = |c: &&[u8]| {
            let sampling = sampling(c);
            let blocks = [0, 1].map(|axis| {
                (size[axis] * sampling[axis])
                    .div_ceil(most[axis])
                    .div_ceil(8)
            });
            let stride = self.mcus[0] * sampling[0];
            let all = stride * self.mcus[1] * sampling[1];
            Component {
                id: c[0],
                sampling,
                blocks,
                stride,
                nonzero: vec![0; if progressive { all } else { 0 }],
                lowest: vec![u8::MAX; if progressive { 64 } else { 1 }],
            }
        };
        self.components = parts.iter().map(component).collect();
        Some(())
    }

    /// Huffman tables; nothing if they are none.
    fn tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [class, counts @ ..] = segment {
            let (counts, symbols) = counts.split_first_chunk::<16>()?;
            let number = counts.iter().map(|n| usize::from(*n)).sum();
            let (symbols, rest) = symbols.split_at_checked(number)?;
            let tables = match class >> 4 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            tables[usize::from(class & 3)] = Some(Huffman::new(counts, symbols));
            segment = rest;
        }
        Some(())
    }

    /// Goes through a scan's data from a position on; where they end, or nothing if the file is cut off in them.
    fn scan(&mut self, segment: &[u8], bytes: &[u8], at: usize) -> Option<usize> {
        let Some(scan) = self.header(segment) else {
            self.broken = true;
            return Some(at);
        };
        let mut bits = Bits::new(bytes, at);
        if self.dc.iter().chain(&self.ac).all(Option::is_none) {
            // Frames of films have no tables, the decoder takes the usual ones.
            self.cover(&scan);
            return Some(bits.end().0);
        }
        let interleaved = scan.components.len() > 1;
        let [across, down] = match interleaved {
            true => self.mcus,
            false => self.components[scan.components[0].0].blocks,
        };
        let (all, mut mcu, mut run) = (across * down, 0, 0);
        let mut restarts = 0u8;
        while mcu < all {
            let until = match self.restart {
                0 => all,
                restart => all.min(mcu + restart),
            };
            match self.blocks(&scan, &mut bits, (mcu..until, across), &mut run) {
                End::Whole => {}
                End::Broken => self.broken = true,
                End::Cut => return None,
            }
            mcu = until;
            run = 0;
            if mcu < all {
                match bits.restart() {
                    Some(number) => self.broken |= number != restarts,
                    None => {
                        // There is no more of this scan.
                        self.broken = true;
                        break;
                    }
                }
                restarts = (restarts + 1) % 8;
            }
        }
        let (next, surplus) = bits.end();
        // Something of its own may follow data without an end marker, but not one byte again and again.
        let own = next == bytes.len() && surplus.windows(2).any(|two| two[0] != two[1]);
        self.surplus |= surplus.len() > 2 && !own;
        self.cover(&scan);
        Some(next)
    }

    /// Notes that a scan's part of the coefficients was there.
    fn cover(&mut self, scan: &Scan) {
        for (component, _, _) in &scan.components {
            let lowest = &mut self.components[*component].lowest;
            let last = scan.last.min(lowest.len() - 1);
            lowest[scan.first..=last].fill(scan.lowest);
        }
    }

    /// A scan header; nothing if it does not fit the frame.
    fn header(&self, segment: &[u8]) -> Option<Scan> {
        let (count, rest) = segment.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(*count))?;
        let [first, last, approximation, ..] = rest else {
            return None;
        };
        let component = |part: &[u8]| {
            let found = self.components.iter().position(|c| c.id == part[0])?;
            Some((
                found,
                usize::from(part[1] >> 4) & 3,
                usize::from(part[1] & 3),
            ))
        };
        let components: Option<Vec<_>> = parts.chunks_exact(2).map(component).collect();
        let (first, last) = match self.progressive {
            true => (usize::from(*first), usize::from(*last)),
            false => (0, 63),
        };
        let (high, low) = match self.progressive {
            true => (approximation >> 4, approximation & 15),
            false => (0, 0),
        };
        let scan = Scan {
            components: components.filter(|c| !c.is_empty())?,
            first,
            last,
            refines: high > 0,
            lowest: low,
        };
        let single = scan.components.len() == 1 || first == 0;
        (first <= last && last < 64 && single).then_some(scan)
    }

    /// Goes through a run of MCUs between restarts.
    fn blocks(
        &mut self,
        scan: &Scan,
        bits: &mut Bits,
        (mcus, across): (std::ops::Range<usize>, usize),
        run: &mut u32,
    ) -> End {
        let interleaved = scan.components.len() > 1;
        for mcu in mcus {
            let [y, x] = [mcu / across, mcu % across];
            for (component, dc, ac) in &scan.components {
                let sampling = match interleaved {
                    true => self.components[*component].sampling,
                    false => [1, 1],
                };
                let tables = (self.dc[*dc].as_ref(), self.ac[*ac].as_ref());
                let component = &mut self.components[*component];
                for block in 0..sampling[0] * sampling[1] {
                    let row = y * sampling[1] + block / sampling[0];
                    let column = x * sampling[0] + block % sampling[0];
                    let place = row * component.stride + column;
                    let read = match self.progressive {
                        false => bits.sequential(tables),
                        true => match component.nonzero.get_mut(place) {
                            Some(nonzero) => bits.progressive(scan, tables, nonzero, run),
                            None => None,
                        },
                    };
                    if bits.is_cut() {
                        return End::Cut;
                    }
                    if read.is_none() || bits.is_over() {
                        return End::Broken;
                    }
                }
            }
        }
        End::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with enough in it, grey or not.
    fn jpeg() -> Vec<u8> {
        let image = image::RgbImage::from_fn(61, 43, |x, y| {
            image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8])
        });
        let mut bytes = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 80);
        image.write_with_encoder(encoder).unwrap();
        bytes
    }

    #[test]
    fn a_file_is_complete_without_its_end_marker_and_cut_off_without_any_more() {
        let whole = jpeg();
        assert_eq!(state(&whole), State::Complete);
        let trailing = [&whole[..], b"whatever a camera puts behind"].concat();
        assert_eq!(state(&trailing), State::Complete);
        let unended = &whole[..whole.len() - 2];
        assert_eq!(state(unended), State::Complete);
        let trailing = [unended, b"whatever a camera puts behind"].concat();
        assert_eq!(state(&trailing), State::Complete);
        let padded = [unended, &[0; 200]].concat();
        assert_eq!(state(&padded), State::Damaged);
        for less in [4, 20, 200, whole.len() - 30] {
            assert_eq!(state(&whole[..whole.len() - less]), State::CutOff, "{less}");
        }
    }

    #[test]
    fn a_hole_in_the_middle_is_damage() {
        let whole = jpeg();
        let middle = whole.len() / 2 + 200;
        let hole = [&whole[..middle], &whole[middle + 150..]].concat();
        assert_eq!(state(&hole), State::Damaged);
    }
}
