//! Comparisons of small made-up profiles.

mod common;

use common::{MAIN, Maker, Recording};
use prof_profile::Weight;
use prof_report::{
    Column, Comparison, DiffCompute, DiffOptions, DiffSide, EventDiff, ReportOptions, UnnamedCode,
    diff, write_diff, write_json_diff,
};

fn side(recording: &Recording) -> DiffSide<'_> {
    DiffSide {
        profile: &recording.profile,
        names: &recording.names,
    }
}

fn options() -> ReportOptions {
    ReportOptions {
        sort: Some(vec![Column::Dso, Column::Symbol]),
        children: false,
        ..ReportOptions::default()
    }
}

fn compare(before: &Recording, after: &Recording, compute: DiffCompute) -> EventDiff {
    let mut diffs = diff(
        side(before),
        side(after),
        &options(),
        compute,
        UnnamedCode::ByModule,
    );
    assert_eq!(diffs.len(), 1);
    diffs.remove(0)
}

/// Each row's function, with `noise` where it is.
fn marks(diff: &EventDiff) -> Vec<String> {
    let rows = diff.rows.iter().map(|row| {
        let mark = if row.is_noise() { " noise" } else { "" };
        format!("{} {:+.1}{mark}", row.labels[1], row.delta())
    });
    rows.collect()
}

fn comparison(name: &str, diff: EventDiff) -> Comparison {
    Comparison {
        name: name.to_owned(),
        events: vec![diff],
    }
}

fn text(diff: &EventDiff, options: &DiffOptions, report: &ReportOptions) -> String {
    let mut out = Vec::new();
    let other = comparison("now", diff.clone());
    write_diff(&mut out, "before", &[other], options, report).unwrap();
    String::from_utf8(out).unwrap()
}

fn calm() -> Recording {
    Maker::new()
        .add(MAIN, "steady;main", 500)
        .add(MAIN, "shrinks;main", 300)
        .add(MAIN, "wobbles;main", 190)
        .add(MAIN, "gone;main", 10)
        .done()
}

fn incident() -> Recording {
    Maker::new()
        .add(MAIN, "new;main", 190)
        .add(MAIN, "wobbles;main", 200)
        .add(MAIN, "shrinks;main", 100)
        .add(MAIN, "steady;main", 510)
        .done()
}

#[test]
fn a_function_that_grew_by_what_it_calls_is_a_row_with_children_only() {
    let before = Maker::new().add(MAIN, "a;steady;main", 1000).done();
    let after = Maker::new()
        .add(MAIN, "a;steady;main", 620)
        .add(MAIN, "a;regressed;main", 190)
        .add(MAIN, "b;regressed;regressed;main", 190)
        .done();
    let rows = |children| {
        let options = ReportOptions {
            children,
            ..options()
        };
        let sides = (side(&before), side(&after));
        let compute = DiffCompute::Delta;
        let diff = diff(sides.0, sides.1, &options, compute, UnnamedCode::ByModule).remove(0);
        assert_eq!(diff.children, children);
        let shown = text(&diff, &DiffOptions::default(), &options);
        assert_eq!(
            shown.contains("# Shares of functions with all that they call"),
            children
        );
        marks(&diff)
    };
    assert_eq!(rows(false), ["[.] b +19.0", "[.] a -19.0"]);
    let with_children = [
        "[.] regressed +38.0",
        "[.] b +19.0",
        "[.] main +0.0 noise",
        "[.] a -19.0",
        "[.] steady -38.0",
    ];
    assert_eq!(rows(true), with_children);
}

#[test]
fn code_without_a_name_is_one_row_by_module_and_by_address_as_perf_has_it() {
    let recording = |first: u64| {
        (first..first + 40)
            .fold(Maker::new(), |maker, address| {
                maker.add(
                    MAIN,
                    &format!("libfoo.so!{address:#x};libfoo.so!0x900;main"),
                    2,
                )
            })
            .add(MAIN, "named;main", 20)
            .done()
    };
    let (before, after) = (recording(0x100), recording(0x120));
    for children in [false, true] {
        let options = ReportOptions {
            children,
            ..options()
        };
        let compare = |unnamed| {
            let sides = (side(&before), side(&after));
            diff(sides.0, sides.1, &options, DiffCompute::DeltaAbs, unnamed).remove(0)
        };
        let by_module = compare(UnnamedCode::ByModule);
        let row = by_module
            .rows
            .iter()
            .find(|row| row.labels[0] == "libfoo.so");
        let row = row.unwrap();
        assert_eq!(row.labels[1], "[.] [no names]");
        assert_eq!((row.percent_before, row.percent_after), (80.0, 80.0));
        let by_address = compare(UnnamedCode::ByAddress);
        let addresses = by_address
            .rows
            .iter()
            .filter(|row| row.labels[0] == "libfoo.so");
        assert_eq!(addresses.count(), 40 + 32 + usize::from(children));
    }
}

#[test]
fn what_is_more_than_chance_is_told_from_what_is_not() {
    let diff = compare(&calm(), &incident(), DiffCompute::DeltaAbs);
    let expected = [
        "[.] shrinks -20.0",
        "[.] new +19.0",
        // of equal size, and 10 to 0 samples are more than chance, 500 to 510 are not
        "[.] gone -1.0",
        "[.] steady +1.0 noise",
        "[.] wobbles +1.0 noise",
    ];
    assert_eq!(marks(&diff), expected);
}

#[test]
fn a_recording_does_not_differ_from_itself() {
    let diff = compare(&calm(), &calm(), DiffCompute::DeltaAbs);
    assert!(
        diff.rows
            .iter()
            .all(|row| row.is_noise() && row.delta() == 0.0)
    );
    for row in &diff.rows {
        let test = row.test.unwrap();
        assert!(
            (test.p_value - 1.0).abs() < 1e-9 && test.error > 0.0,
            "{row:?}"
        );
    }
}

#[test]
fn among_many_rows_a_chance_that_one_row_would_take_is_noise() {
    // 8 of 1000 against 1 of 1000: by itself p is 0.04
    let recording = |odd: u64, others: usize| {
        let mut maker = Maker::new().add(MAIN, "odd;main", odd).add(
            MAIN,
            "rest;main",
            1000 - odd - 20 * others as u64,
        );
        for index in 0..others {
            maker = maker.add(MAIN, &format!("f{index};main"), 20);
        }
        maker.done()
    };
    let is_noise = |others| {
        let diff = compare(
            &recording(1, others),
            &recording(8, others),
            DiffCompute::DeltaAbs,
        );
        let row = diff.rows.iter().find(|row| row.labels[1] == "[.] odd");
        row.unwrap().is_noise()
    };
    assert!(is_noise(20));
    let alone = compare(&recording(1, 0), &recording(8, 0), DiffCompute::DeltaAbs);
    let p_value = alone.rows[0].test.unwrap().p_value;
    assert!(p_value > 0.02 && p_value < 0.05, "{p_value}");
    assert!(!is_noise(0));
}

#[test]
fn functions_of_one_name_are_one_row_wherever_they_lie() {
    // in the other order, so at other addresses
    let before = Maker::new()
        .add(MAIN, "a;main", 1)
        .add(MAIN, "b;main", 1)
        .done();
    let after = Maker::new()
        .add(MAIN, "b;main", 1)
        .add(MAIN, "a;main", 3)
        .done();
    let diff = compare(&before, &after, DiffCompute::DeltaAbs);
    let both = |samples, all| {
        let weight = |samples| Weight {
            samples,
            period: samples * 10,
        };
        (Some(weight(samples)), Some(weight(all)))
    };
    let rows = diff.rows.iter().map(|row| (row.before, row.after));
    assert_eq!(rows.collect::<Vec<_>>(), [both(1, 3), both(1, 1)]);
}

#[test]
fn the_plain_table_is_that_of_perf() {
    let plain = DiffOptions {
        plain: true,
        ..DiffOptions::default()
    };
    let diff = compare(&calm(), &incident(), DiffCompute::DeltaAbs);
    let expected = "\
# Event 'cpu-clock:pppH'
#
# Baseline  Delta Abs  Shared Object  Symbol     
# ........  .........  .............  ...........
#
    30.00%    -20.00%  cg             [.] shrinks
              +19.00%  cg             [.] new
     1.00%     -1.00%  cg             [.] gone
    50.00%     +1.00%  cg             [.] steady
    19.00%     +1.00%  cg             [.] wobbles
";
    assert_eq!(text(&diff, &plain, &options()), expected);
}

#[test]
fn the_table_has_the_error_of_each_row_and_can_leave_noise_out() {
    let hiding = DiffOptions {
        hide_noise: true,
        ..DiffOptions::default()
    };
    let diff = compare(&calm(), &incident(), DiffCompute::DeltaAbs);
    let expected = "\
# Event 'cpu-clock:pppH'
#
# Samples: 1000 before, 1000 now
# 3 of 5 differences are larger than sampling noise; the others are not shown
#
# Baseline  Delta Abs  Error   Shared Object  Symbol     
# ........  .........  ......  .............  ...........
#
    30.00%    -20.00%  ±3.40%  cg             [.] shrinks
              +19.00%  ±2.44%  cg             [.] new
     1.00%     -1.00%  ±0.67%  cg             [.] gone
";
    assert_eq!(text(&diff, &hiding, &options()), expected);
    let separated = ReportOptions {
        separator: Some(",".to_owned()),
        quiet: true,
        ..options()
    };
    let lines = text(&diff, &DiffOptions::default(), &separated);
    let last = lines.lines().last().unwrap();
    assert_eq!(
        last,
        "19.00   ,+1.00%   ,±3.47% noise,cg           ,[.] wobbles"
    );
}

#[test]
fn ratios_and_weighted_differences_put_rows_without_partner_last() {
    let first_words = |compute| {
        let diff = compare(&calm(), &incident(), compute);
        let shown = DiffOptions {
            compute,
            plain: true,
            ..DiffOptions::default()
        };
        let quiet = ReportOptions {
            quiet: true,
            ..options()
        };
        let text = text(&diff, &shown, &quiet);
        let lines = text.lines().map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let name = words[words.len() - 1];
            format!("{name} {}", words[words.len() - 4])
        });
        lines.collect::<Vec<_>>()
    };
    let ratios = first_words(DiffCompute::Ratio);
    let expected = [
        "wobbles 1.052632",
        "steady 1.020000",
        "shrinks 0.333333",
        "new N/A",
        "gone 1.00%",
    ];
    assert_eq!(ratios, expected);
    let weighted = first_words(DiffCompute::WeightedDiff(1, 2));
    let expected = [
        "steady 5200",
        "wobbles 2100",
        "shrinks -1000",
        "new N/A",
        "gone 1.00%",
    ];
    assert_eq!(weighted, expected);
}

#[test]
fn heavy_samples_count_for_the_error_and_light_ones_hide_nothing() {
    // Shares are the same in both, but here one sample carries half of the weight.
    let even = calm();
    let mut uneven = Maker::new().add(MAIN, "steady;main", 500).done();
    let key = uneven.profile.samples().next().unwrap().0;
    let frames: Vec<_> = uneven.profile.stacks().frames(key.stack).collect();
    let frames: Vec<_> = frames.iter().map(|&it| *uneven.profile.frame(it)).collect();
    uneven.profile.add(&prof_profile::Sample {
        event: 0,
        pid: key.pid,
        tid: prof_model::Tid(99),
        comm: key.comm,
        cpu: None,
        time: None,
        period: 5000,
        frames: &frames,
        inner: None,
        end: key.end,
    });
    let error = |recording: &Recording| {
        let diff = compare(recording, recording, DiffCompute::DeltaAbs);
        diff.rows[0].test.unwrap().error
    };
    assert!(error(&uneven) > 3.0 * error(&even));
}

#[test]
fn json_has_counts_shares_and_the_test_of_every_row() {
    let diff = compare(&calm(), &incident(), DiffCompute::DeltaAbs);
    let other = comparison("incident.data", diff);
    let mut out = Vec::new();
    write_json_diff(&mut out, "calm.data", &[other], &DiffOptions::default()).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["command"], "diff");
    assert_eq!(json["baseline"], "calm.data");
    let event = &json["events"][0];
    assert_eq!(event["baseline"]["samples"], 1000);
    let rows = event["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    let new = &rows[1];
    assert_eq!(new["symbol"], "new");
    assert_eq!(new["dso"], "cg");
    assert!(new["baseline"].is_null() && new["ratio"].is_null());
    assert_eq!(new["current"]["samples"], 190);
    assert_eq!(new["noise"], false);
    assert_eq!(rows[3]["noise"], true);
    assert!(rows[3]["p_value"].as_f64().unwrap() > 0.5);
}

#[test]
fn an_event_that_only_the_first_recording_has_is_a_table_without_differences() {
    let mut other = incident();
    other.profile.events[0].name = "page-faults".to_owned();
    let diff = compare(&calm(), &other, DiffCompute::DeltaAbs);
    assert_eq!(diff.after, None);
    let text = text(&diff, &DiffOptions::default(), &options());
    assert!(text.contains("# Samples: 1000; the second recording has none of this event"));
    assert!(
        text.contains("\n    50.00%             cg             [.] steady\n"),
        "{text}"
    );
}

#[test]
fn several_recordings_have_columns_of_their_own_beside_the_first() {
    let calmed = Maker::new()
        .add(MAIN, "steady;main", 700)
        .add(MAIN, "late;main", 300)
        .done();
    let against = |other: &Recording| compare(&calm(), other, DiffCompute::DeltaAbs);
    let others = [
        comparison("incident.data", against(&incident())),
        comparison("calmed.data", against(&calmed)),
    ];
    let written = |shown: DiffOptions| {
        let mut out = Vec::new();
        write_diff(&mut out, "calm.data", &others, &shown, &options()).unwrap();
        String::from_utf8(out).unwrap()
    };
    let plain = DiffOptions {
        plain: true,
        ..DiffOptions::default()
    };
    let table = "\
# Event 'cpu-clock:pppH'
#
# Data files:
#  [0] calm.data (Baseline)
#  [1] incident.data\u{20}
#  [2] calmed.data\u{20}
#
# Baseline/0  Delta Abs/1  Delta Abs/2  Shared Object  Symbol\u{20}\u{20}\u{20}\u{20}\u{20}
# ..........  ...........  ...........  .............  ...........
#
      30.00%      -20.00%      -30.00%  cg             [.] shrinks
                  +19.00%               cg             [.] new
       1.00%       -1.00%       -1.00%  cg             [.] gone
      50.00%       +1.00%      +20.00%  cg             [.] steady
      19.00%       +1.00%      -19.00%  cg             [.] wobbles
                               +30.00%  cg             [.] late
";
    assert_eq!(written(plain.clone()), table);
    let order = |shown: DiffOptions| -> Vec<String> {
        let text = written(shown);
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.map(|row| row.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    let by_last = DiffOptions {
        ordered_by: 1,
        ..plain.clone()
    };
    let expected = ["late", "shrinks", "steady", "wobbles", "gone", "new"];
    assert_eq!(order(by_last), expected);
    let by_baseline = DiffOptions {
        by_baseline: true,
        only_common: true,
        ..plain
    };
    assert_eq!(order(by_baseline), ["steady", "shrinks", "wobbles"]);
    let shown = written(DiffOptions::default());
    let head = "Baseline/0  Delta Abs/1  Error/1       Delta Abs/2  Error/2  Shared";
    assert!(shown.contains(head), "{shown}");
    for line in [
        "# [1]: Samples: 1000 before, 1000 there\n",
        "# [1]: 3 of 5 differences are larger than sampling noise\n",
        "# [2]: 5 of 5 differences are larger than sampling noise\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
}

#[test]
fn names_of_templates_make_columns_as_wide_as_they_are() {
    let long = |letter: &str| letter.repeat(70_000);
    let (module, function) = (long("m"), long("f"));
    let name = format!("{module}!{function}");
    let recording = |samples| {
        let maker = Maker::new().add(MAIN, &name, samples);
        maker.add(MAIN, "short", 3).done()
    };
    let diff = compare(&recording(5), &recording(9), DiffCompute::Delta);
    let text = text(&diff, &DiffOptions::default(), &options());
    assert!(text.contains(&function), "{}", text.len());
    let short = format!("cg{}  [.] short", " ".repeat(70_000 - "cg".len()));
    assert!(text.contains(&short), "{}", text.len());
}
