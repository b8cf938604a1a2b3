//! Formats of tracepoints as no kernel writes them, but anybody can who hands over a recording.

use prof_event::EventAttr;
use prof_event::abi::{event_type, misc, record, sample};
use prof_perfdata::Features;

use crate::handmade::{Handmade, tracing_data};
use crate::support::Place;

/// One sample of a tracepoint whose field `n` is 41, and which is printed by this format string.
fn write(place: &Place, print: &str) {
    let attr = EventAttr {
        kind: event_type::TRACEPOINT,
        config: 7,
        sample_type: sample::IP | sample::TID | sample::TIME | sample::PERIOD | sample::RAW,
        sample_period_or_freq: 1,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(place.file("perf.data"), "test:nested", attr);
    recording.put(record::SAMPLE, misc::USER, |sample| {
        sample.u64(0x40_1000).u32(7).u32(7).u64(1_000_000_000);
        sample.u64(1).u32(4).u32(41); // the period; the raw data and their size
    });
    let format = format!(
        "name: nested\nID: 7\nformat:\n\
         \tfield:int n;\toffset:0;\tsize:4;\tsigned:1;\n\nprint fmt: {print}\n"
    );
    recording.finish(Features {
        tracing_data: Some(tracing_data("test", &[format])),
        ..Features::default()
    });
}

/// What `script` and `report` print of it.
fn assert_printed(print: &str, expected: &str) {
    let place = Place::new();
    write(&place, print);
    let text = |args: &[&str]| place.prof(args).ok().out.trim().to_owned();
    assert_eq!(text(&["script", "-F", "trace"]), expected);
    let rows = [
        "report",
        "--stdio",
        "-q",
        "-s",
        "trace",
        "-F",
        "sample,trace",
    ];
    let row = text(&rows);
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words, ["1", expected]);
    let fields = text(&["evlist", "--trace-fields"]);
    assert_eq!(fields, "test:nested: trace_fields: n");
}

#[test]
fn twenty_thousand_parentheses_leave_the_fields_by_name() {
    let (open, close) = ("(".repeat(20_000), ")".repeat(20_000));
    assert_printed(&format!("\"value=%d\", {open}REC->n{close}"), "n=41");
    assert_printed(&open, "n=41");
    let minus = "-".repeat(20_000);
    assert_printed(&format!("\"value=%d\", {minus}REC->n"), "n=41");
}

#[test]
fn a_hundred_thousand_operators_in_a_row_are_added_up() {
    let chain = " + 1".repeat(100_000);
    assert_printed(&format!("\"value=%d\", REC->n{chain}"), "value=100041");
}

#[test]
fn what_the_kernel_may_nest_is_followed() {
    let (open, close) = ("(".repeat(100), ")".repeat(100));
    assert_printed(
        &format!("\"value=%d\", {open}REC->n{close} + 1"),
        "value=42",
    );
}
