//! `prof` against its peers on the same work, in turns and in one run, because machines are shared and
//! noisy: only ratios mean something. `benches/run` builds what is needed and starts this.

mod inputs; // what the works are about
mod large; // large programs as they are shipped
mod measure; // what a command costs
mod reading; // works on files
mod recording; // works on running programs
mod table; // the results

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use inputs::Bench;
use table::Figure;

type Work = fn(&Bench) -> Result<Vec<Figure>, String>;

const WORKS: [(&str, Work); 12] = [
    ("report", reading::report),
    ("svg", reading::flame_graph),
    ("script", reading::script),
    ("dwarf", reading::dwarf),
    ("large-dwarf", reading::large_dwarf),
    ("inline", reading::inline),
    ("auto", recording::record_auto),
    ("fp", recording::record_fp),
    ("cost", recording::cost_to_target),
    ("attach", recording::attach),
    ("growth", reading::growth),
    ("one-shot", recording::one_shot),
];

const RESULTS: &str = "benches/results.txt";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, shell] = &args[..]
        && command == "cost-of"
    {
        return match measure::print_cost(shell) {
            Ok(true) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
    }
    let Some((root, args)) = args.split_first() else {
        eprintln!("start it with ./benches/run");
        return ExitCode::from(2);
    };
    if let [command, neighbours, rounds, only @ ..] = args
        && command == "--large"
    {
        let (Ok(neighbours), Ok(rounds)) = (neighbours.parse(), rounds.parse()) else {
            eprintln!("start it with ./tests/large_programs");
            return ExitCode::from(2);
        };
        return large::run(&large::Settings {
            prof: Path::new("target/release/prof"),
            root: Path::new(root),
            rounds,
            neighbours,
            only,
        });
    }
    let mut bench = Bench {
        root: PathBuf::from(root),
        prof: PathBuf::from("target/release/prof"),
        rounds: 5,
        seconds: 5,
    };
    let (mut against, mut row) = (false, None);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => (bench.rounds, bench.seconds) = (1, 2),
            "--against" => against = true,
            "--row" => match words.next() {
                Some(name) if WORKS.iter().any(|(known, _)| known == name) => row = Some(name),
                _ => return usage(),
            },
            _ => return usage(),
        }
    }
    run(&bench, against, row.map(String::as_str))
}

fn usage() -> ExitCode {
    let names: Vec<_> = WORKS.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: ./benches/run [--quick] [--against] [--row NAME]");
    eprintln!("rows: {}", names.join(", "));
    ExitCode::from(2)
}

fn run(bench: &Bench, against: bool, row: Option<&str>) -> ExitCode {
    let results = Path::new(RESULTS);
    let before = against.then(|| table::read(results));
    let mut figures = Vec::new();
    let mut failed = false;
    for (name, work) in WORKS {
        if row.is_some_and(|row| row != name) {
            continue;
        }
        match work(bench) {
            Ok(more) => {
                eprint!("{}", table::table(&more, before.as_ref()));
                figures.extend(more);
            }
            Err(message) => {
                eprintln!("{name}: {message}");
                failed = true;
            }
        }
    }
    println!("{}", table::table(&figures, before.as_ref()));
    // What was measured in a hurry is no measure for the next run.
    if !against && bench.rounds > 1 {
        failed |= table::keep(results, &figures).is_err();
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
