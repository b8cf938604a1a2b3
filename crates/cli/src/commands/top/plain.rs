//! `--batch`: tables for a log, a pipe or a terminal that can do no more.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use prof_tui::{Facts, Group, Key, Picture, Query};

use super::args::TopArgs;
use super::namer::{Shared, State};
use crate::messages::Failure;
use crate::signals::EndRequests;
use crate::units::{Window, thousands};

/// Prints a table after every delay.
///
/// # Errors
/// Nobody reads it any more.
pub fn print(shared: &Arc<Shared>, requests: &EndRequests, args: &TopArgs) -> Result<(), Failure> {
    for_each_picture(shared, requests, args, |state, picture, number| {
        let mut text = Vec::new();
        if number > 1 {
            writeln!(text)?;
        }
        write_table(&mut text, &state.facts, picture, args)?;
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()
    })
}

/// Hands over a picture after every delay, as often as asked, until the target's end.
///
/// # Errors
/// Those of `show`.
pub fn for_each_picture(
    shared: &Arc<Shared>,
    requests: &EndRequests,
    args: &TopArgs,
    mut show: impl FnMut(&State, &Picture, u64) -> io::Result<()>,
) -> Result<(), Failure> {
    let every = args.delay.as_secs(); // there is a piece a second
    let (mut shown, mut number) = (0, 0);
    loop {
        let version = shared.lock().version;
        let state = shared.wait(version, Duration::from_millis(200));
        if requests.count() > 0 {
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
        let picture = look(&state, args);
        show(&state, &picture, number)?;
        if state.ended || args.iterations == Some(number) {
            return Ok(());
        }
    }
}

fn look(state: &State, args: &TopArgs) -> Picture {
    let whole = state.history.span().unwrap_or(0..0);
    let window = match args.window {
        Window::All => whole.clone(),
        Window::Last(length) => whole.end.saturating_sub(length.as_nanos() as u64)..whole.end,
    };
    let length = window.end - window.start;
    let query = Query {
        event: 0,
        group: Group::Function,
        before: window.start.saturating_sub(length)..window.start,
        window,
        bins: &[],
        filters: &[],
        paths: false,
    };
    let mut picture = Picture::new(&state.history, &query);
    picture.rows.sort_by(|a, b| {
        let own = b.own.period.cmp(&a.own.period);
        let total = || b.total.period.cmp(&a.total.period);
        own.then_with(total)
            .then_with(|| a.key.name().cmp(b.key.name()))
    });
    picture.rows.retain(|row| row.total.samples > 0);
    picture.rows.truncate(args.rows);
    picture
}

fn write_table(
    out: &mut dyn Write,
    facts: &Facts,
    picture: &Picture,
    args: &TopArgs,
) -> io::Result<()> {
    write!(out, "{}", facts.target)?;
    if let Some(container) = &facts.container {
        write!(out, ", container {container}")?;
    }
    if let Some(ended) = &facts.ended {
        write!(out, ", {ended}")?;
    }
    writeln!(out)?;
    let mut words = Vec::new();
    if let Some(cpu) = facts.cpu {
        words.push(format!("CPU {:.2} of {}", cpu.used, cpu.available));
        words.extend(cpu.quota.map(|quota| format!("quota {quota:.2}")));
        words.extend(
            cpu.throttled
                .map(|time| format!("throttled {} ms/s", time.as_millis())),
        );
    }
    words.extend(
        facts
            .events
            .first()
            .map(|it| format!("{} {}", it.name, it.rate)),
    );
    let seconds = picture.seconds();
    words.push(format!(
        "{} samples in {seconds:.0} s",
        thousands(picture.all.samples)
    ));
    words.push(format!("lost {}", thousands(facts.lost)));
    if picture.known > 0 {
        let whole = 100.0 * picture.whole as f64 / picture.known as f64;
        words.push(format!("{whole:.1}% of stacks whole"));
    }
    if let Some(cost) = facts.cost {
        let megabytes = cost.memory_bytes as f64 / 1e6;
        words.push(format!(
            "prof {:.1}% CPU {megabytes:.0} MB",
            cost.cpu_percent
        ));
    }
    writeln!(out, "{}", words.join(", "))?;
    facts
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "{note}"))?;
    if args.rows == 0 {
        return Ok(());
    }
    writeln!(out, " Self%  Total%  Change  Function  [Module]")?;
    for row in &picture.rows {
        let Key::Function(function) = &row.key else {
            continue;
        };
        let change = picture.change(row);
        let change = change.map_or_else(String::new, |(change, _)| format!("{change:+.2}"));
        writeln!(
            out,
            "{:>6.2}  {:>6.2}  {change:>6}  {}  [{}]",
            picture.percent(row.own),
            picture.percent(row.total),
            function.name,
            function.module,
        )?;
    }
    Ok(())
}
