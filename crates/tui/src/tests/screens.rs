use std::path::PathBuf;

use crossterm::event::KeyCode;
use prof_model::is_printable;
use ratatui::style::{Color, Modifier};

use super::world::{SECOND, Screens, add};
use crate::app::{App, View};

/// Compares a screen with a file; `PROF_BLESS=1` writes the file instead.
fn check(screens: &Screens, name: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden");
    let file = folder.join(format!("{name}.txt"));
    let text = screens.text();
    if std::env::var_os("PROF_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{name}\n{text}");
}

fn turned_to(view: View) -> Screens {
    let mut screens = Screens::live();
    while screens.app.view != view {
        screens.press(KeyCode::Tab);
    }
    screens
}

#[test]
fn functions_at_80_columns() {
    check(&Screens::live(), "functions-80");
}

#[test]
fn functions_at_200_columns() {
    check(&Screens::new(true, 200, 60), "functions-200");
}

#[test]
fn threads_processes_and_modules() {
    check(&turned_to(View::Threads), "threads");
    check(&turned_to(View::Processes), "processes");
    check(&turned_to(View::Modules), "modules");
}

#[test]
fn the_call_tree_and_the_tree_of_callers() {
    let mut screens = turned_to(View::Tree);
    check(&screens, "tree");
    screens.type_keys("i");
    screens.look();
    check(&screens, "tree-inverted");
}

#[test]
fn the_flame_graph_and_a_part_of_it() {
    let mut screens = turned_to(View::Flame);
    check(&screens, "flame");
    screens.press(KeyCode::Down);
    screens.type_keys("jj\n");
    check(&screens, "flame-zoomed");
}

#[test]
fn callers_callees_and_lines_of_a_function() {
    let mut screens = Screens::live();
    screens.type_keys("/^parse$\n\n");
    screens.look();
    check(&screens, "detail");
}

#[test]
fn a_line_tells_who_calls_the_function_under_the_cursor() {
    let mut screens = Screens::live();
    let now = screens.source.history.span().unwrap().end;
    let second = now - SECOND..now;
    add(
        &mut screens.source.history,
        second,
        &[
            (1, "main;visit;visit;visit;leaf", 150),
            (1, "main;leaf", 50),
            (1, "main;visit", 5),
        ],
    );
    screens.look();
    let mut told = |name: &str| {
        screens.type_keys(&format!("/^{name}$\n"));
        assert_eq!(screens.under_cursor(), name);
        let text = screens.text();
        text.lines().rev().nth(1).unwrap().to_owned()
    };
    assert_eq!(told("leaf"), "75% called by visit x3 ← main");
    assert_eq!(
        told("k_copy_to_user"),
        "100% called by k_write ← reply ← serve ← main"
    );
    assert_eq!(
        told("main"),
        "100% called by nothing: it is where the stack begins"
    );
    screens.type_keys("\t");
    assert!(!screens.text().contains("called by"), "{}", screens.text());
}

#[test]
fn help_choices_and_questions_lie_over_the_rows() {
    let mut screens = Screens::live();
    screens.type_keys("?");
    check(&screens, "help");
    screens.type_keys("\x1bt");
    check(&screens, "pick-thread");
    screens.type_keys("\x1bw");
    check(&screens, "prompt");
}

#[test]
fn frozen_filtered_searched_and_ended() {
    let mut screens = Screens::live();
    screens.source.facts.ended = Some("EXITED".to_owned());
    screens.type_keys("o/write\n ");
    check(&screens, "frozen");
}

#[test]
fn a_recording_has_a_time_bar() {
    let mut screens = Screens::new(false, 80, 24);
    check(&screens, "recorded");
    screens.type_keys("+.");
    check(&screens, "recorded-range");
}

#[test]
fn nothing_panics_on_a_screen_of_any_size() {
    for (width, height) in [
        (1, 1),
        (19, 6),
        (20, 6),
        (21, 7),
        (40, 10),
        (59, 8),
        (400, 3),
    ] {
        let mut screens = Screens::new(true, width, height);
        for _ in 0..View::ALL.len() {
            screens.resize(width, height);
            screens.type_keys("jG\n?\x1bt\x1b/x\n\x1bt");
            screens.resize(width, height);
            screens.type_keys("\x1b\x1b\x1b\x1b\t");
        }
    }
}

#[test]
fn nothing_panics_without_a_sample() {
    let mut screens = Screens::live();
    screens.type_keys("r");
    for _ in 0..View::ALL.len() {
        assert!(screens.text().contains("no samples"), "{}", screens.text());
        screens.type_keys("jkgG\nohtpyisSb/x\nnN\x1b\t");
    }
}

#[test]
fn colours_can_be_told_off() {
    let mut screens = Screens::live();
    let without = screens.style_of("lib_compress").fg;
    assert!(matches!(without, None | Some(Color::Reset)));
    screens.app = App::new(true, true);
    screens.look();
    assert_eq!(screens.style_of("k_copy_to_user").fg, Some(Color::Yellow));
    screens.app = App::new(true, false);
    screens.look();
    let kernel = screens.style_of("k_copy_to_user").fg;
    assert!(matches!(kernel, None | Some(Color::Reset)));
}

#[test]
fn the_cursor_can_be_seen_without_colours() {
    let mut screens = Screens::live();
    screens.press(KeyCode::Down);
    let name = screens.under_cursor();
    let style = screens.style_of(&name);
    assert!(style.add_modifier.contains(Modifier::REVERSED));
}

#[test]
fn the_documentation_lists_every_key() {
    let page = include_str!("../../../../docs/top.md");
    for live in [true, false] {
        for (label, help) in crate::keys::help(live) {
            let line = format!("    {label:<9}  {help}\n");
            assert!(page.contains(&line), "{line} is not in docs/top.md");
        }
    }
}

#[test]
fn a_name_cannot_turn_the_screen_around_it() {
    let mut screens = Screens::new(true, 200, 60);
    let turned = "\x1b[2J\u{202e}\u{2066}";
    screens.app.facts.target = format!("server{turned}");
    screens.app.facts.notes = vec![format!("note{turned}")];
    screens.app.facts.events[0].name = format!("event{turned}");
    screens.app.facts.ended = Some(format!("gone{turned} away")); // as what nobody thought of
    screens.draw();
    let text = screens.text();
    let mut letters = text.chars();
    assert!(letters.all(|it| it == '\n' || is_printable(it)), "{text:?}");
    for name in ["server", "note", "event"] {
        let shown = format!(r"{name}\x1b[2J\u{{202e}}\u{{2066}}");
        assert!(text.contains(&shown), "{text}");
    }
    assert!(text.contains("gone[2J away"), "{text}");
}
