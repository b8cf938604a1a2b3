use crate::FrameId;
use crate::interner::Interner;

/// Index of a stack in a [`StackTable`].
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

/// What a node adds to the stack of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Inner(u32); // a frame, or with the highest bit a stack

const IS_STACK: u32 = 1 << 31;

impl Inner {
    fn frame(self) -> Option<FrameId> {
        (self.0 & IS_STACK == 0).then_some(FrameId(self.0))
    }

    fn stack(self) -> Option<StackId> {
        (self.0 & IS_STACK != 0).then_some(StackId(self.0 & !IS_STACK))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: StackId,
    inner: Inner,
}

const _: () = assert!(size_of::<Node>() == 8); // one per distinct stack prefix of a recording

/// Stacks as a tree in an arena: a node is a frame and the stack of its callers, so stacks share
/// their outer frames. A parent always comes before its children.
///
/// The kernel does the same for whoever calls it, and so a node may also add a whole stack to that of
/// its callers ([`StackTable::join`]): few stacks in the kernel times many outside need no tree of
/// their product.
#[derive(Clone, Debug, Default)]
pub struct StackTable {
    nodes: Interner<Node>, // without the root: stack n is node n - 1
}

impl StackTable {
    /// A table with nothing but [`StackId::ROOT`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The stack in which `parent` has called into `frame`. `parent` has no parts.
    pub fn push(&mut self, parent: StackId, frame: FrameId) -> StackId {
        self.intern(Node {
            parent,
            inner: Inner(frame.0),
        })
    }

    /// The stack in which `callers` have called into all of `inner`. Neither has parts.
    pub fn join(&mut self, callers: StackId, inner: StackId) -> StackId {
        match (callers, inner) {
            (StackId::ROOT, only) | (only, StackId::ROOT) => only,
            _ => self.intern(Node {
                parent: callers,
                inner: Inner(inner.0 | IS_STACK),
            }),
        }
    }

    fn intern(&mut self, node: Node) -> StackId {
        let number = self.nodes.intern(node) + 1;
        assert!(number < IS_STACK, "fewer than 2^31 stacks");
        StackId(number)
    }

    fn node(&self, stack: StackId) -> Option<&Node> {
        self.nodes.values().get(stack.index().checked_sub(1)?)
    }

    /// The parts that were joined: the callers' and the inner one; [`StackId::ROOT`] for the inner
    /// one of a stack without parts.
    pub fn parts(&self, stack: StackId) -> (StackId, StackId) {
        let joined = self.node(stack);
        joined
            .and_then(|node| Some((node.parent, node.inner.stack()?)))
            .unwrap_or((stack, StackId::ROOT))
    }

    /// The innermost frame and the stack of its callers, of a stack without parts; `None` for
    /// [`StackId::ROOT`].
    pub fn split(&self, stack: StackId) -> Option<(FrameId, StackId)> {
        let node = self.node(stack)?;
        Some((node.inner.frame()?, node.parent))
    }

    /// The frames of a stack, innermost first.
    pub fn frames(&self, stack: StackId) -> StackFrames<'_> {
        let (callers, inner) = self.parts(stack);
        let (stack, callers) = match inner {
            StackId::ROOT => (callers, StackId::ROOT),
            inner => (inner, callers),
        };
        StackFrames {
            table: self,
            stack,
            callers,
        }
    }

    /// How many stacks there are, counting [`StackId::ROOT`] and every stack of callers.
    pub fn len(&self) -> usize {
        self.nodes.values().len() + 1
    }

    /// Whether there is no stack but [`StackId::ROOT`].
    pub fn is_empty(&self) -> bool {
        self.nodes.values().is_empty()
    }
}

/// Iterator over the frames of a stack, innermost first.
#[derive(Clone, Debug)]
pub struct StackFrames<'a> {
    table: &'a StackTable,
    stack: StackId,
    callers: StackId, // the part that comes after it
}

impl Iterator for StackFrames<'_> {
    type Item = FrameId;

    fn next(&mut self) -> Option<FrameId> {
        if self.stack == StackId::ROOT {
            self.stack = std::mem::replace(&mut self.callers, StackId::ROOT);
        }
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
    #[test]
    fn a_joined_stack_has_the_frames_of_both_parts_and_is_one() {
        let mut table = StackTable::new();
        let callers = intern(&mut table, &[1, 2]);
        let kernel = intern(&mut table, &[7, 8]);
        let both = table.join(callers, kernel);
        let frames: Vec<u32> = table.frames(both).map(|frame| frame.0).collect();
        assert_eq!(frames, [8, 7, 2, 1]);
        assert_eq!(table.join(callers, kernel), both);
        assert_eq!(table.parts(both), (callers, kernel));
        assert_eq!(table.parts(callers), (callers, StackId::ROOT));
        assert_eq!(table.len(), 6); // root, 1, 1-2, 7, 7-8, both
    }

    #[test]
    fn a_part_without_frames_adds_nothing() {
        let mut table = StackTable::new();
        let stack = intern(&mut table, &[1]);
        assert_eq!(table.join(stack, StackId::ROOT), stack);
        assert_eq!(table.join(StackId::ROOT, stack), stack);
        assert_eq!(table.parts(StackId::ROOT), (StackId::ROOT, StackId::ROOT));
    }
}
