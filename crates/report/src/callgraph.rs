use std::ops::Range;

use prof_profile::Weight;

use crate::{ChainMode, PlaceId};

/// A run of frames without a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallNode {
    /// The frames of the run, in the order of traversal; never empty.
    pub run: Range<usize>,
    /// The weight of callchains that end with this run.
    pub own: Weight,
    /// The weight of callchains that go through it.
    pub total: Weight,
    /// What comes next, heaviest first.
    pub children: Vec<CallNode>,
}

/// The callchains of one row, with common beginnings merged.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CallTree {
    /// The heads, heaviest first.
    pub roots: Vec<CallNode>,
    places: Vec<PlaceId>,
}

/// A callchain on its way into a tree: `labels` decide which frames are the same, and in which order
/// branches of equal weight come; `places` says where each of them is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    pub(crate) labels: &'a [u32],
    pub(crate) places: &'a [PlaceId],
    pub(crate) weight: Weight,
}

/// Which branches are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// Those with at least this period.
    Period(u64),
    /// Those with at least this part of what their parent's branches have together.
    OfParent(f64),
}

impl Limit {
    pub(crate) fn new(mode: ChainMode, min_percent: f64, total_period: u64) -> Self {
        match mode {
            ChainMode::Fractal => Self::OfParent(min_percent / 100.0),
            _ => Self::Period((total_period as f64 * (min_percent / 100.0)) as u64),
        }
    }

    fn min_period(self, branches: u64) -> u64 {
        match self {
            Self::Period(period) => period,
            Self::OfParent(part) => (branches as f64 * part).ceil() as u64,
        }
    }
}

impl CallTree {
    /// The places of a node's run.
    pub fn run(&self, node: &CallNode) -> &[PlaceId] {
        &self.places[node.run.clone()]
    }

    /// Sorting puts chains with a common beginning next to each other. What the first and the last
    /// of such a group have in common, all of them have: that is the node, and the groups by the
    /// next frame are its children.
    pub(crate) fn build(mut chains: Vec<Chain<'_>>, limit: Limit) -> Self {
        chains.sort_unstable_by_key(|chain| chain.labels);
        let mut tree = Self::default();
        tree.roots = tree.branches(&chains, 0, limit);
        tree
    }

    /// The nodes of sorted `chains` whose first `depth` frames are behind us.
    fn branches(&mut self, chains: &[Chain<'_>], depth: usize, limit: Limit) -> Vec<CallNode> {
        let ended = chains.partition_point(|chain| chain.labels.len() <= depth);
        let chains = &chains[ended..];
        let period: u64 = weight_of(chains).period;
        let min_period = limit.min_period(period);
        let mut nodes: Vec<CallNode> = chains
            .chunk_by(|left, right| left.labels[depth] == right.labels[depth])
            .filter(|group| weight_of(group).period >= min_period)
            .map(|group| self.node(group, depth, limit))
            .collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.total.period)); // stable: else by label
        nodes
    }

    fn node(&mut self, group: &[Chain<'_>], depth: usize, limit: Limit) -> CallNode {
        let first = group[0];
        let last = group[group.len() - 1];
        let end = depth + common_len(&first.labels[depth..], &last.labels[depth..]);
        let start = self.places.len();
        self.places.extend_from_slice(&first.places[depth..end]);
        let run = start..self.places.len();
        let ended = group.partition_point(|chain| chain.labels.len() <= end);
        CallNode {
            run,
            own: weight_of(&group[..ended]),
            total: weight_of(group),
            children: self.branches(group, end, limit),
        }
    }

    /// Every callchain that ends with at least `min_period`, as the nodes from its head to its end;
    /// heaviest first by its own weight.
    pub(crate) fn paths(&self, min_period: u64) -> Vec<Vec<&CallNode>> {
        fn visit<'a>(
            nodes: &'a [CallNode],
            path: &mut Vec<&'a CallNode>,
            min_period: u64,
            paths: &mut Vec<Vec<&'a CallNode>>,
        ) {
            for node in in_label_order(nodes) {
                path.push(node);
                visit(&node.children, path, min_period, paths);
                if node.own.period > 0 && node.own.period >= min_period {
                    paths.push(path.clone());
                }
                path.pop();
            }
        }
        let mut paths = Vec::new();
        visit(&self.roots, &mut Vec::new(), min_period, &mut paths);
        paths.sort_by_key(|path| std::cmp::Reverse(path.last().map(|node| node.own.period)));
        paths
    }
}

/// Siblings in the order of their labels, in which their runs were stored.
fn in_label_order(nodes: &[CallNode]) -> Vec<&CallNode> {
    let mut nodes: Vec<&CallNode> = nodes.iter().collect();
    nodes.sort_by_key(|node| node.run.start);
    nodes
}

fn weight_of(chains: &[Chain<'_>]) -> Weight {
    chains.iter().map(|chain| chain.weight).sum()
}

fn common_len(left: &[u32], right: &[u32]) -> usize {
    left.iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count()
}
