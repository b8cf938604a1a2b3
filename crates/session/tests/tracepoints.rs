//! The fields of tracepoints, by the formats that a recording brings.

mod common;

use common::{Records, Sampled, attr, one_event};
use prof_event::EventAttr;
use prof_event::abi::{event_type, sample};
use prof_perfdata::Features;
use prof_session::load::{load, open};
use prof_session::{ReadOptions, Wanted, tracepoints};

const FORMAT: &str = "name: hit\nID: 77\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \n\
    \tfield:int count;\toffset:4;\tsize:4;\tsigned:1;\n\
    \n\
    print fmt: \"count=%d\", REC->count\n";

/// The section of one tracepoint, `test:hit`.
fn section() -> Vec<u8> {
    let mut bytes = b"\x17\x08\x44tracing0.6\0\0\x08".to_vec();
    bytes.extend(4096_u32.to_le_bytes());
    for name in [&b"header_page\0"[..], b"header_event\0"] {
        bytes.extend(name);
        bytes.extend(0_u64.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes()); // ftrace's own
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(b"test\0");
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((FORMAT.len() as u64).to_le_bytes());
    bytes.extend(FORMAT.as_bytes());
    bytes.extend([0; 4 + 4 + 8]); // kallsyms, printk_formats, saved_cmdlines
    bytes
}

/// The payload of `test:hit` with this count, of a length as the kernel pads it.
fn payload(count: i32) -> Vec<u8> {
    [&77_u32.to_le_bytes()[..], &count.to_le_bytes(), &[0; 4]].concat()
}

fn records() -> Records {
    let mut records = Records::of_nobody(one_event(EventAttr {
        kind: event_type::TRACEPOINT,
        config: 77,
        ..attr(sample::RAW)
    }));
    for count in [5, -1, 5] {
        records.sample(&Sampled {
            raw: payload(count),
            ..Sampled::default()
        });
    }
    records
}

#[test]
fn samples_that_differ_by_their_fields_are_told_apart_by_the_text_of_these() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let features = |section: Option<Vec<u8>>| Features {
        tracing_data: section,
        ..Features::default()
    };
    let told = |section| {
        records().save(&path, features(section), None);
        let text = true;
        let loaded = load(
            &ReadOptions::new(&path),
            Wanted {
                text,
                ..Wanted::default()
            },
        )
        .unwrap();
        let detailed = loaded.profile.detailed_samples(0).into_iter();
        let mut told: Vec<_> = detailed
            .map(|(_, detail, weight)| {
                let text = loaded.profile.detail(detail).text.to_string();
                (text, weight.samples)
            })
            .collect();
        told.sort();
        told
    };
    let of_both = [("count=-1".to_owned(), 1), ("count=5".to_owned(), 2)];
    assert_eq!(told(Some(section())), of_both);
    assert_eq!(told(None), [(String::new(), 3)]);
}

#[test]
fn a_recording_without_the_section_has_no_formats_and_a_damaged_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let read = |section: Option<Vec<u8>>| {
        let features = Features {
            tracing_data: section,
            ..Features::default()
        };
        records().save(&path, features, None);
        let formats = tracepoints::read(&open(&path).unwrap());
        formats
            .map(|formats| formats.print(77, &payload(5), &|_| None))
            .map_err(|error| error.to_string())
    };
    assert_eq!(read(Some(section())), Ok("count=5".to_owned()));
    let cut = section()[..40].to_vec();
    let said = "the tracepoint formats at offset 0x0: they end too early";
    assert_eq!(read(Some(cut)), Err(said.to_owned()));
    assert_eq!(read(None), Ok(String::new()));
}
