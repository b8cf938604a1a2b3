//! Folded stacks, flame graphs, scripts and summaries of small made-up profiles.

mod common;

use common::{MAIN, Maker, Recording, Who};
use prof_model::{ChainEnd, Cpu, Pid, Reason, Tid, VirtAddr};
use prof_profile::{EventInfo, FrameKey, ScriptExtras, ScriptSample};
use prof_report::{
    Filter, FlameGraphOptions, FoldedOptions, ScriptFields, ScriptOptions, ScriptWriter,
    StackWeight, fold, summarize, write_flame_graph, write_summary,
};

fn folded(recording: &Recording, options: &FoldedOptions, weight: StackWeight) -> String {
    let stacks = fold(&recording.profile, &recording.names, 0, options);
    let mut out = Vec::new();
    stacks.write(&mut out, weight).unwrap();
    String::from_utf8(out).unwrap()
}

fn annotated() -> FoldedOptions {
    FoldedOptions {
        annotate: true,
        ..FoldedOptions::default()
    }
}

#[test]
fn equal_stacks_of_several_threads_are_one_line_from_the_thread_name_inwards() {
    let other = Who { tid: 8, ..MAIN };
    let recording = Maker::new()
        .add(MAIN, "leaf;main", 2)
        .add(other, "leaf;main", 1)
        .add(MAIN, "main", 1)
        .done();
    assert_eq!(
        folded(&recording, &FoldedOptions::default(), StackWeight::Samples),
        "cg;main 1\ncg;main;leaf 3\n"
    );
    assert_eq!(
        folded(&recording, &FoldedOptions::default(), StackWeight::Period),
        "cg;main 10\ncg;main;leaf 30\n"
    );
}

#[test]
fn annotations_tell_kernel_and_inlined_functions_apart() {
    let recording = Maker::new()
        .add(MAIN, "k!do_idle;f/outer/inner;main", 1)
        .done();
    assert_eq!(
        folded(&recording, &annotated(), StackWeight::Samples),
        "cg;main;f;outer_[i];inner_[i];do_idle_[k] 1\n"
    );
    let plain = FoldedOptions {
        inline: false,
        ..FoldedOptions::default()
    };
    assert_eq!(
        folded(&recording, &plain, StackWeight::Samples),
        "cg;main;f;do_idle 1\n"
    );
}

#[test]
fn a_cut_stack_does_not_look_like_a_whole_one() {
    let cut = Who {
        end: ChainEnd::TruncatedCopy,
        ..MAIN
    };
    let unknown = Who {
        end: ChainEnd::Unknown,
        ..MAIN
    };
    let recording = Maker::new()
        .add(MAIN, "main", 1)
        .add(cut, "main", 2)
        .add(unknown, "main", 4)
        .done();
    assert_eq!(
        folded(&recording, &FoldedOptions::default(), StackWeight::Samples),
        "cg;[truncated];main 2\ncg;main 5\n"
    );
}

#[test]
fn frames_without_a_name_are_called_by_their_module() {
    let recording = Maker::new()
        .add(MAIN, "libfoo.so!0x12e9;?!0x7f00;main", 1)
        .done();
    assert_eq!(
        folded(&recording, &FoldedOptions::default(), StackWeight::Samples),
        "cg;main;[unknown];[libfoo.so] 1\n"
    );
}

#[test]
fn only_samples_that_pass_the_filter_are_folded() {
    let worker = Who {
        comm: "worker",
        ..MAIN
    };
    let recording = Maker::new()
        .add(MAIN, "main", 1)
        .add(worker, "main", 2)
        .done();
    let options = FoldedOptions {
        filter: Filter {
            comms: vec!["worker".into()],
            ..Filter::default()
        },
        ..FoldedOptions::default()
    };
    assert_eq!(
        folded(&recording, &options, StackWeight::Samples),
        "worker;main 2\n"
    );
}

#[test]
fn a_flame_graph_shows_names_without_their_annotations() {
    let recording = Maker::new()
        .add(MAIN, "k!do_idle;operator<;main", 3)
        .add(MAIN, "main", 1)
        .done();
    let stacks = fold(&recording.profile, &recording.names, 0, &annotated());
    let mut svg = Vec::new();
    let options = FlameGraphOptions {
        subtitle: "cg, 4 samples".into(),
        ..FlameGraphOptions::default()
    };
    assert_eq!(write_flame_graph(&mut svg, &stacks, &options).unwrap(), 0);
    let svg = String::from_utf8(svg).unwrap();
    for part in [
        "<title>do_idle (3 samples, 75.00%)</title>",
        "<title>operator&lt; (3 samples, 75.00%)</title>",
        "<title>cg (4 samples, 100.00%)</title>",
        "cg, 4 samples (user: red, kernel: orange",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("_[k]"));
}

/// One callchain through a kernel, an inlined and a nameless function.
fn script_sample(maker: Maker) -> (Recording, ScriptSample) {
    let mut maker = maker;
    let stack = ["k!do_idle", "f/inner", "cg!0x99", "?!0x7f00"];
    let keys: Vec<_> = stack
        .iter()
        .enumerate()
        .map(|(index, text)| maker.frame(text, index == 0))
        .collect();
    maker = maker.add(MAIN, &stack.join(";"), 1);
    let comm = maker.recording.profile.comms.intern(b"cg");
    let recording = maker.done();
    let frame = |key: &FrameKey| recording.profile.frame_id(key).unwrap();
    let address = |key: &FrameKey| VirtAddr(0x5500_0000_0000 + key.shown);
    let (frames, addresses) = keys.iter().map(|key| (frame(key), address(key))).unzip();
    let sample = ScriptSample {
        event: 0,
        pid: Pid(7),
        tid: Tid(8),
        comm: Some(comm),
        cpu: Some(Cpu(3)),
        time: Some(12_000_345_678),
        period: 10,
        ip: VirtAddr(0x5500_0000_1010),
        addr: None,
        data: None,
        frames,
        addresses,
        extras: ScriptExtras::default(),
        trace: None,
    };
    (recording, sample)
}

fn script(recording: &Recording, sample: &ScriptSample, options: ScriptOptions) -> String {
    let mut out = Vec::new();
    ScriptWriter::new(&recording.profile, &recording.names, options).write(&mut out, sample);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_callchain_shows_file_offsets_for_files_and_addresses_for_the_rest() {
    let (recording, sample) = script_sample(Maker::new());
    let expected = [
        "cg     8 [003]    12.000345:         10 cpu-clock:pppH: ",
        "\t    550000001010 do_idle+0x10 ([kernel.kallsyms])",
        "\t            1110 inner+0x10 (inlined)",
        "\t            1110 f+0x10 (/usr/bin/cg)",
        "\t              99 [unknown] (/usr/bin/cg)",
        "\t    550000007f00 [unknown] ([unknown])",
        "",
        "",
    ];
    assert_eq!(
        script(&recording, &sample, ScriptOptions::default()),
        expected.join("\n")
    );
}

#[test]
fn fields_and_depth_of_a_callchain_can_be_chosen() {
    let (recording, sample) = script_sample(Maker::new());
    let fields = ScriptFields::default_for(false, true);
    let options = ScriptOptions {
        fields: Some(fields.apply("comm,pid,tid,time,ip,sym").unwrap()),
        inline: false,
        max_stack: 2,
        nanoseconds: true,
        ..ScriptOptions::default()
    };
    let expected = [
        "cg     7/8        12.000345678: ",
        "\t    550000001010 do_idle",
        "\t            1110 f",
        "",
        "",
    ];
    assert_eq!(script(&recording, &sample, options), expected.join("\n"));
}

#[test]
fn source_lines_stand_below_their_frames() {
    let (recording, sample) = script_sample(Maker::new());
    let options = ScriptOptions {
        fields: Some(
            ScriptFields::default_for(false, true)
                .apply("ip,sym,srcline")
                .unwrap(),
        ),
        inline: false,
        max_stack: 1,
        ..ScriptOptions::default()
    };
    // without debug info the offset in the function takes the line's place
    let expected = ["", "\t    550000001010 do_idle", "  do_idle+0x10", "", ""];
    assert_eq!(script(&recording, &sample, options), expected.join("\n"));
}

#[test]
fn a_tracepoint_prints_its_fields_and_no_address() {
    let (mut recording, sample) = script_sample(Maker::new());
    recording.profile.events.push(EventInfo {
        name: "sched:sched_switch".into(),
        is_tracepoint: true,
        ..EventInfo::default()
    });
    let sample = ScriptSample {
        event: 1,
        trace: Some("prev_comm=cg prev_pid=7".into()),
        frames: Vec::new(),
        ..sample
    };
    assert_eq!(
        script(&recording, &sample, ScriptOptions::default()),
        "              cg     8 [003]    12.000345: sched:sched_switch: prev_comm=cg prev_pid=7\n"
    );
    let nowhere = ScriptSample { event: 9, ..sample };
    assert_eq!(script(&recording, &nowhere, ScriptOptions::default()), "");
}

#[test]
fn a_summary_merges_threads_and_tells_what_to_doubt() {
    let worker = Who {
        comm: "worker",
        tid: 8,
        ..MAIN
    };
    let cut = Who {
        end: ChainEnd::NoRule,
        ..MAIN
    };
    let recording = Maker::new()
        .add(MAIN, "hot;main", 40)
        .add(worker, "hot;main", 30)
        .add(cut, "libfoo.so!0x10;libfoo.so!0x20", 20)
        .add(MAIN, "libfoo.so!0x11;main", 10)
        .done();
    let summary = summarize(&recording.profile, &recording.names, 0, 10);
    let hot: Vec<_> = summary
        .hottest
        .iter()
        .map(|it| (it.name.as_str(), it.module.as_str(), it.own.samples))
        .collect();
    assert_eq!(hot, [("hot", "cg", 70), ("[no names]", "libfoo.so", 30)]);
    assert_eq!(format!("{:.3}", summary.hottest[0].error), "8.982"); // 1.96 sqrt(0.7 0.3 / 100)
    assert_eq!(summary.whole_percent(), Some(80.0));
    assert_eq!((summary.frames, summary.unnamed_percent()), (200, 25.0));
    assert_eq!(summary.unnamed.len(), 1);
    assert_eq!(
        summary.unnamed[0].reasons,
        [(Reason::NoSymbolTable, 50)] // 20 stacks have two of them, 10 have one
    );

    let mut out = Vec::new();
    write_summary(&mut out, &summary).unwrap();
    let expected = [
        " 70.00% ±8.98   cg         hot",
        " 30.00% ±8.98   libfoo.so  [no names]",
        "path: main 80.0% > hot 70.0%",
        "stacks: 80.0% whole",
        "  20 no unwind tables and no frame pointer",
        "frames: 25.0% unnamed",
        "  50 in libfoo.so: stripped, and no debug file was found",
        "",
    ];
    assert_eq!(String::from_utf8(out).unwrap(), expected.join("\n"));
}

#[test]
fn a_summary_names_inlined_functions_and_the_way_to_them() {
    let recording = Maker::new()
        .add(MAIN, "f/outer/inner;main", 60)
        .add(MAIN, "f;main", 10)
        .add(MAIN, "k!clear_page;libc.so!0x40;f/outer;main", 30)
        .done();
    let summary = summarize(&recording.profile, &recording.names, 0, 10);
    let hot = summary.hottest.iter();
    let hot: Vec<_> = hot.map(|it| (it.name.as_str(), it.own.samples)).collect();
    assert_eq!(hot, [("f", 70), ("clear_page", 30)]); // the function that somebody can look up
    assert_eq!(summary.hottest[0].inlined, Some(("inner".to_owned(), 60.0)));
    assert_eq!(summary.hottest[1].inlined, None);
    let mut out = Vec::new();
    write_summary(&mut out, &summary).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("  f (60.00% inlined inner)\n"), "{text}");
    let path = "path: main 100.0% > f > outer > inner 60.0%";
    assert!(text.lines().any(|line| line == path), "{text}");
}

#[test]
fn idle_cpus_are_a_line_of_their_own() {
    let idle = Who {
        comm: "swapper",
        pid: 0,
        tid: 0,
        ..MAIN
    };
    let recording = Maker::new()
        .add(
            idle,
            "k!pv_native_safe_halt;k!do_idle;k!cpu_startup_entry",
            170,
        )
        .add(MAIN, "hot;main", 20)
        .add(idle, "k!net_rx_action;k!asm_common_interrupt;k!do_idle", 10) // work
        .done();
    let summary = summarize(&recording.profile, &recording.names, 0, 10);
    assert_eq!((summary.idle.samples, summary.total.samples), (170, 30));
    let mut out = Vec::new();
    write_summary(&mut out, &summary).unwrap();
    let text = String::from_utf8(out).unwrap();
    let expected = [
        " 85.00% idle; the rest is 100% of what follows",
        " 66.67% ±16.87  cg                 hot",
        " 33.33% ±16.87  [kernel.kallsyms]  net_rx_action",
        "path: main 66.7% > hot",
        "stacks: 100.0% whole",
        "",
    ];
    assert_eq!(text, expected.join("\n"));
}

#[test]
fn a_summary_fits_80_columns() {
    let long = format!("{}::function_name", "package".repeat(30));
    let stack = format!("lib{}.so!{long};main", "x".repeat(60));
    let recording = Maker::new()
        .add(MAIN, &stack, 1)
        .add(MAIN, &format!("lib{}.so!0x10", "y".repeat(90)), 1)
        .done();
    let summary = summarize(&recording.profile, &recording.names, 0, 1);
    let mut out = Vec::new();
    write_summary(&mut out, &summary).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.lines().next().unwrap().ends_with("::function_name"));
    assert_eq!(summary.hottest.len(), 1);
}
