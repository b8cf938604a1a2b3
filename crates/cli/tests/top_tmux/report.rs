//! `prof report` on a terminal: the same screens, over a file.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{PROF, Place, has};
use crate::target::{Target, compile};
use crate::tmux::{Tmux, is_first};

fn missing_tools() -> bool {
    !has("tmux") || !has("gcc") || !has("bash")
}

/// `both.data`: about three seconds in `burn_first`, then as long in `burn_second`; two events.
fn record(place: &Place) {
    let target = Target::start(&compile(place.path()), 2);
    let pid = target.pid().to_string();
    let mut recorder = Command::new(PROF)
        .current_dir(place.path())
        .args(["record", "-F", "499", "-e", "cpu-clock,page-faults"])
        .args(["-p", &pid, "-d", "6s", "-q", "-o", "both.data"])
        .stdin(Stdio::null())
        .spawn()
        .expect("prof runs");
    std::thread::sleep(Duration::from_secs(3));
    target.switch();
    assert!(recorder.wait().expect("it ends").success());
}

fn open(place: &Place, columns: u16, lines: u16, more: &str) -> Tmux {
    let command = format!("{PROF} report -i both.data {more}; echo status=$?");
    let tmux = Tmux::run(columns, lines, place.path(), &command);
    tmux.wait_for_text("? help");
    tmux
}

#[test]
fn the_screens_open_over_a_file_and_its_keys_work() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    record(&place);
    let tmux = open(&place, 100, 30, "");
    let press_for = |keys: &[&str], words: &str| {
        tmux.press(keys);
        tmux.wait_for_text(words)
    };
    let screen = tmux.screen();
    for words in [
        "prof report  both.data",
        "CPU ",
        "cpu-clock 499 Hz (1 of 2)",
        "samples   lost 0",
        "of stacks whole",
        "0.00 to 6.0", // as long as was recorded
        "[━━━━",
        "burn_first",
        "burn_second",
    ] {
        assert!(screen.contains(words), "{words} in\n{screen}");
    }
    // A quarter of the time, at its start and at its end.
    tmux.press(&["+", "+"]);
    tmux.press(&[","; 6]);
    tmux.wait_for("the first function", |screen| {
        is_first(screen, "burn_first") && screen.contains("[━━━") && screen.contains("··]")
    });
    tmux.press(&["."; 8]);
    tmux.wait_for("the second function", |screen| {
        is_first(screen, "burn_second") && screen.contains("━━━]") && screen.contains("[··")
    });
    // What is written is what is shown.
    press_for(&["w", "C-u"], "write to");
    tmux.type_text("late.data");
    press_for(&["Enter"], "samples to late.data");
    assert!(place.share("late.data", "burn_second") > 90.0);
    if has("perf") {
        let report = place
            .perf(&["report", "-i", "late.data", "--stdio", "-g", "none"])
            .ok();
        let line = report.out.lines().find(|line| line.contains("burn_second"));
        assert!(
            line.is_some_and(|it| it.contains("phases")),
            "{}",
            report.out
        );
    }
    press_for(&["w"], "write to (.svg, or else perf.data): both.svg");
    press_for(&["Enter"], "wrote both.svg");
    let svg = std::fs::read_to_string(place.file("both.svg")).unwrap();
    assert!(svg.contains("burn_second"));
    press_for(&["r"], "[━━━━");
    // Events, views, a function's callers, the way back.
    press_for(&["e"], "page-faults 499 Hz (2 of 2)");
    press_for(&["e"], "cpu-clock 499 Hz (1 of 2)");
    press_for(&["Tab"], "TID Thread");
    press_for(&["Tab"], "PID Process");
    press_for(&["Tab"], "Self%▾ Total%  Change 30 x ");
    press_for(&["Tab"], "Total%  Self%  Function");
    press_for(&["Tab"], "all  total 100.0%, self 0.0%");
    press_for(&["Tab"], "Self%▾ Total%");
    tmux.press(&["/"]);
    tmux.type_text("^serve$");
    press_for(&["Enter"], "/^serve$/");
    let screen = press_for(&["Enter"], "Callers of");
    assert!(screen.contains("burn_first") && screen.contains("burn_second"));
    press_for(&["Escape"], "Self%▾ Total%");
    // Source and instructions.
    tmux.press(&["Escape", "g"]);
    let screen = press_for(&["a"], ", self ");
    assert!(screen.contains("Self%  burn_"), "{screen}");
    assert!(screen.contains("i < 300000"), "{screen}"); // of phases.c
    press_for(&["Escape"], "Self%▾ Total%");
    press_for(&["?"], "time range: earlier, later");
    tmux.press(&["Escape"]);
    press_for(&["q"], "status=0");
}

#[test]
fn signals_and_suspension_treat_the_terminal_as_in_top() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    record(&place);
    let tmux = open(&place, 80, 24, "");
    tmux.press(&["C-z"]);
    tmux.wait_for("message of the shell", |screen| {
        screen.contains("Stopped") && !screen.contains("Self%")
    });
    tmux.type_line("clear; fg");
    tmux.wait_for_text("? help");
    tmux.signal_child(Signal::SIGTERM);
    tmux.wait_for("prompt", |screen| !screen.contains("Self%"));
    tmux.type_line("clear; stty -a | tr ' ' '\\n' | grep -xE 'icanon;?|echo;?|isig;?' | wc -l");
    tmux.wait_for("line that says 3", |screen| {
        screen.lines().any(|line| line == "3")
    });
}

#[test]
fn tables_are_printed_where_they_are_asked_for_or_nobody_can_press_keys() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    record(&place);
    for (command, words) in [
        (
            format!("{PROF} report -i both.data --stdio -g none"),
            "# Samples: ",
        ),
        (
            format!("{PROF} report -i both.data --sort dso -g none"),
            "# Samples: ",
        ),
        (
            format!("{PROF} report -i both.data -g none | cat"),
            "# Samples: ",
        ),
        (
            format!("TERM=dumb {PROF} report -i both.data --no-children -g none"),
            "# Samples: ",
        ),
        (
            format!("{PROF} report -i both.data --tui --sort dso"),
            "`--tui` shows no `--sort`",
        ),
        (
            format!("{PROF} report -i both.data --tui | cat"),
            "`--tui` needs a terminal",
        ),
    ] {
        let tmux = Tmux::run(
            100,
            400, // all of two tables
            place.path(),
            &format!("({command}) 2>&1; echo end=$?"),
        );
        let screen = tmux.wait_for_text("\nend=");
        assert!(screen.contains(words), "{command}:\n{screen}");
        assert!(!screen.contains("? help"), "{screen}");
    }
    // A recording on stdin leaves no terminal there; asked for by name, keys come all the same.
    let command = format!("cat both.data | {PROF} report -i - --tui; echo status=$?");
    let tmux = Tmux::run(80, 24, place.path(), &command);
    tmux.wait_for_text("? help");
    tmux.press(&["Tab"]);
    tmux.wait_for_text("TID Thread");
    tmux.press(&["q"]);
    tmux.wait_for_text("status=0");
}

#[test]
fn filters_of_the_command_line_choose_the_samples() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    record(&place);
    let tmux = open(&place, 80, 24, "-S burn_second");
    let screen = tmux.screen();
    assert!(is_first(&screen, "burn_second"), "{screen}");
    assert!(!screen.contains("burn_first"), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for_text("status=0");
    let command = format!("{PROF} report -i both.data -S nonsense; echo status=$?");
    let tmux = Tmux::run(80, 24, place.path(), &command);
    tmux.wait_for_text("no sample passes the filters");
    tmux.wait_for_text("status=1");
}
