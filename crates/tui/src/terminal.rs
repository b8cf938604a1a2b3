//! The terminal: taken, and given back whatever happens.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, terminal};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use ratatui::backend::CrosstermBackend;

/// Whether the terminal is ours at the moment, and has to be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while the screens are on it. Dropped, it is as it was before.
pub(crate) struct Terminal {
    screen: ratatui::Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    keys: Option<File>, // `None`: stdin
}

impl Terminal {
    pub(crate) fn take() -> io::Result<Self> {
        restore_on_panic();
        // A recording may come from stdin; keys come from the terminal all the same.
        let keys = match io::stdin().is_terminal() {
            true => None,
            false => Some(File::open("/dev/tty")?),
        };
        enter()?;
        // One write per drawing, also over a slow link.
        let out = BufWriter::with_capacity(64 << 10, io::stdout());
        let screen = ratatui::Terminal::new(CrosstermBackend::new(out));
        match screen {
            Ok(screen) => Ok(Self { screen, keys }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws what has changed since the last time.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.screen.draw(draw).map(|_| ())
    }

    /// Waits for keys, or for a signal such as that of a resize. What the terminal library waits with
    /// never returns once the terminal is gone.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn wait_for_keys(&self, wait: Duration) -> io::Result<()> {
        let stdin = io::stdin();
        let keys = match &self.keys {
            Some(keys) => keys.as_fd(),
            None => stdin.as_fd(),
        };
        let mut fds = [PollFd::new(keys, PollFlags::POLLIN)];
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        match fds[0].revents() {
            Some(events) if events.intersects(gone) => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the terminal is gone",
            )),
            _ => Ok(()),
        }
    }

    /// Gives the terminal back while `pause` runs.
    pub(crate) fn leave(&mut self, pause: impl FnOnce()) -> io::Result<()> {
        restore();
        pause();
        without_stopping(enter)?;
        self.screen.clear()
    }

    /// Draws everything the next time.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    /// Hands text to the clipboard of the terminal, wherever that runs (OSC 52).
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn enter() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)
}

/// Gives the terminal back if it was taken. A program that ends without dropping its terminal calls
/// it by itself.
pub fn restore() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        without_stopping(|| {
            let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
            let _ = io::stdout().flush();
            let _ = terminal::disable_raw_mode();
        });
    }
}

/// Changes the terminal also while the shell has another program in the foreground. The kernel would stop
/// this one, and nobody might ever let it go on.
fn without_stopping<T>(change: impl FnOnce() -> T) -> T {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTTOU);
    let before = stop.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = change();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

/// A panic of any thread ends the program: its message must be readable, and the shell usable.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let was_taken = TAKEN.load(Ordering::Acquire);
            restore();
            report(panic);
            if was_taken {
                std::process::exit(101);
            }
        }));
    });
}
