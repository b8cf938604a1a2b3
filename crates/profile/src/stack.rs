use rustc_hash::FxHashMap;

use crate::FrameId;

/// Index of a stack: its innermost frame's node in a [`StackTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(u32);

impl StackId {
    /// The stack without frames, of which every other one is an extension.
    pub const ROOT: Self = Self(0);

    /// The number, to index a table with one entry per stack.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: StackId,
    frame: FrameId,
}

const _: () = assert!(size_of::<Node>() == 8); // one per distinct stack prefix of a recording

/// Stacks as a tree in an arena: a node is a frame and the stack of its callers, so stacks share
/// their outer frames. A parent always comes before its children.
#[derive(Clone, Debug)]
pub struct StackTable {
    nodes: Vec<Node>,              // without the root: stack n is nodes[n - 1]
    ids: FxHashMap<Node, StackId>, // keyed by the whole node, not by its hash
}

impl Default for StackTable {
    fn default() -> Self {
        Self::new()
    }
}

impl StackTable {
    /// A table with nothing but [`StackId::ROOT`].
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            ids: FxHashMap::default(),
        }
    }

    pub(crate) fn reserve(&mut self, stacks: usize) {
        self.nodes.reserve(stacks);
        self.ids.reserve(stacks);
    }

    /// The stack in which `parent` has called into `frame`.
    pub fn push(&mut self, parent: StackId, frame: FrameId) -> StackId {
        let node = Node { parent, frame };
        let next = u32::try_from(self.nodes.len() + 1).expect("fewer than 2^32 stacks");
        let id = *self.ids.entry(node).or_insert(StackId(next));
        if id.0 == next {
            self.nodes.push(node);
        }
        id
    }

    /// The innermost frame and the stack of its callers; `None` for [`StackId::ROOT`].
    pub fn split(&self, stack: StackId) -> Option<(FrameId, StackId)> {
        let node = self.nodes.get(stack.index().checked_sub(1)?)?;
        Some((node.frame, node.parent))
    }

    /// The frames of a stack, innermost first.
    pub fn frames(&self, stack: StackId) -> StackFrames<'_> {
        StackFrames { table: self, stack }
    }

    /// How many stacks there are, counting [`StackId::ROOT`] and every stack of callers.
    pub fn len(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Whether there is no stack but [`StackId::ROOT`].
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// Iterator over the frames of a stack, innermost first.
#[derive(Clone, Debug)]
pub struct StackFrames<'a> {
    table: &'a StackTable,
    stack: StackId,
}

impl Iterator for StackFrames<'_> {
    type Item = FrameId;

    fn next(&mut self) -> Option<FrameId> {
        let (frame, parent) = self.table.split(self.stack)?;
        self.stack = parent;
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intern(table: &mut StackTable, outermost_first: &[u32]) -> StackId {
        outermost_first.iter().fold(StackId::ROOT, |stack, &frame| {
            table.push(stack, FrameId(frame))
        })
    }

    #[test]
    fn stacks_share_the_nodes_of_their_common_callers() {
        let mut table = StackTable::new();
        let left = intern(&mut table, &[1, 2, 3]);
        let right = intern(&mut table, &[1, 2, 4]);
        assert_eq!(table.len(), 5); // root, 1, 1-2, 1-2-3, 1-2-4
        assert_eq!(table.split(left).unwrap().1, table.split(right).unwrap().1);
        assert_eq!(intern(&mut table, &[1, 2, 3]), left);
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn frames_come_innermost_first_and_the_root_has_none() {
        let mut table = StackTable::new();
        let stack = intern(&mut table, &[1, 2, 2, 3]);
        let frames: Vec<u32> = table.frames(stack).map(|frame| frame.0).collect();
        assert_eq!(frames, [3, 2, 2, 1]);
        assert_eq!(table.frames(StackId::ROOT).next(), None);
    }
}
