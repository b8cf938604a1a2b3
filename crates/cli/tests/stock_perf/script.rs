//! `perf script` beside `prof script`: sample by sample, frame by frame.

use crate::lab::{COMMS, Lab};
use crate::rules::{Aliases, Explained, Rule};

/// A frame: ` ADDRESS NAME+0xOFFSET (MODULE)`.
#[derive(Debug, PartialEq)]
struct Frame<'a> {
    address: &'a str,
    name: &'a str,
    offset: &'a str,
    module: &'a str,
}

impl<'a> Frame<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let (address, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (symbol, module) = match rest.rsplit_once(" (") {
            Some((symbol, module)) => (symbol, module.trim_end_matches(')')),
            None => (rest, ""),
        };
        let (name, offset) = symbol.rsplit_once("+0x").unwrap_or((symbol, ""));
        Self {
            address,
            name,
            offset,
            module,
        }
    }

    /// The rule that explains why perf has `theirs` here; `None` if nothing does.
    fn explain(&self, theirs: &Self, is_caller: bool, aliases: &Aliases) -> Option<Rule> {
        let same_place = self.address == theirs.address && self.module == theirs.module;
        let is_stub = theirs.name.ends_with("@plt") || self.name.ends_with("@plt");
        if same_place && self.offset == theirs.offset && !self.offset.is_empty() {
            let kernel = aliases.plain(self.name) == aliases.plain(theirs.name);
            return (kernel || !self.module.starts_with('[')).then_some(Rule::Alias);
        }
        if same_place && is_stub {
            return Some(Rule::PltStub);
        }
        if same_place && is_caller && theirs.offset == "0" {
            return Some(Rule::ReturnAddress);
        }
        let is_nowhere = self.name == "[unknown]" && self.module == "[unknown]";
        (is_nowhere && theirs.module.starts_with('/')).then_some(Rule::MapsAfterExec)
    }
}

/// A sample: its line, and the frames below it.
struct Sample<'a> {
    head: &'a str,
    frames: Vec<Frame<'a>>,
}

fn parse(text: &str) -> Vec<Sample<'_>> {
    let mut samples: Vec<Sample<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if let (true, Some(sample)) = (line.starts_with('\t'), samples.last_mut()) {
            sample.frames.push(Frame::parse(line));
        } else {
            let (head, frame) = without_frame(line.trim_end());
            samples.push(Sample {
                head,
                frames: frame.into_iter().collect(),
            });
        }
    }
    samples
}

/// Puts samples of one time into the order of their lines.
fn sort_equal_times(samples: &mut [Sample<'_>]) {
    for equal in samples.chunk_by_mut(|a, b| time(a.head) == time(b.head)) {
        equal.sort_by_key(|sample| sample.head);
    }
}

/// `14.000000123:` of a sample's line.
fn time(head: &str) -> Option<&str> {
    head.split_whitespace().find(|word| {
        let number = word.strip_suffix(':').and_then(|it| it.split_once('.'));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        number.is_some_and(|(seconds, rest)| is_number(seconds) && is_number(rest))
    })
}

/// The lines of the samples.
pub(crate) fn heads(script: &str) -> Vec<&str> {
    parse(script)
        .into_iter()
        .map(|sample| sample.head)
        .collect()
}

/// Takes the instruction off the line of a sample without a callchain.
fn without_frame(line: &str) -> (&str, Option<Frame<'_>>) {
    let Some((head, rest)) = line.rsplit_once(": ") else {
        return (line, None);
    };
    let address = rest.split_whitespace().next().unwrap_or_default();
    let is_frame = rest.ends_with(')') && u64::from_str_radix(address, 16).is_ok();
    match is_frame {
        true => (head, Some(Frame::parse(rest))),
        false => (line, None),
    }
}

/// Whether the two lines differ in nothing but the thread's name, which perf does not know.
fn only_perf_knows_no_name(ours: &str, theirs: &str) -> bool {
    let theirs = theirs.trim_start();
    let rest = theirs.split_once(' ').map_or("", |(_, rest)| rest);
    theirs.starts_with(':') && !rest.is_empty() && ours.ends_with(rest.trim_start())
}

/// Compares what both print about a file, and fails where no rule explains a difference.
pub(crate) fn compare(lab: &Lab, file: &str) -> Explained {
    let options = "script --ns --no-inline";
    let ours = lab.prof(options, file).ok().out;
    let theirs = lab.perf(options, file).ok().out;
    let aliases = Aliases::of_this_kernel();
    let (mut ours, mut theirs) = (parse(&ours), parse(&theirs));
    if file.contains("threads") {
        // of several files perf reads a piece at a time: equal times come as the pieces end
        sort_equal_times(&mut ours);
        sort_equal_times(&mut theirs);
    }
    let mut explained = Explained::default();
    assert_eq!(ours.len(), theirs.len(), "samples of {file}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if ours.head != theirs.head {
            let nameless = only_perf_knows_no_name(ours.head, theirs.head);
            let differs = "the lines of a sample";
            assert!(
                nameless,
                "{file}: {differs}\n{}\n{}",
                ours.head, theirs.head
            );
            explained.rules.insert(Rule::NamelessThread);
        }
        // What else runs on this machine is not ours to explain.
        let is_ours = COMMS
            .iter()
            .any(|comm| ours.head.trim_start().starts_with(comm));
        if is_ours {
            chains(file, ours, theirs, &aliases, &mut explained);
        }
    }
    explained
}

fn chains(
    file: &str,
    ours: &Sample<'_>,
    theirs: &Sample<'_>,
    aliases: &Aliases,
    explained: &mut Explained,
) {
    if theirs.frames.is_empty() && !ours.frames.is_empty() {
        explained.rules.insert(Rule::MarkerOnStack);
        return;
    }
    let is_dwarf = file.starts_with("dwarf");
    let mut theirs_left = theirs.frames.iter().enumerate().peekable();
    for frame in &ours.frames {
        let Some(&(index, other)) = theirs_left.peek() else {
            assert!(is_dwarf, "{file}: longer than perf's\n{}", ours.head);
            explained.rules.insert(Rule::LongerStack);
            continue;
        };
        if frame == other {
            theirs_left.next();
            continue;
        }
        if other.module.is_empty() && frame.address == other.address {
            explained.rules.insert(Rule::TracepointsOfPipe);
            if frame.name != other.name {
                // perf leaves out the offset 0 by which one sees that it looked up the return address
                let differs = "other names of one instruction";
                assert!(
                    index > 0,
                    "{file}: {differs}\nprof {frame:?}\nperf {other:?}"
                );
                explained.add(Rule::ReturnAddress, [frame.name, other.name]);
            }
            theirs_left.next();
            continue;
        }
        let is_nameless = other.name == "[unknown]" && frame.address == other.address;
        if file.starts_with("tail") && is_nameless && frame.module == "[kernel.kallsyms]" {
            explained.add(Rule::KernelToldLast, [frame.name, other.name]);
            theirs_left.next();
            continue;
        }
        let rule = frame.explain(other, index > 0, aliases);
        if rule.is_none() && is_dwarf {
            explained.rules.insert(Rule::LongerStack);
            continue; // a frame that perf skipped
        }
        let rule =
            rule.unwrap_or_else(|| panic!("{file}: {}\nprof {frame:?}\nperf {other:?}", ours.head));
        explained.add(rule, [frame.name, other.name]);
        theirs_left.next();
    }
    let mut missing: Vec<_> = theirs_left.collect();
    // Where nothing is mapped, or where a file has no code: `.rela.plt` of libc was seen.
    if is_dwarf && matches!(missing[..], [(_, frame)] if frame.name == "[unknown]") {
        explained.rules.insert(Rule::FollowedNonsense);
        missing.clear();
    }
    assert!(
        missing.is_empty(),
        "{file}: {}\nonly perf has {missing:?}",
        ours.head
    );
}

#[test]
fn the_data_that_page_faults_are_about_has_its_name() {
    let Some(lab) = Lab::new() else { return };
    let aliases = Aliases::of_this_kernel();
    for (file, events) in [
        ("faults.data", "-c 1 -e page-faults -d"),
        ("kinds.data", "-c 1 -e minor-faults,major-faults -d -g"),
        ("others.data", "-F 999 -e cpu-clock -d"), // its addresses are of no data
    ] {
        assert!(lab.record(file, events), "{events}");
        let print = "script --no-inline -F addr,sym,symoff,dso";
        let (ours, theirs) = (
            lab.prof(print, file).ok().out,
            lab.perf(print, file).ok().out,
        );
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{events}");
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            let (ours, theirs) = (Frame::parse(ours), Frame::parse(theirs));
            let is_explained = || ours.explain(&theirs, false, &aliases).is_some();
            assert!(
                ours == theirs || is_explained(),
                "{ours:?} is not {theirs:?}"
            );
        }
        let has = |module: &str, name: &str| {
            let mut frames = ours.lines().map(Frame::parse);
            frames.any(|frame| frame.module.contains(module) && frame.name.contains(name))
        };
        let is_named = events.contains("faults");
        assert_eq!(has("/ld-linux", "_rtld_global"), is_named, "{ours}");
        assert_eq!(has("[stack]", "[unknown]"), is_named, "{ours}");
        // Its name stands before the instruction, on a line with it or above the callchain.
        let both = "script --no-inline -F comm,addr,ip,sym";
        let heads = |text: &str| -> Vec<String> {
            let lines = text
                .lines()
                .filter(|line| !line.starts_with('\t') && !line.is_empty());
            lines
                .map(|line| line.split_whitespace().take(2).collect())
                .collect()
        };
        let (ours, theirs) = (lab.prof(both, file).ok().out, lab.perf(both, file).ok().out);
        assert_eq!(heads(&ours), heads(&theirs), "{events}");
    }
}

#[test]
fn samples_of_one_time_are_compared_in_one_order() {
    let text = "a 1 [001] 1.000000001: 1 e:\n\nb 2 [000] 1.000000001: 1 e:\n\na 1 [000] 1.000000002: 1 e:\n";
    let mut samples = parse(text);
    samples.swap(0, 1);
    sort_equal_times(&mut samples);
    let heads: Vec<_> = samples.iter().map(|sample| sample.head).collect();
    assert_eq!(heads, super::script::heads(text));
}
