//! What a recording came to, and the lines that say so at its end.

use std::time::Duration;

use prof_perfdata::Summary as Sizes;
use prof_profile::{Names, Unit};
use prof_report::{summarize_waits, tells_wakers, write_trust, write_wait_summary};
use prof_sampler::{Priority, Sampler};
use prof_session::Crowding;
use prof_session::record::{FileDestination, Recorder};

use crate::messages::CliError;
use crate::messages::missing_names::{remedies, unread_memory};
use crate::messages::present::Present;
use crate::messages::settings;
use crate::printed;
use crate::units::thousands;

const HOTTEST: usize = 5;

/// What a recording came to.
pub struct Done {
    /// Samples taken.
    pub samples: u64,
    /// Samples that the kernel could not store.
    pub lost: u64,
    /// CPU time of the target while it was recorded, where it could be read.
    pub cpu_time: Option<Duration>,
    /// How much of the CPUs it used, and its quota, as a line.
    pub usage: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// From when to when was sampled, in nanoseconds of the sampler's clock.
    pub span: (u64, u64),
    /// Whether a command was sampled, which is over then and cannot be asked again.
    pub of_command: bool,
    /// The exit status of the command that was run.
    pub command_status: Option<u8>,
    /// The event that was sampled.
    pub event: String,
}

/// What was written.
pub struct File {
    /// Its name; `-` for stdout.
    pub name: String,
    /// How large.
    pub sizes: Sizes,
    /// Whether its records are compressed.
    pub compressed: bool,
}

/// Says what was opened.
pub fn print_start(sampler: &Sampler) {
    for event in sampler.events().events() {
        let attr = &event.attr;
        let rate = match attr.frequency() {
            Some(hz) => format!("{hz} Hz"),
            None if attr.sample_period_or_freq == 0 => "counted by its group's samples".to_owned(),
            None => format!("every {}", thousands(attr.sample_period_or_freq)),
        };
        eprintln!(
            "prof: event `{}`, {rate}, {} instances, {} bytes of stack per sample",
            event.name,
            event.ids.len(),
            attr.sample_stack_user
        );
    }
    if let Some(bytes) = sampler.small_copy() {
        eprintln!("prof: {bytes} bytes of stack while that is enough");
    }
    match sampler.reads_deep_stacks() {
        Ok(()) => eprintln!("prof: larger stacks are read by a BPF program"),
        Err(reason) => eprintln!("prof: larger stacks are not read by a BPF program: {reason}"),
    }
    eprintln!(
        "prof: {} ring buffers of {} KiB",
        sampler.cpu_count(),
        sampler.ring_bytes() / 1024
    );
    eprintln!("prof: they are emptied {}", sampler.priority());
}

/// How a recorder that had to wait for a CPU may come before others.
fn more_priority(present: Priority) -> Option<&'static str> {
    match present {
        Priority::Unchanged | Priority::ShortSlices => Some(
            "on a busy machine the recorder waits for a CPU as all others do; with CAP_SYS_NICE, or \
             `ulimit -e 40`, it comes before them",
        ),
        Priority::Nice(_) => {
            Some("if the machine is busy, `-r 1` empties the rings before all other work")
        }
        Priority::Realtime(_) => None,
    }
}

/// Says what was recorded in this span of time, what is missing, and where the time went.
pub fn print(
    recorder: &Recorder<FileDestination>,
    sampler: &Sampler,
    names: &Names,
    file: Option<&File>,
    span: (u64, u64),
    usage: Option<&str>,
    verbose: bool,
) {
    let samples = recorder.samples();
    match file {
        Some(file) if file.name != "-" => {
            let mb = file.sizes.file_bytes as f64 / 1e6;
            let compressed = if file.compressed {
                let original = file.sizes.record_bytes as f64 / 1e6;
                let ratio = original / (file.sizes.data_bytes as f64 / 1e6).max(1e-9);
                format!(", compressed (original {original:.3} MB, ratio is {ratio:.3})")
            } else {
                String::new()
            };
            eprintln!(
                "[ prof record: Captured and wrote {mb:.3} MB {}{compressed} ({samples} samples) ]",
                file.name
            );
        }
        Some(_) => eprintln!("[ prof record: Captured and piped {samples} samples ]"),
        None if samples > 0 => eprintln!("[ prof record: Captured {samples} samples ]"),
        None => {}
    }
    if samples == 0 {
        return;
    }
    if let Some(usage) = usage {
        eprintln!("{usage}");
    }
    let profile = &recorder.pipeline.profile;
    let lost = recorder.lost();
    if lost > 0 {
        eprintln!(
            "lost {} of {} samples (ring buffer full); try a larger one, `-m {}M`, or a lower -F",
            thousands(lost),
            thousands(lost + samples),
            settings::larger(32, sampler.ring_bytes() as u64 >> 20)
        );
        if let Some(hint) = more_priority(sampler.priority()) {
            eprintln!("hint: {hint}");
        }
    }
    say_crowded(recorder.pipeline.crowding(), sampler, verbose);
    if profile.losses.throttled > 0 {
        eprintln!(
            "throttled {} times: the kernel paused the event because it came too often",
            thousands(profile.losses.throttled)
        );
    }
    let events = 0..profile.events.len() as u16;
    let events: Vec<_> = events
        .filter(|&event| !tells_wakers(profile, event))
        .collect();
    for &event in &events {
        let summary = prof_report::summarize(profile, names, event, HOTTEST);
        if summary.total.samples + summary.idle.samples == 0 {
            continue;
        }
        let info = &profile.events[usize::from(event)];
        if events.len() > 1 {
            eprintln!("{}:", info.name);
        }
        if info.unit == Unit::WaitTime {
            let waits = summarize_waits(profile, names, event, span, HOTTEST);
            let _ = write_wait_summary(&mut printed::stderr(), &waits);
            let _ = write_trust(&mut printed::stderr(), &summary);
        } else {
            let _ = prof_report::write_summary(&mut printed::stderr(), &summary);
        }
        for hint in remedies(&summary, &recorder.pipeline.tracker.processes) {
            eprintln!("hint: {hint}");
        }
    }
    let refused = recorder.pipeline.refused_stacks();
    if refused > 0 {
        eprintln!("hint: {}", unread_memory(refused, &Present::look()));
    }
    if verbose {
        let lowered = sampler.priority_lowered();
        if lowered > 0 {
            eprintln!(
                "prof: took more than a fifth of a CPU and came no more before others, for a second, {} times",
                thousands(lowered)
            );
        }
        let stats = recorder.pipeline.unwinder_stats();
        let (small, too_small) = recorder.pipeline.stack_copies().taken_small();
        if small > 0 {
            eprintln!(
                "prof: {} samples with the smaller copy of the stack, which was too small for {}",
                thousands(small),
                thousands(too_small)
            );
        }
        let deep = recorder.pipeline.deep_stacks();
        if deep > 0 {
            eprintln!(
                "prof: {} stacks finished with what lay behind their copies",
                thousands(deep)
            );
        }
        if stats.continued_live + stats.moved_on > 0 {
            eprintln!(
                "prof: {} stacks finished from live memory, {} not, because their threads had moved on or may have",
                thousands(stats.continued_live),
                thousands(stats.moved_on)
            );
        }
        eprintln!("prof: unwinder: {stats:?}");
    }
}

/// Says that samples were made smaller so that none are lost, where that took something of them or everything is
/// to be said.
fn say_crowded(crowding: &Crowding, sampler: &Sampler, verbose: bool) {
    let cut = crowding.stacks_cut();
    if cut == 0 && !(verbose && crowding.times() > 0) || sampler.small_copy().is_none() {
        return;
    }
    let times = match crowding.times() {
        1 => "once".to_owned(),
        times => format!("{} times", thousands(times)),
    };
    eprintln!(
        "the ring buffers were about to be full {times}: until they were not, less was copied of stacks, and {} \
         are cut for it; they have {} KiB at last",
        thousands(cut),
        sampler.ring_bytes() / 1024
    );
}

/// The message for a recording without samples.
pub fn no_samples(done: &Done, wants_drawing: bool) -> CliError {
    let seconds = done.elapsed.as_secs_f64();
    let mut message = CliError::new(format!("no samples in {seconds:.1} s of `{}`", done.event));
    if wants_drawing {
        message = message.cause("so there is nothing to draw");
    }
    if let Some(usage) = &done.usage {
        message = message.cause(usage);
    }
    if done.lost > 0 {
        return message
            .cause(format!(
                "{} were lost: they did not fit into the ring buffer",
                thousands(done.lost)
            ))
            .hint("use larger rings: `-m 4M`, or leave -m out");
    }
    match done.cpu_time {
        Some(time) if time < Duration::from_millis(20) => message
            .cause(format!(
                "the target was idle: on the CPU for {} ms",
                time.as_millis()
            ))
            .hint("record while it works, or for longer: `-d 60s`")
            .hint("if it waits for something, `--off-cpu` tells where, and for how long"),
        Some(time) => message
            .cause(format!(
                "although the target was on the CPU for {} ms",
                time.as_millis()
            ))
            .hint("sample more often, `-F 4999`: what ends between two samples is not seen")
            .hint("or CPUs instead of threads, `-a`; or another event, `-e cpu-clock`"),
        None => message.hint("record for longer, or more often: `-F 999`"),
    }
}
