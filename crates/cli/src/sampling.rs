//! Whom `record`, `why` and `top` sample, what and how often.
//!
//! In: the arguments that both have. Out: the options of `prof-sampler`, a command that waits, open events.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use prof_event::{EventList, EventSpec};
use prof_model::{Cpu, Pid, Tid};
use prof_sampler::{
    Clock, HeldCommand, Options, Rate, Sampler, StackCapture, Switches, Target, parse_cpu_list,
    proc,
};
use prof_target::{Followed, Follower};
use prof_vitals::Subject;

use crate::command_line::shared::SamplingArgs;
use crate::messages::{CliError, FAILED, open_errors};
use crate::whom::{Whom, whom};

/// The exit status, as `env` has it, where the command was not even tried.
const NOT_BEGUN: u8 = 125;
/// So many processes are named in titles.
const NAMED: usize = 4;

/// A target and how to sample it.
#[derive(Debug)]
pub struct Sampling {
    /// The target; a command is filled in once it is forked.
    pub options: Options,
    /// A command to run, empty for none.
    pub command: Vec<OsString>,
    /// The most frames kept of a stack.
    pub max_stack: usize,
    /// The real-time priority of the thread that empties the rings, if one was asked for.
    pub realtime: Option<u8>,
    /// Whether the command is what is sampled, not only the clock.
    pub samples_command: bool,
    /// Which processes were found, as a line for the user.
    pub found: Option<String>,
    /// Who is to be sampled as well if he comes later.
    pub followed: Vec<Followed>,
    /// What a cgroup is called.
    title: Option<String>,
    /// What was said about whom to sample and is not heeded, as a line for the user.
    pub overridden: Option<&'static str>,
}

impl Sampling {
    /// Reads the arguments of `subcommand`, which samples at `usual_hz` if no rate is given.
    ///
    /// # Errors
    /// A wrong value, with one that would be right.
    pub fn new(
        args: &SamplingArgs,
        subcommand: &str,
        usual_hz: u64,
        clock: Clock,
    ) -> Result<Self, CliError> {
        let whom = whom(args).map_err(|error| match error.status {
            FAILED if !args.command.is_empty() => error.status(NOT_BEGUN),
            _ => error,
        })?;
        let samples_command = whom.is_none();
        if samples_command && args.command.is_empty() {
            return Err(CliError::usage("nothing to sample")
                .hint(format!("a process: `prof {subcommand} -p PID`"))
                .hint(format!("a command: `prof {subcommand} -- ./program`"))
                .hint(format!("everything: `prof {subcommand} -a`")));
        }
        if args.waker && !args.wall && !args.off_cpu {
            return Err(
                CliError::usage("--waker is of waits, and none are recorded").hint(format!(
                    "add --off-cpu: `prof {subcommand} --off-cpu --waker ...`"
                )),
            );
        }
        let rate = rate(args, usual_hz)?;
        let (target, title, found, followed) = match whom {
            Some(Whom {
                target,
                title,
                said,
                followed,
            }) => (Some(target), title, said, followed),
            None => (None, None, None, Vec::new()),
        };
        let single_threads = matches!(target, Some(Target::Threads(_)));
        let options = Options {
            events: events(args)?,
            switches: match (args.wall, args.off_cpu) {
                (_, true) => Switches::Alone,
                (true, _) => Switches::Beside,
                _ => Switches::Unrecorded,
            },
            wakers: args.waker,
            stacks: stacks(&args.call_graph, rate)?,
            cpus: args.cpu.as_deref().map(cpus).transpose()?,
            sample_cpu: true,
            inherit: !args.no_inherit && !single_threads,
            ring_bytes: args.mmap_pages,
            clock,
            ..Options::new(target.unwrap_or(Target::Command(Pid(0))), rate)
        };
        Ok(Self {
            options,
            command: args.command.clone(),
            max_stack: args.max_stack,
            realtime: args.realtime,
            samples_command,
            found,
            followed,
            title,
            overridden: overridden(args),
        })
    }

    /// Forks for the command, if there is one; it does not begin yet. Call it before any thread is
    /// started.
    ///
    /// # Errors
    /// There can be no further process.
    pub fn hold_command(&mut self) -> Result<Option<HeldCommand>, CliError> {
        if self.command.is_empty() {
            return Ok(None);
        }
        let held = HeldCommand::fork(&self.command).map_err(|error| {
            open_errors::no_task("could not start a process for the command", error)
                .status(NOT_BEGUN)
        })?;
        if self.samples_command {
            self.options.target = Target::Command(held.pid());
        }
        Ok(Some(held))
    }

    /// Opens the events.
    ///
    /// # Errors
    /// Why the kernel said no, and what to do.
    pub fn open(&self) -> Result<Sampler, CliError> {
        let system_wide = matches!(self.options.target, Target::System);
        Sampler::open(self.options.clone())
            .map_err(|error| self.not_begun(open_errors::open_error(&error, system_wide)))
    }

    /// Begins to look for processes that belong to the target and come later, where the sampler can have them. Call
    /// it once signals are blocked.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn follow(&self, sampler: &Sampler) -> Result<Option<Follower>, CliError> {
        if self.followed.is_empty() || !sampler.can_follow() {
            return Ok(None);
        }
        let follower = Follower::start(self.followed.clone());
        let follower = follower.map_err(|error| self.not_begun(open_errors::no_thread(error)))?;
        Ok(Some(follower))
    }

    /// The message for a real-time priority that was asked for and not granted.
    pub fn no_priority(&self, error: io::Error) -> CliError {
        let priority = self.realtime.unwrap_or_default();
        self.not_begun(open_errors::no_priority(priority, error))
    }

    /// CPU time of what is sampled so far, where that can be read.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.options.target.cpu_time(self.options.inherit)
    }

    /// Whose vitals tell about the target; nobody's as long as a command is not there.
    pub fn subject(&self) -> Subject {
        match &self.options.target {
            Target::System => Subject::Machine,
            Target::Processes(pids) => Subject::Processes {
                pids: pids.iter().map(|pid| pid.0).collect(),
                descendants: self.options.inherit,
            },
            Target::Cgroup(cgroup) => Subject::Processes {
                pids: cgroup.members().iter().map(|pid| pid.0).collect(),
                descendants: false,
            },
            Target::Threads(tids) => Subject::Threads(tids.iter().map(|tid| tid.0).collect()),
            Target::Command(Pid(0)) => Subject::Processes {
                pids: Vec::new(),
                descendants: true,
            },
            Target::Command(pid) => Subject::Processes {
                pids: vec![pid.0],
                descendants: true,
            },
        }
    }

    /// An error from before the command, if there is one, was run: its exit status tells so.
    pub fn not_begun(&self, error: CliError) -> CliError {
        if self.command.is_empty() {
            error
        } else {
            error.status(NOT_BEGUN)
        }
    }

    /// The exit status that `env` and shells have for a command that could not be started.
    pub fn not_started(&self, error: io::Error) -> CliError {
        let program = self.command.first().cloned().unwrap_or_default();
        let status = if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        };
        CliError::new(format!("could not run `{}`", program.display()))
            .cause(error)
            .hint("give a program in $PATH or a path, after `--`")
            .status(status)
    }

    /// The target for titles: `nginx (4121)`, a command line, `all CPUs`.
    pub fn target_name(&self) -> String {
        let name = |pid: Pid| {
            let comm = proc::comm(pid, Tid(pid.0)).unwrap_or_default();
            format!("{} ({pid})", String::from_utf8_lossy(&comm))
        };
        match &self.options.target {
            Target::Processes(pids) => {
                let names: Vec<_> = pids.iter().take(NAMED).map(|&pid| name(pid)).collect();
                match pids.len().saturating_sub(NAMED) {
                    0 => names.join(", "),
                    more => format!("{} and {more} more", names.join(", ")),
                }
            }
            Target::Cgroup(cgroup) => match &self.title {
                Some(title) => title.clone(),
                None => cgroup.path().display().to_string(),
            },
            Target::Threads(tids) => {
                let names: Vec<_> = tids.iter().map(|tid| name(Pid(tid.0))).collect();
                format!("threads {}", names.join(", "))
            }
            Target::System => "all CPUs".to_owned(),
            Target::Command(_) => {
                let words: Vec<_> = self
                    .command
                    .iter()
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect();
                words.join(" ")
            }
        }
    }
}

/// What is sampled of running threads. Beside waiting time that has to be time as well.
fn events(args: &SamplingArgs) -> Result<EventList, CliError> {
    let list = args.events.list()?;
    match args.wall && list.events.is_empty() {
        true => Ok(EventSpec::parse("cpu-clock")
            .expect("an event of every kernel")
            .into()),
        false => Ok(list),
    }
}

fn overridden(args: &SamplingArgs) -> Option<&'static str> {
    if args.groups.any() {
        return args
            .all_cpus
            .then_some("a cgroup overrides -a: sampling what is in it only");
    }
    match (args.pid.is_empty(), args.tid.is_empty(), args.all_cpus) {
        (false, false, false) => Some("-p overrides -t: sampling these processes"),
        (false, _, true) => Some("-p overrides -a: sampling these processes only"),
        (true, false, true) => Some("-t overrides -a: sampling these threads only"),
        _ => None,
    }
}

fn rate(args: &SamplingArgs, usual_hz: u64) -> Result<Rate, CliError> {
    if let Some(period) = args.count {
        return Ok(Rate::Period(period));
    }
    let Some(frequency) = &args.frequency else {
        return Ok(Rate::Frequency(usual_hz));
    };
    if frequency == "max" {
        return Ok(Rate::MaxFrequency);
    }
    match frequency.parse() {
        Ok(hz) if hz > 0 => Ok(Rate::Frequency(hz)),
        _ => Err(CliError::usage(format!("`{frequency}` is no frequency"))
            .hint("samples per second, such as `-F 99`, or `-F max`")),
    }
}

fn stacks(mode: &str, rate: Rate) -> Result<StackCapture, CliError> {
    let wrong = || {
        CliError::usage(format!("`--call-graph {mode}` is not known"))
            .hint("`auto`, `dwarf`, `dwarf,16384` (bytes of stack), `fp` or `none`")
    };
    match mode.split_once(',') {
        None => match mode {
            "auto" | "dwarf" => Ok(StackCapture::for_rate(rate)),
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
