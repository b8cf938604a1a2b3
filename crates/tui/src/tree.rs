use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use prof_profile::Weight;
use rustc_hash::FxHasher;

use crate::{Function, Paths};

/// Branches that weigh less than this share of the whole are left out.
const MIN_SHARE: f64 = 0.0005;

/// Identifies a branch in every picture: the names from the root to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BranchId(u64);

/// One function with those that called it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Branch {
    pub(crate) function: u32,
    pub(crate) parent: u32,
    pub(crate) children: Range<u32>, // heaviest first
    pub(crate) own: Weight,
    pub(crate) total: Weight,
    pub(crate) left_out: u32, // children too light to be here
    pub(crate) id: BranchId,
}

/// A call tree in an arena. The first branch is the root, which stands for everything; a parent comes
/// before its children, and these lie side by side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) functions: Vec<Arc<Function>>,
    pub(crate) branches: Vec<Branch>,
}

pub(crate) const WHOLE: u32 = 0;

impl Tree {
    /// A tree of callees, or of callers if `inverted`: then the branches next to the root are the
    /// functions that ran themselves.
    pub(crate) fn new(paths: &Paths, inverted: bool) -> Self {
        let mut reversed = Vec::new();
        let stacks = if inverted {
            reversed.extend(paths.stacks.iter().map(|(path, weight)| {
                let path: Vec<u32> = path.iter().rev().copied().collect();
                (path, *weight)
            }));
            reversed.sort_unstable();
            &reversed
        } else {
            &paths.stacks
        };
        let total: Weight = stacks.iter().map(|&(_, weight)| weight).sum();
        let hashes: Vec<u64> = paths.functions.iter().map(hash).collect();
        let mut tree = Self {
            functions: paths.functions.clone(),
            branches: vec![Branch {
                function: u32::MAX,
                parent: WHOLE,
                children: 0..0,
                own: Weight::default(),
                total,
                left_out: 0,
                id: BranchId(0),
            }],
        };
        let smallest = total.period as f64 * MIN_SHARE;
        let mut ranges = vec![(0..stacks.len(), 0)]; // by branch: its stacks, and its depth
        let mut index = 0;
        while index < tree.branches.len() {
            let (range, depth) = ranges[index].clone();
            let first =
                range.start + stacks[range.clone()].partition_point(|it| it.0.len() <= depth);
            let own: Weight = stacks[range.start..first].iter().map(|it| it.1).sum();
            let mut children = Vec::new();
            let mut left_out = 0;
            let mut start = first;
            for group in stacks[first..range.end].chunk_by(|a, b| a.0[depth] == b.0[depth]) {
                let total: Weight = group.iter().map(|&(_, weight)| weight).sum();
                if total.period as f64 >= smallest {
                    children.push((total, group[0].0[depth], start..start + group.len()));
                } else {
                    left_out += 1;
                }
                start += group.len();
            }
            children.sort_by_key(|&(total, ..)| std::cmp::Reverse(total.period)); // stable: then by name
            let first_child = tree.branches.len() as u32;
            let parent = tree.branches[index].id;
            for (total, function, range) in children {
                tree.branches.push(Branch {
                    function,
                    parent: index as u32,
                    children: 0..0,
                    own: Weight::default(),
                    total,
                    left_out: 0,
                    id: below(parent, hashes[function as usize]),
                });
                ranges.push((range, depth + 1));
            }
            let end = tree.branches.len() as u32;
            let branch = &mut tree.branches[index];
            branch.children = first_child..end;
            branch.own = own;
            branch.left_out = left_out;
            index += 1;
        }
        tree
    }

    pub(crate) fn branch(&self, index: u32) -> &Branch {
        &self.branches[index as usize]
    }

    /// The function of any branch but the root.
    pub(crate) fn function(&self, index: u32) -> Option<&Arc<Function>> {
        self.functions.get(self.branch(index).function as usize)
    }

    pub(crate) fn find(&self, id: BranchId) -> Option<u32> {
        let index = self.branches.iter().position(|branch| branch.id == id)?;
        Some(index as u32)
    }

    /// The branches from the root, left out, to this one.
    pub(crate) fn path(&self, index: u32) -> Vec<u32> {
        let mut path = Vec::new();
        let mut at = index;
        while at != WHOLE {
            path.push(at);
            at = self.branch(at).parent;
        }
        path.reverse();
        path
    }

    /// How many branches stand above this one.
    pub(crate) fn depth(&self, index: u32) -> usize {
        self.path(index).len()
    }
}

fn hash(function: &Arc<Function>) -> u64 {
    let mut hasher = FxHasher::default();
    function.hash(&mut hasher);
    hasher.finish()
}

fn below(parent: BranchId, function: u64) -> BranchId {
    let mut hasher = FxHasher::default();
    (parent, function).hash(&mut hasher);
    BranchId(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn paths(stacks: &[(&[u32], u64)]) -> Paths {
        let name = |name: &str| {
            Arc::new(Function {
                name: Arc::from(name),
                module: Arc::from("m"),
                kind: Kind::Native,
            })
        };
        Paths {
            functions: vec![name("a"), name("b"), name("c"), name("main")],
            stacks: stacks
                .iter()
                .map(|&(path, period)| (path.to_vec(), Weight { samples: 1, period }))
                .collect(),
        }
    }

    /// Each branch as `depth name own/total`, in the order of a walk.
    fn walk(tree: &Tree) -> Vec<String> {
        fn visit(tree: &Tree, index: u32, lines: &mut Vec<String>) {
            let branch = tree.branch(index);
            let name = tree.function(index).map_or("all", |it| &it.name);
            let depth = tree.depth(index);
            lines.push(format!(
                "{depth} {name} {}/{}",
                branch.own.period, branch.total.period
            ));
            branch
                .children
                .clone()
                .for_each(|child| visit(tree, child, lines));
        }
        let mut lines = Vec::new();
        visit(tree, WHOLE, &mut lines);
        lines
    }

    #[test]
    fn callees_hang_below_their_callers_heaviest_first() {
        let paths = paths(&[(&[3], 5), (&[3, 0], 10), (&[3, 1, 0], 20), (&[3, 1, 2], 7)]);
        let expected = [
            "0 all 0/42",
            "1 main 5/42",
            "2 b 0/27",
            "3 a 20/20",
            "3 c 7/7",
            "2 a 10/10",
        ];
        assert_eq!(walk(&Tree::new(&paths, false)), expected);
    }

    #[test]
    fn inverted_the_functions_that_ran_come_first_and_their_callers_below() {
        let paths = paths(&[(&[3, 0], 10), (&[3, 1, 0], 20), (&[3, 1, 2], 7)]);
        let expected = [
            "0 all 0/37",
            "1 a 0/30",
            "2 b 0/20",
            "3 main 20/20",
            "2 main 10/10",
            "1 c 0/7",
            "2 b 0/7",
            "3 main 7/7",
        ];
        assert_eq!(walk(&Tree::new(&paths, true)), expected);
    }

    #[test]
    fn a_branch_keeps_its_id_and_what_is_too_light_is_counted() {
        let before = Tree::new(&paths(&[(&[3, 0], 10), (&[3, 1], 20)]), false);
        let after = Tree::new(&paths(&[(&[3, 0], 9_000_000), (&[3, 1], 20)]), false);
        let a = before.find(before.branch(3).id).unwrap();
        assert_eq!(&*before.function(a).unwrap().name, "a");
        let a = after.find(before.branch(a).id).unwrap();
        assert_eq!(&*after.function(a).unwrap().name, "a");
        assert_eq!(after.branch(1).left_out, 1);
    }
}
