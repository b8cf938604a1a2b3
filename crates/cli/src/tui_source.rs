//! What a live target and a recording have in common as a `prof_tui::Source`: the facts about events, the
//! signals, the code of a function, and the flame graph of a window.
//!
//! Elsewhere: the two sources (`commands::top`, `commands::report`), the screens themselves (`prof-tui`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use prof_model::{FunctionCode, Resolution, Symbol};
use prof_report::{CodeKind, FlameGraphExport, FoldedStacks, in_brackets, write_flame_graph};
use prof_session::record::write_whole;
use prof_symbolizer::NoCode;
use prof_tui::{Facts, Kind, Paths, Request, Window};

use crate::signals::EndRequests;

/// Takes the signals that stop this process and let it go on.
///
/// # Errors
/// The kernel's.
pub fn listen_to_stops() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTSTP);
    set.add(Signal::SIGCONT);
    set.thread_block()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&set, flags)?)
}

/// Waits until the terminal is this process's: in the background it stops, as any program that wants the
/// terminal does. Whether the screens may be shown then; not if the end was asked for meanwhile.
pub fn wait_for_foreground(ends: &EndRequests) -> bool {
    const AT_ONCE: Duration = Duration::from_millis(10);
    // What ends a stopped process is followed by what lets it go on; another thread takes note.
    const UNTIL_NOTED: Duration = Duration::from_millis(50);
    let is_in_background = || {
        let group = nix::unistd::tcgetpgrp(io::stdout());
        group.is_ok_and(|group| group != nix::unistd::getpgrp())
    };
    while is_in_background() {
        if ends.were_made() {
            return false;
        }
        let before = Instant::now();
        if raise(Signal::SIGTTOU).is_err() || before.elapsed() < AT_ONCE {
            return true; // it does not stop this process, so the kernel decides
        }
        std::thread::sleep(UNTIL_NOTED);
    }
    true
}

/// What is asked of the screens by signals.
pub struct Signals<'a> {
    ends: &'a EndRequests,
    stops: Option<SignalFd>, // SIGTSTP and SIGCONT
}

impl<'a> Signals<'a> {
    /// All of them, or only those that ask for the end.
    pub fn new(ends: &'a EndRequests, stops: Option<SignalFd>) -> Self {
        Self { ends, stops }
    }

    /// What was asked for since the last call.
    pub fn request(&self) -> Option<Request> {
        if self.ends.were_made() {
            return Some(Request::Quit);
        }
        let signal = self.stops.as_ref()?.read_signal().ok()??;
        match Signal::try_from(signal.ssi_signo as i32) {
            Ok(Signal::SIGTSTP) => Some(Request::Suspend),
            Ok(Signal::SIGCONT) => Some(Request::Resumed),
            _ => None,
        }
    }

    /// Stops this process until somebody lets it go on.
    pub fn stop(&self) {
        // SIGTSTP is blocked here; this one has the same effect on the shell.
        let _ = kill(Pid::this(), Signal::SIGSTOP);
        wait_for_foreground(self.ends);
    }
}

/// The name and the code of the function that an instruction was found in.
///
/// # Errors
/// Why there is none, as a message.
pub fn code(
    found: Option<Resolution>,
    code: impl FnOnce(&Symbol) -> Result<FunctionCode, NoCode>,
) -> Result<(Arc<str>, FunctionCode), String> {
    match found {
        Some(Resolution::Named { symbol, .. }) => match code(&symbol) {
            Ok(code) => Ok((symbol.name, code)),
            Err(reason) => Err(format!("no instructions of {}: {reason}", symbol.name)),
        },
        Some(Resolution::Unresolved(reason)) => {
            Err(format!("no function there: {}", reason.describe()))
        }
        None => Err("no function there".to_owned()),
    }
}

/// Whether a file of this name is to be a picture.
pub fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "svg")
}

/// What a message about written samples adds where less than them is on the screen.
pub fn without_filters(window: &Window<'_>) -> &'static str {
    match window.filters {
        "" => "",
        _ => ", also those that the filters hide",
    }
}

/// `NAME.svg`, or with a number behind the name if there is such a file.
pub fn suggested_file(name: &str) -> String {
    let numbered = |number: u32| match number {
        1 => format!("{name}.svg"),
        number => format!("{name}-{number}.svg"),
    };
    let mut names = (1..1000).map(numbered);
    let free = names.find(|name| !Path::new(name).exists());
    free.unwrap_or_else(|| numbered(1))
}

/// Draws a window as a flame graph; returns a message.
///
/// # Errors
/// A message.
pub fn draw(
    path: &Path,
    window: &Window<'_>,
    title: &str,
    facts: &Facts,
) -> Result<String, String> {
    let stacks = folded(window.paths, true);
    let event = facts.events.get(usize::from(window.event));
    let event = event.cloned().unwrap_or_default();
    let weight = stacks.total();
    let seconds = (window.span.end - window.span.start) as f64 / 1e9;
    let filters = match window.filters {
        "" => String::new(),
        filters => format!(", {filters}"),
    };
    let (name, rate, samples) = (&event.name, event.rate(), weight.samples);
    let subtitle = format!("{name} {rate}, {samples} samples, {seconds:.1} s{filters}");
    let options = FlameGraphExport::default().options(&event, title, subtitle);
    let mut narrow = 0;
    let written = write_whole(path, |out| {
        narrow = write_flame_graph(out, &stacks, &options)?;
        Ok(())
    });
    let left_out = match narrow {
        0 => String::new(),
        count => format!(", without {count} frames that are too narrow"),
    };
    match written {
        Ok(()) => Ok(format!("wrote {}{left_out}", path.display())),
        Err(error) => Err(format!("could not write {}: {error}", path.display())),
    }
}

/// The stacks of a picture; with `annotate` the names say what kind of code it is. What has no name is
/// called by its module, as in a report's flame graph.
pub fn folded(paths: &Paths, annotate: bool) -> FoldedStacks {
    let name = |&it: &u32| {
        let function = &paths.functions[it as usize];
        let (kind, mark) = code_kind(function.kind);
        let mark = if annotate { mark } else { "" };
        match function.kind {
            Kind::Unnamed => (in_brackets(&function.module).into_owned(), kind),
            _ => (format!("{}{mark}", function.name), kind),
        }
    };
    let stacks = paths.stacks.iter();
    FoldedStacks::new(stacks.map(|(path, weight)| (path.iter().map(name).collect(), *weight)))
}

/// The colour in a flame graph, and what marks the name.
fn code_kind(kind: Kind) -> (CodeKind, &'static str) {
    match kind {
        Kind::Kernel => (CodeKind::Kernel, "_[k]"),
        Kind::Native | Kind::Go => (CodeKind::User, ""),
        Kind::Jit => (CodeKind::Jit, "_[j]"),
        Kind::Inlined => (CodeKind::Inlined, "_[i]"),
        Kind::Unnamed | Kind::Missing => (CodeKind::Unknown, ""),
    }
}
