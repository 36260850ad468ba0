//! Where a part's fields lie: planned ahead, since a program is the same every time.

/// Fields begin at multiples of this many numbers.
const ALIGNMENT: usize = 64;

/// A range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its first.
    pub start: usize,
    length: usize,
}

/// Memory that is given out and taken back.
#[derive(Debug, Default)]
pub struct Arena {
    /// What was taken back, in order; no two touch.
    free: Vec<Range>,
    end: usize,
}

impl Arena {
    /// The first place that so many numbers fit.
    pub fn take(&mut self, length: usize) -> Range {
        let length = length.next_multiple_of(ALIGNMENT);
        if let Some(at) = self.free.iter().position(|f| f.length >= length) {
            let hole = &mut self.free[at];
            let start = hole.start;
            hole.start += length;
            hole.length -= length;
            if hole.length == 0 {
                self.free.remove(at);
            }
            return Range { start, length };
        }
        // A hole at the end grows.
        let start = match self.free.last() {
            Some(last) if last.start + last.length == self.end => {
                let start = last.start;
                self.free.pop();
                start
            }
            _ => self.end,
        };
        self.end = start + length;
        Range { start, length }
    }

    /// Takes a range back.
    pub fn give(&mut self, range: Range) {
        let at = self.free.partition_point(|f| f.start < range.start);
        self.free.insert(at, range);
        for before in [at, at.wrapping_sub(1)] {
            let Some([a, b]) = before
                .checked_add(2)
                .and_then(|end| self.free.get_mut(before..end))
            else {
                continue;
            };
            if a.start + a.length == b.start {
                a.length += b.length;
                self.free.remove(before + 1);
            }
        }
    }

    /// How many numbers it needs.
    pub fn size(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again() {
        let mut arena = Arena::default();
        let [a, b, c] = [100, 200, 300].map(|n| arena.take(n));
        assert_eq!(
            [a.start, b.start, c.start, arena.size()],
            [0, 128, 384, 704]
        );
        arena.give(a);
        arena.give(b);
        assert_eq!(arena.take(380).start, 0);
        arena.give(c);
        assert_eq!(arena.take(640).start, 384);
        assert_eq!((arena.size(), arena.free.len()), (1024, 0));
    }
}
