//! Recordings of others whose names are orders to a terminal, or turn the text around them.

use prof_event::EventAttr;
use prof_event::abi::{event_type, misc, record, sample};
use prof_model::{BuildId, CpuMode, Pid, is_printable};
use prof_perfdata::{CpuTopology, EventGroup, Features, NumaNode, StoredBuildId};

use crate::handmade::{Handmade, tracing_data};
use crate::support::{Place, Ran, has};

/// Clears the screen, turns the text, ends the line, sets the title, and is no XML.
const ORDERS: &str = "\x1b[2J\u{202e}\n\u{9b}1m\u{feff}\x1b]0t\x07\u{ffff}";
/// How it begins where it is shown.
const SHOWN: &str = r"\x1b[2J\u{202e}\n\u{9b}1m\u{feff}\x1b]0t\x07";

fn named(name: &str) -> String {
    format!("{name}{ORDERS}")
}

fn shown(name: &str) -> String {
    format!("{name}{SHOWN}")
}

fn features() -> Features {
    Features {
        hostname: Some(named("host")),
        os_release: Some(named("release")),
        version: Some(named("version")),
        arch: Some("x86_64".to_owned()),
        cpu_desc: Some(named("cpu")),
        cpu_id: Some(named("id")),
        cmdline: vec![named("command"), named("word")],
        nr_cpus_available: Some(1),
        nr_cpus_online: Some(1),
        cpu_topology: Some(CpuTopology {
            core_siblings: vec![named("0-1")],
            thread_siblings: vec![named("0")],
            cpus: vec![(0, 0)],
        }),
        numa: vec![NumaNode {
            node: 0,
            total_kb: 2,
            free_kb: 1,
            cpus: named("0"),
        }],
        pmu_mappings: vec![(1, named("pmu"))],
        groups: vec![EventGroup {
            name: named("group"),
            leader: 0,
            members: 1,
        }],
        build_ids: vec![StoredBuildId {
            mode: CpuMode::User,
            pid: Pid(-1),
            build_id: BuildId::new(&[7; 20]).expect("a build-id"),
            path: [named("/gone/file").as_bytes(), b"\xe9"].concat(),
        }],
        ..Features::default()
    }
}

/// Samples of a process and a file with such names.
fn fill(recording: &mut Handmade, raw: &[u8]) {
    recording.put(record::COMM, 0, |comm| {
        comm.u32(7).u32(7).c_string(named("comm").as_bytes());
    });
    recording.put(record::MMAP, misc::USER, |map| {
        map.u32(7).u32(7).u64(0x40_0000).u64(0x1_0000).u64(0);
        map.c_string(named("/gone/file").as_bytes());
    });
    for number in 0..20 {
        recording.put(record::SAMPLE, misc::USER, |sample| {
            sample.u64(0x40_1000 + number).u32(7).u32(7);
            sample.u64(1_000_000_000 + number).u64(1_000_000);
            if !raw.is_empty() {
                sample.u32(raw.len() as u32).bytes(raw);
            }
        });
    }
}

const TYPE: u64 = sample::IP | sample::TID | sample::TIME | sample::PERIOD;

fn write_clock(place: &Place, file: &str) {
    let attr = EventAttr {
        kind: 1,
        sample_type: TYPE,
        sample_period_or_freq: 1_000_000,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(place.file(file), &named("event"), attr);
    fill(&mut recording, &[]);
    recording.finish(features());
}

/// A tracepoint whose field, its text and what is printed with it are such.
fn write_tracepoint(place: &Place, file: &str) {
    let attr = EventAttr {
        kind: event_type::TRACEPOINT,
        config: 7,
        sample_type: TYPE | sample::RAW,
        sample_period_or_freq: 1,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(place.file(file), &named("test:event"), attr);
    let mut raw = named("text").into_bytes();
    raw.resize(60, 0);
    fill(&mut recording, &raw);
    let format = "name: event\nID: 7\nformat:\n\
         \tfield:char text[60];\toffset:0;\tsize:60;\tsigned:1;\n\
         \tfield:int a\x1b\u{202e}b;\toffset:0;\tsize:4;\tsigned:1;\n\n\
         print fmt: \"says\x1b\u{202e} %s\", REC->text\n";
    recording.finish(Features {
        tracing_data: Some(tracing_data("test", &[format.to_owned()])),
        ..features()
    });
}

/// Nothing that was printed is an order, and these words are in it.
fn assert_harmless(ran: &Ran, what: &str, words: &[&str]) {
    for text in [&ran.out, &ran.err] {
        let order = text
            .chars()
            .find(|&letter| !is_printable(letter) && letter != '\n' && letter != '\t');
        assert_eq!(order, None, "{what}: {text:?}");
        let forged = text.lines().find(|line| line.starts_with("\u{9b}1m"));
        assert_eq!(forged, None, "{what}: {text:?}");
    }
    assert!(!ran.err.contains("panicked"), "{what}: {}", ran.err);
    let all = format!("{}{}", ran.out, ran.err);
    for word in words {
        assert!(all.contains(word), "{what}: no {word} in\n{all}");
    }
}

#[test]
fn names_in_a_recording_are_seen_and_tell_a_terminal_nothing() {
    let place = Place::new();
    write_clock(&place, "a.data");
    write_clock(&place, "b.data");
    write_tracepoint(&place, "t.data");
    let (event, comm, file) = (shown("event"), shown("comm"), shown("file"));
    let path = format!("/gone/{file}");
    let ask = |command: &str, words: &[&str]| {
        let args: Vec<_> = command.split(' ').collect();
        let ran = place.prof(&args);
        assert_harmless(&ran, command, words);
    };
    ask("report --stdio -i a.data", &[&event, &comm, &file]);
    ask("report --stdio -i a.data -v", &[&comm, &file]);
    ask("report --stdio -i a.data --hierarchy", &[&comm, &file]);
    ask("report --stdio -i a.data --sort pid,tid,srcline", &[&comm]);
    ask("report --stdio -i a.data -t ,", &[&comm, &file]);
    ask("report --stdio -i a.data -T", &[&event]);
    ask("report --stdio -i t.data", &[&shown("test:event")]);
    ask("report --stdio -i t.data --sort trace", &[r"\u{202e}"]);
    let header = ["host", "release", "version", "cpu", "id", "command", "word"].map(shown);
    let header: Vec<_> = header.iter().map(String::as_str).collect();
    ask("report --header-only -I -i a.data", &header);
    ask("script --header -I -i a.data", &header);
    let (pmu, group) = (shown("pmu"), shown("group"));
    ask("report --stdio --header -I -i t.data", &[&pmu, &group]);
    ask("script -i a.data", &[&event, &comm, &path]);
    ask(
        "script -i a.data --show-task-events --show-mmap-events",
        &[&event, &comm, &path],
    );
    ask("script -i t.data", &[r"\u{202e}"]);
    ask("evlist -i a.data", &[&event]);
    ask("evlist -v -i a.data", &[&event]);
    ask("evlist -F -i a.data", &[&event]);
    ask("evlist -g -i a.data", &[&event, &group]);
    ask("evlist --trace-fields -i t.data", &[&shown("test:event")]);
    ask("buildid-list -i a.data", &[&path, r"\xe9"]);
    ask("buildid-list -H -i a.data", &[&path]);
    ask("diff a.data b.data", &[&event, &file]);
    ask("diff a.data t.data", &[&event, &shown("test:event")]);
    ask("annotate -i a.data", &["prof: "]);
    ask("report --folded - -i a.data", &[&comm, &file]);
    ask("report --svg - -i a.data", &[&event, &file]);
}

#[test]
fn json_and_pictures_of_such_a_recording_are_what_they_are() {
    let place = Place::new();
    write_clock(&place, "a.data");
    write_clock(&place, "b.data");
    for command in [
        "evlist --json -i a.data",
        "report --json -i a.data",
        "diff --json a.data b.data",
    ] {
        let args: Vec<_> = command.split(' ').collect();
        let ran = place.prof(&args).ok();
        assert_harmless(&ran, command, &["event"]);
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert!(json.to_string().contains("event"), "{command}: {json}");
    }
    let graph = ["report", "-q", "-i", "a.data", "--svg", "f.svg"];
    place.prof(&graph).ok();
    let comparison = ["diff", "-q", "a.data", "b.data", "--svg", "d.svg"];
    place.prof(&comparison).ok();
    for picture in ["f.svg", "d.svg"] {
        let svg = std::fs::read_to_string(place.file(picture)).unwrap();
        let is_xml =
            |letter: char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert_eq!(svg.chars().find(|&it| !is_xml(it)), None, "{picture}");
        assert!(svg.contains(SHOWN), "{picture}");
        if has("python3") {
            let parse = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
            let mut parser = place.command("python3", &["-c", parse, picture]);
            Ran::from(parser.output().unwrap()).ok();
        }
    }
}

#[test]
fn a_message_about_a_file_shows_its_name_in_one_line() {
    let place = Place::new();
    let name = named("gone.data").replace('\u{ffff}', "");
    let ran = place.prof(&["report", "-i", &name]);
    assert_harmless(&ran, "a missing file", &[&shown("gone.data")]);
    std::fs::write(place.file(&name.replace('/', "")), "no recording").unwrap();
    for command in ["report", "script", "evlist", "annotate", "buildid-list"] {
        let ran = place.prof(&[command, "-i", &name]);
        assert_harmless(&ran, command, &[&shown("gone.data")]);
        assert_ne!(ran.status, Some(0), "{command}");
    }
}
