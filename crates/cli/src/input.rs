//! Recordings, as the commands read them: with warnings on stderr, and with messages for errors.
//!
//! Elsewhere: reading and naming (`prof-session`).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use prof_perfdata::{Item, Recording};
use prof_report::EventGroup;
use prof_session::{LoadedRecording, ReadOptions, TimeSlices, Wanted, load, wall_time};

use crate::header;
use crate::messages::CliError;
use crate::units::roughly;

/// The recording that is read where none is named.
const DEFAULT: &str = "perf.data";
/// One that was not named and is older than this may be another than is meant.
const OLD: Duration = Duration::from_secs(600);

/// Opens a recording.
///
/// # Errors
/// A message that says what the file is instead.
pub fn open(path: &Path) -> Result<Recording, CliError> {
    let recording = load::open(path)?;
    say_age(path);
    Ok(recording)
}

/// Reads all of a recording and names what its samples hit; with what a report wants beyond stacks. Says
/// what makes it less than it seems.
///
/// # Errors
/// A message.
pub fn read(options: &ReadOptions, wanted: Wanted) -> Result<LoadedRecording, CliError> {
    let loaded = load::load(options, wanted)?;
    say_age(&options.path);
    let name = options.name();
    for warning in &loaded.warnings {
        eprintln!("prof: {name}: {warning}");
    }
    Ok(loaded)
}

/// How long ago a recording was written; `None` where there is none.
pub fn age(path: &Path) -> Option<Duration> {
    let written = fs::metadata(path).and_then(|it| it.modified()).ok()?;
    SystemTime::now().duration_since(written).ok()
}

fn say_age(path: &Path) {
    if path == Path::new(DEFAULT)
        && let Some(age) = age(path).filter(|&age| age > OLD)
    {
        eprintln!("prof: {DEFAULT} is {} old", roughly(age));
    }
}

/// The message for a recording of which nothing was read, where a part of it was asked for as `time` says.
pub fn no_samples(path: &Path, input: &LoadedRecording, time: Option<&TimeSlices>) -> CliError {
    let name = path.display();
    let Some((time, (first, last))) = time.zip(input.recorded) else {
        return CliError::new(format!("the recording `{name}` has no samples"));
    };
    let seconds = |ns: u64| ns as f64 / 1e9;
    let features = input.recording.features();
    let on_the_wall = |at| Some(header::time_of_day(wall_time(features, at)?));
    let by_clock = match on_the_wall(first).zip(on_the_wall(last)) {
        Some((first, last)) => format!(", {first} to {last}"),
        None => String::new(),
    };
    let (first, last) = (seconds(first), seconds(last));
    CliError::new(format!(
        "`{name}` has no samples in this range: `--time {}`",
        time.text
    ))
    .cause(format!(
        "it was recorded from {first:.3} to {last:.3} s of its clock{by_clock}"
    ))
    .hint("`--time 0,10` is the first ten seconds, `--time 10%-20%` the second tenth")
}

/// Visits the records of a recording in time order.
///
/// # Errors
/// The file is damaged.
pub fn for_each(
    recording: &mut Recording,
    path: &Path,
    visit: impl FnMut(Item<'_>),
) -> Result<(), CliError> {
    Ok(load::for_each(
        recording,
        &path.display().to_string(),
        visit,
    )?)
}

/// The events that were counted together; where none were, all if that is `forced`.
pub fn event_groups(recording: &Recording, forced: bool) -> Vec<EventGroup> {
    let events = recording.events().events().len() as u16;
    let groups = recording.features().groups.iter().map(|group| {
        let end = group.leader.saturating_add(group.members);
        EventGroup {
            name: Some(match group.name.as_str() {
                "{anon_group}" => String::new(),
                name => name.to_owned(),
            }),
            events: (0..events)
                .filter(|&event| (group.leader..end).contains(&u32::from(event)))
                .collect(),
        }
    });
    let groups: Vec<_> = groups.collect();
    if forced && groups.is_empty() {
        return vec![EventGroup {
            name: None,
            events: (0..events).collect(),
        }];
    }
    groups
}
