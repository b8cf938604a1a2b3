//! Signals that ask for the end, however often they come. Only a second Ctrl-C, or Ctrl-\, does not wait for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::pipe2;
use prof_session::record::Unfinished;

use crate::messages::{CliError, open_errors};

/// Signals that ask for the end of a recording.
pub struct EndRequests {
    state: Arc<State>,
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    was_asked: AtomicBool,
    forward_to: AtomicI32, // 0: nobody
    unfinished: Mutex<Option<Unfinished>>,
}

/// A Ctrl-C that comes sooner after the first is the same wish once more.
const PATIENCE: Duration = Duration::from_secs(1);

const SIGNALS: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];
/// Those that a terminal sends, where a second one does not wait.
const TYPED: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// Keeps the signals from ending the program; call it before any other thread starts.
///
/// # Errors
/// The kernel's.
pub fn block() -> io::Result<()> {
    set().thread_block().map_err(Into::into)
}

/// Makes a file that grows over its limit (`ulimit -f`) an error of whoever writes it, not the end of the program.
/// Call it before any thread starts.
pub fn survive_file_limits() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    let _ = set.thread_block(); // it cannot fail for a signal that exists
}

fn set() -> SigSet {
    let mut set = SigSet::empty();
    SIGNALS.iter().for_each(|&signal| set.add(signal));
    set
}

impl EndRequests {
    /// Starts to listen. The signals must be blocked.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen() -> Result<Self, CliError> {
        let failed = |error: nix::Error| {
            CliError::new("could not wait for signals").cause(io::Error::from(error))
        };
        let signals = SignalFd::with_flags(&set(), SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        let (wake, waker) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::Builder::new()
            .name("prof-signals".to_owned())
            .spawn(move || listen(&signals, &shared, &waker))
            .map_err(open_errors::no_thread)?;
        Ok(Self { state, wake })
    }

    /// Whether the end was asked for.
    pub fn were_made(&self) -> bool {
        self.state.was_asked.load(Ordering::Acquire)
    }

    /// Becomes readable at the first request, and stays so.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Waits so long for a request.
    pub fn wait(&self, time: Duration) {
        let mut files = [PollFd::new(self.wake_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut files, time); // interrupted: the caller looks again
    }

    /// Requests that did not come from the terminal, which a command of ours would have got too, are
    /// passed on to it.
    pub fn forward_to(&self, pid: i32) {
        self.state.forward_to.store(pid, Ordering::Release);
    }

    /// The file to keep as it is when a second Ctrl-C ends the program at once.
    pub fn set_unfinished(&self, file: Option<Unfinished>) {
        if let Ok(mut unfinished) = self.state.unfinished.lock() {
            *unfinished = file;
        }
    }
}

fn listen(signals: &SignalFd, state: &State, waker: &OwnedFd) {
    const FROM_KERNEL: i32 = 0x80; // SI_KERNEL: typed at the terminal
    let mut typed_before = None;
    loop {
        let Ok(Some(info)) = signals.read_signal() else {
            return;
        };
        let command = state.forward_to.load(Ordering::Acquire);
        let typed = info.ssi_code == FROM_KERNEL;
        if command != 0
            && !typed
            && let Ok(signal) = Signal::try_from(info.ssi_signo as i32)
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(command), signal);
        }
        if !state.was_asked.swap(true, Ordering::AcqRel) {
            let _ = nix::unistd::write(waker, &[1]);
        }
        // `timeout` signals its command and then the whole group: what comes twice is one request.
        let is_typed = |signal: &Signal| info.ssi_signo == *signal as u32;
        if typed && TYPED.iter().any(is_typed) {
            let first = *typed_before.get_or_insert_with(Instant::now);
            if first.elapsed() >= PATIENCE {
                abort(state);
            }
        }
    }
}

fn abort(state: &State) -> ! {
    let unfinished = state.unfinished.lock().ok().and_then(|mut it| it.take());
    match unfinished.map(|it| it.keep()) {
        Some(Ok(part)) => {
            let part = part.display();
            eprintln!("prof: aborted; what was written is in {part}: `prof report -i {part}`");
        }
        _ => eprintln!("prof: aborted"),
    }
    std::process::exit(128 + Signal::SIGINT as i32)
}
