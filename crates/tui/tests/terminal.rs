//! The terminal is given back also when the program panics.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prof_model::{DsoId, FunctionCode};
use prof_tui::{Facts, History, Options, Request, Source, Window};

/// A source that panics when it is to forget its samples: the key `r`.
struct Panicking;

impl Source for Panicking {
    fn is_live(&self) -> bool {
        true
    }
    fn facts(&self) -> Facts {
        Facts::default()
    }
    fn version(&self) -> u64 {
        0
    }
    fn look(&self, see: &mut dyn FnMut(&History)) {
        see(&History::live());
    }
    fn reset(&mut self) {
        panic!("as planned");
    }
    fn suggested_file(&self) -> String {
        String::new()
    }
    fn write(&mut self, _: &Path, _: &Window<'_>) -> Result<String, String> {
        Err(String::new())
    }
    fn code(&mut self, _: DsoId, _: u64) -> Result<(Arc<str>, FunctionCode), String> {
        Err(String::new())
    }
    fn news(&mut self) -> Option<Result<String, String>> {
        None
    }
    fn request(&mut self) -> Option<Request> {
        None
    }
    fn stop(&mut self) {}
}

#[test]
#[ignore = "the other test runs it in a terminal"]
fn screens_that_panic() {
    let options = Options {
        color: true,
        refresh: Duration::from_secs(1),
    };
    prof_tui::run(&mut Panicking, &options).unwrap();
}

fn tmux(socket: &str, args: &[&str]) -> String {
    let mut tmux = Command::new("tmux");
    tmux.args(["-L", socket]).args(args).env_remove("TMUX");
    String::from_utf8_lossy(&tmux.output().unwrap().stdout).into_owned()
}

fn wait_for(socket: &str, words: &str) -> String {
    let start = Instant::now();
    loop {
        let screen = tmux(socket, &["capture-pane", "-p"]);
        if screen.contains(words) {
            return screen;
        }
        assert!(
            start.elapsed() < Duration::from_secs(90),
            "no {words} in {screen}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_panic_gives_the_terminal_back_with_its_message() {
    if Command::new("tmux").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "tmux is not installed");
        println!("skipped: no tmux");
        return;
    }
    let socket = format!("prof-panic-{}", std::process::id());
    let program = std::env::current_exe().unwrap();
    let run = format!(
        "RUST_BACKTRACE=0 '{}' --exact screens_that_panic --ignored --nocapture --test-threads 1; \
         echo status=$?; stty -a | tr ' ' '\\n' | grep -cxE 'icanon;?|echo;?'; sleep 600",
        program.display()
    );
    let size = ["new-session", "-d", "-x", "80", "-y", "24"];
    tmux(
        &socket,
        &[&["-u", "-f", "/dev/null"], &size[..], &["sh", "-c", &run]].concat(),
    );
    wait_for(&socket, "Self%");
    tmux(&socket, &["send-keys", "r"]);
    let screen = wait_for(&socket, "status=101");
    assert!(
        screen.contains("as planned") && !screen.contains("Self%"),
        "{screen}"
    );
    let screen = wait_for(&socket, "status=101\n2"); // lines are edited and echoed again
    assert!(screen.contains("panicked"), "{screen}");
    tmux(&socket, &["kill-server"]);
}
