//! What tables and objects have in common: which stretches of time they are about, and when one is due.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prof_report::{PathStep, StackWeight, heaviest_path};
use prof_tui::{Group, Picture, Query};

use super::namer::{Shared, State};
use crate::messages::Failure;
use crate::signals::EndRequests;
use crate::tui_source::folded;
use crate::units::Window;

/// Which windows are printed.
pub struct WindowOptions {
    /// The time from one to the next.
    pub every: Duration,
    /// How many; `None` for as long as there are samples.
    pub count: Option<u64>,
    /// How much time each looks back on.
    pub window: Window,
    /// The most rows of each.
    pub rows: usize,
}

/// A stretch of time.
pub struct Stretch {
    /// By functions.
    pub functions: Picture,
    /// By processes.
    pub processes: Picture,
}

/// Hands over a window after every delay, as often as asked, until the target's end.
///
/// # Errors
/// Those of `show`.
pub fn for_each_window(
    shared: &Arc<Shared>,
    requests: &EndRequests,
    options: &WindowOptions,
    mut show: impl FnMut(&State, &Stretch, u64) -> io::Result<()>,
) -> Result<(), Failure> {
    let every = options.every.as_secs(); // there is a piece a second
    let (mut shown, mut number) = (0, 0);
    loop {
        let version = shared.lock().version;
        let state = shared.wait(version, Duration::from_millis(200));
        if requests.were_made() {
            return Ok(());
        }
        if state.version < shown + every && !state.ended {
            continue;
        }
        if state.version == shown {
            return Ok(()); // the end came without anything new
        }
        shown = state.version;
        number += 1;
        let stretch = Stretch {
            functions: look(&state, options, Group::Function),
            processes: look(&state, options, Group::Process),
        };
        show(&state, &stretch, number)?;
        if state.ended || options.count == Some(number) {
            return Ok(());
        }
    }
}

/// Where most of the time of a window goes, from the root.
pub fn path_of(picture: &Picture) -> Vec<PathStep> {
    heaviest_path(&folded(&picture.paths, false), StackWeight::Period)
}

fn look(state: &State, options: &WindowOptions, group: Group) -> Picture {
    let whole = state.history.span().unwrap_or(0..0);
    let window = match options.window {
        Window::All => whole.clone(),
        Window::Last(length) => whole.end.saturating_sub(length.as_nanos() as u64)..whole.end,
    };
    let length = window.end - window.start;
    let query = Query {
        event: 0,
        group,
        before: window.start.saturating_sub(length)..window.start,
        window,
        bins: &[],
        filters: &[],
        paths: group == Group::Function,
    };
    let mut picture = Picture::new(&state.history, &query);
    picture.rows.sort_by(|a, b| {
        let own = b.own.period.cmp(&a.own.period);
        let total = || b.total.period.cmp(&a.total.period);
        own.then_with(total)
            .then_with(|| a.key.name().cmp(b.key.name()))
    });
    picture.rows.retain(|row| row.total.samples > 0);
    picture.rows.truncate(options.rows);
    picture
}
