//! Every key does what the help says: [`proves`] has an arm for each command, so that a new one
//! without a test does not compile.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyModifiers};

use super::world::{SECOND, Screens, add};
use crate::app::{Effect, Overlay, View};
use crate::keys::{BINDINGS, Binding, Command, Key, When};

fn press(screens: &mut Screens, key: Key) -> Effect {
    match key {
        Key::Char(c) => screens.press(KeyCode::Char(c)),
        Key::Ctrl(c) => screens.press_with(KeyCode::Char(c), KeyModifiers::CONTROL),
        Key::Code(code) => screens.press(code),
    }
}

#[test]
fn every_key_does_what_the_help_says() {
    for Binding {
        keys,
        command,
        when,
        ..
    } in BINDINGS
    {
        for &key in *keys {
            proves(*command, key, *when != When::Recorded);
        }
    }
}

/// Presses `key`, which is bound to `command`, and looks at what it changes.
fn proves(command: Command, key: Key, live: bool) {
    let mut screens = Screens::new(live, 80, 24);
    let s = &mut screens;
    match command {
        Command::Down => {
            let second = s.names()[1].clone();
            press(s, key);
            assert_eq!(s.under_cursor(), second);
        }
        Command::Up => {
            s.type_keys("jj");
            let second = s.names()[1].clone();
            press(s, key);
            assert_eq!(s.under_cursor(), second);
        }
        Command::PageDown => {
            s.resize(80, 10);
            let page = s.app.page;
            assert!(page < s.names().len());
            press(s, key);
            assert_eq!(s.app.place().cursor, page);
        }
        Command::PageUp => {
            s.resize(80, 10);
            s.type_keys("G");
            let before = s.app.place().cursor;
            press(s, key);
            assert_eq!(s.app.place().cursor, before - s.app.page);
        }
        Command::First => {
            s.type_keys("jj");
            press(s, key);
            assert_eq!(s.app.place().cursor, 0);
        }
        Command::Last => {
            press(s, key);
            assert_eq!(Some(&s.under_cursor()), s.names().last());
        }
        Command::Left => {
            s.type_keys("\t\t\t\t");
            assert!(s.text().contains("reply"));
            s.press(KeyCode::Down); // to serve, which is open
            press(s, key);
            assert!(!s.text().contains("lib_compress"), "{}", s.text());
            press(s, key); // closed: to its caller
            assert_eq!(s.under_cursor(), "main");
        }
        Command::Right => {
            s.type_keys("\t\t\t\t\n");
            assert!(!s.text().contains("reply"), "{}", s.text());
            press(s, key);
            assert!(s.text().contains("reply"), "{}", s.text());
            // in the flame graph, to the next function of the same caller
            s.type_keys("\tjjj");
            assert_eq!(s.under_cursor(), "parse");
            press(s, key);
            assert_eq!(s.under_cursor(), "reply");
            s.press(KeyCode::Left);
            assert_eq!(s.under_cursor(), "parse");
        }
        Command::NextView => {
            for (view, _) in View::ALL.iter().cycle().skip(1).take(View::ALL.len()) {
                press(s, key);
                assert_eq!(s.app.view, *view);
            }
        }
        Command::PreviousView => {
            press(s, key);
            assert_eq!(s.app.view, View::Flame);
        }
        Command::Enter => {
            s.type_keys("/^reply$\n");
            press(s, key);
            let text = s.text();
            for word in ["serve", "lib_compress", "k_write", "Callers", "Callees"] {
                assert!(text.contains(word), "{word} in {text}");
            }
        }
        Command::Back => {
            s.type_keys("o/zzz\n/reply\n\n");
            assert_eq!(s.app.details.len(), 1);
            press(s, key);
            assert!(s.app.details.is_empty() && s.app.search.is_some());
            press(s, key);
            assert!(s.app.search.is_none() && s.app.filters.len() == 1);
            press(s, key);
            assert!(s.app.filters.is_empty());
        }
        Command::Window(index) => {
            press(s, key);
            let words = [
                "last 1 s",
                "last 10 s",
                "last 60 s (10 s so far)",
                "all, 10 s",
            ];
            assert!(s.text().contains(words[index]), "{}", s.text());
            let seconds = [1, 10, 10, 10][index];
            assert_eq!(s.app.picture.all.samples, seconds * 100);
        }
        Command::NextSort => {
            let by_own = s.names();
            press(s, key);
            assert_eq!(s.message(), "sorted by total");
            assert_eq!(s.names()[..2], ["main", "serve"]);
            for by in ["change", "name", "module"] {
                press(s, key);
                assert_eq!(s.message(), format!("sorted by {by}"));
                if by == "name" {
                    assert!(s.names().is_sorted());
                }
            }
            press(s, key);
            assert_eq!(s.names(), by_own);
        }
        Command::ReverseSort => {
            s.type_keys("sss"); // by name
            let mut names = s.names();
            press(s, key);
            names.reverse();
            assert_eq!(s.names(), names);
        }
        Command::Invert => {
            press(s, key);
            assert!(s.message().contains("Tab"));
            s.type_keys("\t\t\t\t");
            assert_eq!(s.under_cursor(), "main");
            press(s, key);
            assert_eq!(s.under_cursor(), "lib_compress");
            assert!(s.text().contains("inverted"));
        }
        Command::PickThread => {
            press(s, key);
            assert!(s.text().contains("thread 102 (worker-2)"), "{}", s.text());
            s.press(KeyCode::Enter);
            assert_eq!(s.app.filter_words(), "only thread 101 (worker-1)");
            assert!(!s.names().contains(&"lib_compress".to_owned()));
            press(s, key);
            assert!(s.app.filters.is_empty());
        }
        Command::PickProcess => {
            press(s, key);
            s.type_keys("j\n");
            assert_eq!(s.app.filter_words(), "only process 200 (other)");
            assert_eq!(s.names(), ["wait", "main"]);
            press(s, key);
            assert!(s.app.filters.is_empty());
            // in the view of processes: the one under the cursor
            s.type_keys("\t\tj");
            press(s, key);
            assert_eq!(s.app.filter_words(), "only process 200 (other)");
        }
        Command::Search => {
            press(s, key);
            s.type_keys("k_wx\x08rite");
            assert!(s.text().ends_with("/k_write\n"), "{}", s.text());
            s.press(KeyCode::Enter);
            assert_eq!(s.under_cursor(), "k_write");
            s.type_keys("/(\n");
            assert!(s.app.message.as_ref().is_some_and(|it| it.is_error));
            s.type_keys("/nonsense\n");
            assert_eq!(s.message(), "nothing here matches nonsense");
            s.type_keys("/LIB_\n");
            assert_eq!(s.message(), "nothing here matches LIB_"); // capitals mean capitals
        }
        Command::NextMatch | Command::PreviousMatch => {
            press(s, key);
            assert!(s.message().contains("type /"));
            s.type_keys("/^k_\n");
            let kernel = ["k_copy_to_user", "k_write"];
            assert_eq!(s.under_cursor(), kernel[0]);
            press(s, key);
            assert_eq!(s.under_cursor(), kernel[1]);
            press(s, key); // round
            assert_eq!(s.under_cursor(), kernel[0]);
        }
        Command::Hide => {
            s.type_keys("/^reply\n");
            press(s, key);
            assert_eq!(s.app.filter_words(), "without reply");
            let names = s.names();
            assert!(!names.iter().any(|it| it == "reply" || it.starts_with("k_")));
            assert!(names.contains(&"parse".to_owned()));
        }
        Command::Focus => {
            s.type_keys("/^reply\n");
            press(s, key);
            assert_eq!(s.app.filter_words(), "only reply");
            assert_eq!(s.app.picture.shown.samples, 450);
            assert!(
                s.text().contains("only reply: 45.0% of all"),
                "{}",
                s.text()
            );
            assert!(!s.names().contains(&"parse".to_owned()));
        }
        Command::Freeze => {
            press(s, key);
            assert!(s.text().contains("FROZEN"));
            let before = s.text();
            add(
                &mut s.source.history,
                10 * SECOND..11 * SECOND,
                &[(1, "new", 500)],
            );
            s.look();
            assert_eq!(s.text(), before);
            s.press(KeyCode::Tab); // also what is looked at only now is from then
            s.press(KeyCode::BackTab);
            assert_eq!(s.text(), before);
            press(s, key);
            assert_eq!(s.names()[0], "new"); // collection went on
            assert!(!s.text().contains("FROZEN"));
        }
        Command::Reset if live => {
            press(s, key);
            assert_eq!(s.source.resets, 1);
            assert!(s.names().is_empty());
        }
        Command::Reset => {
            s.type_keys("+o");
            press(s, key);
            assert!(s.app.filters.is_empty() && s.app.range.is_none());
        }
        Command::Annotate => {
            press(s, key); // parse, with what is inlined there
            let text = s.text();
            for words in [
                "parse, self 45.0%  server",
                "parse  /src/server/main.rs",
                "   35.0      3 text of line 3\n   35.0 ",
                "add %eax,%ebx",
            ] {
                assert!(text.contains(words), "{words} in {text}");
            }
            let lines = s.app.rows();
            assert_eq!((s.app.place().cursor, lines), (4, 7));
            s.type_keys("/ret\n");
            assert_eq!(s.app.place().cursor, 6);
            s.type_keys("\x1b");
            assert!(s.app.code.is_none());
            s.type_keys("\x1b/^main$\n");
            press(s, key);
            assert_eq!(s.message(), "no sample hit main itself");
            s.type_keys("\t");
            press(s, key);
            assert_eq!(s.message(), "the cursor is on no function");
        }
        Command::Baseline => {
            press(s, key);
            assert!(s.text().contains("vs base"));
            for second in 10..20 {
                let span = second * SECOND..(second + 1) * SECOND;
                add(&mut s.source.history, span, &[(1, "main;parse", 100)]);
            }
            s.look();
            if live {
                // parse had 350 of 1000, and has all now
                assert!(s.text().contains("+65.0"), "{}", s.text());
            } else {
                assert!(s.text().contains("+32.5"), "{}", s.text());
            }
            press(s, key);
            assert!(!s.text().contains("vs base"));
        }
        Command::Narrow => {
            press(s, key);
            assert_eq!(s.app.range, Some(5 * SECOND / 2..15 * SECOND / 2));
            assert!(s.text().contains("2.50 to 7.50 s"), "{}", s.text());
        }
        Command::Widen => {
            s.type_keys("++");
            press(s, key);
            assert_eq!(s.app.range, Some(5 * SECOND / 2..15 * SECOND / 2));
            press(s, key);
            assert_eq!(s.app.range, None);
        }
        Command::Earlier => {
            s.type_keys("+");
            press(s, key);
            assert_eq!(s.app.range, Some(0..5 * SECOND));
            assert_eq!(s.names()[0], "parse");
            press(s, key);
            assert_eq!(s.app.range, Some(0..5 * SECOND));
        }
        Command::Later => {
            s.type_keys("+");
            press(s, key);
            assert_eq!(s.app.range, Some(5 * SECOND..10 * SECOND));
            assert_eq!(s.names()[0], "lib_compress");
        }
        Command::NextEvent => {
            press(s, key);
            assert_eq!(s.message(), "event page-faults");
            assert!(s.names().is_empty());
            press(s, key);
            assert_eq!(s.message(), "event cpu-clock");
            assert!(!s.names().is_empty());
        }
        Command::Write => {
            s.type_keys("/^reply\no");
            press(s, key);
            s.press(KeyCode::Enter);
            assert_eq!(s.message(), "wrote top.svg");
            let expected = (
                "top.svg".to_owned(),
                0..10 * SECOND,
                "only reply".to_owned(),
                2,
            );
            assert_eq!(s.source.written, [expected]);
            press(s, key);
            s.press_with(KeyCode::Char('u'), KeyModifiers::CONTROL);
            s.type_keys("/nowhere/a\n");
            assert_eq!(s.message(), "could not write /nowhere/a");
            press(s, key);
            s.press(KeyCode::Esc);
            assert_eq!(s.source.written.len(), 1);
        }
        Command::Copy => {
            s.type_keys("/^k_write\n");
            let stack = "k_copy_to_user ([kernel])\nk_write ([kernel])\nreply (server)\n\
                         serve (server)\nmain (server)\n";
            assert_eq!(press(s, key), Effect::Copy(stack.to_owned()));
            assert_eq!(s.message(), "copied a stack of 5 frames");
            s.type_keys("\x1b\t\t\t\tj");
            assert_eq!(
                press(s, key),
                Effect::Copy("serve (server)\nmain (server)\n".to_owned())
            );
        }
        Command::Help => {
            press(s, key);
            assert!(matches!(s.app.overlay, Overlay::Help { .. }));
            s.type_keys("q"); // closes the help only
            assert!(matches!(s.app.overlay, Overlay::None));
        }
        Command::Redraw => assert_eq!(press(s, key), Effect::Redraw),
        Command::Suspend => assert_eq!(press(s, key), Effect::Suspend),
        Command::Quit => assert_eq!(press(s, key), Effect::Quit),
    }
}

#[test]
fn rows_keep_still_while_the_cursor_moves_and_the_cursor_follows_its_row() {
    let mut screens = Screens::live();
    let before = screens.names();
    screens.type_keys("j");
    let held = screens.under_cursor();
    add(
        &mut screens.source.history,
        10 * SECOND..11 * SECOND,
        &[(1, "new", 5000)],
    );
    screens.now += Duration::from_secs(1);
    screens.app.update(&screens.source, screens.now);
    assert_eq!(screens.names(), before);
    screens.look();
    assert_eq!(screens.names()[0], "new");
    assert_eq!(screens.under_cursor(), held);
}

#[test]
fn on_the_first_row_the_cursor_stays_on_the_first_row() {
    let mut screens = Screens::live();
    add(
        &mut screens.source.history,
        10 * SECOND..11 * SECOND,
        &[(1, "new", 5000)],
    );
    screens.look();
    assert_eq!(screens.under_cursor(), "new");
}

#[test]
fn enter_on_a_thread_shows_its_functions() {
    let mut screens = Screens::live();
    screens.type_keys("\t");
    let thread = screens.under_cursor();
    screens.type_keys("\n");
    assert_eq!(screens.app.view, View::Functions);
    assert!(screens.app.filter_words().contains(&thread));
}

#[test]
fn enter_in_the_detail_leads_on_and_esc_leads_back() {
    let mut screens = Screens::live();
    screens.type_keys("/^serve$\n\n");
    assert_eq!(screens.under_cursor(), "main");
    screens.type_keys("\n");
    assert_eq!(screens.app.details.len(), 2);
    assert!(screens.text().contains("(root)"), "{}", screens.text());
    screens.type_keys("\x1b\x1b");
    assert!(screens.app.details.is_empty());
}
