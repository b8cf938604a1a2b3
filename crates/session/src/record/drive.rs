//! The loop of a recording: waits for the rings, empties them, and finds out whether it is over.
//!
//! In: a sampler that has started, and who decides when to end ([`Control`]). Out: records for a
//! [`Recorder`], and why the loop ended. Elsewhere: the order of records (`prof_sampler::Sampler`).

use std::any::Any;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use prof_model::Pid;
use prof_sampler::{ExitStatus, Joined, RunningCommand, Sampler};

use super::recorder::{Destination, LOOKING, Recorder};
use crate::deep_stacks::DeepThread;
use crate::pace::SHORT_PAUSE;

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over.
    TimeOver,
    /// The command has ended.
    Command(ExitStatus),
    /// It was asked for.
    Asked,
    /// The target has exited.
    TargetExited,
}

/// Decides how long a recording goes on, and looks at it between rounds.
pub trait Control<D> {
    /// How long the rings may wait at most, if they do not fill; `None` if the time is over.
    fn longest_wait(&self) -> Option<Duration>;

    /// Adds descriptors that end a wait when they become readable.
    fn wake_fds<'a>(&'a self, _fds: &mut Vec<BorrowedFd<'a>>) {}

    /// Whether somebody asked for the end.
    fn is_asked_to_end(&self) -> bool {
        false
    }

    /// Further processes that are to be sampled, as far as [`Sampler::follow`] can. Asked after each round.
    fn further(&mut self) -> Vec<Pid> {
        Vec::new()
    }

    /// A further process is sampled from now on, or cannot be.
    fn joined(&mut self, _joined: &Joined) {}

    /// Called after each round of the rings. All records from before `passed`, in nanoseconds of the
    /// sampler's clock, have been taken in.
    fn after_round(&mut self, _recorder: &mut Recorder<D>, _passed: u64) {}
}

/// How long a wait for records lasts at most: what is shown and asked meanwhile is not older.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Records for a time, unless the target ends before.
#[derive(Clone, Copy, Debug)]
pub struct RunFor {
    until: Option<Instant>,
}

impl RunFor {
    /// From now on.
    pub fn new(duration: Duration) -> Self {
        Self::until(Some(Instant::now() + duration))
    }

    /// Until then, or without an end.
    pub fn until(until: Option<Instant>) -> Self {
        Self { until }
    }
}

impl<D> Control<D> for RunFor {
    fn longest_wait(&self) -> Option<Duration> {
        let left = match self.until {
            Some(until) => until.checked_duration_since(Instant::now())?,
            None => LONGEST_WAIT,
        };
        Some(left.min(LONGEST_WAIT))
    }
}

/// Samples until `control` says that it is over, or the target or the command has ended. The sampler has
/// to be [finished](Sampler::finish) afterwards, which takes the last records in.
///
/// # Errors
/// The rings cannot be read, the destination cannot take a record, or something here has panicked: what was
/// recorded until then can be finished all the same.
pub fn drive<D: Destination>(
    sampler: &mut Sampler,
    recorder: &mut Recorder<D>,
    command: Option<&mut RunningCommand>,
    control: &mut impl Control<D>,
) -> io::Result<End> {
    caught(|| drive_rounds(sampler, recorder, command, control))
}

/// What `work` comes to, or what it said when it panicked.
fn caught<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> io::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let said = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let said = said.unwrap_or("it said nothing");
    io::Error::other(format!("a fault of prof itself: {said}"))
}

fn drive_rounds<D: Destination>(
    sampler: &mut Sampler,
    recorder: &mut Recorder<D>,
    mut command: Option<&mut RunningCommand>,
    control: &mut impl Control<D>,
) -> io::Result<End> {
    let exit = command
        .as_deref()
        .map(RunningCommand::exit_fd)
        .transpose()?;
    let mut hurry = recorder.pipeline.races();
    // When the last two rounds began: what came before the first of them is passed on.
    let mut began = [sampler.clock().now(); 2];
    loop {
        let Some(wait) = control.longest_wait() else {
            return Ok(End::TimeOver);
        };
        if let Some(pause) = hurry {
            // What is in the rings now may be passed on in the next round.
            std::thread::sleep(pause);
        } else {
            let mut also = Vec::new();
            also.extend(exit.as_ref().map(AsFd::as_fd));
            control.wake_fds(&mut also);
            sampler.wait(recorder.pipeline.longest_wait(wait), &also)?;
        }
        began = [began[1], sampler.clock().now()];
        let has_more = sampler.round(recorder)?;
        recorder
            .pipeline
            .name_deep_threads(|DeepThread { pid, tid, sp }| {
                let _ = sampler.read_behind_copies(pid, tid, sp); // it may be gone
            });
        recorder.pipeline.look_at_rings(sampler.fullness());
        sampler.use_copies(recorder.pipeline.next_copies())?;
        hurry = recorder.pipeline.races();
        hurry = hurry.or(has_more.then_some(SHORT_PAUSE));
        if let Some(command) = command.as_deref_mut()
            && let Some(status) = command.try_wait()?
        {
            return Ok(End::Command(status));
        }
        if control.is_asked_to_end() {
            return Ok(End::Asked);
        }
        if sampler.target_exited() {
            return Ok(End::TargetExited);
        }
        let now = sampler.clock().now();
        recorder.look_at_waits(sampler.clock(), LOOKING);
        recorder.tell_waits(began[0])?;
        sampler.sample_switches(recorder.wants_switches(now))?;
        for pid in control.further() {
            sampler.follow(pid);
        }
        for joined in sampler.joined() {
            control.joined(&joined);
        }
        control.after_round(recorder, began[0]);
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its exit status.
    pub status: ExitStatus,
    /// Whether we ended it: then the status says nothing about it.
    pub by_us: bool,
}

/// Waits for a command. One that still runs is ended: what it was started for is over.
///
/// # Errors
/// It cannot be waited for.
pub fn end_command(command: &mut RunningCommand) -> io::Result<CommandEnd> {
    let by_us = command.try_wait()?.is_none();
    if by_us {
        command.signal(Signal::SIGTERM);
    }
    Ok(CommandEnd {
        status: command.wait()?,
        by_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_wait(seconds: f64) -> Option<Duration> {
        let run = RunFor::new(Duration::from_secs_f64(seconds));
        Control::<()>::longest_wait(&run)
    }

    #[test]
    fn a_panic_while_recording_is_an_error_that_says_what_it_said() {
        let said = |work: fn() -> io::Result<()>| caught(work).unwrap_err().to_string();
        assert_eq!(
            said(|| panic!("an odd record")),
            "a fault of prof itself: an odd record"
        );
        let formatted = said(|| panic!("record {}", std::hint::black_box(7)));
        assert_eq!(formatted, "a fault of prof itself: record 7");
        assert!(caught(|| Ok(())).is_ok());
    }

    #[test]
    fn a_recording_waits_no_longer_than_its_time_and_looks_often_before() {
        assert_eq!(longest_wait(3600.0), Some(LONGEST_WAIT));
        let left = longest_wait(0.05).unwrap();
        assert!(left <= Duration::from_millis(50), "{left:?}");
        let over = RunFor::new(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(Control::<()>::longest_wait(&over), None);
    }
}
