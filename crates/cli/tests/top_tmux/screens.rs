use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{PROF, Place, has};
use crate::target::{Target, compile};
use crate::tmux::{Tmux, is_first, rows};

fn missing_tools() -> bool {
    !has("tmux") || !has("gcc") || !has("bash")
}

/// `prof top` on a target with two busy threads, when its first rows are there.
fn start(place: &Place, columns: u16, lines: u16, more: &str) -> (Target, Tmux) {
    let target = Target::start(&compile(place.path()), 2);
    let command = format!("{PROF} top -p {} {more}; echo status=$?", target.pid());
    let tmux = Tmux::run(columns, lines, place.path(), &command);
    tmux.wait_for("first row", |screen| is_first(screen, "burn_first"));
    (target, tmux)
}

/// The terminal echoes and edits lines again, and the cursor is there.
fn is_usable(tmux: &Tmux) {
    tmux.type_line("clear; stty -a | tr ' ' '\\n' | grep -xE 'icanon;?|echo;?|isig;?' | wc -l");
    tmux.wait_for("line that says 3", |screen| {
        screen.lines().any(|line| line == "3")
    });
}

#[test]
fn the_header_says_whom_what_and_how_well() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (target, tmux) = start(&place, 80, 24, "-F 99");
    let screen = tmux.wait_for("costs", |screen| screen.contains("MB"));
    for words in [
        &format!("phases ({})", target.pid()),
        "CPU ",
        "99 Hz",
        "samples/s",
        "lost 0",
        "of stacks whole",
        "prof ",
        "last 10 s",
        "Functions   Threads   Processes   Modules   Tree   Flame",
        "Self%▾ Total%  Change 30 x 10 s",
    ] {
        assert!(screen.contains(words), "{words} in\n{screen}");
    }
    let first = rows(&screen)[0].1;
    assert!(
        first.contains("phases") && first.ends_with("native"),
        "{first}"
    );
    assert!(screen.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn the_sparkline_shows_when_another_function_took_over() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (target, tmux) = start(&place, 200, 60, "-F 99");
    tmux.press(&["1"]);
    tmux.wait_for_text("last 1 s");
    let bars = |screen: &str, function: &str| -> Vec<usize> {
        const HEIGHTS: &str = " ▁▂▃▄▅▆▇█";
        let row = screen.lines().find(|line| line.contains(function));
        // behind Self%, Total%, Change and their blanks
        let bars = row.map(|row| row.chars().skip(22).take(30).collect::<String>());
        let bars = bars.unwrap_or_default();
        let height = |bar| HEIGHTS.chars().position(|it| it == bar).unwrap_or(99);
        bars.chars().map(height).collect()
    };
    tmux.wait_for("some windows of the first", |screen| {
        bars(screen, "burn_first")
            .iter()
            .filter(|&&it| it == 8)
            .count()
            >= 3
    });
    target.switch();
    // The new one is full in the newest windows and was nothing before.
    tmux.wait_for("a change in the bars", |screen| {
        let new = bars(screen, "burn_second");
        let Some(first) = new.iter().position(|&it| it > 0) else {
            return false;
        };
        is_first(screen, "burn_second") && (5..27).contains(&first) && new[27..29] == [8, 8]
    });
}

#[test]
fn every_key_on_a_real_process() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (target, tmux) = start(&place, 100, 30, "-F 99");
    let press_for = |keys: &[&str], words: &str| {
        tmux.press(keys);
        tmux.wait_for_text(words)
    };
    // windows
    press_for(&["1"], "last 1 s");
    press_for(&["3"], "last 60 s (");
    press_for(&["4"], "   all, ");
    press_for(&["2"], "last 10 s");
    // views
    let screen = press_for(&["Tab"], "TID Thread");
    assert!(
        screen.contains("burner-1") && screen.contains("burner-2"),
        "{screen}"
    );
    press_for(&["Tab"], "PID Process");
    press_for(&["Tab"], "Self%▾ Total%  Change 30 x 10 s       Module");
    let screen = press_for(&["Tab"], "Total%  Self%  Function");
    assert!(screen.contains("▾ serve"), "{screen}");
    press_for(&["i"], "Function, its callers below");
    press_for(&["i"], "Total%  Self%  Function");
    press_for(&["Tab"], "all  total 100.0%, self 0.0%");
    press_for(&["Down"], "clone3  libc.so.6  total 100.0%");
    press_for(&["Tab"], "Self%▾ Total%");
    press_for(&["BTab"], "clone3  libc.so.6  total 100.0%");
    press_for(&["Tab"], "Self%▾ Total%");
    // sorting
    press_for(&["s"], "Total%▾");
    press_for(&["s"], "Change▾");
    press_for(&["s"], "Function▾");
    press_for(&["S"], "Function▴");
    press_for(&["s", "s"], "Self%▾");
    // search, and what a function calls
    tmux.press(&["/"]);
    tmux.type_text("^serve$");
    press_for(&["Enter"], "/^serve$/");
    let screen = press_for(&["Enter"], "Callers of");
    assert!(
        screen.contains("► serve") && screen.contains("burn_first"),
        "{screen}"
    );
    press_for(&["Escape"], "Self%▾ Total%");
    tmux.press(&["Escape"]);
    tmux.wait_for("end of the search", |screen| !screen.contains("/^serve$/"));
    // the heaviest function has lines
    tmux.press(&["g"]);
    let screen = press_for(&["Enter"], "Hottest lines");
    assert!(screen.contains("phases.c:"), "{screen}");
    press_for(&["Escape"], "Self%▾ Total%");
    // its source and instructions
    let screen = press_for(&["a"], "Self%  burn_first, self ");
    assert!(screen.contains("i < 300000"), "{screen}"); // of phases.c
    press_for(&["Escape"], "Self%▾ Total%");
    // filters
    press_for(&["o"], "only burn_first: ");
    tmux.press(&["Escape"]);
    tmux.wait_for("end of the filter", |screen| {
        !screen.contains("only burn_first")
    });
    press_for(&["h"], "without burn_first: ");
    press_for(&["Escape"], "burn_first");
    press_for(&["t"], "Only one thread");
    press_for(&["Enter"], "only thread ");
    tmux.press(&["t"]);
    tmux.wait_for("end of the filter", |screen| {
        !screen.contains("only thread")
    });
    press_for(&["p"], "Only one process");
    press_for(
        &["Enter"],
        &format!("only process {} (phases)", target.pid()),
    );
    tmux.press(&["p"]);
    tmux.wait_for("end of the filter", |screen| {
        !screen.contains("only process")
    });
    press_for(&["e"], "there is only one event");
    // baseline
    press_for(&["b"], "vs base");
    target.switch();
    tmux.wait_for("a change against the baseline", |screen| {
        let row = screen.lines().find(|line| line.contains("burn_second"));
        row.is_some_and(|row| row.contains(" +"))
    });
    press_for(&["b"], "Change");
    // freeze: another function takes over, and the picture stays
    tmux.wait_for("the second function", |screen| {
        is_first(screen, "burn_second")
    });
    press_for(&["1"], "last 1 s");
    tmux.wait_for("only the second", |screen| !screen.contains("burn_first"));
    press_for(&["Space"], "FROZEN");
    target.switch();
    std::thread::sleep(Duration::from_secs(4)); // nothing to wait for: it must not change
    assert!(is_first(&tmux.screen(), "burn_second"));
    tmux.press(&["Space"]);
    tmux.wait_for("the present", |screen| {
        is_first(screen, "burn_first") && !screen.contains("FROZEN")
    });
    // reset: what was before is forgotten
    press_for(&["4"], "   all, ");
    tmux.wait_for("both functions", |screen| screen.contains("burn_second"));
    tmux.press(&["r"]);
    tmux.wait_for("one function", |screen| {
        screen.contains("burn_first") && !screen.contains("burn_second")
    });
    // help
    press_for(&["?"], "any other key closes");
    tmux.press(&["Escape"]);
    tmux.wait_for("end of the help", |screen| {
        !screen.contains("any other key closes")
    });
    // the clipboard
    press_for(&["g", "y"], "copied a stack of ");
    let start = Instant::now();
    while !tmux
        .clipboard()
        .starts_with("burn_first (phases)\nserve (phases)\n")
    {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{}",
            tmux.clipboard()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    // files
    press_for(&["w"], "write to");
    press_for(&["Enter"], "wrote prof-top.svg");
    let svg = std::fs::read_to_string(place.file("prof-top.svg")).unwrap();
    assert!(svg.contains("burn_first"));
    press_for(&["w", "C-u"], "write to");
    tmux.type_text("window.data");
    tmux.press(&["Enter"]);
    tmux.wait_for_text("samples to window.data");
    assert!(place.share("window.data", "burn_first") > 90.0);
    press_for(&["w", "C-u"], "write to");
    tmux.type_text("/no/such/folder/x.data");
    press_for(&["Enter"], "could not write `/no/such/folder/x.data`");
    // redraw, and the end
    tmux.press(&["C-l"]);
    tmux.wait_for("rows", |screen| is_first(screen, "burn_first"));
    press_for(&["q"], "status=0");
    is_usable(&tmux);
}

#[test]
fn stock_perf_reads_a_window_that_was_written() {
    if missing_tools() || !has("perf") {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 80, 24, "-F 99");
    tmux.press(&["w", "C-u"]);
    tmux.type_text("window.data");
    tmux.press(&["Enter"]);
    tmux.wait_for_text("samples to window.data");
    let report = place
        .perf(&["report", "-i", "window.data", "--stdio", "-g", "none"])
        .ok();
    let line = report.out.lines().find(|line| line.contains("burn_first"));
    assert!(
        line.is_some_and(|line| line.contains("phases")),
        "{}",
        report.out
    );
    assert!(
        !report.err.to_lowercase().contains("warning"),
        "{}",
        report.err
    );
}

#[test]
fn the_targets_exit_leaves_the_last_picture_and_says_so() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (mut target, tmux) = start(&place, 80, 24, "-F 99");
    target.end();
    let screen = tmux.wait_for_text("EXITED");
    assert!(is_first(&screen, "burn_first"), "{screen}");
    tmux.press(&["Tab"]); // what is kept can still be looked at
    tmux.wait_for_text("burner-1");
    tmux.press(&["q"]);
    tmux.wait_for_text("status=0");
}

#[test]
fn ctrl_c_and_signals_give_the_terminal_back() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    for signal in [
        None,
        Some(Signal::SIGTERM),
        Some(Signal::SIGHUP),
        Some(Signal::SIGINT),
    ] {
        let (_target, tmux) = start(&place, 80, 24, "-F 99");
        match signal {
            None => tmux.press(&["C-c"]),
            Some(signal) => tmux.signal_child(signal),
        }
        let screen = tmux.wait_for_text("status=0");
        assert!(!screen.contains("Self%"), "{screen}");
        is_usable(&tmux);
    }
}

#[test]
fn it_is_suspended_and_goes_on() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 80, 24, "-F 99");
    for by_key in [true, false] {
        if by_key {
            tmux.press(&["C-z"]);
        } else {
            tmux.signal_child(Signal::SIGTSTP);
        }
        tmux.wait_for("message of the shell", |screen| {
            screen.contains("Stopped") && !screen.contains("Self%")
        });
        is_usable(&tmux);
        tmux.type_line("clear; fg");
        tmux.wait_for("first row", |screen| is_first(screen, "burn_first"));
    }
    tmux.press(&["Tab"]); // keys are keys again
    tmux.wait_for_text("TID Thread");
    tmux.press(&["q"]);
    tmux.wait_for("prompt", |screen| !screen.contains("TID Thread"));
    is_usable(&tmux);
}

#[test]
fn whoever_lets_it_go_on_finds_the_screen_again() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 80, 24, "-F 99");
    tmux.signal_child(Signal::SIGSTOP);
    tmux.wait_for_text("Stopped"); // says the shell, in the middle of the screen
    tmux.type_line("fg");
    tmux.wait_for("a whole screen", |screen| {
        is_first(screen, "burn_first") && !screen.contains("Stopped")
    });
    tmux.press(&["q"]);
    tmux.wait_for("prompt", |screen| !screen.contains("Self%"));
}

#[test]
fn it_ends_with_its_terminal() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 80, 24, "-F 99");
    let prof = tmux.child();
    drop(tmux); // and with it the terminal
    let start = Instant::now();
    while std::path::Path::new(&format!("/proc/{prof}")).exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "it still runs");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn keys_come_from_the_terminal_also_when_stdin_is_something_else() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 80, 24, "-F 99 </dev/null");
    tmux.press(&["Tab"]);
    tmux.wait_for_text("TID Thread");
    tmux.press(&["q"]);
    tmux.wait_for_text("status=0");
}

#[test]
fn other_sizes_fit_and_a_change_of_size_is_followed() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 200, 60, "-F 99");
    let screen = tmux.wait_for_text("? help");
    assert!(
        screen
            .lines()
            .nth(59)
            .is_some_and(|line| line.starts_with("? help"))
    );
    for (columns, lines) in [(80, 24), (40, 12), (120, 40)] {
        tmux.resize(columns, lines);
        tmux.wait_for("the new size", |screen| {
            let last = screen.lines().nth(usize::from(lines) - 1);
            last.is_some_and(|line| line.starts_with("? help"))
                && screen.contains("burn_first")
                && screen.lines().count() == usize::from(lines)
        });
    }
}

#[test]
fn no_color_means_none() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let target = Target::start(&compile(place.path()), 1);
    for (variable, colored) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let command = format!("{variable} {PROF} top -p {}", target.pid());
        let tmux = Tmux::run(80, 24, place.path(), &command);
        tmux.wait_for("first row", |screen| is_first(screen, "burn_first"));
        let screen = tmux.colored_screen();
        // 30 to 49 are colours; 1, 2, 4, 7 and 0 are not
        let has_color = screen.split("\x1b[").skip(1).any(|sequence| {
            let codes = sequence.split('m').next().unwrap_or_default();
            codes.split(';').any(|code| {
                code.len() == 2
                    && (code.starts_with('3') || code.starts_with('4'))
                    && code != "39"
                    && code != "49"
            })
        });
        assert_eq!(has_color, colored, "{screen:?}");
    }
}

#[test]
fn only_what_changes_is_written() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let (_target, tmux) = start(&place, 200, 60, "-F 99");
    tmux.press(&["Space"]);
    tmux.wait_for_text("FROZEN");
    let file = place.file("output");
    tmux.record_output(&file);
    std::thread::sleep(Duration::from_secs(5)); // so long it writes what it has to
    let written = std::fs::metadata(&file).map_or(0, |it| it.len());
    // A whole screen of this size is 12,000 cells; numbers in the header may go on changing.
    assert!(written < 3000, "{written} bytes in 5 s");
    tmux.press(&["Tab"]);
    tmux.wait_for_text("TID Thread");
}

#[test]
fn a_command_runs_away_from_the_terminal_and_ends_with_the_screens() {
    if missing_tools() {
        return;
    }
    let place = Place::new();
    let program = compile(place.path());
    let command = format!("{PROF} top -- {} 1; echo status=$?", program.display());
    let tmux = Tmux::run(80, 24, place.path(), &command);
    let screen = tmux.wait_for("first row", |screen| is_first(screen, "burn_first"));
    assert!(!screen.contains("ready"), "{screen}"); // what it prints
    tmux.press(&["q"]);
    tmux.wait_for_text("status=0");
    let found = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|entry| std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program));
    assert!(!found, "the command still runs");
}
