//! Large programs as they are shipped, recorded alone and beside busy loops: what is lost, which
//! stacks are whole, what the recording costs them beside `perf record -g`, and what it costs itself.
//! `tests/large_programs` starts this.

mod rows; // which programs there are

use std::path::Path;
use std::process::{Child, Command, ExitCode};

use crate::measure::cost_of;
use rows::Row;

/// What must hold.
mod bounds {
    /// The recorder's time on a CPU in percent of the target's, at 999 Hz.
    pub(super) const RECORDER: f64 = 3.0;
    /// The same at 99 Hz.
    pub(super) const RECORDER_SLOW: f64 = 0.5;
    /// How many points more than beside `perf record -g` a program may need, in percent of its time
    /// alone.
    pub(super) const MORE_THAN_PERF: f64 = 3.0;
}

/// How the table is made.
pub(crate) struct Settings<'a> {
    /// The program under test.
    pub(crate) prof: &'a Path,
    /// Where inputs and recordings are.
    pub(crate) root: &'a Path,
    /// How often each row is run; of the times the least counts, since other work on the machine
    /// only adds to them.
    pub(crate) rounds: usize,
    /// Busy loops beside it.
    pub(crate) neighbours: usize,
    /// The rows that are wanted, all if empty.
    pub(crate) only: &'a [String],
}

/// What one recording came to.
#[derive(Clone, Copy, Debug, Default)]
struct Recorded {
    samples: u64,
    lost: u64,
    /// In percent.
    whole: f64,
    /// The target's seconds on a CPU.
    target: f64,
    /// The recorder's own seconds on a CPU, naming included.
    recorder: f64,
}

impl Recorded {
    fn recorder_percent(&self) -> f64 {
        100.0 * self.recorder / self.target
    }
}

/// One line of the table.
struct Line {
    fast: Recorded,
    slow: Recorded,
    /// How much longer the program is on a CPU than alone, in percent, recorded by us and by perf.
    slower: [f64; 2],
    alone: f64,
}

impl Line {
    /// What does not hold, in words.
    fn missed(&self, row: &Row) -> Vec<&'static str> {
        let points = self.slower[0] - self.slower[1];
        let checks = [
            (self.fast.lost + self.slow.lost > 0, "samples are lost"),
            (
                self.fast.whole.min(self.slow.whole) < row.whole,
                "stacks are cut",
            ),
            (points > bounds::MORE_THAN_PERF, "slower than beside perf"),
            (
                self.fast.recorder_percent() > bounds::RECORDER
                    || self.slow.recorder_percent() > bounds::RECORDER_SLOW,
                "the recorder needs too much",
            ),
        ];
        let missed = checks.iter().filter(|(missed, _)| *missed);
        missed.map(|(_, what)| *what).collect()
    }
}

/// Busy loops that end with the value.
struct Neighbours(Vec<Child>);

impl Neighbours {
    fn start(count: usize) -> Result<Self, String> {
        let loops = (0..count).map(|_| {
            Command::new("bash")
                .args(["-c", "while :; do :; done"])
                .spawn()
        });
        loops
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Prints the table as it comes to be; fails if a row does not hold or cannot be run.
pub(crate) fn run(settings: &Settings<'_>) -> ExitCode {
    match table(settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn table(settings: &Settings<'_>) -> Result<bool, String> {
    let rows = rows::read()?;
    if let Some(unknown) = settings
        .only
        .iter()
        .find(|name| rows.iter().all(|row| row.name != **name))
    {
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        return Err(format!(
            "there is no row {unknown}; rows: {}",
            names.join(", ")
        ));
    }
    let beside = match settings.neighbours {
        0 => "alone".to_owned(),
        count => format!("beside {count} busy loops"),
    };
    println!(
        "{beside}; whole stacks, more time on a CPU than alone (prof, perf -g), recorder's CPU"
    );
    println!(
        "{:<9} {:>6} | {:>7} {:>5} {:>6} {:>7} {:>7} {:>6} | {:>5} {:>4} {:>6} {:>6}",
        "",
        "alone",
        "999 Hz",
        "lost",
        "whole",
        "slower",
        "perf",
        "cpu",
        "99 Hz",
        "lost",
        "whole",
        "cpu"
    );
    let neighbours = Neighbours::start(settings.neighbours)?;
    let mut all_hold = true;
    for row in rows {
        if !settings.only.is_empty() && !settings.only.contains(&row.name) {
            continue;
        }
        let missing = row.missing();
        if !missing.is_empty() {
            println!("{:<9} not run: install {}", row.name, missing.join(", "));
            all_hold &= std::env::var_os("CI").is_none();
            continue;
        }
        let line = measure(settings, &row)?;
        let (fast, slow) = (&line.fast, &line.slow);
        let missed = line.missed(&row);
        println!(
            "{:<9} {:>5.1}s | {:>7} {:>5} {:>5.1}% {:>6.1}% {:>6.1}% {:>5.2}% | {:>5} {:>4} {:>5.1}% {:>5.2}%  {}",
            row.name,
            line.alone,
            fast.samples,
            fast.lost,
            fast.whole,
            line.slower[0],
            line.slower[1],
            fast.recorder_percent(),
            slow.samples,
            slow.lost,
            slow.whole,
            slow.recorder_percent(),
            missed.join(", ")
        );
        all_hold &= missed.is_empty();
    }
    drop(neighbours);
    Ok(all_hold)
}

/// Runs a row's work without a recorder and with each, in turns.
fn measure(settings: &Settings<'_>, row: &Row) -> Result<Line, String> {
    let work = row.prepare(settings.root)?;
    let (mut alone, mut perf) = (f64::MAX, f64::MAX);
    let [mut fast, mut slow]: [Option<Recorded>; 2] = [None, None];
    for _ in 0..settings.rounds {
        alone = alone.min(cost_of(&work)?.cpu);
        let file = settings.root.join("perf.data");
        let command = format!("perf record -q -g -F 999 -o '{}' --", file.display());
        perf = perf.min(inside(settings, &command, &work)?.target);
        worst(&mut fast, recorded(settings, 999, &work)?);
        worst(&mut slow, recorded(settings, 99, &work)?);
    }
    let (fast, slow) = (fast.unwrap_or_default(), slow.unwrap_or_default());
    let slower = [fast.target, perf].map(|recorded| 100.0 * (recorded / alone - 1.0));
    Ok(Line {
        fast,
        slow,
        slower,
        alone,
    })
}

/// Of what was lost and cut the worst run counts, of what was used the best.
fn worst(so_far: &mut Option<Recorded>, run: Recorded) {
    *so_far = Some(match *so_far {
        None => run,
        Some(before) => Recorded {
            samples: before.samples.max(run.samples),
            lost: before.lost.max(run.lost),
            whole: before.whole.min(run.whole),
            target: before.target.min(run.target),
            recorder: before.recorder.min(run.recorder),
        },
    });
}

fn recorded(settings: &Settings<'_>, hertz: u32, work: &str) -> Result<Recorded, String> {
    let (prof, file) = (settings.prof.display(), settings.root.join("prof.data"));
    let summary = settings.root.join("summary");
    let command = format!(
        "'{prof}' record -F {hertz} -o '{}' 2>'{}' --",
        file.display(),
        summary.display()
    );
    let mut recorded = inside(settings, &command, work)?;
    let text = std::fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    (recorded.samples, recorded.lost, recorded.whole) =
        counts(&text).ok_or_else(|| format!("prof's summary is not understood: {text}"))?;
    Ok(recorded)
}

/// Runs the work inside a recorder's command; of both together and of the work alone it is known
/// what they used.
fn inside(settings: &Settings<'_>, recorder: &str, work: &str) -> Result<Recorded, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let used = settings.root.join("used");
    let inner = work.replace('\'', r"'\''");
    let command = format!(
        "{recorder} '{}' cost-of '{inner}' >'{}'",
        own.display(),
        used.display()
    );
    let both = cost_of(&command)?;
    let text = std::fs::read_to_string(&used).map_err(|error| error.to_string())?;
    let target: f64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("the work failed: {text}"))?;
    Ok(Recorded {
        target,
        recorder: both.cpu - target,
        ..Recorded::default()
    })
}

/// Samples, lost samples and the share of whole stacks, as prof's summary tells them.
fn counts(summary: &str) -> Option<(u64, u64, f64)> {
    let number = |text: &str| text.replace(',', "").parse().ok();
    let between = |before: &str, after: &str| {
        let (_, rest) = summary.split_once(before)?;
        Some(rest.split_once(after)?.0.to_owned())
    };
    let samples = summary.lines().find_map(|line| {
        let words = line.strip_suffix(" samples) ]")?;
        number(words.rsplit_once('(')?.1)
    })?;
    let lost = match between("\nlost ", " of ") {
        Some(lost) => number(&lost)?,
        None => 0,
    };
    let whole = between("\nstacks: ", "% whole")?.parse().ok()?;
    Some((samples, lost, whole))
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_summary_tells_what_was_lost_and_what_is_whole() {
        let summary = "prof: x\n[ prof record: Captured and wrote 4.9 MB x (28640 samples) ]\n\
            lost 1,204 of 29,844 samples (ring buffer full); try\nstacks: 99.2% whole\n";
        assert_eq!(counts(summary), Some((28_640, 1_204, 99.2)));
        let summary =
            "[ prof record: Captured and wrote 4.9 MB x (5 samples) ]\nstacks: 100.0% whole\n";
        assert_eq!(counts(summary), Some((5, 0, 100.0)));
        assert_eq!(counts("prof: no such process"), None);
    }
}
