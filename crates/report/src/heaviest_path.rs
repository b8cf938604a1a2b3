//! The way from the root on which most of the time is spent.

use crate::text::{cut_left, width};
use crate::{FoldedStacks, StackWeight};

/// A function on the heaviest path, and the share of the samples that went through it this way.
#[derive(Clone, Debug, PartialEq)]
pub struct PathStep {
    /// Its name.
    pub name: String,
    /// How often it stands there in a row, as recursion.
    pub times: usize,
    /// The share with all that it calls, in percent; where it calls itself, that of the innermost call.
    pub percent: f64,
}

/// A path ends where what is next has a smaller share than this, in percent.
const LEAST_PERCENT: f64 = 10.0;
/// A share is told again when it is less than so much of the one told last.
const TOLD_AGAIN: f64 = 0.9;
const NAME_COLUMNS: usize = 48;
const BETWEEN: &str = " > ";

/// Follows from the root always the heaviest function that is called, for as long as it has a tenth of
/// all samples. Stacks are best folded without threads.
pub fn heaviest_path(stacks: &FoldedStacks, weight: StackWeight) -> Vec<PathStep> {
    let frames = &stacks.frames;
    let mut totals = vec![0_u64; frames.len()];
    for &(frame, own) in &stacks.ends {
        totals[frame as usize] = weight.of(own);
    }
    // Frames come before those that they call: from the end each has its whole weight when it is met.
    let parents = parents(stacks);
    let mut heaviest: Vec<Option<usize>> = vec![None; frames.len()];
    let mut heaviest_root = None;
    let mut all = 0_u64;
    for index in (0..frames.len()).rev() {
        let total = totals[index];
        let best = match parents[index] {
            Some(parent) => {
                totals[parent] = totals[parent].saturating_add(total);
                &mut heaviest[parent]
            }
            None => {
                all = all.saturating_add(total);
                &mut heaviest_root
            }
        };
        if best.is_none_or(|best| totals[best] <= total) {
            *best = Some(index); // of equal ones the first by name
        }
    }

    let mut path: Vec<PathStep> = Vec::new();
    let mut next = heaviest_root;
    while let Some(index) = next {
        let percent = totals[index] as f64 * 100.0 / all.max(1) as f64;
        if percent < LEAST_PERCENT {
            break;
        }
        let name = &stacks.names[frames[index].name as usize].0;
        match path.last_mut().filter(|last| last.name == *name) {
            Some(last) => {
                last.times += 1;
                last.percent = percent;
            }
            None => path.push(PathStep {
                name: name.clone(),
                times: 1,
                percent,
            }),
        }
        next = heaviest[index];
    }
    path
}

/// Of each frame the one that called it.
fn parents(stacks: &FoldedStacks) -> Vec<Option<usize>> {
    let mut open: Vec<usize> = Vec::new();
    let parents = stacks.frames.iter().enumerate().map(|(index, frame)| {
        open.truncate(frame.depth as usize);
        let parent = open.last().copied();
        open.push(index);
        parent
    });
    parents.collect()
}

/// A path as text in lines of at most `columns` columns: the functions from the outermost one inwards,
/// with a share where it is another than before. What is too much for `max_lines` lines is left out at
/// the outer end.
pub fn path_lines(path: &[PathStep], columns: usize, max_lines: usize) -> Vec<String> {
    let mut first = 0;
    loop {
        let lines = lay_out(&path[first..], first > 0, columns);
        if lines.len() <= max_lines || first + 1 >= path.len() {
            return lines;
        }
        first += 1;
    }
}

fn lay_out(path: &[PathStep], is_cut: bool, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    if is_cut {
        line.push('…');
    }
    let mut told = f64::INFINITY;
    for step in path {
        let mut text = cut_left(&step.name, NAME_COLUMNS.min(columns / 2));
        if step.times > 1 {
            text.push_str(&format!(" ×{}", step.times));
        }
        if step.percent < told * TOLD_AGAIN {
            told = step.percent;
            text.push_str(&format!(" {:.1}%", step.percent));
        }
        if !line.is_empty() && width(&line) + BETWEEN.len() + width(&text) > columns {
            lines.push(std::mem::take(&mut line));
            line.push_str(&BETWEEN[1..]);
        } else if !line.is_empty() {
            line.push_str(BETWEEN);
        }
        line.push_str(&text);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use prof_profile::Weight;

    use super::*;
    use crate::CodeKind;

    fn path(stacks: &[(&str, u64)]) -> Vec<PathStep> {
        let stacks = stacks.iter().map(|&(stack, samples)| {
            let frames = stack
                .split(';')
                .map(|name| (name.to_owned(), CodeKind::User));
            let weight = Weight { samples, period: 0 };
            (frames.collect(), weight)
        });
        heaviest_path(&FoldedStacks::new(stacks), StackWeight::Samples)
    }

    #[test]
    fn the_path_follows_the_heaviest_call_until_a_tenth_of_all() {
        let path = path(&[
            ("main;serve;parse;next", 30),
            ("main;serve;parse;peek", 8),
            ("main;serve;render", 35),
            ("main;serve;log", 20),
            ("other", 7),
        ]);
        let lines = path_lines(&path, 80, 2);
        assert_eq!(lines, ["main 93.0% > serve > parse 38.0% > next 30.0%"]);
    }

    #[test]
    fn what_calls_itself_stands_once_and_says_how_often() {
        let path = path(&[("main;f;f;f;g", 60), ("main;f;f", 40)]);
        assert_eq!(path_lines(&path, 80, 2), ["main 100.0% > f ×3 60.0% > g"]);
    }

    #[test]
    fn what_is_too_long_loses_its_outer_end_and_fits() {
        let stack: Vec<String> = (0..40).map(|n| format!("some_function_{n}")).collect();
        let path = path(&[(&stack.join(";"), 5)]);
        let lines = path_lines(&path, 78, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("… > some_function_3"), "{lines:?}");
        assert!(lines[0].contains(" 100.0%"), "{lines:?}");
        assert!(lines[1].ends_with("some_function_39"), "{lines:?}");
        assert!(lines.iter().all(|line| width(line) <= 78), "{lines:?}");
    }

    #[test]
    fn nothing_has_no_path() {
        assert_eq!(path(&[]), []);
        assert_eq!(path_lines(&[], 78, 2), Vec::<String>::new());
    }
}
