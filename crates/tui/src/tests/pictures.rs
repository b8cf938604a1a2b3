use prof_model::ChainEnd;
use prof_profile::Weight;

use super::world::{SECOND, add, add_ending, server};
use crate::{Filter, Group, History, Key, Kind, Picture, Query, Row};

fn query(group: Group) -> Query<'static> {
    Query {
        event: 0,
        group,
        window: 0..10 * SECOND,
        before: 0..0,
        bins: &[],
        filters: &[],
        paths: false,
    }
}

fn row<'a>(picture: &'a Picture, name: &str) -> &'a Row {
    let mut rows = picture.rows.iter();
    rows.find(|row| row.key.name() == name).unwrap()
}

fn samples(weight: Weight) -> u64 {
    assert_eq!(weight.period, weight.samples * 10);
    weight.samples
}

#[test]
fn functions_count_once_per_sample_also_when_they_call_themselves() {
    let mut history = History::recorded();
    add(
        &mut history,
        0..SECOND,
        &[(1, "main;f;g;f", 3), (1, "main;f", 2)],
    );
    let picture = Picture::new(&history, &query(Group::Function));
    assert_eq!(samples(row(&picture, "f").own), 5);
    assert_eq!(samples(row(&picture, "f").total), 5);
    assert_eq!(samples(row(&picture, "main").own), 0);
    assert_eq!(samples(row(&picture, "main").total), 5);
    assert_eq!(samples(row(&picture, "g").total), 3);
}

#[test]
fn threads_processes_and_modules_have_their_samples() {
    let history = server(History::recorded());
    let of = |group, name| {
        let picture = Picture::new(&history, &query(group));
        let row = row(&picture, name);
        (samples(row.own), samples(row.total))
    };
    assert_eq!(of(Group::Thread, "worker-2"), (450, 450));
    assert_eq!(of(Group::Process, "other"), (50, 50));
    assert_eq!(of(Group::Module, "[kernel]"), (100, 100));
    assert_eq!(of(Group::Module, "server"), (500, 1000));
}

#[test]
fn what_ran_is_told_from_what_was_inlined_generated_and_the_kernel() {
    let history = server(History::recorded());
    let picture = Picture::new(&history, &query(Group::Function));
    let kind = |name: &str| match &row(&picture, name).key {
        Key::Function(function) => function.kind,
        _ => unreachable!(),
    };
    assert_eq!(kind("get_token"), Kind::Inlined);
    assert_eq!(kind("k_write"), Kind::Kernel);
    assert_eq!(kind("jit_rule"), Kind::Jit);
    assert_eq!(kind("main"), Kind::Native);
    assert_eq!(samples(row(&picture, "get_token").own), 100);
    assert_eq!(samples(row(&picture, "parse").own), 350);
    assert_eq!(samples(row(&picture, "parse").total), 450);
}

#[test]
fn in_a_program_with_a_go_runtime_names_with_a_package_are_go() {
    let mut history = History::recorded();
    add(
        &mut history,
        0..SECOND,
        &[(1, "runtime.goexit;main.spin;memcpy", 1)],
    );
    let picture = Picture::new(&history, &query(Group::Function));
    let kind = |name: &str| match &row(&picture, name).key {
        Key::Function(function) => function.kind,
        _ => unreachable!(),
    };
    assert_eq!(kind("main.spin"), Kind::Go);
    assert_eq!(kind("memcpy"), Kind::Native);
}

#[test]
fn addresses_without_a_name_are_one_row_that_says_why() {
    let mut history = History::recorded();
    add(&mut history, 0..SECOND, &[(1, "main;lib_?", 4)]);
    let picture = Picture::new(&history, &query(Group::Function));
    let unnamed = row(&picture, "[stripped, and no debug file was found]");
    assert_eq!(samples(unnamed.own), 4);
}

#[test]
fn a_cut_stack_does_not_begin_like_a_whole_one() {
    let mut history = History::recorded();
    add(&mut history, 0..SECOND, &[(1, "main;f", 3)]);
    add_ending(
        &mut history,
        SECOND..2 * SECOND,
        &[(1, "f", 1)],
        ChainEnd::TruncatedCopy,
    );
    let mut query = query(Group::Function);
    query.paths = true;
    let picture = Picture::new(&history, &query);
    assert_eq!((picture.whole, picture.known), (3, 4));
    let paths: Vec<Vec<&str>> = picture
        .paths
        .stacks
        .iter()
        .map(|(path, _)| {
            let names = path
                .iter()
                .map(|&it| &*picture.paths.functions[it as usize].name);
            names.collect()
        })
        .collect();
    assert_eq!(paths, [["[truncated]", "f"], ["main", "f"]]);
    // the mark is no function
    assert_eq!(picture.rows.len(), 2);
}

#[test]
fn idle_cpus_are_counted_apart() {
    let mut history = History::recorded();
    add(&mut history, 0..SECOND, &[(0, "k_idle", 30), (1, "f", 10)]);
    let picture = Picture::new(&history, &query(Group::Function));
    assert_eq!((picture.all.samples, picture.idle.samples), (10, 30));
    assert_eq!(picture.percent(row(&picture, "f").own), 100.0);
}

#[test]
fn filters_keep_and_leave_out() {
    let history = server(History::recorded());
    let all = Picture::new(&history, &query(Group::Function));
    let filter = |name: &str, keep| Filter {
        key: row(&all, name).key.clone(),
        keep,
    };
    let shown = |filters: &[Filter]| {
        let query = Query {
            filters,
            ..query(Group::Function)
        };
        samples(Picture::new(&history, &query).shown)
    };
    assert_eq!(shown(&[filter("reply", true)]), 450);
    assert_eq!(
        shown(&[filter("reply", true), filter("k_write", false)]),
        350
    );
    assert_eq!(shown(&[filter("main", false)]), 0);
    let kernel = Filter {
        key: Key::Module("[kernel]".into()),
        keep: true,
    };
    assert_eq!(shown(&[kernel]), 100);
}

#[test]
fn a_change_is_told_from_chance() {
    let history = server(History::recorded());
    let query = Query {
        window: 5 * SECOND..10 * SECOND,
        before: 0..5 * SECOND,
        ..query(Group::Function)
    };
    let picture = Picture::new(&history, &query);
    let change = |name| {
        let (change, significant) = picture.change(row(&picture, name)).unwrap();
        (change.round() as i64, significant)
    };
    assert_eq!(change("lib_compress"), (50, true));
    assert_eq!(change("parse"), (-50, true));
    assert_eq!(change("jit_rule"), (0, false));
}

#[test]
fn the_history_of_a_row_has_its_share_of_each_window() {
    let history = server(History::recorded());
    let borders: Vec<u64> = (0..=5).map(|index| index * 2 * SECOND).collect();
    let query = Query {
        window: 8 * SECOND..10 * SECOND,
        bins: &borders,
        ..query(Group::Function)
    };
    let picture = Picture::new(&history, &query);
    // the third window has one second of each kind
    assert_eq!(
        row(&picture, "lib_compress").history,
        [0.1, 0.1, 0.35, 0.6, 0.6]
    );
}
