//! A terminal that a test reads and types into.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long to wait for something to appear before it counts as missing. On an idle machine it takes
/// a second or two.
const PATIENCE: Duration = Duration::from_secs(90);

/// A tmux server of its own with one window.
pub(crate) struct Tmux {
    socket: String,
}

impl Tmux {
    /// Runs a shell command in a window of this size. What the command leaves on the screen can be
    /// read after its end.
    pub(crate) fn run(columns: u16, rows: u16, folder: &Path, command: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("prof-test-{}-{number}", std::process::id());
        let tmux = Self { socket };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let new = [
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
        ];
        let folder = ["-c", folder.to_str().expect("a readable path")];
        // An interactive shell, so that jobs can be suspended.
        tmux.tmux(
            &[
                &new[..],
                &folder,
                &["env", "-u", "NO_COLOR", "PS1=$ ", "bash", "--norc", "-i"],
            ]
            .concat(),
        );
        tmux.tmux(&["set", "-s", "set-clipboard", "on"]);
        tmux.wait_for("a prompt", |screen| screen.contains('$'));
        tmux.type_line(&format!("clear; {command}"));
        tmux
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .env_remove("TMUX")
            .output()
            .expect("tmux runs");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {args:?}: {problem}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Presses keys by tmux's names: `q`, `Enter`, `C-z`, `Tab`.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a text, without Enter.
    pub(crate) fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Types a line for the shell.
    pub(crate) fn type_line(&self, line: &str) {
        self.type_text(line);
        self.press(&["Enter"]);
    }

    /// The screen as text.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen with the escape sequences of its colours.
    pub(crate) fn colored_screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// The `prof` that the shell has started.
    pub(crate) fn child(&self) -> i32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = format!("/proc/{shell}/task/{shell}/children");
        let children = std::fs::read_to_string(children).expect("children of the shell");
        let is_prof = |pid: &&str| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name == "prof\n")
        };
        let prof = children.split_whitespace().find(is_prof).expect("prof");
        prof.parse().expect("a number")
    }

    /// Sends it a signal.
    pub(crate) fn signal_child(&self, signal: Signal) {
        kill(Pid::from_raw(self.child()), signal).expect("prof lives");
    }

    /// Changes the window's size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// What a program has put on the clipboard last; empty for nothing.
    pub(crate) fn clipboard(&self) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.socket, "show-buffer"])
            .output()
            .expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Copies all bytes that the program writes from now on to a file.
    pub(crate) fn record_output(&self, file: &Path) {
        let command = format!("cat > '{}'", file.display());
        self.tmux(&["pipe-pane", "-o", &command]);
    }

    /// Reads the screen again and again until it is as expected.
    pub(crate) fn wait_for(&self, what: &str, expected: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if expected(&screen) {
                return screen;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "no {what} on the screen:\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for words.
    pub(crate) fn wait_for_text(&self, words: &str) -> String {
        self.wait_for(words, |screen| screen.contains(words))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut kill = Command::new("tmux");
        let _ = kill.args(["-L", &self.socket, "kill-server"]).output();
    }
}

/// The rows below the table's heading as (self share, name) where a row is one.
pub(crate) fn rows(screen: &str) -> Vec<(f64, &str)> {
    let lines = screen.lines().skip_while(|line| !line.starts_with("Self%"));
    lines
        .skip(1)
        .filter_map(|line| {
            let share = line.split_whitespace().next()?.parse().ok()?;
            Some((share, line))
        })
        .collect()
}

/// Whether the first row of the table is about this function.
pub(crate) fn is_first(screen: &str, function: &str) -> bool {
    rows(screen)
        .first()
        .is_some_and(|(_, row)| row.contains(function))
}
