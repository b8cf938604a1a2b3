//! One recording, as `prof report` tells it.

use std::path::Path;
use std::process::Command;

use crate::table::Chain;

/// The stacks of a recording.
#[derive(Debug)]
pub(crate) struct Recorded {
    stacks: Vec<Stack>,
    /// Samples whose stacks are known to be cut.
    pub(crate) cut: u64,
    /// What the report says about its own quality.
    pub(crate) summary: String,
}

#[derive(Debug)]
struct Stack {
    /// The thread's name, then from the outermost frame inwards.
    frames: Vec<String>,
    samples: u64,
}

impl Recorded {
    /// Reads a recording with `prof report`.
    pub(crate) fn read(file: &Path) -> Self {
        let mut report = Command::new(env!("CARGO_BIN_EXE_prof"));
        report
            .args(["report", "-v", "--folded", "-", "-i"])
            .arg(file);
        let output = report.output().unwrap();
        let summary = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{report:?}: {summary}");
        let text = String::from_utf8_lossy(&output.stdout);
        let stacks = text.lines().map(|line| {
            let (frames, samples) = line.rsplit_once(' ').expect("a folded stack");
            Stack {
                frames: frames.split(';').map(str::to_owned).collect(),
                samples: samples.parse().expect("a number of samples"),
            }
        });
        Self {
            stacks: stacks.collect(),
            cut: cut(&summary),
            summary,
        }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.samples).sum()
    }

    /// Samples with a frame, or a thread, that a pattern fits.
    pub(crate) fn with(&self, name: &str) -> u64 {
        self.with_both(name, name)
    }

    /// Samples with frames that two patterns fit; an empty one fits all.
    pub(crate) fn with_both(&self, a: &str, b: &str) -> u64 {
        let both = self
            .stacks
            .iter()
            .filter(|stack| stack.has(a) && stack.has(b));
        both.map(|stack| stack.samples).sum()
    }

    /// Samples that have the last frame of a chain, and those of them that have all of it.
    pub(crate) fn chain(&self, chain: &Chain) -> (u64, u64) {
        let (last, _) = chain.0.split_last().expect("a chain has frames");
        let mut found = (0, 0);
        for stack in &self.stacks {
            let frames = &stack.frames[1..];
            let Some(end) = frames.iter().rposition(|frame| fits(last, frame)) else {
                continue;
            };
            found.0 += stack.samples;
            if chain_fits(&chain.0, &frames[..=end]) {
                found.1 += stack.samples;
            }
        }
        found
    }

    /// The commonest stacks with a frame, for a message.
    pub(crate) fn examples(&self, name: &str) -> String {
        let mut stacks: Vec<_> = self.stacks.iter().filter(|stack| stack.has(name)).collect();
        stacks.sort_by_key(|stack| std::cmp::Reverse(stack.samples));
        let lines = stacks.iter().take(4).map(|stack| {
            let mut line = format!("    {:6} {}", stack.samples, runs(&stack.frames).join(";"));
            let longest = line
                .char_indices()
                .nth(400)
                .map_or(line.len(), |(at, _)| at);
            line.truncate(longest);
            line + "\n"
        });
        lines.collect()
    }
}

impl Stack {
    fn has(&self, name: &str) -> bool {
        name.is_empty() || self.frames.iter().any(|frame| fits(name, frame))
    }
}

/// Frames with equal ones together.
fn runs(frames: &[String]) -> Vec<String> {
    let groups = frames.chunk_by(|a, b| a == b);
    let names = groups.map(|group| match group.len() {
        1 => group[0].clone(),
        times => format!("{} x {times}", group[0]),
    });
    names.collect()
}

/// Sums the lines of a summary that say why stacks were cut.
fn cut(summary: &str) -> u64 {
    let lines = summary
        .lines()
        .skip_while(|line| !line.starts_with("stacks:"));
    let reasons = lines.skip(1).take_while(|line| line.starts_with("  "));
    let counts =
        reasons.filter_map(|line| line.trim_start().split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

/// Whether a name has the form of a pattern, in which `*` is anything.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(mut name) = name.strip_prefix(start) else {
                return false;
            };
            loop {
                if fits(rest, name) {
                    return true;
                }
                let mut chars = name.chars();
                if chars.next().is_none() {
                    return false;
                }
                name = chars.as_str();
            }
        }
    }
}

fn chain_fits(pattern: &[String], frames: &[String]) -> bool {
    match pattern.split_first() {
        None => frames.is_empty(),
        Some((any, rest)) if any == "..." => {
            (0..=frames.len()).any(|skipped| chain_fits(rest, &frames[skipped..]))
        }
        Some((first, rest)) => {
            frames.first().is_some_and(|frame| fits(first, frame)) && chain_fits(rest, &frames[1..])
        }
    }
}

#[test]
fn a_pattern_fits_names_and_chains() {
    assert!(fits("a*c*", "abcd") && fits("*", "") && !fits("a*c", "abcd"));
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let fits = |pattern, frames| chain_fits(&words(pattern), &words(frames));
    assert!(fits("... main f", "_start x main f"));
    assert!(fits("... main f", "main f"));
    assert!(!fits("... main f", "main g f"));
    assert!(!fits("main f", "x main f"));
}

#[test]
fn the_cut_stacks_of_a_summary_are_summed() {
    let summary =
        " 1.00% x\nstacks: 90.0% whole\n  3 deeper\n  2 corrupt\nframes: 1.0%\n  7 in x\n";
    assert_eq!(cut(summary), 5);
    assert_eq!(cut("stacks: 100.0% whole\nframes: 2%\n  7 in x\n"), 0);
}
