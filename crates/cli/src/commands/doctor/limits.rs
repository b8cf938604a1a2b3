//! Limits: open files, locked memory, rates.

use nix::sys::resource::{Resource, getrlimit};
use prof_sampler::{Note, max_sample_rate, online_cpus};

use super::check::{Check, State};
use super::machine::USUAL_HZ;
use crate::messages::present::Present;
use crate::messages::settings;
use crate::units::thousands;

/// Files that the program needs besides events.
pub const SPARE_FILES: u64 = 128;
/// So many threads most programs have at most.
const THREADS: u64 = 100;

/// All of them. `notes` are of a trial with rings of the usual size.
pub fn checks(notes: &[Note], present: &Present) -> Vec<Check> {
    vec![
        open_files(present),
        locked_memory(notes, present),
        rate(present),
    ]
}

/// How many files may be open, once the limit is raised as far as this process may.
pub fn most_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard)
}

fn open_files(present: &Present) -> Check {
    let lost = "processes with many threads on many CPUs";
    let check = Check::new("open_files", "open files", lost);
    let most = most_files();
    let cpus = online_cpus().len().max(1) as u64;
    let threads = most.saturating_sub(SPARE_FILES) / cpus;
    let check = check.detail(format!(
        "{}: up to {} threads on {cpus} CPUs",
        thousands(most),
        thousands(threads)
    ));
    if threads >= THREADS {
        return check;
    }
    let wanted = (THREADS * cpus + SPARE_FILES).next_multiple_of(1024);
    let reason = format!(
        "{} may be open, and one is needed per thread and CPU",
        thousands(most)
    );
    check
        .fails(State::Partly, reason)
        .remedies([format!("raise the limit: {}", present.open_files(wanted))])
}

fn locked_memory(notes: &[Note], present: &Present) -> Check {
    let lost = "samples at high rates, where rings are small";
    let check = Check::new("locked_memory", "memory for rings", lost);
    let rings = notes.iter().find_map(|note| match note {
        Note::Rings { asked, used } => Some((asked >> 10, used >> 10)),
        _ => None,
    });
    let limit = settings::sysctl::<u64>("perf_event_mlock_kb");
    let Some((asked, used)) = rings else {
        return check.detail(match limit {
            Some(kb) => format!("enough; perf_event_mlock_kb is {}", thousands(kb)),
            None => "enough".to_owned(),
        });
    };
    let reason = format!("{used} KiB per CPU instead of {asked}: the limit of locked memory");
    // a ring and the page in front of it
    let wanted = settings::larger(asked as u64 + 4, limit.unwrap_or(0));
    check
        .fails(State::Partly, reason)
        .remedies([present.sysctl(&format!("kernel.perf_event_mlock_kb={wanted}"))])
}

fn rate(present: &Present) -> Check {
    let lost = "samples: fewer per second";
    let check = Check::new("sample_rate", "sampling rate", lost);
    let most = max_sample_rate();
    let share = settings::sysctl::<u64>("perf_cpu_time_max_percent");
    let share = share.map_or_else(String::new, |it| format!(", with at most {it}% of a CPU"));
    let check = check.detail(format!("up to {} Hz{share}", thousands(most)));
    match most >= USUAL_HZ {
        true => check,
        false => {
            let setting = format!("kernel.perf_event_max_sample_rate={}", 100_000);
            let reason = format!("kernel.perf_event_max_sample_rate is {most}");
            check
                .fails(State::Partly, reason)
                .remedies([present.sysctl(&setting)])
        }
    }
}
