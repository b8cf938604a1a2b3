//! What is made of a recording for others: which event it shows, and what its numbers are called.

mod common;

use prof_model::ProcessTable;
use prof_profile::{EventInfo, RecordingFacts, Unit};
use prof_report::{
    Export, ExportData, ExportError, Filter, FlameGraphExport, FoldedExport, JsonExport,
    ReportOptions,
};

use common::{Recording, parse_script};

/// A sample of each of two threads, 1 and 3 of an event.
const SAMPLES: &str = "
web 1/1 0.000001: 1 waits:
  401010 serve+0x10 (/bin/web)

db 2/2 0.000002: 3 waits:
  402010 read+0x10 (/bin/db)
";

/// A recording whose event counts this.
fn recording(unit: Unit) -> Recording {
    let mut recording = parse_script(SAMPLES);
    let event: &mut EventInfo = &mut recording.profile.events[0];
    (event.sample_freq, event.unit) = (Some(99), unit);
    recording
}

/// What an export makes of the samples of one thread's name, or of all.
fn exported(recording: &Recording, comm: &str, export: &dyn Export) -> Result<String, ExportError> {
    let comms = match comm {
        "" => Vec::new(),
        comm => vec![comm.to_owned()],
    };
    let mut out = Vec::new();
    let data = ExportData {
        profile: &recording.profile,
        names: &recording.names,
        processes: &ProcessTable::default(),
        facts: &RecordingFacts {
            target: "web (1)".to_owned(),
            duration_ns: 2_500_000_000,
            ..RecordingFacts::default()
        },
        filter: &Filter {
            comms,
            ..Filter::default()
        },
        idle: false,
        inline: true,
    };
    export.write(&data, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn pictures_count_samples_of_cpu_time_and_add_up_what_waits_take() {
    for (unit, weights, label) in [
        (Unit::CpuTime, ["read 1", "serve 1"], "samples"),
        (Unit::Count, ["read 3", "serve 1"], "waits"),
        (Unit::WaitTime, ["read 3", "serve 1"], "ns"),
        (Unit::Bytes, ["read 3", "serve 1"], "bytes"),
    ] {
        let recording = recording(unit);
        let folded = exported(&recording, "", &FoldedExport).unwrap();
        let ends = folded.lines().map(|line| line.rsplit(';').next().unwrap());
        assert_eq!(ends.collect::<Vec<_>>(), weights, "{unit:?}");
        let svg = exported(&recording, "", &FlameGraphExport::default()).unwrap();
        let title = format!("serve (1 {label}, ");
        assert!(svg.contains(&title), "{unit:?}: {svg}");
    }
}

#[test]
fn a_flame_graph_names_the_event_and_the_samples_that_it_shows() {
    let recording = recording(Unit::CpuTime);
    let subtitle = |comm, count| {
        let svg = exported(&recording, comm, &FlameGraphExport::default()).unwrap();
        assert!(svg.contains(">web (1)<"), "{svg}");
        let subtitle = format!("waits at 99 Hz, {count} samples, 2.5 s");
        assert!(svg.contains(&subtitle), "{svg}");
    };
    subtitle("", 2);
    subtitle("db", 1);
}

#[test]
fn where_no_sample_passes_there_is_nothing_to_draw_and_no_row() {
    let recording = recording(Unit::Count);
    let json = JsonExport {
        options: ReportOptions::default(),
    };
    let drawn = exported(&recording, "nobody", &FlameGraphExport::default());
    assert!(matches!(drawn, Err(ExportError::Nothing)));
    assert_eq!(exported(&recording, "nobody", &FoldedExport).unwrap(), "");
    let rows = |comm| exported(&recording, comm, &json).unwrap();
    assert!(rows("nobody").contains("\"rows\": []"));
    let of_one = rows("db");
    assert!(of_one.contains("\"read\"") && !of_one.contains("\"serve\""));
}
