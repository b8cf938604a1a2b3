//! The lines, at most twenty of at most 80 columns.

use std::time::Duration;

use prof_memory::{Allocator, Malloc};

use super::answer::{Answer, NewPages};
use crate::commands::why::words::{bytes, plural, seconds};

/// So many functions at most.
pub const PATHS: usize = 4;
const COLUMNS: usize = 80;
/// With fewer samples shares say nothing.
const ENOUGH: u64 = 10;
/// Freed memory that is so much of all is the answer.
const MUCH_KEPT: f64 = 0.4;
/// Less than this of all memory is not worth a line, unless it is much by itself.
const WORTH: f64 = 0.005;

/// The lines for a terminal.
pub fn plain(answer: &Answer) -> String {
    let lines = lines(answer);
    lines
        .iter()
        .map(|line| format!("{}\n", fit(line)))
        .collect()
}

/// The same as a block for a ticket.
pub fn markdown(answer: &Answer) -> String {
    format!("```text\n{}```\n", plain(answer))
}

fn lines(answer: &Answer) -> Vec<String> {
    let mut lines = vec![head(answer)];
    lines.extend(kinds(answer));
    lines.extend(cgroup(answer));
    lines.extend(new_pages(answer));
    lines.extend(verdict(answer));
    lines
}

fn head(answer: &Answer) -> String {
    let mut head = format!("{}: RSS {}", answer.target, size(answer.kinds.resident()));
    match answer.growth {
        Some((growth, error)) if growth.abs() > error && growth.abs() >= 1.0 => {
            head += &format!(", {}/h ±{}", signed(3600.0 * growth), bytes(3600.0 * error));
        }
        Some((_, error)) if error < 1.0 => {
            head += &format!(", no growth in {}", seconds(answer.elapsed))
        }
        Some((_, error)) => {
            head += &format!(", no growth beyond chance (±{}/h)", bytes(3600.0 * error))
        }
        None => head += ", growth not known",
    }
    if let Some(time) = answer.time_to_limit() {
        head += &format!(" (limit in {})", long(time));
    }
    head
}

/// `5 h`, `40 min`
fn long(time: Duration) -> String {
    match time.as_secs() {
        0..=599 => seconds(time),
        600..=7199 => format!("{} min", time.as_secs() / 60),
        7200..=172_799 => format!("{} h", time.as_secs() / 3600),
        _ => format!("{} days", time.as_secs() / 86_400),
    }
}

fn kinds(answer: &Answer) -> Vec<String> {
    let kinds = &answer.kinds;
    let threads = plural(kinds.threads, "thread", "threads");
    let stacks = match answer.no_stacks {
        true => "of main threads; others are not known".to_owned(),
        false => threads,
    };
    let many = answer.processes > 1;
    let each_once = if many { "shared pages by parts" } else { "" };
    let rows = [
        ("heap", kinds.heap, heap(answer)),
        ("anonymous", kinds.anonymous, anonymous(answer)),
        ("stacks", kinds.stacks, stacks),
        ("files", kinds.files, each_once.to_owned()),
        ("shared", kinds.shared, each_once.to_owned()),
        ("page tables", kinds.page_tables, "not in RSS".to_owned()),
        ("huge pages", kinds.huge, "of heap and anonymous".to_owned()),
        ("hugetlb", kinds.hugetlb, "not in RSS".to_owned()),
        ("swapped", kinds.swapped, "not in RSS".to_owned()),
    ];
    let least = WORTH * kinds.resident() as f64;
    let is_worth = |bytes: u64| bytes > 0 && (bytes as f64 >= least || bytes >= 64 << 20);
    let mut lines = Vec::new();
    for (index, (name, bytes, remark)) in rows.into_iter().enumerate() {
        if is_worth(bytes) || index == 0 && answer.malloc.is_some() {
            let line = format!("  {name:<12}{:>8}   {remark}", size(bytes));
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

fn heap(answer: &Answer) -> String {
    match (&answer.malloc, &answer.no_malloc) {
        (Some(malloc), _) => malloc_line(malloc),
        (None, Some(reason)) => format!("in use: not known: {reason}"),
        (None, None) => not_glibc(answer),
    }
}

fn malloc_line(malloc: &Malloc) -> String {
    let arenas = plural(malloc.arenas as u64, "arena", "arenas");
    let all = malloc.in_use_resident + malloc.kept_resident;
    let share = 100.0 * malloc.kept_resident as f64 / all.max(1) as f64;
    format!(
        "{} in use, {} freed and kept ({share:.0}%), {arenas}",
        size(malloc.in_use_resident),
        size(malloc.kept_resident)
    )
}

/// Allocators other than the one that was read.
fn others(answer: &Answer) -> Vec<String> {
    let others = answer.allocators.iter();
    let others = others.filter(|&&it| it != Allocator::Glibc);
    others.map(ToString::to_string).collect()
}

fn not_glibc(answer: &Answer) -> String {
    match others(answer).as_slice() {
        [] => "in use: not known: no allocator was recognised".to_owned(),
        others => format!("in use: not known: {}", others.join(", ")),
    }
}

fn anonymous(answer: &Answer) -> String {
    let others = others(answer);
    if !others.is_empty() {
        return format!("the heap of {}; in use: not known", others.join(" and "));
    }
    match answer.malloc.as_ref().map(|it| it.mmapped_resident) {
        Some(None | Some(0)) => "may have blocks that malloc mapped one by one".to_owned(),
        _ => String::new(),
    }
}

fn cgroup(answer: &Answer) -> Option<String> {
    let cgroup = answer.cgroup?;
    let limit = match cgroup.limit {
        Some(limit) => {
            let percent = 100.0 * cgroup.current as f64 / limit.max(1) as f64;
            format!("of {} allowed ({percent:.0}%)", size(limit))
        }
        None => "no limit".to_owned(),
    };
    Some(format!(
        "  {:<12}{:>8}   {limit}, with files it has read",
        "cgroup",
        size(cgroup.current)
    ))
}

fn new_pages(answer: &Answer) -> Vec<String> {
    let Some(new) = &answer.new else {
        let reason = answer.not_sampled.as_deref();
        return reason
            .map(|it| format!("who adds to it: not sampled: {it}"))
            .into_iter()
            .collect();
    };
    let time = seconds(answer.elapsed);
    if new.bytes == 0 {
        return vec![format!("new pages in {time}: none that stayed")];
    }
    let mut line = format!("new pages in {time}: {}", size(new.bytes));
    if new.gone > new.bytes / 10 {
        line += &format!(" ({} more are gone again)", size(new.gone));
    }
    let mut lines = vec![line];
    lines.extend(paths(new));
    if new.all_counted {
        lines.push("  which of them are gone again could not be read".to_owned());
    }
    if new.lost > 0 {
        lines.push(format!(
            "  {} were lost",
            plural(new.lost, "sample", "samples")
        ));
    }
    lines
}

fn paths(new: &NewPages) -> Vec<String> {
    let hot = &new.paths;
    if hot.samples < ENOUGH || hot.paths.is_empty() {
        let samples = plural(hot.samples, "sample", "samples");
        return vec![format!(
            "  {samples}: too few to say by whom; try a longer -d"
        )];
    }
    let first = "  first touched by".to_owned();
    let paths = hot.paths.iter().map(|path| {
        let error = path.share.error.max(1.0);
        let start = format!(
            "    {:<9} ",
            format!("{:.0}% ±{error:.0}", path.share.percent)
        );
        let left = COLUMNS - start.chars().count();
        format!("{start}{}", path.text(left))
    });
    std::iter::once(first).chain(paths).collect()
}

/// What it comes to. Memory that is alive is never called a leak.
fn verdict(answer: &Answer) -> Vec<String> {
    let kept = answer.kept_share().filter(|&it| it >= MUCH_KEPT);
    if let Some(kept) = kept.filter(|_| !answer.grows()) {
        let mut lines = vec![format!(
            "Not a leak of the program: the allocator keeps {:.0}% of it, freed.",
            100.0 * kept
        )];
        let many = answer.malloc.as_ref().is_some_and(|it| it.arenas > 2);
        lines.push(match many {
            true => "Try MALLOC_ARENA_MAX=2, malloc_trim(0), or jemalloc.".to_owned(),
            false => "Try malloc_trim(0), MALLOC_TRIM_THRESHOLD_, or jemalloc.".to_owned(),
        });
        return lines;
    }
    if !answer.grows() {
        return Vec::new();
    }
    // What is kept is not what grows: blocks that are freed are handed out again first.
    let kept = kept.map(|kept| {
        let percent = 100.0 * kept;
        format!("The allocator keeps {percent:.0}% of it, freed; it grows all the same.")
    });
    let next = "next: see who touches it over a longer time: prof mem";
    let more = format!("{next} {} -d 5m", answer.typed);
    let is_in_use = |it: &Malloc| it.in_use_resident > answer.kinds.resident() / 2;
    let in_use =
        answer.malloc.as_ref().filter(|it| is_in_use(it)).map(|_| {
            "Most of it is in use: the program asked for it and has not freed it.".to_owned()
        });
    kept.or(in_use).into_iter().chain([more]).collect()
}

fn size(number: u64) -> String {
    bytes(number as f64)
}

/// `+34 MB`, `-2.1 GB`
fn signed(number: f64) -> String {
    let sign = if number < 0.0 { '-' } else { '+' };
    format!("{sign}{}", bytes(number.abs()))
}

fn fit(line: &str) -> String {
    let is_odd = |c: char| c.is_control();
    let line: String = line
        .chars()
        .map(|c| if is_odd(c) { '?' } else { c })
        .collect();
    if line.chars().count() <= COLUMNS {
        return line;
    }
    line.chars().take(COLUMNS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_is_never_said_to_be_none_of_the_programs() {
        let mut answer = Answer {
            malloc: Some(Malloc {
                arenas: 8,
                kept_resident: 70,
                ..Malloc::default()
            }),
            ..Answer::default()
        };
        answer.kinds.heap = 100;
        answer.growth = Some((1000.0, 2000.0)); // no growth for sure
        let still = verdict(&answer).join("\n");
        assert!(
            still.contains("Not a leak") && still.contains("70%"),
            "{still}"
        );
        answer.growth = Some((2000.0, 1000.0));
        let grows = verdict(&answer).join("\n");
        assert!(!grows.contains("Not a leak"), "{grows}");
        assert!(
            grows.contains("keeps 70%") && grows.contains("grows all the same"),
            "{grows}"
        );
    }
}
