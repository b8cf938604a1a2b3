//! The lines that samples carry, each with its error.

use prof_report::{HotCommand, HotPaths, Share, ThreadState, WaitPlace};

use super::answer::Answer;
use super::text::start_of;
use super::words::list;

/// So many functions at most.
pub const PATHS: usize = 4;
/// With fewer samples than this shares say nothing.
const ENOUGH: u64 = 10;

/// Where the time goes, if enough of it was sampled.
pub fn paths(answer: &Answer, columns: usize) -> Vec<String> {
    let Some(hot) = told(answer) else {
        return Vec::new();
    };
    let what = answer.event.as_deref().unwrap_or("CPU");
    let paths = hot.paths.iter().enumerate().map(|(index, path)| {
        let start = match index {
            0 => format!("{what}: "),
            _ => " ".repeat(what.chars().count() + 2),
        };
        let start = format!("{start}{:<8}  ", share(path.share));
        let left = columns.saturating_sub(start.chars().count());
        format!("{start}{}", path.text(left))
    });
    paths.collect()
}

/// So many places where threads wait at most, each with this share of what they did, in percent, or more.
const WAITS: usize = 2;
const LEAST_WAIT: f64 = 10.0;

/// Where threads wait that have something to do. What waits for anything to happen, as event loops do, and for a CPU,
/// of which counters tell, is not told.
pub fn waits(answer: &Answer, columns: usize) -> Vec<String> {
    let Some(waited) = &answer.waited else {
        return Vec::new();
    };
    let is_told = |place: &&WaitPlace| {
        let is_usual = matches!(
            place.state,
            ThreadState::Poll | ThreadState::Signal | ThreadState::Runnable
        );
        let is_known = !place.text().starts_with('[');
        is_known && !is_usual && waited.percent(place) >= LEAST_WAIT
    };
    let places = waited.places.iter().filter(is_told).take(WAITS);
    let lines = places.enumerate().map(|(index, place)| {
        let start = if index == 0 { "waits: " } else { "       " };
        let start = format!(
            "{start}{:.0}% {}  ",
            waited.percent(place),
            place.state.name()
        );
        let left = columns.saturating_sub(start.chars().count());
        format!("{start}{}", start_of(&place.text(), left))
    });
    lines.collect()
}

/// Who it was, on a machine.
pub fn commands(answer: &Answer) -> Option<String> {
    told(answer).filter(|_| answer.is_machine).and_then(who)
}

/// What kinds of work it was, and how far to trust it.
pub fn remarks(answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(hot) = told(answer) {
        if hot.paths.is_empty() {
            lines.push(too_few(answer, hot));
        }
        lines.extend(kinds(hot));
        if let Some(whole) = hot.whole_percent.filter(|&whole| whole < 90.0) {
            lines.push(format!(
                "only {whole:.0}% of the stacks are whole: callers may be missing"
            ));
        }
    } else if let Some(reason) = &answer.not_sampled {
        lines.push(format!("not sampled: {reason}"));
    } else if let Some(hot) = answer.hot.as_ref().filter(|_| !answer.is_idle()) {
        lines.push(too_few(answer, hot));
    }
    if answer.lost > 0 {
        lines.push(format!("{} samples were lost; try a lower -F", answer.lost));
    }
    lines
}

/// The samples, if they say something.
pub fn told(answer: &Answer) -> Option<&HotPaths> {
    let hot = answer.hot.as_ref()?;
    (hot.samples >= ENOUGH && !answer.is_idle()).then_some(hot)
}

/// Whether much was used and little of it sampled, because it was used by what ended too soon.
pub fn misses_short_ones(answer: &Answer) -> bool {
    const PART: f64 = 0.5;
    let (Some(sampled), Some(cpu)) = (answer.sampled, answer.vitals.cpu) else {
        return false;
    };
    let started: u64 = answer.started.iter().map(|it| it.count).sum();
    let used = cpu.total().as_secs_f64();
    started > 10 && used >= 0.2 && sampled.as_secs_f64() < PART * used
}

fn too_few(answer: &Answer, hot: &HotPaths) -> String {
    match misses_short_ones(answer) {
        true => format!(
            "{} samples: its processes end before they can be sampled",
            hot.samples
        ),
        false => format!(
            "{} samples: too few to say where the time goes",
            hot.samples
        ),
    }
}

fn kinds(hot: &HotPaths) -> Option<String> {
    let kinds = hot.kinds.iter().take(3);
    let kinds: Vec<_> = kinds
        .map(|(kind, it)| format!("{} {}", kind.label(), share(*it)))
        .collect();
    (!kinds.is_empty()).then(|| format!("of it: {}", kinds.join(", ")))
}

fn who(hot: &HotPaths) -> Option<String> {
    let told = |command: &HotCommand| {
        let processes = match command.processes {
            1 => command.pid.to_string(),
            count => format!("{count} processes"),
        };
        format!("{} {} ({processes})", command.name, share(command.share))
    };
    let commands = hot.commands.iter();
    let commands = commands.take_while(|it| it.share.percent >= 3.0);
    let mut commands = commands.map(told).peekable();
    commands.peek()?;
    Some(list("who: ", commands, 4))
}

/// `38% ±4`
fn share(share: Share) -> String {
    format!("{:.0}% ±{:.0}", share.percent, share.error.max(1.0))
}
