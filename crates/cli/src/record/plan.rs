//! What the arguments of `prof record` ask for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use prof_event::EventSpec;
use prof_model::{Cpu, Pid, Tid};
use prof_sampler::{Clock, Options, Rate, StackCapture, Target, parse_cpu_list};

use crate::args::RecordArgs;
use crate::error::CliError;
use crate::hints;

/// Bytes of stack per sample. Rust and C++ frames are large; at high rates the rings and the memory
/// they move are the limit.
const DEEP_COPY: u32 = 64_000;
const FAST_COPY: u32 = 32_768;
const FAST_RATE: u64 = 2_000;

/// Where the records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputPlan {
    /// Nowhere: only a picture is wanted.
    None,
    /// Into a file.
    File(PathBuf),
    /// To stdout.
    Stdout,
}

/// A recording to be made.
#[derive(Debug)]
pub struct Plan {
    /// The target; a command is filled in once it is forked.
    pub options: Options,
    /// A command to run, empty for none.
    pub command: Vec<OsString>,
    /// Whether the command is what is sampled, not only the clock.
    pub samples_command: bool,
    /// When to end.
    pub duration: Option<Duration>,
    /// Where to write.
    pub output: OutputPlan,
}

impl Plan {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A wrong value, with one that would be right.
    pub fn new(args: &RecordArgs) -> Result<Self, CliError> {
        let target = target(args)?;
        let samples_command = target.is_none();
        if samples_command && args.command.is_empty() {
            return Err(CliError::usage("nothing to sample")
                .hint("a process: `prof record -p PID -d 10s`")
                .hint("a command: `prof record -- ./program`")
                .hint("everything: `prof record -a -d 10s`"));
        }
        let rate = rate(args)?;
        let single_threads = !args.tid.is_empty();
        let options = Options {
            target: target.unwrap_or(Target::Command(Pid(0))),
            events: events(args)?,
            rate,
            stacks: stacks(&args.call_graph, rate)?,
            cpus: args.cpu.as_deref().map(cpus).transpose()?,
            inherit: !args.no_inherit && !single_threads,
            ring_bytes: args.mmap_pages,
            clock: clock(&args.clockid)?,
        };
        Ok(Self {
            options,
            command: args.command.clone(),
            samples_command,
            duration: args.duration,
            output: output(args),
        })
    }
}

fn target(args: &RecordArgs) -> Result<Option<Target>, CliError> {
    let number = |text: &String| text.trim().parse().ok().filter(|&number: &i32| number > 0);
    let numbers = |texts: &[String]| {
        let parsed = texts
            .iter()
            .map(|text| number(text).ok_or_else(|| hints::not_a_pid(text)));
        let mut numbers = parsed.collect::<Result<Vec<_>, _>>()?;
        numbers.sort_unstable();
        numbers.dedup();
        Ok::<_, CliError>(numbers)
    };
    Ok(if !args.pid.is_empty() {
        Some(Target::Processes(
            numbers(&args.pid)?.into_iter().map(Pid).collect(),
        ))
    } else if !args.tid.is_empty() {
        Some(Target::Threads(
            numbers(&args.tid)?.into_iter().map(Tid).collect(),
        ))
    } else if args.all_cpus || (args.cpu.is_some() && args.command.is_empty()) {
        Some(Target::System)
    } else {
        None
    })
}

fn events(args: &RecordArgs) -> Result<Vec<EventSpec>, CliError> {
    let specs = args.event.iter().map(|name| EventSpec::parse(name));
    specs
        .collect::<Result<_, _>>()
        .map_err(|error| hints::unknown_event(&error))
}

fn rate(args: &RecordArgs) -> Result<Rate, CliError> {
    if let Some(period) = args.count {
        return Ok(Rate::Period(period));
    }
    if args.frequency == "max" {
        return Ok(Rate::MaxFrequency);
    }
    match args.frequency.parse() {
        Ok(hz) if hz > 0 => Ok(Rate::Frequency(hz)),
        _ => Err(
            CliError::usage(format!("`{}` is no frequency", args.frequency))
                .hint("samples per second, such as `-F 99`, or `-F max`"),
        ),
    }
}

fn stacks(mode: &str, rate: Rate) -> Result<StackCapture, CliError> {
    let by_rate = match rate {
        Rate::Frequency(hz) if hz <= FAST_RATE => DEEP_COPY,
        _ => FAST_COPY,
    };
    let wrong = || {
        CliError::usage(format!("`--call-graph {mode}` is not known"))
            .hint("`auto`, `dwarf`, `dwarf,16384` (bytes of stack), `fp` or `none`")
    };
    match mode.split_once(',') {
        None => match mode {
            "auto" | "dwarf" => Ok(StackCapture::Copy(by_rate)),
            "fp" => Ok(StackCapture::FramePointers),
            "none" | "no" => Ok(StackCapture::None),
            _ => Err(wrong()),
        },
        Some(("dwarf" | "auto", bytes)) => {
            let bytes: u32 = bytes.parse().map_err(|_| wrong())?;
            let bytes = bytes.checked_next_multiple_of(8).ok_or_else(wrong)?;
            if bytes == 0 || bytes > prof_event::abi::MAX_STACK_COPY {
                return Err(CliError::usage(format!(
                    "a stack copy of {bytes} bytes is not possible"
                ))
                .hint(format!("8 to {} bytes", prof_event::abi::MAX_STACK_COPY)));
            }
            Ok(StackCapture::Copy(bytes))
        }
        Some(_) => Err(wrong()),
    }
}

/// Reads `0-3,8`.
///
/// # Errors
/// It is something else.
pub fn cpus(text: &str) -> Result<Vec<Cpu>, CliError> {
    parse_cpu_list(text).ok_or_else(|| {
        CliError::usage(format!("`{text}` is no list of CPUs")).hint("for example `-C 0-3,8`")
    })
}

fn clock(name: &str) -> Result<Clock, CliError> {
    Clock::by_name(name).ok_or_else(|| {
        let names = Clock::ALL
            .map(|clock| format!("`{}`", clock.name))
            .join(", ");
        CliError::usage(format!("there is no clock `{name}`")).hint(format!("one of {names}"))
    })
}

fn output(args: &RecordArgs) -> OutputPlan {
    match &args.output {
        Some(path) if path.as_os_str() == "-" => OutputPlan::Stdout,
        Some(path) => OutputPlan::File(path.clone()),
        None if args.drawing.any() => OutputPlan::None,
        None => OutputPlan::File(PathBuf::from("perf.data")),
    }
}
