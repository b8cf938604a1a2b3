//! Every stack whole, every name right, on real programs: builds the targets of
//! `tests/targets/corpus.txt`, records each with `prof` and with stock `perf`, and compares what the
//! reports say with what the programs are known to do.

mod outcome; // what a report says about a target, and whether it is right
mod recorded; // one recording, read back
mod second_opinion; // addr2line's
mod table; // the page of targets
mod target; // builds a target and records it

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use outcome::Outcome;
use table::Row;

/// `PROF_CORPUS=musl cargo test --test corpus` checks the rows with `musl` in their names.
fn wanted(row: &Row) -> bool {
    std::env::var("PROF_CORPUS").map_or(true, |part| row.name.contains(&part))
}

#[test]
fn every_target_has_whole_stacks_and_right_names() {
    let rows: Vec<Row> = table::read().into_iter().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<(usize, Outcome)>> = Mutex::default();
    let work = || {
        while let Some((index, row)) = take(&rows, &next) {
            let outcome = target::check(row);
            outcomes.lock().unwrap().push((index, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|&(index, _)| index);
    let outcomes: Vec<Outcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let table = outcome::table(&outcomes);
    println!("{table}");
    let faults: Vec<String> = outcomes.iter().flat_map(Outcome::faults).collect();
    assert!(faults.is_empty(), "{table}\n{}", faults.join("\n"));
}

fn take<'r>(rows: &'r [Row], next: &AtomicUsize) -> Option<(usize, &'r Row)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, rows.get(index)?))
}
