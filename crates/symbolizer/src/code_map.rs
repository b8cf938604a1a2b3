use std::collections::BTreeMap;
use std::ops::Range;

/// Generated code by address. Memory is used again for other code: the latest entry counts, and of
/// an older one what it left.
#[derive(Debug)]
pub(crate) struct CodeMap<T> {
    parts: BTreeMap<u64, (u64, T)>, // start -> (end, what)
}

impl<T> Default for CodeMap<T> {
    fn default() -> Self {
        Self {
            parts: BTreeMap::new(),
        }
    }
}

impl<T: Clone> CodeMap<T> {
    /// Adds code. An empty range is nothing.
    pub(crate) fn insert(&mut self, range: Range<u64>, code: T) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        while let Some((&old_start, &(old_end, _))) = self.parts.range(..end).next_back()
            && old_end > start
        {
            let Some((_, old)) = self.parts.remove(&old_start) else {
                break;
            };
            if old_end > end {
                self.parts.insert(end, (old_end, old.clone()));
            }
            if old_start < start {
                self.parts.insert(old_start, (start, old));
            }
        }
        self.parts.insert(start, (end, code));
    }

    /// What lies at `addr`.
    pub(crate) fn find(&self, addr: u64) -> Option<&T> {
        let (_, (end, code)) = self.parts.range(..=addr).next_back()?;
        (addr < *end).then_some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_code_replaces_what_it_overlaps_and_leaves_the_rest() {
        let mut map = CodeMap::default();
        map.insert(0x100..0x200, "old");
        map.insert(0x140..0x160, "new");
        map.insert(0x1f0..0x210, "across");
        map.insert(0x180..0x190, "inside");
        map.insert(0x100..0x100, "empty");
        let at = [
            0xff, 0x100, 0x13f, 0x140, 0x15f, 0x160, 0x180, 0x190, 0x1ef, 0x1f0, 0x20f, 0x210,
        ];
        let found = at.map(|addr| map.find(addr).copied().unwrap_or("-"));
        assert_eq!(
            found,
            [
                "-", "old", "old", "new", "new", "old", "inside", "old", "old", "across", "across",
                "-"
            ]
        );
    }
}
