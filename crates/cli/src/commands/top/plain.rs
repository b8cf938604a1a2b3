//! `--batch`: tables for a log, a pipe or a terminal that can do no more.

use std::io::{self, Write};
use std::sync::Arc;

use prof_model::printable;
use prof_report::path_lines;
use prof_tui::{Facts, Key, Picture};

use super::namer::Shared;
use super::processes::{ProcessRow, SeenProcesses};
use super::windows::{WindowOptions, for_each_window, path_of};
use crate::messages::Failure;
use crate::printed;
use crate::signals::EndRequests;
use crate::units::thousands;

const COLUMNS: usize = 80;
const PATH_COLUMNS: usize = 74; // behind what begins the line

/// Prints a table after every delay.
///
/// # Errors
/// Nobody reads it any more.
pub fn print(
    shared: &Arc<Shared>,
    requests: &EndRequests,
    options: &WindowOptions,
) -> Result<(), Failure> {
    let mut seen = SeenProcesses::default();
    for_each_window(shared, requests, options, |state, stretch, number| {
        let mut text = Vec::new();
        if number > 1 {
            writeln!(text)?;
        }
        write_table(&mut text, &state.facts, &stretch.functions, options)?;
        write_processes(&mut text, &stretch.processes, &mut seen)?;
        let mut out = printed::stdout();
        out.write_all(&text)?;
        out.flush()
    })
}

fn write_table(
    out: &mut dyn Write,
    facts: &Facts,
    picture: &Picture,
    options: &WindowOptions,
) -> io::Result<()> {
    let mut title = facts.target.clone();
    if let Some(container) = &facts.container {
        title += &format!(", container {container}");
    }
    if let Some(ended) = &facts.ended {
        title += &format!(", {ended}");
    }
    writeln!(out, "{}", printable(&title))?;
    let mut words = Vec::new();
    if let Some(cpu) = facts.cpu {
        words.push(format!("CPU {:.2} of {}", cpu.used, cpu.available));
        words.extend(cpu.quota.map(|quota| format!("quota {quota:.2}")));
        words.extend(
            cpu.throttled
                .map(|time| format!("throttled {:.2} CPUs", time.as_secs_f64())),
        );
    }
    words.extend(
        facts
            .events
            .first()
            .map(|it| format!("{} {}", it.name, it.rate())),
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
    writeln!(out, "{}", printable(&words.join(", ")))?;
    facts
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "{}", printable(note)))?;
    let path = path_of(picture);
    if path.len() > 1 {
        let lines = path_lines(&path, PATH_COLUMNS, 2);
        for (line, start) in lines.iter().zip(["path: ", "      "]) {
            writeln!(out, "{start}{line}")?;
        }
    }
    if options.rows == 0 {
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

/// A table of the processes, where there are several. Its lines fit a terminal.
fn write_processes(
    out: &mut dyn Write,
    picture: &Picture,
    seen: &mut SeenProcesses,
) -> io::Result<()> {
    let rows = seen.rows(picture);
    if rows.len() < 2 {
        return Ok(());
    }
    let user = |row: &ProcessRow<'_>| row.facts.map_or("", |it| &it.user).to_owned();
    let container = |row: &ProcessRow<'_>| {
        let facts = row.facts.and_then(|it| it.container.clone());
        facts.unwrap_or_default()
    };
    let widest = |of: &dyn Fn(&ProcessRow<'_>) -> String, title: &str| {
        let widths = rows.iter().map(|row| of(row).chars().count());
        widths.max().unwrap_or(0).max(title.len())
    };
    let user_width = widest(&user, "User");
    let has_containers = rows.iter().any(|row| !container(row).is_empty());
    let in_container = |text: &str| match widest(&container, "Container") {
        width if has_containers => format!("  {text:width$}"),
        _ => String::new(),
    };
    let title = in_container("Container");
    writeln!(
        out,
        " Self%      MB      PID  {:user_width$}{title}  Process",
        "User"
    )?;
    for row in &rows {
        let megabytes = row
            .memory_bytes
            .map(|bytes| format!("{:.1}", bytes as f64 / 1e6));
        let arguments = row.facts.map_or(&*row.process.name, |it| &it.arguments);
        let line = format!(
            "{:>6.2}  {:>6}  {:>7}  {:user_width$}{}  {arguments}",
            picture.percent(row.row.own),
            megabytes.unwrap_or_else(|| "-".to_owned()),
            row.process.pid.0,
            user(row),
            in_container(&container(row)),
        );
        let visible = line.chars().map(|c| if c.is_control() { '?' } else { c });
        writeln!(out, "{}", visible.take(COLUMNS).collect::<String>())?;
    }
    Ok(())
}
