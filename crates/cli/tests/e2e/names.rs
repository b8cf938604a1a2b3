//! Names as they come, and what is said where there are none.

use std::fs::OpenOptions;
use std::process::Command;

use prof_model::is_printable;

use crate::support::{PROF, Place, Ran, Running, Setting, build, has, is_root, tolerance};

/// A program whose hot function and thread have names of odd characters: they cannot be written in
/// C, so the symbol table is changed.
fn odd_program(place: &Place) -> &'static str {
    const PLACEHOLDER: &[u8] = b"name_with_a_long_placeholder";
    const ODD: &[u8] = b"hot;f <x>&\"q'\xff\x1b\n\xe2\x80\xae [A]";
    let source = "#include \"burn.h\"\n\
        #include <sys/prctl.h>\n\
        NOINLINE void name_with_a_long_placeholder(ns u) { while (cpu_now() < u) burn(BURN_ROUNDS); }\n\
        int main(int argc, char **argv) {\n\
            prctl(PR_SET_NAME, \"a;b <c>&\\xff 7\");\n\
            name_with_a_long_placeholder(cpu_now() + 600000000);\n\
            return 0;\n\
        }\n";
    std::fs::write(place.file("odd.c"), source).unwrap();
    let odd = place.file("odd.c").display().to_string();
    build(place, "tiny.c", &[&odd, "-o", "target"]);
    let mut bytes = std::fs::read(place.file("target")).unwrap();
    let mut found = 0;
    for at in 0..bytes.len() - PLACEHOLDER.len() {
        if bytes[at..].starts_with(PLACEHOLDER) {
            bytes[at..][..PLACEHOLDER.len()].fill(b'_');
            bytes[at..][..ODD.len()].copy_from_slice(ODD);
            found += 1;
        }
    }
    assert!(found > 0);
    std::fs::write(place.file("target"), bytes).unwrap();
    "hot;f <x>&\"q'\u{fffd}\\x1b\\n\\u{202e} [A]"
}

#[test]
fn odd_names_of_functions_and_threads_break_no_output() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let name = odd_program(&place);
    let name = name.trim_end_matches("[A]"); // the rest of the placeholder follows
    let args = [
        "record",
        "-q",
        "-F",
        "499",
        "-o",
        "perf.data",
        "--svg",
        "f.svg",
        "--",
        "./target",
    ];
    place.prof(&args).ok();
    let table = [
        "report",
        "-q",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "comm,sym",
    ];
    let report = place.prof(&table).ok();
    assert!(
        report
            .out
            .lines()
            .next()
            .is_some_and(|row| row.contains(name)),
        "{}",
        report.out
    );
    assert!(report.out.contains("a;b <c>&\u{fffd} 7"), "{}", report.out);
    assert!(!report.out.contains('\u{1b}'));

    // a `;` would be another frame
    let folded = place.prof(&["report", "--folded", "-"]).ok();
    let hot = name.replace(';', ":");
    let lines: Vec<_> = folded
        .out
        .lines()
        .filter(|line| line.contains(&hot))
        .collect();
    assert!(!lines.is_empty(), "{}", folded.out);
    for line in lines {
        let frames: Vec<_> = line.split(';').collect();
        assert_eq!(frames[0], "a:b <c>&\u{fffd} 7");
        let main = frames.iter().position(|frame| *frame == "main").unwrap();
        assert!(frames[main + 1].starts_with(&hot), "{line}");
    }

    let script = place.prof(&["script"]).ok();
    assert!(script.out.contains(&format!(" {name}")), "{}", script.out);
    assert!(!script.out.contains('\u{1b}'));
    let json = place.prof(&["report", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(
        json.to_string().contains("hot;f <x>&\\\"q'\u{fffd}"),
        "{json}"
    );

    let svg = std::fs::read(place.file("f.svg")).unwrap();
    let svg = String::from_utf8(svg).expect("UTF-8");
    assert!(svg.contains("hot:f &lt;x&gt;&amp;"), "{svg}");
    assert!(!svg.contains('\u{1b}'), "a control character is not XML");
    if has("python3") {
        let parse = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
        let ran: Ran = place
            .command("python3", &["-c", parse, "f.svg"])
            .output()
            .unwrap()
            .into();
        ran.ok();
    }
}

/// Whether a terminal does nothing but show a text.
fn is_harmless(text: &str) -> bool {
    let mut letters = text.chars();
    letters.all(|letter| is_printable(letter) || matches!(letter, '\n' | '\t'))
}

#[test]
fn a_process_whose_name_is_an_order_gives_the_terminal_none() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let source = "#include \"burn.h\"\n\
        #include <sys/prctl.h>\n\
        NOINLINE void spin(void) { for (;;) burn(BURN_ROUNDS); }\n\
        int main(int argc, char **argv) {\n\
            prctl(PR_SET_NAME, \"\\033[2J\\n\\342\\200\\256hot\");\n\
            spin();\n\
        }\n";
    std::fs::write(place.file("named.c"), source).unwrap();
    let named = place.file("named.c").display().to_string();
    build(&place, "tiny.c", &[&named, "-o", "named"]);
    let target = Running::start(place.file("named"), &[]);
    let own = format!("/proc/{}/comm", target.pid());
    while !std::fs::read_to_string(&own).is_ok_and(|name| name.contains("hot")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let shown = r"\x1b[2J\n\u{202e}hot";
    let of_target = ["-F", "199", "-p", &target.pid()];
    let run = |args: &[&str]| {
        let ran = place.prof(&[args, &of_target].concat()).ok();
        assert!(is_harmless(&ran.out), "{args:?}: {:?}", ran.out);
        assert!(is_harmless(&ran.err), "{args:?}: {:?}", ran.err);
        ran
    };
    let table = run(&["top", "--batch", "-n", "1", "-d", "1"]);
    let title = table.out.lines().next().unwrap_or_default();
    assert!(title.contains(shown), "{title}");
    let objects = run(&["top", "--json", "-n", "1", "-d", "1"]);
    let object: serde_json::Value = serde_json::from_str(&objects.out).unwrap();
    let name = object["target"].as_str().unwrap_or_default();
    assert!(name.contains("\x1b[2J\n\u{202e}hot"), "{object}");
    run(&["record", "-v", "-d", "1s", "--svg", "f.svg"]);
    let svg = std::fs::read_to_string(place.file("f.svg")).unwrap();
    assert!(is_harmless(&svg) && svg.contains(shown));
}

#[test]
fn the_line_while_recording_shows_a_name_that_is_an_order() {
    if !(has("gcc") && has("script")) {
        return;
    }
    let place = Place::new();
    odd_program(&place);
    let record = format!("script -qc '{PROF} record -F 499 -o p.data -- ./target' /dev/null");
    let mut shell = place.command("sh", &["-c", &record]);
    let ran = Ran::from(shell.output().unwrap()).ok();
    let said = ran.out.replace("\x1b[K", "").replace('\r', ""); // how the line is drawn
    assert!(is_harmless(&said), "{said:?}");
    assert!(said.contains(r"hot;f <x>"), "{said:?}");
    assert!(said.contains(r"\x1b\n\u{202e}"), "{said:?}");
}

#[test]
fn a_stripped_program_says_where_its_debug_file_goes_and_has_names_once_it_is_there() {
    if !(has("gcc") && has("objcopy") && has("strip")) {
        return;
    }
    let place = Place::new();
    build(&place, "split.c", &["-g", "-o", "target"]);
    let run = |program: &str, args: &[&str]| {
        let ran: Ran = place.command(program, args).output().unwrap().into();
        ran.ok()
    };
    run("objcopy", &["--only-keep-debug", "target", "debuginfo"]);
    run("strip", &["target"]);
    let args = ["record", "-F", "499", "--", "./target", "60"];
    let recorded = place.prof(&args).ok();
    let hint = "hint: target: put its unstripped file at /usr/lib/debug/.build-id/";
    let recorded = recorded.says(&["target: stripped, and no debug file was found", hint]);
    let (_, find) = recorded
        .err
        .split_once("`debuginfod-find debuginfo ")
        .unwrap();
    let build_id = find.split('`').next().unwrap();

    // what debuginfod-find leaves
    let cache = place.file("cache");
    std::fs::create_dir_all(cache.join(build_id)).unwrap();
    std::fs::rename(
        place.file("debuginfo"),
        cache.join(build_id).join("debuginfo"),
    )
    .unwrap();
    let report = |with_cache: bool| {
        let args = [
            "report",
            "-v",
            "-q",
            "--no-children",
            "-g",
            "none",
            "--sort",
            "sym",
        ];
        let mut command = place.command(PROF, &args);
        if with_cache {
            command.env("DEBUGINFOD_CACHE_PATH", &cache);
        }
        Ran::from(command.output().unwrap()).ok()
    };
    let without = report(false).says(&[hint]);
    assert!(!without.out.contains("hot_leaf"), "{}", without.out);
    let with = report(true);
    assert!(with.out.contains("hot_leaf"), "{}", with.out);
    assert!(!with.err.contains("hint: target"), "{}", with.err);
}

#[test]
fn generated_code_without_a_map_names_the_option_of_its_runtime() {
    if !has("node") {
        return;
    }
    let place = Place::new();
    let script = "let s = 0; const end = Date.now() + 1000; while (Date.now() < end) s += 1;";
    let args = ["record", "-F", "499", "--", "node", "-e", script];
    let recorded = place.prof(&args).ok();
    recorded.says(&["generated code without a perf map", "--perf-basic-prof"]);
}

/// What lies behind the copy of a stack is read some time after the sample where no BPF program reads it, as with
/// another clock. Who called cannot be told where it may have been another by then: such stacks are cut, not
/// finished with the wrong one.
#[test]
fn a_caller_that_cannot_be_told_is_not_guessed() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    build(
        &place,
        "either.c",
        &["-fomit-frame-pointer", "-o", "either"],
    );
    place
        .prof(&["record", "-F", "999", "-k", "raw", "--", "./either", "200"])
        .ok();
    let folded = place.prof(&["report", "--folded", "-", "-q"]).ok();
    let (mut cut, mut wrong) = (0, 0);
    for line in folded
        .out
        .lines()
        .filter(|line| line.contains("bottom_of_"))
    {
        let (stack, samples) = line.rsplit_once(' ').unwrap();
        let samples: usize = samples.parse().unwrap();
        let (one, other) = (stack.contains(";one;"), stack.contains(";other;"));
        match (stack.contains(";bottom_of_one"), one, other) {
            (_, false, false) => cut += samples,
            (true, true, _) | (false, _, true) => {}
            _ => wrong += samples,
        }
    }
    // Of 500; what chance makes of it before the first difference is seen.
    assert!(
        cut > 50 && wrong <= 5,
        "{cut} cut, {wrong} wrong\n{}",
        folded.out
    );
}

/// A file that is there and has no names for us: that it was not found would be the wrong trail.
#[test]
fn a_file_that_cannot_be_read_is_not_called_missing() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    build(&place, "split.c", &["-o", "long"]);
    let mut file = OpenOptions::new();
    let file = file.append(true).open(place.file("long")).unwrap();
    file.set_len(3 << 30).unwrap(); // none of it on the disk
    drop(file); // or it could not be run
    let record = format!("ulimit -v 2000000; exec {PROF} record -F 499 -- ./long 50");
    let ran: Ran = place
        .command("sh", &["-c", &record])
        .output()
        .unwrap()
        .into();
    let ran = ran.ok();
    let why = ran
        .err
        .contains("in long: the mapped file could not be read");
    assert!(
        why && ran.err.contains("hint: long: permission"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("ulimit -v"), "{}", ran.err);
}

#[test]
fn a_kernel_that_hides_its_addresses_is_one_row_and_a_line_that_says_why() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let Some(paranoid) = Setting::set("/proc/sys/kernel/perf_event_paranoid", "-1") else {
        println!("skipped: settings of the kernel are not writable here");
        return;
    };
    let _restrict = Setting::set("/proc/sys/kernel/kptr_restrict", "1").expect("writable as well");
    let place = Place::new();
    let mut open = Command::new("chmod");
    assert!(
        open.arg("777")
            .arg(place.path())
            .status()
            .unwrap()
            .success()
    );
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    // a program that is in the kernel most of the time
    let record = [
        PROF,
        "record",
        "-F",
        "499",
        "-o",
        "k.data",
        "--",
        "dd",
        "if=/dev/zero",
    ];
    let work = ["of=/dev/null", "bs=1", "count=2000000"];
    let words = [&nobody[..], &record, &work].concat();
    let ran: Ran = place.command("setpriv", &words).output().unwrap().into();
    drop(paranoid);
    let ran = ran.ok().says(&[
        "[kernel.kallsyms]: kernel.kptr_restrict hides kernel addresses",
        "hint: [kernel.kallsyms]: ",
        "`sysctl kernel.kptr_restrict=0`, or CAP_SYSLOG for prof",
    ]);
    assert!(
        ran.err
            .contains("[kernel.kallsyms]  [hidden by kptr_restrict]"),
        "{}",
        ran.err
    );
    let args = [
        "report",
        "-f",
        "-q",
        "-i",
        "k.data",
        "--no-children",
        "-g",
        "none",
    ];
    let by = ["--sort", "dso,sym"];
    let report = place.prof(&[&args[..], &by].concat());
    let rows = report
        .out
        .lines()
        .filter(|row| row.contains("[kernel.kallsyms]"));
    assert_eq!(rows.count(), 1, "{}\n{}", report.out, report.err);
}

/// A program that runs code it has generated, and tells nobody its names.
fn generating(place: &Place) -> Running {
    build(place, "jit.c", &["-o", "target"]);
    Running::start(place.file("target"), &["1000000"])
}

fn record_attached(place: &Place, running: &Running) {
    let args = ["record", "-q", "-F", "499", "-d", "0.5", "-p"];
    place.prof(&[&args[..], &[&running.pid()]].concat()).ok();
}

#[test]
fn a_perf_map_of_another_process_with_the_same_pid_gives_no_names() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let running = generating(&place);
    record_attached(&place, &running);
    let pid = running.pid();
    drop(running);
    let map = format!("/tmp/perf-{pid}.map");
    std::fs::write(&map, "0 7fffffffffff another_process\n").unwrap();
    // A copy is newer than the map; when it was recorded is in the file.
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::copy(place.file("perf.data"), place.file("copy.data")).unwrap();
    let reports = ["perf.data", "copy.data"].map(|file| {
        let report = place.prof(&["report", "-v", "-q", "-i", file]);
        report.ok()
    });
    let _ = std::fs::remove_file(&map);
    for report in reports {
        let report = report.says(&["generated code without a perf map", "docs/guide.md"]);
        assert!(!report.out.contains("another_process"), "{}", report.out);
    }
    let share = place.share("perf.data", "main");
    assert!(share < tolerance(1.0, 100), "{share}");
}

#[test]
fn a_perf_map_that_a_running_process_writes_after_the_recording_is_its_own() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let running = generating(&place);
    // when a process started is known to the second
    std::thread::sleep(std::time::Duration::from_millis(2100));
    record_attached(&place, &running);
    let map = format!("/tmp/perf-{}.map", running.pid());
    std::fs::write(&map, "0 7fffffffffff told_later\n").unwrap();
    let share = place.share("perf.data", "told_later");
    let _ = std::fs::remove_file(&map);
    assert!(share > 90.0, "{share}");
}
