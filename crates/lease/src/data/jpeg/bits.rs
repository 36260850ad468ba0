//! The bits of a JPEG scan, and the codes that they are.

use super::Scan;

/// Bits that are looked up at once.
const FAST: u32 = 9;

/// A Huffman code.
pub(super) struct Huffman {
    /// Length and symbol of the code that these bits begin with; length 0 if it is longer.
    fast: Vec<(u8, u8)>,
    /// The first code of each length, where its symbols begin, and how many there are.
    lengths: [(u32, usize, u32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The code that has so many symbols of each length from 1 to 16.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut fast = vec![(0, 0); 1 << FAST];
        let mut lengths = [(0, 0, 0); 17];
        let (mut code, mut first) = (0u32, 0);
        for (length, count) in (1u32..).zip(counts) {
            let count = u32::from(*count);
            lengths[length as usize] = (code, first, count);
            if length <= FAST {
                let free = FAST - length;
                for (number, symbol) in (0..count).zip(&symbols[first..]) {
                    let start = ((code + number) << free) as usize;
                    if let Some(places) = fast.get_mut(start..start + (1 << free)) {
                        places.fill((length as u8, *symbol));
                    }
                }
            }
            first += count as usize;
            code = (code + count) << 1;
        }
        Self {
            fast,
            lengths,
            symbols: symbols.to_vec(),
        }
    }
}

/// The tables of DC and AC codes that a block needs.
type Tables<'a> = (Option<&'a Huffman>, Option<&'a Huffman>);

/// Bits of entropy-coded data, up to a marker or the end of the file, after which zeros come.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
    /// How many of those held are past the data.
    past: u32,
    /// Whether the data ended with the file.
    at_end: bool,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            held: 0,
            count: 0,
            past: 0,
            at_end: false,
        }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    Some(0xFF)
                }
                // A lone byte 0xFF at the end is the beginning of a marker.
                Some([] | [0xFF]) | None => {
                    self.at_end = true;
                    None
                }
                Some([0xFF, ..]) => None,
                Some([byte, ..]) => {
                    self.at += 1;
                    Some(*byte)
                }
            };
            self.past += if byte.is_none() { 8 } else { 0 };
            self.held = self.held << 8 | u64::from(byte.unwrap_or(0));
            self.count += 8;
        }
    }

    /// Whether more bits were taken than there are.
    pub fn is_over(&self) -> bool {
        self.count < self.past
    }

    /// Whether that is since the file ended.
    pub fn is_cut(&self) -> bool {
        self.is_over() && self.at_end
    }

    fn take(&mut self, bits: u32) -> u32 {
        if self.count < bits {
            self.fill();
        }
        self.count -= bits;
        (self.held >> self.count) as u32 & ((1 << bits) - 1)
    }

    /// The next symbol; nothing if no code begins so.
    fn symbol(&mut self, code: &Huffman) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        let next = (self.held >> (self.count - 16)) as u32 & 0xFFFF;
        let (length, symbol) = code.fast[(next >> (16 - FAST)) as usize];
        if length > 0 {
            self.count -= u32::from(length);
            return Some(symbol);
        }
        (FAST + 1..=16).find_map(|length| {
            let (first, place, count) = code.lengths[length as usize];
            let number = (next >> (16 - length)).checked_sub(first)?;
            if number >= count {
                return None;
            }
            self.count -= length;
            code.symbols.get(place + number as usize).copied()
        })
    }

    /// Goes through a block of a sequential file; nothing if it is none.
    pub fn sequential(&mut self, (dc, ac): Tables) -> Option<()> {
        self.difference(dc)?;
        let ac = ac?;
        let mut coefficient = 1;
        while coefficient < 64 {
            let symbol = self.symbol(ac)?;
            match (symbol >> 4, u32::from(symbol & 15)) {
                (15, 0) => coefficient += 16,
                (_, 0) => break,
                (zeros, bits) => {
                    coefficient += usize::from(zeros) + 1;
                    self.take(bits);
                }
            }
        }
        (coefficient <= 64).then_some(())
    }

    /// A DC coefficient.
    fn difference(&mut self, dc: Option<&Huffman>) -> Option<()> {
        let bits = self.symbol(dc?)?;
        (bits <= 16).then(|| {
            self.take(u32::from(bits));
        })
    }

    /// Goes through a block of a scan of a progressive file, of which `nonzero` says which coefficients are not zero;
    /// `run` is the number of blocks to come without further ones. Nothing if it is none.
    pub fn progressive(
        &mut self,
        scan: &Scan,
        (dc, ac): Tables,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Option<()> {
        match (scan.first, scan.refines) {
            (0, false) => self.difference(dc),
            (0, true) => {
                self.take(1);
                Some(())
            }
            (_, false) => self.begun(scan, ac?, nonzero, run),
            (_, true) => self.refined(scan, ac?, nonzero, run),
        }
    }

    /// The number of blocks of a run that ends a block.
    fn run(&mut self, size: u8) -> u32 {
        (1 << size) + self.take(u32::from(size))
    }

    fn begun(&mut self, scan: &Scan, ac: &Huffman, nonzero: &mut u64, run: &mut u32) -> Option<()> {
        if *run > 0 {
            *run -= 1;
            return Some(());
        }
        let mut coefficient = scan.first;
        while coefficient <= scan.last {
            let symbol = self.symbol(ac)?;
            match (symbol >> 4, u32::from(symbol & 15)) {
                (15, 0) => coefficient += 16,
                (size, 0) => {
                    *run = self.run(size) - 1;
                    break;
                }
                (zeros, bits) => {
                    coefficient += usize::from(zeros);
                    if coefficient > scan.last {
                        return None;
                    }
                    self.take(bits);
                    *nonzero |= 1 << coefficient;
                    coefficient += 1;
                }
            }
        }
        Some(())
    }

    fn refined(
        &mut self,
        scan: &Scan,
        ac: &Huffman,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Option<()> {
        let mut coefficient = scan.first;
        while *run == 0 && coefficient <= scan.last {
            let symbol = self.symbol(ac)?;
            let (mut zeros, bits) = (symbol >> 4, symbol & 15);
            if bits == 0 && zeros < 15 {
                *run = self.run(zeros);
                break;
            }
            if bits > 0 {
                self.take(1);
            }
            while coefficient <= scan.last {
                if *nonzero >> coefficient & 1 == 1 {
                    self.take(1);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                coefficient += 1;
            }
            if bits > 0 && coefficient <= scan.last {
                *nonzero |= 1 << coefficient;
            }
            coefficient += 1;
        }
        if *run > 0 {
            *run -= 1;
            if coefficient <= scan.last {
                let rest = *nonzero >> coefficient << coefficient;
                let until = rest & (u64::MAX >> (63 - scan.last));
                (0..until.count_ones()).for_each(|_| _ = self.take(1));
            }
        }
        Some(())
    }

    /// Goes on behind the next restart marker, whose number is returned; nothing if another marker or none comes.
    pub fn restart(&mut self) -> Option<u8> {
        let (code, next) = super::marker(self.bytes, self.at)?;
        if !(0xD0..=0xD7).contains(&code) {
            return None;
        }
        *self = Self::new(self.bytes, next);
        Some(code - 0xD0)
    }

    /// Where the data end, and the bytes of them that were not needed.
    pub fn end(&self) -> (usize, &'a [u8]) {
        let next = super::marker(self.bytes, self.at).map(|(_, after)| after - 2);
        let next = next.unwrap_or(self.bytes.len());
        // Those that are held were read, each of them from one byte or two.
        let held = (self.count.saturating_sub(self.past) / 8) as usize;
        let from = self.at.saturating_sub(held).min(next);
        let surplus = &self.bytes[from..next];
        // Any number of bytes 0xFF may come before a marker.
        let needed = surplus.iter().rposition(|byte| *byte != 0xFF);
        (next, &surplus[..needed.map_or(0, |last| last + 1)])
    }
}
