//! What is mapped where in one process, cheap to copy.
//!
//! In: mappings as they come. Out: the one at an address. Elsewhere: which process has which space
//! ([`crate::ProcessTable`]).
//!
//! A tree whose nodes are shared by all copies and copied when one of them changes below it: a process that
//! forks and maps something costs a few nodes, however much it has mapped.

use std::ops::Range;
use std::sync::Arc;

use crate::{Mapping, VirtAddr};

/// The mappings of a process or of the kernel; they never overlap.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    root: Option<Arc<Node>>, // with a mapping at least
}

#[derive(Clone, Debug)]
enum Node {
    /// Mappings by address.
    Leaf(Vec<Mapping>),
    /// Nodes by address.
    Inner(Vec<Child>),
}

#[derive(Clone, Debug)]
struct Child {
    start: u64, // of its first mapping
    node: Arc<Node>,
}

/// More mappings or children than this, and a node becomes two.
const WIDEST: usize = 32;

/// The mappings of a process of which nothing is known.
static NOWHERE: AddressSpace = AddressSpace { root: None };

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
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                Node::Leaf(mappings) => {
                    let behind = mappings.partition_point(|mapping| mapping.start <= addr.0);
                    return mappings[..behind].last();
                }
                Node::Inner(children) => {
                    let behind = children.partition_point(|child| child.start <= addr.0);
                    node = &children[..behind].last()?.node;
                }
            }
        }
    }

    /// Adds a mapping. As with `mmap(MAP_FIXED)`, it replaces what it covers: older mappings are
    /// trimmed or split around it.
    pub fn insert(&mut self, new: Mapping) {
        if new.start < new.end {
            self.remove(new.start, new.end);
            self.put(new);
        }
    }

    /// Removes what lies in `start..end`.
    pub fn remove(&mut self, start: u64, end: u64) {
        let last = end
            .checked_sub(1)
            .and_then(|last| self.before(VirtAddr(last)));
        let Some(&last) = last.filter(|last| start < end && start < last.end) else {
            return; // the last one that starts before `end` ends before `start`: so do all others
        };
        let first = start
            .checked_sub(1)
            .and_then(|before| self.find(VirtAddr(before)));
        let first = first.filter(|first| first.end > start).copied();
        self.cut(start..end);
        if let Some(first) = first {
            self.put(Mapping {
                end: start,
                ..first
            });
        }
        if last.end > end {
            self.put(Mapping {
                start: end,
                dso_start: last.dso_addr(VirtAddr(end)).0,
                ..last
            });
        }
    }

    /// All mappings, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        Iter {
            path: self.root.iter().map(|root| root.cursor()).collect(),
        }
    }

    /// Changes the mappings that are `meant`, but not where they lie.
    pub(crate) fn change(
        &mut self,
        meant: impl Fn(&Mapping) -> bool,
        mut change: impl FnMut(&mut Mapping),
    ) {
        if let Some(root) = &mut self.root {
            Node::change(root, &meant, &mut change);
        }
    }

    /// Adds a mapping that covers nothing but what starts where it does, which it replaces.
    fn put(&mut self, mapping: Mapping) {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![mapping])));
            return;
        };
        if let Some(right) = Node::put(root, mapping) {
            let left = Child::of(Arc::clone(root));
            *root = Arc::new(Node::Inner(vec![left, right]));
        }
    }

    /// Removes the mappings that start in a range.
    fn cut(&mut self, range: Range<u64>) {
        if let Some(root) = &mut self.root {
            Node::cut(root, &range);
            if root.is_empty() {
                self.root = None;
            }
        }
    }
}

impl Child {
    fn of(node: Arc<Node>) -> Self {
        Self {
            start: node.start(),
            node,
        }
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(mappings) => mappings.is_empty(),
            Self::Inner(children) => children.is_empty(),
        }
    }

    /// Where the first mapping starts.
    fn start(&self) -> u64 {
        match self {
            Self::Leaf(mappings) => mappings.first().map_or(0, |mapping| mapping.start),
            Self::Inner(children) => children.first().map_or(0, |child| child.start),
        }
    }

    /// Adds a mapping. Returns what is to stand behind the node if it would become too wide.
    fn put(this: &mut Arc<Self>, mapping: Mapping) -> Option<Child> {
        let right = match Arc::make_mut(this) {
            Self::Leaf(mappings) => {
                let at = mappings.partition_point(|old| old.start < mapping.start);
                match mappings
                    .get_mut(at)
                    .filter(|old| old.start == mapping.start)
                {
                    Some(old) => *old = mapping,
                    None => mappings.insert(at, mapping),
                }
                Self::Leaf(half(mappings)?)
            }
            Self::Inner(children) => {
                let behind = children.partition_point(|child| child.start <= mapping.start);
                let at = behind.saturating_sub(1);
                let child = &mut children[at];
                child.start = child.start.min(mapping.start);
                let right = Self::put(&mut child.node, mapping)?;
                children.insert(at + 1, right);
                Self::Inner(half(children)?)
            }
        };
        Some(Child::of(Arc::new(right)))
    }

    /// Removes the mappings that start in a range; what is left may be empty.
    fn cut(this: &mut Arc<Self>, range: &Range<u64>) {
        match Arc::make_mut(this) {
            Self::Leaf(mappings) => mappings.retain(|mapping| !range.contains(&mapping.start)),
            Self::Inner(children) => {
                let behind = children.partition_point(|child| child.start <= range.start);
                let first = behind.saturating_sub(1);
                let end = children.partition_point(|child| child.start < range.end);
                if first >= end {
                    return;
                }
                // Only the outermost of them may have others as well.
                for at in [first, end - 1] {
                    Self::cut(&mut children[at].node, range);
                }
                children.drain(first + 1..(end - 1).max(first + 1));
                children.retain(|child| !child.node.is_empty());
                children
                    .iter_mut()
                    .for_each(|child| child.start = child.node.start());
            }
        }
    }

    fn change(
        this: &mut Arc<Self>,
        meant: &impl Fn(&Mapping) -> bool,
        change: &mut impl FnMut(&mut Mapping),
    ) {
        if !this.has(meant) {
            return;
        }
        match Arc::make_mut(this) {
            Self::Leaf(mappings) => mappings.iter_mut().filter(|it| meant(it)).for_each(change),
            Self::Inner(children) => {
                for child in children {
                    Self::change(&mut child.node, meant, change);
                }
            }
        }
    }

    fn has(&self, meant: &impl Fn(&Mapping) -> bool) -> bool {
        match self {
            Self::Leaf(mappings) => mappings.iter().any(meant),
            Self::Inner(children) => children.iter().any(|child| child.node.has(meant)),
        }
    }

    fn cursor(&self) -> Cursor<'_> {
        match self {
            Self::Leaf(mappings) => Cursor::Leaf(mappings.iter()),
            Self::Inner(children) => Cursor::Inner(children.iter()),
        }
    }
}

/// Takes the second half away from what is too wide.
fn half<T>(parts: &mut Vec<T>) -> Option<Vec<T>> {
    (parts.len() > WIDEST).then(|| parts.split_off(parts.len() / 2))
}

/// Goes through a tree; the node that comes next is the last one.
struct Iter<'a> {
    path: Vec<Cursor<'a>>,
}

enum Cursor<'a> {
    Leaf(std::slice::Iter<'a, Mapping>),
    Inner(std::slice::Iter<'a, Child>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Mapping;

    fn next(&mut self) -> Option<&'a Mapping> {
        loop {
            let below = match self.path.last_mut()? {
                Cursor::Leaf(mappings) => match mappings.next() {
                    Some(mapping) => return Some(mapping),
                    None => None,
                },
                Cursor::Inner(children) => children.next().map(|child| child.node.cursor()),
            };
            match below {
                Some(below) => self.path.push(below),
                None => drop(self.path.pop()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DsoId;

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

    /// The simplest thing that could be meant: what is mapped at each address.
    fn at_each_address(mappings: &[Mapping]) -> Vec<Option<(u32, u64)>> {
        let mut at = vec![None; 4096];
        for mapping in mappings {
            for addr in mapping.start..mapping.end {
                let place = mapping.dso_addr(VirtAddr(addr)).0;
                at[addr as usize] = Some((mapping.dso.0, place));
            }
        }
        at
    }

    /// Numbers that look random.
    fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |below| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        }
    }

    #[test]
    fn what_is_mapped_where_is_what_came_last_in_every_copy() {
        for seed in 0..20 {
            let mut number = numbers(seed);
            let mut copies = vec![(AddressSpace::default(), Vec::new())];
            for dso in 0..600 {
                let one = number(copies.len() as u64) as usize;
                if number(20) == 0 && copies.len() < 5 {
                    copies.push(copies[one].clone());
                }
                let start = number(4000);
                let longest = match number(60) {
                    0 => 4096 - start,
                    1..10 => 96,
                    _ => 8,
                };
                let mapping = map(start, start + 1 + number(longest), dso);
                let (space, all) = &mut copies[one];
                space.insert(mapping);
                all.push(mapping);
            }
            for (space, all) in &copies {
                let mappings: Vec<_> = space.iter().copied().collect();
                assert!(mappings.is_sorted_by(|a, b| a.end <= b.start), "{seed}");
                let expected = at_each_address(all);
                assert!(at_each_address(&mappings) == expected, "{seed}");
                let found = (0..4096).map(|addr| {
                    let mapping = space.find(VirtAddr(addr))?;
                    Some((mapping.dso.0, mapping.dso_addr(VirtAddr(addr)).0))
                });
                assert!(found.eq(expected), "{seed}");
            }
        }
    }

    /// How many nodes several spaces have, shared ones once.
    fn nodes<'a>(spaces: impl IntoIterator<Item = &'a AddressSpace>) -> usize {
        fn add(node: &Arc<Node>, known: &mut std::collections::HashSet<*const Node>) {
            if let (true, Node::Inner(children)) = (known.insert(Arc::as_ptr(node)), &**node) {
                children.iter().for_each(|child| add(&child.node, known));
            }
        }
        let mut known = std::collections::HashSet::new();
        let roots = spaces.into_iter().filter_map(|space| space.root.as_ref());
        roots.for_each(|root| add(root, &mut known));
        known.len()
    }

    #[test]
    fn a_copy_that_changes_in_one_place_shares_all_others() {
        let spread = |index: u64| map(index * 10, index * 10 + 5, 0);
        for order in [(0..50_000).collect::<Vec<_>>(), (0..50_000).rev().collect()] {
            let all: Vec<_> = order.into_iter().map(spread).collect();
            let space = space(&all);
            assert_eq!(space.iter().count(), 50_000);
            let before = nodes([&space]);
            assert!(before < 50_000 / 10, "{before} nodes");
            let mut copies = vec![space; 1000];
            for (index, copy) in copies.iter_mut().enumerate() {
                copy.insert(map(index as u64 * 400, index as u64 * 400 + 3, 1));
            }
            // One node of each level was copied, and a full one became two.
            let own = nodes(&copies) - before;
            assert!(own <= 1000 * 6, "{own} nodes for 1000 copies");
            let mut covered = copies[0].clone();
            covered.insert(map(0, 1_000_000, 2));
            assert_eq!(covered.iter().count(), 1);
            assert_eq!(copies[0].iter().count(), 50_001);
        }
    }
}
