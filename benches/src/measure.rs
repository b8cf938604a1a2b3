//! What a command costs, with all of its children.

use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::wait;

/// The cost of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds on a CPU, user and system.
    pub(crate) cpu: f64,
    /// Resident memory at its most, of the largest process, in MB.
    pub(crate) peak: f64,
}

/// Runs a command in a process of its own that has no other children, so that what the kernel
/// accounts to it is that command's.
pub(crate) fn cost_of(shell: &str) -> Result<Cost, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own)
        .args(["cost-of", shell])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [wall, cpu, peak] if output.status.success() => Ok(Cost { wall, cpu, peak }),
        _ => Err(format!(
            "`{shell}` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// The other end of [`cost_of`]: prints the three numbers.
pub(crate) fn print_cost(shell: &str) -> io::Result<bool> {
    set_child_subreaper(true)?;
    let start = Instant::now();
    let status = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {shell}")])
        .stdout(Stdio::null())
        .status()?;
    let wall = start.elapsed().as_secs_f64();
    // What the command left behind, as perf does its addr2line, is accounted once it was waited for.
    while wait().is_ok() {}
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    println!("{wall} {cpu} {}", usage.max_rss() as f64 / 1024.0);
    Ok(status.success())
}

/// The median of each figure.
pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    let mut middle = |figure: fn(&Cost) -> f64| {
        costs.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        costs.get(costs.len() / 2).map_or(0.0, figure)
    };
    Cost {
        wall: middle(|cost| cost.wall),
        cpu: middle(|cost| cost.cpu),
        peak: middle(|cost| cost.peak),
    }
}
