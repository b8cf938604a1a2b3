//! Reports of small made-up profiles, with the exact text.

mod common;

use common::{MAIN, Maker, Recording, Who};
use prof_model::{BranchFlags, ChainEnd, CpuMode, Pid, Resolution, SourceLine, Tid};
use prof_profile::{Detail, FrameKey, Names, Sample};
use prof_report::{
    CallGraph, Places, ReportOptions, Table, parse_fields, parse_sort, summarize, write_report,
    write_summary,
};

fn text(recording: &Recording, options: &ReportOptions) -> String {
    let mut out = Vec::new();
    write_report(&mut out, &recording.profile, &recording.names, options).unwrap();
    String::from_utf8(out).unwrap()
}

/// The report without its header lines and the blank lines at its end.
fn body(recording: &Recording, options: ReportOptions) -> String {
    let options = ReportOptions {
        quiet: true,
        ..options
    };
    text(recording, &options).trim_end_matches('\n').to_owned()
}

fn graph(text: &str) -> CallGraph {
    CallGraph::parse(text).unwrap()
}

fn no_graph() -> ReportOptions {
    ReportOptions {
        call_graph: graph("none"),
        ..ReportOptions::default()
    }
}

fn own_only() -> ReportOptions {
    ReportOptions {
        children: false,
        ..ReportOptions::default()
    }
}

/// `leaf_a` below two callers, and the rest of the samples elsewhere.
fn two_callers() -> Recording {
    Maker::new()
        .add(
            MAIN,
            "leaf_a;work;main;libc.so.6!__libc_start_call_main",
            23,
        )
        .add(
            MAIN,
            "leaf_a;top1;work;main;libc.so.6!__libc_start_call_main",
            46,
        )
        .add(MAIN, "other", 111)
        .done()
}

#[test]
fn a_function_above_others_has_its_callers_and_its_callees_in_its_tree() {
    let recording = Maker::new()
        .add(MAIN, "leaf_a;mid;top1;work;main", 20)
        .add(MAIN, "leaf_b;mid;top1;work;main", 20)
        .add(MAIN, "mid;top1;work;main", 20)
        .add(MAIN, "other", 40)
        .done();
    let body = body(&recording, ReportOptions::default());
    let expected = [
        "    60.00%    20.00%  cg       cg             [.] mid",
        "            |          ",
        "            |--40.00%--mid",
        "            |          |          ",
        "            |          |--20.00%--leaf_b",
        "            |          |          ",
        "            |           --20.00%--leaf_a",
        "            |          ",
        "             --20.00%--main",
        "                       work",
        "                       top1",
        "                       mid",
        "",
    ];
    assert!(body.contains(&expected.join("\n")), "{body}");
}

#[test]
fn a_leaf_has_the_tree_of_its_callers() {
    let options = ReportOptions {
        show_samples: true,
        percent_limit: 38.0,
        filter: prof_report::Filter {
            symbols: vec!["leaf_a".into(), "unused".into()],
            ..Default::default()
        },
        ..own_only()
    };
    let expected = [
        "    38.33%            69  cg       cg             [.] leaf_a",
        "            |",
        "            ---leaf_a",
        "               |          ",
        "               |--25.56%--top1",
        "               |          work",
        "               |          main",
        "               |          __libc_start_call_main",
        "               |          ",
        "                --12.78%--work",
        "                          main",
        "                          __libc_start_call_main",
    ];
    assert_eq!(body(&two_callers(), options), expected.join("\n"));
}

#[test]
fn folded_chains_stand_right_below_their_row() {
    let options = ReportOptions {
        call_graph: graph("folded,count,0"),
        percent_limit: 0.0,
        filter: prof_report::Filter {
            symbol_part: "leaf".into(),
            ..Default::default()
        },
        ..own_only()
    };
    let expected = [
        "    38.33%  cg       cg             [.] leaf_a",
        "46 leaf_a;top1;work;main;__libc_start_call_main",
        "23 leaf_a;work;main;__libc_start_call_main",
    ];
    assert_eq!(body(&two_callers(), options), expected.join("\n"));
}

#[test]
fn the_header_says_what_was_counted_and_names_the_columns() {
    let recording = Maker::new().add(MAIN, "main", 1978).done();
    let expected = [
        "# To display the perf.data header info, please use --header/--header-only options.",
        "#",
        "#",
        "# Total Lost Samples: 0",
        "#",
        "# Samples: 1K of event 'cpu-clock:pppH'",
        "# Event count (approx.): 19780",
        "#",
        "# Overhead  Command  Shared Object  Symbol  ",
        "# ........  .......  .............  ........",
        "#",
        "   100.00%  cg       cg             [.] main",
        "            |",
        "            ---main",
        "",
        "",
        "",
        "",
    ];
    assert_eq!(text(&recording, &own_only()), expected.join("\n"));
}

#[test]
fn a_profile_without_samples_prints_nothing() {
    assert_eq!(text(&Maker::new().done(), &ReportOptions::default()), "");
}

#[test]
fn names_of_templates_make_columns_as_wide_as_they_are() {
    let long = |letter: &str| letter.repeat(70_000);
    let (module, function) = (long("m"), format!("{}ö", long("f")));
    let recording = Maker::new()
        .add(MAIN, &format!("{module}!{function}"), 3)
        .add(MAIN, "short", 1)
        .done();
    let sorted = |keys: &str, more: ReportOptions| {
        let sort = Some(parse_sort(keys).unwrap());
        text(&recording, &ReportOptions { sort, ..more })
    };
    let alone = ReportOptions {
        children: false,
        ..no_graph()
    };
    let plain = sorted("sym,dso", alone);
    let line = format!(
        "    25.00%  [.] short{}  cg",
        " ".repeat(70_001 - "short".len())
    );
    assert!(plain.lines().any(|found| found.trim_end() == line));
    for keys in ["dso,sym", "sym,dso,comm"] {
        let hierarchy = ReportOptions {
            hierarchy: true,
            ..own_only()
        };
        let wide = ReportOptions {
            widths: vec![70_010; 3],
            ..no_graph()
        };
        for options in [no_graph(), hierarchy, wide] {
            let text = sorted(keys, options);
            assert!(text.contains(&function) && text.contains(&module), "{keys}");
        }
    }
    let mut text = Vec::new();
    let summary = summarize(&recording.profile, &recording.names, 0, 5);
    write_summary(&mut text, &summary).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("mmm…") && text.contains("…fff"), "{text}");
}

#[test]
fn a_branch_of_exactly_the_limit_is_kept_and_one_below_it_is_not() {
    // of 10000, 0.5% are 50
    let recording = Maker::new()
        .add(MAIN, "heavy;a", 50)
        .add(MAIN, "light;b", 49)
        .add(MAIN, "main", 9901)
        .done();
    let expected = [
        "    99.01%  cg       cg             [.] main",
        "            |",
        "            ---main",
        "",
        "     0.50%  cg       cg             [.] heavy",
        "            |",
        "            ---heavy",
        "               a",
        "",
        "     0.49%  cg       cg             [.] light",
    ];
    assert_eq!(body(&recording, own_only()), expected.join("\n"));
}

#[test]
fn a_recursive_function_counts_once_per_sample() {
    let recording = Maker::new().add(MAIN, "f;f;f;main", 4).done();
    let expected = [
        "   100.00%   100.00%  cg       cg             [.] f",
        "   100.00%     0.00%  cg       cg             [.] main",
    ];
    assert_eq!(body(&recording, no_graph()), expected.join("\n"));
}

#[test]
fn addresses_without_a_name_are_rows_of_their_own_after_the_named() {
    let recording = Maker::new()
        .add(MAIN, "cg!0x12e9;main", 3)
        .add(MAIN, "cg!0x12f0;main", 3)
        .add(MAIN, "?!0x1234", 3)
        .add(MAIN, "zz;main", 3)
        .add(MAIN, "?!0x0", 1)
        .done();
    let options = ReportOptions {
        sort: Some(parse_sort("sym,dso").unwrap()),
        ..own_only()
    };
    let expected = [
        "    23.08%  [.] zz                  cg              ",
        "            |",
        "            ---main",
        "",
        "    23.08%  [.] 0x0000000000001234  [unknown]       ",
        "    23.08%  [.] 0x00000000000012e9  cg              ",
        "            |",
        "            ---main",
        "",
        "    23.08%  [.] 0x00000000000012f0  cg              ",
        "            |",
        "            ---main",
        "",
        "     7.69%  [.] 0000000000000000    [unknown]       ",
    ];
    assert_eq!(body(&recording, options), expected.join("\n"));
    let folded = ReportOptions {
        call_graph: graph("folded"),
        filter: prof_report::Filter {
            symbols: vec!["0x12e9".into()],
            ..Default::default()
        },
        ..own_only()
    };
    assert!(body(&recording, folded).ends_with("23.08% 0x12e9;main"));
}

#[test]
fn inlined_functions_gain_children_and_the_physical_one_keeps_its_own_time() {
    let recording = Maker::new().add(MAIN, "f/outer/inner;main", 2).done();
    let folded = ReportOptions {
        call_graph: graph("folded"),
        ..ReportOptions::default()
    };
    let expected = [
        "   100.00%     0.00%  cg       cg             [.] main",
        "100.00% main;f;outer (inlined);inner (inlined)",
        "   100.00%   100.00%  cg       cg             [.] f",
        "100.00% main;f;outer (inlined);inner (inlined)",
        "   100.00%     0.00%  cg       cg             [.] outer (inlined)",
        "100.00% outer (inlined);inner (inlined)",
        "   100.00%     0.00%  cg       cg             [.] inner (inlined)",
        "100.00% inner (inlined)",
    ];
    let mut lines: Vec<String> = body(&recording, folded)
        .lines()
        .map(str::to_owned)
        .collect();
    let mut expected: Vec<&str> = expected.to_vec();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);

    let without = ReportOptions {
        inline: false,
        ..no_graph()
    };
    let expected = [
        "   100.00%   100.00%  cg       cg             [.] f",
        "   100.00%     0.00%  cg       cg             [.] main",
    ];
    assert_eq!(body(&recording, without), expected.join("\n"));
}

#[test]
fn a_process_is_one_row_and_its_threads_are_several() {
    let worker = Who {
        comm: "pool 1",
        tid: 8,
        ..MAIN
    };
    let recording = Maker::new().add(worker, "f", 3).add(MAIN, "main", 1).done();
    let by = |keys: &str| ReportOptions {
        sort: Some(parse_sort(keys).unwrap()),
        ..no_graph()
    };
    assert_eq!(
        body(&recording, by("pid")),
        "   100.00%   100.00%        7:cg     "
    );
    let expected = [
        "    75.00%    75.00%        8:pool 1 ",
        "    25.00%    25.00%        7:cg     ",
    ];
    assert_eq!(body(&recording, by("tid")), expected.join("\n"));
}

#[test]
fn cpus_are_rows_in_the_order_of_their_weight() {
    let on = |cpu| Who {
        cpu: Some(cpu),
        ..MAIN
    };
    let recording = Maker::new()
        .add(on(1), "main", 3)
        .add(on(0), "main", 1)
        .add(on(12), "main", 1)
        .done();
    let options = ReportOptions {
        fields: Some(parse_fields("overhead,cpu").unwrap()),
        sort: Some(parse_sort("overhead,cpu").unwrap()),
        ..no_graph()
    };
    let expected = ["    60.00%  001", "    20.00%  000", "    20.00%  012"];
    assert_eq!(body(&recording, options), expected.join("\n"));
}

#[test]
fn filters_choose_samples_and_keep_the_shares_of_the_whole() {
    let worker = Who {
        comm: "worker",
        tid: 8,
        ..MAIN
    };
    let recording = Maker::new()
        .add(MAIN, "leaf;main", 4)
        .add(worker, "leaf;main", 4)
        .add(worker, "k!do_syscall_64;leaf;main", 2)
        .done();
    let filtered = |change: fn(&mut prof_report::Filter)| {
        let mut options = ReportOptions {
            sort: Some(parse_sort("sym").unwrap()),
            ..no_graph()
        };
        change(&mut options.filter);
        let body = body(&recording, options);
        body.lines().map(str::trim).collect::<Vec<_>>().join("|")
    };
    let both = "40.00%    40.00%  [.] leaf|40.00%     0.00%  [.] main";
    assert_eq!(filtered(|it| it.comms = vec!["cg".into()]), both);
    assert_eq!(
        filtered(|it| it.dsos = vec!["[kernel.kallsyms]".into()]),
        "20.00%    20.00%  [k] do_syscall_64|20.00%     0.00%  [.] leaf|20.00%     0.00%  [.] main"
    );
    let named = "80.00%    80.00%  [.] leaf|80.00%     0.00%  [.] main";
    assert_eq!(filtered(|it| it.dsos = vec!["/usr/bin/cg".into()]), named);
    assert_eq!(filtered(|it| it.symbol_part = "ea".into()), named);
    assert_eq!(filtered(|it| it.symbols = vec!["0x1010".into()]), named);
    assert_eq!(filtered(|it| it.tids = vec![prof_model::Tid(7)]), both);
    assert_eq!(filtered(|it| it.pids = vec![prof_model::Pid(9)]), "");
}

#[test]
fn shares_are_coloured_by_their_size_only_when_asked() {
    let recording = Maker::new()
        .add(MAIN, "red", 190)
        .add(MAIN, "green", 9)
        .add(MAIN, "plain", 1)
        .done();
    let options = ReportOptions {
        color: true,
        children: false,
        ..no_graph()
    };
    let expected = [
        "  \x1b[31m  95.00%\x1b[m  cg       cg             [.] red",
        "  \x1b[32m   4.50%\x1b[m  cg       cg             [.] green",
        "     0.50%  cg       cg             [.] plain",
    ];
    assert_eq!(body(&recording, options), expected.join("\n"));
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let hostile = Who {
        comm: "\x1b[2Jx",
        ..MAIN
    };
    let recording = Maker::new().add(hostile, "evil\x07name", 1).done();
    let options = ReportOptions {
        children: false,
        ..no_graph()
    };
    assert_eq!(
        body(&recording, options),
        r"   100.00%  \x1b[2Jx  cg             [.] evil\x07name"
    );
}

#[test]
fn a_separator_inside_a_value_becomes_a_dot() {
    let recording = Maker::new().add(MAIN, "f<a,b>", 1).done();
    let options = ReportOptions {
        separator: Some(",".into()),
        children: false,
        ..no_graph()
    };
    assert_eq!(
        body(&recording, options),
        " 100.00%,cg     ,cg           ,[.] f<a.b>"
    );
}

#[test]
fn hidden_unresolved_frames_are_in_no_row_and_no_chain() {
    let recording = Maker::new()
        .add(MAIN, "f;cg!0x99;main", 3)
        .add(MAIN, "cg!0x98;main", 1)
        .done();
    let options = ReportOptions {
        hide_unresolved: true,
        call_graph: graph("folded,caller"),
        ..own_only()
    };
    let expected = [
        "   100.00%  cg       cg             [.] f",
        "100.00% main;f",
    ];
    assert_eq!(body(&recording, options), expected.join("\n"));
}

#[test]
fn own_shares_add_up_and_none_exceeds_its_total() {
    let recording = common::parse_script(include_str!("fixtures/cg/script.txt"));
    let options = ReportOptions::default();
    let places = Places::new(&recording.profile, &recording.names, true);
    let table = Table::new(&recording.profile, &places, &options, 0).unwrap();
    let own: u64 = table.rows().iter().map(|row| row.first().own.period).sum();
    assert_eq!(own, table.counted().period);
    for row in table.rows() {
        assert!(row.first().own.period <= row.first().total.period);
        assert!(row.first().total.period <= table.counted().period);
        assert!(row.first().own_kernel + row.first().own_user <= row.first().own.period);
        let tree = table.call_tree(row);
        for node in &tree.roots {
            assert!(node.total.period <= row.first().total.period);
            assert_consistent(node);
        }
    }
}

fn assert_consistent(node: &prof_report::CallNode) {
    let children: u64 = node.children.iter().map(|child| child.total.period).sum();
    assert!(node.own.period + children <= node.total.period); // less where light ones are left out
    node.children.iter().for_each(assert_consistent);
}

/// A branch of one function to another: where each end lies, what was noted, and how often.
type Taken = (u64, u64, u64, u64);

/// Branches in `app`, whose functions are `near` at 0x1000 and `far` at 0x2000, with a line for each address.
fn branches(taken: &[Taken]) -> Recording {
    let mut recording = Maker::new().done();
    let profile = &mut recording.profile;
    profile.events = vec![prof_profile::EventInfo::default()];
    let app = profile.dsos.intern(common::dso("/bin/app"));
    let comm = profile.comms.intern(b"app");
    let frame = |addr: u64| FrameKey {
        mode: if addr == 0 {
            CpuMode::Unknown
        } else {
            CpuMode::User
        },
        dso: (addr != 0).then_some(app),
        shown: addr,
        lookup: addr,
    };
    for &(from, to, flags, times) in taken {
        let sample = Sample {
            event: 0,
            pid: Pid(7),
            tid: Tid(7),
            comm: Some(comm),
            cpu: None,
            time: None,
            period: 1,
            inner: None,
            frames: &[frame(to), frame(from)],
            end: ChainEnd::Root,
        };
        for _ in 0..times {
            let branch = BranchFlags(flags);
            profile.add_detailed(
                &sample,
                Detail {
                    branch,
                    ..Detail::default()
                },
            );
        }
    }
    recording.names = Names::build(&recording.profile, |_, addrs| {
        let name = |addr: u64| {
            let (name, start) = if addr < 0x2000 {
                ("near", 0x1000)
            } else {
                ("far", 0x2000)
            };
            let mut named = common::named(name, start, 0x1000);
            if let Resolution::Named { location, .. } = &mut named {
                *location = Some(SourceLine {
                    file: "app.c".into(),
                    line: (addr & 0xfff) as u32,
                });
            }
            named
        };
        addrs.iter().map(|addr| name(addr.0)).collect()
    });
    recording
}

fn of_branches(sort: Option<&str>) -> ReportOptions {
    ReportOptions {
        branches: true,
        sort: sort.map(|sort| parse_sort(sort).unwrap()),
        ..ReportOptions::default()
    }
}

#[test]
fn rows_of_branches_differ_by_both_ends_and_by_cycles() {
    let recording = branches(&[
        (0x1001, 0x2001, 30 << 4, 4),
        (0x1002, 0x2002, 30 << 4, 2), // other addresses of the same functions
        (0x1001, 0x2001, 0, 1),
        (0x2003, 0x1003, 7 << 4, 2),
        (0, 0x1003, 7 << 4, 1),
    ]);
    assert_eq!(
        body(&recording, of_branches(None)),
        "    60.00%  app      app                   [.] near              [.] far        30                \n    \
             20.00%  app      app                   [.] far               [.] near       7                 \n    \
             10.00%  app      [unknown]             [H] 0000000000000000  [.] near       7                 \n    \
             10.00%  app      app                   [.] near              [.] far        -                 "
    );
}

#[test]
fn source_lines_of_branches_tell_apart_what_lies_in_the_same_functions() {
    let recording = branches(&[
        (0x1001, 0x2001, 0, 3),
        (0x1002, 0x2001, 0, 2),
        (0x1002, 0x2002, 0, 1),
    ]);
    let lines = of_branches(Some("srcline_from,srcline_to"));
    assert_eq!(
        body(&recording, lines),
        "    50.00%  app.c:1           app.c:1       \n    \
             33.33%  app.c:2           app.c:1       \n    \
             16.67%  app.c:2           app.c:2       "
    );
    let cut = ReportOptions {
        max_stack: 1,
        ..of_branches(Some("srcline_from"))
    };
    let by_origin = "    50.00%  app.c:1         \n    50.00%  app.c:2         ";
    assert_eq!(body(&recording, cut), by_origin);
}
