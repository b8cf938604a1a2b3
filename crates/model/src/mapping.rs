use crate::{DsoAddr, DsoId, VirtAddr};

/// A DSO in an address space: `start <= address < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What [`DsoAddr`] the first address has: the file offset for files, `start` for the rest.
    pub dso_start: u64,
    /// What is mapped.
    pub dso: DsoId,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Mapping {
    /// The place of `addr`, which this mapping covers, in the DSO.
    pub fn dso_addr(&self, addr: VirtAddr) -> DsoAddr {
        DsoAddr(addr.0.wrapping_sub(self.start).wrapping_add(self.dso_start))
    }
}

/// The mappings of a process or of the kernel; they never overlap.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    mappings: Vec<Mapping>, // by start
}

/// The mappings of a process of which nothing is known.
static NOWHERE: AddressSpace = AddressSpace {
    mappings: Vec::new(),
};

impl AddressSpace {
    /// One without mappings, for a process of which nothing is known.
    pub fn nowhere() -> &'static Self {
        &NOWHERE
    }

    /// The mapping that covers `addr`.
    pub fn find(&self, addr: VirtAddr) -> Option<&Mapping> {
        self.before(addr).filter(|mapping| addr.0 < mapping.end)
    }

    /// The last mapping that starts at `addr` or before; it may end before, too.
    pub fn before(&self, addr: VirtAddr) -> Option<&Mapping> {
        let index = self
            .mappings
            .partition_point(|mapping| mapping.start <= addr.0);
        self.mappings[..index].last()
    }

    /// Adds a mapping. As with `mmap(MAP_FIXED)`, it replaces what it covers: older mappings are
    /// trimmed or split around it.
    pub fn insert(&mut self, new: Mapping) {
        if new.start >= new.end {
            return;
        }
        if self
            .mappings
            .last()
            .is_none_or(|last| last.end <= new.start)
        {
            self.mappings.push(new);
            return;
        }
        let first = self.mappings.partition_point(|old| old.end <= new.start);
        let after = self.mappings.partition_point(|old| old.start < new.end);
        let mut kept = [None; 3];
        if let Some(old) = self.mappings[first..after].first()
            && old.start < new.start
        {
            kept[0] = Some(Mapping {
                end: new.start,
                ..*old
            });
        }
        kept[1] = Some(new);
        if let Some(old) = self.mappings[first..after].last()
            && old.end > new.end
        {
            let dso_start = old.dso_addr(VirtAddr(new.end)).0;
            kept[2] = Some(Mapping {
                start: new.end,
                dso_start,
                ..*old
            });
        }
        self.mappings
            .splice(first..after, kept.into_iter().flatten());
    }

    /// Removes what lies in `start..end`.
    pub fn remove(&mut self, start: u64, end: u64) {
        let Some(dso) = self.mappings.first().map(|mapping| mapping.dso) else {
            return;
        };
        self.insert(Mapping {
            start,
            end,
            dso_start: 0,
            dso,
            executable: false,
        });
        self.mappings
            .retain(|mapping| (mapping.start, mapping.end) != (start, end));
    }

    /// All mappings, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// All mappings, by address, to change what is mapped there.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mapping> {
        self.mappings.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(start: u64, end: u64, dso: u32) -> Mapping {
        Mapping {
            start,
            end,
            dso_start: start * 10,
            dso: DsoId(dso),
            executable: true,
        }
    }

    fn space(mappings: &[Mapping]) -> AddressSpace {
        let mut space = AddressSpace::default();
        mappings.iter().for_each(|&mapping| space.insert(mapping));
        space
    }

    #[test]
    fn a_later_mapping_splits_the_one_it_falls_into() {
        let space = space(&[map(10, 40, 0), map(20, 30, 1)]);
        let parts: Vec<_> = space
            .iter()
            .map(|m| (m.start, m.end, m.dso_start, m.dso.0))
            .collect();
        assert_eq!(
            parts,
            [(10, 20, 100, 0), (20, 30, 200, 1), (30, 40, 120, 0)]
        );
    }

    #[test]
    fn a_later_mapping_replaces_all_it_covers_and_trims_its_neighbours() {
        let space = space(&[
            map(0, 10, 0),
            map(10, 20, 1),
            map(20, 30, 2),
            map(30, 40, 3),
        ]);
        let mut space = space;
        space.insert(map(5, 35, 9));
        let parts: Vec<_> = space.iter().map(|m| (m.start, m.end, m.dso.0)).collect();
        assert_eq!(parts, [(0, 5, 0), (5, 35, 9), (35, 40, 3)]);
    }

    #[test]
    fn an_address_is_found_from_start_to_just_before_end() {
        let space = space(&[map(10, 20, 0), map(30, 40, 1)]);
        let dso = |addr| space.find(VirtAddr(addr)).map(|m| m.dso.0);
        assert_eq!(
            [9, 10, 19, 20, 29, 30, 39, 40].map(dso),
            [None, Some(0), Some(0), None, None, Some(1), Some(1), None]
        );
    }

    #[test]
    fn removing_a_range_leaves_what_is_around_it() {
        let mut space = space(&[map(0, 30, 0), map(30, 40, 1)]);
        space.remove(10, 35);
        let parts: Vec<_> = space.iter().map(|m| (m.start, m.end)).collect();
        assert_eq!(parts, [(0, 10), (35, 40)]);
    }
}
