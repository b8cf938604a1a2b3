//! Call paths as a tree, and which of its functions best say where the time goes.
//!
//! In: paths of functions by number, each with a weight. Out: a few functions that are neither so far out that they
//! say nothing nor so far in that little is left of the weight. Elsewhere: what functions are called.

use rustc_hash::FxHashMap;

const ROOT: u32 = 0;
/// A function with more than this part of everything says too little: one of those it calls is looked for.
const TELLS_LITTLE: f64 = 0.5;
/// Of such a function's callees one with so much of everything says more.
const TELLS_MORE: f64 = 0.15;
/// A callee that has so much of its caller takes its place.
const STANDS_FOR: f64 = 0.75;
/// Where a library is entered says more than a function inside that has so much of it: that call can be changed.
const WAY_IN: f64 = 0.5;

/// Paths with the same beginning share nodes.
#[derive(Debug)]
pub(crate) struct PathTree {
    nodes: Vec<PathNode>,
    by_parent: FxHashMap<(u32, u32), u32>,
    depth_of: Vec<u32>, // by function, on the path that is being added; 0 for not there
    path: Vec<(u32, u32)>,
    roots_are_apart: bool,
}

#[derive(Debug)]
struct PathNode {
    parent: u32,
    function: u32,
    own: u64,
    total: u64, // without what was chosen
    whole: u64, // with it
    children: Vec<u32>,
    lines: Vec<(u32, u64)>, // from which it was called
    own_lines: Vec<(u32, u64)>,
}

impl PathNode {
    fn new(parent: u32, function: u32) -> Self {
        Self {
            parent,
            function,
            own: 0,
            total: 0,
            whole: 0,
            children: Vec::new(),
            lines: Vec::new(),
            own_lines: Vec::new(),
        }
    }
}

/// A function on a path, and the source line, by number, at which it calls the next one or runs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathFrame {
    pub(crate) function: u32,
    pub(crate) line: Option<u32>,
}

/// A function that was chosen, as it is called on one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The functions from the outermost one to it.
    pub(crate) path: Vec<u32>,
    /// The weight with all that it calls, without what was chosen before.
    pub(crate) total: u64,
    /// The weight of itself.
    pub(crate) own: u64,
    /// Where each function of the path is called from, as far as that is known.
    pub(crate) lines: Vec<Option<u32>>,
    /// The line of it that weighs most, itself and with what it calls.
    pub(crate) heaviest_line: Option<u32>,
    /// The function below it that runs most itself, and its weight there.
    pub(crate) hottest: (u32, u64),
}

impl Default for PathTree {
    fn default() -> Self {
        Self {
            nodes: vec![PathNode::new(ROOT, u32::MAX)],
            by_parent: FxHashMap::default(),
            depth_of: Vec::new(),
            path: Vec::new(),
            roots_are_apart: false,
        }
    }
}

impl PathTree {
    /// One in which the outermost functions have nothing to do with each other: what is much is measured by each of
    /// them, not by all together.
    pub(crate) fn with_roots_apart() -> Self {
        Self {
            roots_are_apart: true,
            ..Self::default()
        }
    }

    /// Adds a path, outermost function first. What calls itself, directly or through others, counts as called once:
    /// what it calls at the innermost call it calls at the outermost.
    pub(crate) fn add(&mut self, frames: impl IntoIterator<Item = PathFrame>, weight: u64) {
        self.path.clear();
        let (mut node, mut line) = (ROOT, None);
        for frame in frames {
            let function = frame.function as usize;
            if self.depth_of.len() <= function {
                self.depth_of.resize(function + 1, 0);
            }
            match self.depth_of[function] {
                0 => {
                    node = self.child(node, frame.function);
                    note(&mut self.nodes[node as usize].lines, line, weight);
                    self.path.push((frame.function, node));
                    self.depth_of[function] = self.path.len() as u32;
                }
                depth => {
                    for (function, _) in self.path.drain(depth as usize..) {
                        self.depth_of[function as usize] = 0;
                    }
                    node = self.path[depth as usize - 1].1;
                }
            }
            line = frame.line;
        }
        for &(function, node) in &self.path {
            self.depth_of[function as usize] = 0;
            self.nodes[node as usize].total += weight;
            self.nodes[node as usize].whole += weight;
        }
        self.nodes[ROOT as usize].total += weight;
        self.nodes[ROOT as usize].whole += weight;
        let last = &mut self.nodes[node as usize];
        last.own += weight;
        note(&mut last.own_lines, line, weight);
    }

    fn child(&mut self, parent: u32, function: u32) -> u32 {
        let next = self.nodes.len() as u32;
        let node = *self.by_parent.entry((parent, function)).or_insert(next);
        if node == next {
            self.nodes.push(PathNode::new(parent, function));
            self.nodes[parent as usize].children.push(node);
        }
        node
    }

    /// The weight of all paths.
    pub(crate) fn total(&self) -> u64 {
        self.nodes[ROOT as usize].total
    }

    /// At most `count` functions with at least the part `least` of everything each, heaviest first. None is below
    /// another one that was chosen before it; one that is above has the rest. `entry` says of a path how many of its
    /// functions are enough: that stands for the last one unless most of it
    /// is something else.
    pub(crate) fn choose(
        mut self,
        count: usize,
        least: f64,
        entry: impl Fn(&[u32]) -> usize,
    ) -> Vec<Chosen> {
        let all = self.total() as f64;
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let Some(node) = self.best(least * all) else {
                break;
            };
            if (self.nodes[node as usize].total as f64) < least * all {
                break;
            }
            let node = self.climb(node, &entry);
            chosen.push(self.describe(node));
            self.take_away(node);
        }
        chosen.sort_by_key(|chosen| std::cmp::Reverse(chosen.total));
        chosen
    }

    /// Of the functions that say most below each root the heaviest.
    fn best(&self, least: f64) -> Option<u32> {
        let roots = self.nodes[ROOT as usize].children.iter();
        let roots = roots.filter(|&&root| self.nodes[root as usize].total > 0);
        let candidates = roots.map(|&root| self.descend(root, least));
        candidates.max_by_key(|&node| {
            let candidate = &self.nodes[node as usize];
            (candidate.total, std::cmp::Reverse(node))
        })
    }

    /// Follows the heaviest callee for as long as it says more than its caller. Where something was taken away the
    /// caller is one of many things, and what is left of it are others.
    fn descend(&self, root: u32, least: f64) -> u32 {
        let of_root = if self.roots_are_apart { root } else { ROOT };
        let all = self.nodes[of_root as usize].whole as f64;
        let mut node = root;
        while let Some(child) = self.heaviest_child(node) {
            let (here, below) = (&self.nodes[node as usize], &self.nodes[child as usize]);
            let (weight, next) = (here.total as f64, below.total as f64);
            let is_part = next >= STANDS_FOR * weight;
            let tells_more = here.whole as f64 > TELLS_LITTLE * all && next >= TELLS_MORE * all;
            let is_another = here.total < here.whole && next >= least;
            if here.own > below.total || !(is_part || tells_more || is_another) {
                break;
            }
            node = child;
        }
        node
    }

    fn climb(&self, node: u32, entry: impl Fn(&[u32]) -> usize) -> u32 {
        let (mut nodes, mut at) = (Vec::new(), node);
        while at != ROOT {
            nodes.push(at);
            at = self.nodes[at as usize].parent;
        }
        nodes.reverse();
        let functions = nodes.iter().map(|&node| self.nodes[node as usize].function);
        let enough = entry(&functions.collect::<Vec<_>>());
        let Some(&outer) = nodes.get(enough.wrapping_sub(1)) else {
            return node;
        };
        let [total, of_outer] = [node, outer].map(|node| self.nodes[node as usize].total as f64);
        if total >= WAY_IN * of_outer {
            outer
        } else {
            node
        }
    }

    fn heaviest_child(&self, node: u32) -> Option<u32> {
        let children = self.nodes[node as usize].children.iter().copied();
        let children = children.filter(|&child| self.nodes[child as usize].total > 0);
        children.max_by_key(|&child| {
            let child = &self.nodes[child as usize];
            (child.total, std::cmp::Reverse(child.function))
        })
    }

    fn describe(&self, node: u32) -> Chosen {
        let (mut path, mut lines, mut at) = (Vec::new(), Vec::new(), node);
        while at != ROOT {
            let here = &self.nodes[at as usize];
            path.push(here.function);
            lines.push(heaviest_line(&here.lines));
            at = here.parent;
        }
        path.reverse();
        lines.reverse();
        let here = &self.nodes[node as usize];
        let mut inside = here.own_lines.clone();
        for &child in &here.children {
            let lines = &self.nodes[child as usize].lines;
            lines
                .iter()
                .for_each(|&(line, weight)| note(&mut inside, Some(line), weight));
        }
        Chosen {
            path,
            lines,
            total: here.total,
            own: here.own,
            heaviest_line: heaviest_line(&inside),
            hottest: self.hottest_below(node),
        }
    }

    fn hottest_below(&self, node: u32) -> (u32, u64) {
        let mut own: FxHashMap<u32, u64> = FxHashMap::default();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let here = &self.nodes[node as usize];
            if here.total > 0 {
                *own.entry(here.function).or_default() += here.own;
                open.extend(&here.children);
            }
        }
        let hottest = own.into_iter();
        let hottest = hottest.max_by_key(|&(function, own)| (own, std::cmp::Reverse(function)));
        hottest.unwrap_or_default()
    }

    fn take_away(&mut self, node: u32) {
        let (total, mut at) = (self.nodes[node as usize].total, node);
        while at != ROOT {
            self.nodes[at as usize].total -= total;
            at = self.nodes[at as usize].parent;
        }
        self.nodes[ROOT as usize].total -= total;
    }
}

fn note(lines: &mut Vec<(u32, u64)>, line: Option<u32>, weight: u64) {
    let Some(line) = line else {
        return;
    };
    match lines.iter_mut().find(|known| known.0 == line) {
        Some(known) => known.1 += weight,
        None => lines.push((line, weight)),
    }
}

fn heaviest_line(lines: &[(u32, u64)]) -> Option<u32> {
    let heaviest = lines
        .iter()
        .max_by_key(|&&(line, weight)| (weight, std::cmp::Reverse(line)));
    heaviest.map(|&(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chosen functions with their callers and weights, of paths such as `main;parse 30`.
    fn chosen(paths: &[(&str, u64)], count: usize) -> Vec<(String, u64)> {
        let mut names: Vec<&str> = Vec::new();
        let mut tree = PathTree::default();
        for &(path, weight) in paths {
            let frames = path.split(';').map(|name| {
                let known = names.iter().position(|&known| known == name);
                let function = known.unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                PathFrame {
                    function: function as u32,
                    line: None,
                }
            });
            let frames: Vec<_> = frames.collect();
            tree.add(frames, weight);
        }
        let chosen = tree
            .choose(count, 0.05, |path| path.len())
            .into_iter()
            .map(|chosen| {
                let path: Vec<_> = chosen.path.iter().map(|&it| names[it as usize]).collect();
                (path.join(";"), chosen.total)
            });
        chosen.collect()
    }

    fn is(chosen: Vec<(String, u64)>, expected: &[(&str, u64)]) {
        let chosen: Vec<_> = chosen
            .iter()
            .map(|(path, weight)| (path.as_str(), *weight))
            .collect();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_path_ends_where_the_time_spreads_out_and_not_at_the_allocator() {
        let paths = [
            (
                "serve;order;belongs;MustCompile;compile;onepass;mallocgc",
                12,
            ),
            ("serve;order;belongs;MustCompile;compile;parse;mallocgc", 10),
            ("serve;order;belongs;MustCompile;compile;prog", 9),
            ("serve;order;belongs;MustCompile;compile;grow", 6),
            ("serve;list;read", 20),
            ("serve;list;write", 19),
            ("gc;mark", 18),
            ("other", 6),
        ];
        is(
            chosen(&paths, 4),
            &[
                ("serve;list", 39),
                ("serve;order;belongs;MustCompile;compile", 37),
                ("gc;mark", 18),
                ("other", 6),
            ],
        );
    }

    #[test]
    fn nearly_everything_in_one_function_says_too_little() {
        let paths = [
            ("main;run;skip", 20),
            ("main;run;text;copy", 25),
            ("main;run;text;scan", 20),
            ("main;run;number", 25),
            ("main;run", 10),
        ];
        let expected = [
            ("main;run;text", 45),
            ("main;run;number", 25),
            ("main;run;skip", 20),
            ("main;run", 10),
        ];
        is(chosen(&paths, 4), &expected);
    }

    #[test]
    fn time_in_many_small_callees_stays_with_their_caller() {
        let names: Vec<String> = (0..20).map(|n| format!("main;dispatch;op{n}")).collect();
        let paths: Vec<_> = names.iter().map(|name| (name.as_str(), 5)).collect();
        is(chosen(&paths, 4), &[("main;dispatch", 100)]);
    }

    #[test]
    fn a_function_that_runs_more_itself_than_what_it_calls_is_the_end() {
        let paths = [("main;spin", 55), ("main;spin;tick", 45)];
        is(chosen(&paths, 4), &[("main;spin", 100)]);
    }

    #[test]
    fn recursion_is_called_once_however_deep() {
        let paths = [
            ("main;value;array;value;object;value;text", 40),
            ("main;value;text", 30),
            ("main;value;object;value;number", 30),
        ];
        is(
            chosen(&paths, 2),
            &[("main;value;text", 70), ("main;value;number", 30)],
        );
    }

    #[test]
    fn what_was_told_whole_is_not_told_again_by_its_parts() {
        let names: Vec<String> = (0..10).map(|n| format!("a;op{n}")).collect();
        let mut paths: Vec<_> = names.iter().map(|name| (name.as_str(), 6)).collect();
        paths.push(("b", 40));
        is(chosen(&paths, 4), &[("a", 60), ("b", 40)]);
    }

    #[test]
    fn what_is_left_of_a_dispatcher_is_told_by_what_it_calls() {
        let paths = [
            ("serve;list;sort", 45),
            ("serve;order;match", 12),
            ("serve;flush", 8),
            ("serve;small1", 4),
            ("serve;small2", 4),
            ("serve;small3", 4),
            ("gc", 23),
        ];
        let expected = [
            ("serve;list;sort", 45),
            ("gc", 23),
            ("serve;order;match", 12),
            ("serve", 12),
        ];
        is(chosen(&paths, 3), &expected[..3]);
        let last = chosen(&paths, 5);
        assert_eq!(
            last[3..],
            [("serve".to_owned(), 12), ("serve;flush".to_owned(), 8)]
        );
    }

    #[test]
    fn the_way_into_a_library_stands_for_what_it_does_inside_if_that_is_most_of_it() {
        let mut tree = PathTree::default();
        let mut add = |path: &[u32], weight| {
            let frames = path.iter().map(|&function| PathFrame {
                function,
                line: None,
            });
            tree.add(frames, weight);
        };
        add(&[0, 1, 2, 3], 40);
        add(&[0, 1, 5], 5);
        add(&[0, 1, 9], 15);
        add(&[0, 6, 7, 8], 25);
        add(&[0, 6], 30);
        let chosen = tree.choose(2, 0.05, |path| path.len().min(2));
        let told: Vec<_> = chosen.into_iter().map(|it| (it.path, it.total)).collect();
        assert_eq!(told, [(vec![0, 1], 60), (vec![0, 6], 55)]);
    }

    #[test]
    fn what_is_much_of_one_root_may_be_little_of_all() {
        let mut tree = PathTree::with_roots_apart();
        let add = |tree: &mut PathTree, path: &[u32], weight| {
            let frames = path.iter().map(|&function| PathFrame {
                function,
                line: None,
            });
            tree.add(frames, weight);
        };
        add(&mut tree, &[0, 1, 2], 11);
        add(&mut tree, &[0, 1, 3], 9);
        add(&mut tree, &[9], 80);
        let chosen = tree.choose(3, 0.05, |path| path.len());
        let paths: Vec<_> = chosen.into_iter().map(|chosen| chosen.path).collect();
        assert_eq!(paths, [vec![9], vec![0, 1, 2], vec![0, 1, 3]]);
    }

    #[test]
    fn less_than_the_least_part_and_nothing_at_all_are_not_told() {
        is(chosen(&[("a;b", 97), ("c", 3)], 4), &[("a;b", 97)]);
        is(chosen(&[], 4), &[]);
    }

    #[test]
    fn the_lines_are_those_from_which_most_calls_came() {
        let mut tree = PathTree::default();
        let frame = |function, line| PathFrame {
            function,
            line: Some(line),
        };
        tree.add([frame(0, 10), frame(1, 20)], 5);
        tree.add([frame(0, 11), frame(1, 20)], 6);
        tree.add([frame(0, 10), frame(1, 21)], 2);
        let chosen = tree.choose(1, 0.05, |path| path.len()).remove(0);
        assert_eq!(
            (chosen.path, chosen.lines),
            (vec![0, 1], vec![None, Some(10)])
        );
        assert_eq!((chosen.own, chosen.heaviest_line), (13, Some(20)));
        assert_eq!(chosen.hottest, (1, 13));
    }
}
