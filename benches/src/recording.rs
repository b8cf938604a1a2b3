//! Works on running programs: what recording costs, what it loses, how large its file is.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::inputs::{Bench, Running, shell};
use crate::measure::{Cost, cost_of, median};
use crate::table::Figure;

type Figures = Result<Vec<Figure>, String>;

/// What one recording came to.
#[derive(Clone, Copy, Debug, Default)]
struct Recorded {
    cost: Cost,
    samples: f64,
    lost_percent: f64,
    bytes: f64,
}

impl Recorded {
    fn cpu_per_sample(&self) -> f64 {
        self.cost.cpu * 1e6 / self.samples
    }

    fn bytes_per_sample(&self) -> f64 {
        self.bytes / self.samples
    }
}

fn size(path: &str) -> f64 {
    fs::metadata(path).map_or(0.0, |data| data.len() as f64)
}

fn output(command: &str) -> Result<String, String> {
    let output = Command::new("bash").args(["-c", command]).output();
    let output = output.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Samples and lost samples of a perf.data, as stock perf counts them.
fn counts(path: &str) -> Result<(f64, f64), String> {
    let stats = output(&format!("perf report -i {path} --stats 2>/dev/null"))?;
    let count = |what: &str| -> f64 {
        let lines = stats.lines().filter(|line| line.contains(what));
        let numbers = lines.filter_map(|line| line.split_whitespace().nth(2)?.parse::<f64>().ok());
        numbers.fold(0.0, f64::max)
    };
    let events = count("SAMPLE events");
    let table = output(&format!(
        "perf report -i {path} --stdio -g none 2>/dev/null | head -9"
    ))?;
    let lost = table.lines().find_map(|line| {
        line.strip_prefix("# Total Lost Samples: ")?
            .trim()
            .parse()
            .ok()
    });
    Ok((events, lost.unwrap_or(0.0)))
}

fn record(
    bench: &Bench,
    program: &str,
    command: &dyn Fn(u32, &str) -> String,
    file: &str,
) -> Result<Recorded, String> {
    let path = bench.path(file);
    let _ = fs::remove_file(&path);
    let target = Running::start(program, &format!("{} 2 30", bench.seconds + 20))?;
    let cost = cost_of(&command(target.pid(), &path))?;
    drop(target);
    let (samples, lost) = if file.ends_with(".json.gz") {
        (f64::NAN, f64::NAN)
    } else {
        counts(&path)?
    };
    Ok(Recorded {
        cost,
        samples,
        lost_percent: 100.0 * lost / (lost + samples),
        bytes: size(&path),
    })
}

fn best(runs: Vec<Recorded>) -> Recorded {
    let cost = median(runs.iter().map(|run| run.cost).collect());
    let middle = |figure: fn(&Recorded) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Recorded {
        cost,
        samples: middle(|run| run.samples),
        lost_percent: middle(|run| run.lost_percent),
        bytes: middle(|run| run.bytes),
    }
}

/// 9,999 Hz on two busy threads, 30 frames deep, without frame pointers.
pub(crate) fn record_auto(bench: &Bench) -> Figures {
    let program = bench.deep(false)?;
    let (prof, samply) = (bench.prof.display(), bench.path("bin/samply"));
    let seconds = bench.seconds;
    let ours =
        |pid: u32, file: &str| format!("{prof} record -q -F 9999 -p {pid} -d {seconds} -o {file}");
    let dwarf = |pid: u32, file: &str| {
        format!("perf record -q -F 9999 --call-graph dwarf -p {pid} -o {file} -- sleep {seconds}")
    };
    let theirs = |pid: u32, file: &str| {
        format!(
            "{samply} record --save-only -r 9999 -p {pid} -d {seconds} -o {file} >/dev/null 2>&1"
        )
    };
    let mut runs: [Vec<Recorded>; 3] = Default::default();
    for _ in 0..bench.rounds.min(3) {
        runs[0].push(record(bench, &program, &ours, "auto.data")?);
        runs[1].push(record(bench, &program, &dwarf, "auto-dwarf.data")?);
        runs[2].push(record(bench, &program, &theirs, "samply.json.gz")?);
    }
    let [ours, dwarf, mut samply] = runs.map(best);
    samply.samples = ours.samples + ours.samples * ours.lost_percent / 100.0; // it was asked for as many
    let figure = |name: &str, peer: &str, ours, theirs, unit, target| Figure {
        name: format!("record auto, {name}"),
        peer: peer.to_owned(),
        ours,
        theirs,
        unit,
        target,
    };
    Ok(vec![
        figure(
            "lost",
            "perf dwarf",
            ours.lost_percent,
            dwarf.lost_percent,
            "%",
            Some(0.0),
        ),
        figure(
            "cpu a sample",
            "samply",
            ours.cpu_per_sample(),
            samply.cpu_per_sample(),
            "us",
            Some(0.5),
        ),
        figure(
            "cpu a sample",
            "perf dwarf",
            ours.cpu_per_sample(),
            dwarf.cpu_per_sample(),
            "us",
            None,
        ),
        figure(
            "file a sample",
            "perf dwarf",
            ours.bytes_per_sample(),
            dwarf.bytes_per_sample(),
            "B",
            Some(1.0 / 20.0),
        ),
        figure("peak", "64 MB", ours.cost.peak, 64.0, "MB", Some(1.0)),
    ])
}

/// The same with frame pointers, which both walk.
pub(crate) fn record_fp(bench: &Bench) -> Figures {
    let program = bench.deep(true)?;
    let prof = bench.prof.display();
    let seconds = bench.seconds;
    let ours = |pid: u32, file: &str| {
        format!("{prof} record -q -F 9999 --call-graph fp -p {pid} -d {seconds} -o {file}")
    };
    let small = |pid: u32, file: &str| {
        format!("{prof} record -q -z -F 9999 --call-graph fp -p {pid} -d {seconds} -o {file}")
    };
    let theirs = |pid: u32, file: &str| {
        format!("perf record -q -F 9999 -g -p {pid} -o {file} -- sleep {seconds}")
    };
    let mut runs: [Vec<Recorded>; 3] = Default::default();
    for _ in 0..bench.rounds.min(3) {
        runs[0].push(record(bench, &program, &ours, "fp.data")?);
        runs[1].push(record(bench, &program, &small, "fp-z.data")?);
        runs[2].push(record(bench, &program, &theirs, "fp-perf.data")?);
    }
    let [ours, small, theirs] = runs.map(best);
    let figure = |name: &str, ours, theirs, unit, target| Figure {
        name: format!("record fp, {name}"),
        peer: "perf fp".to_owned(),
        ours,
        theirs,
        unit,
        target,
    };
    Ok(vec![
        figure(
            "lost",
            ours.lost_percent,
            theirs.lost_percent,
            "%",
            Some(1.0),
        ),
        figure("cpu", ours.cost.cpu, theirs.cost.cpu, "s", Some(1.0)),
        figure(
            "file a sample",
            ours.bytes_per_sample(),
            theirs.bytes_per_sample(),
            "B",
            Some(1.0),
        ),
        figure(
            "file a sample, -z",
            small.bytes_per_sample(),
            theirs.bytes_per_sample(),
            "B",
            Some(0.1),
        ),
    ])
}

/// How much less work a target does while it is recorded, in percent of what it does alone.
pub(crate) fn cost_to_target(bench: &Bench) -> Figures {
    let program = bench.deep(true)?;
    let prof = bench.prof.display();
    let seconds = bench.seconds.max(3);
    let units = |command: Option<String>| -> Result<f64, String> {
        let target = Running::start(&program, &format!("{seconds} 2 30"))?;
        if let Some(command) = command {
            shell(&command.replace("PID", &target.pid().to_string()))?;
        }
        target.units()
    };
    let file = bench.path("cost.data");
    let mut figures = Vec::new();
    for hz in [99, 999, 9999] {
        let ours = format!("{prof} record -q -F {hz} -p PID -o {file}");
        let fp = format!("perf record -q -F {hz} -g -p PID -o {file}");
        let dwarf = format!("perf record -q -F {hz} --call-graph dwarf -p PID -o {file}");
        let mut lost: [Vec<f64>; 3] = Default::default();
        for _ in 0..bench.rounds.min(3) {
            for (lost, command) in lost.iter_mut().zip([&ours, &fp, &dwarf]) {
                let alone = units(None)?;
                lost.push(100.0 * (1.0 - units(Some(command.clone()))? / alone));
            }
        }
        let [ours, fp, dwarf] = lost.map(|mut values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        });
        let figure = |peer: &str, theirs, target| Figure {
            name: format!("cost to the target, {hz} Hz"),
            peer: peer.to_owned(),
            ours,
            theirs,
            unit: "%",
            target,
        };
        figures.push(figure("perf fp", fp, None));
        figures.push(figure("perf dwarf", dwarf, Some(1.0)));
    }
    Ok(figures)
}

/// A process with many threads, and one with many mappings: from start to the end of a short
/// recording, of which the recording itself is the least part.
pub(crate) fn attach(bench: &Bench) -> Figures {
    let program = bench.deep(false)?;
    let prof = bench.prof.display();
    let file = bench.path("attach.data");
    let mut figures = Vec::new();
    for (what, args) in [("1,000 threads", "1000 0"), ("10,000 mappings", "0 10000")] {
        let target = Running::start(&program, &format!("600 1 30 {args}"))?;
        let pid = target.pid();
        let ours = format!("ulimit -n 65536; {prof} record -q -F 99 -p {pid} -d 200ms -o {file}");
        let theirs =
            format!("ulimit -n 65536; perf record -q -g -F 99 -p {pid} -o {file} -- sleep 0.2");
        let mut costs: [Vec<Cost>; 2] = Default::default();
        for _ in 0..bench.rounds {
            costs[0].push(cost_of(&ours)?);
            costs[1].push(cost_of(&theirs)?);
        }
        let [ours, theirs] = costs.map(median);
        figures.push(Figure {
            name: format!("attach, {what}"),
            peer: "perf fp".to_owned(),
            ours: ours.wall,
            theirs: theirs.wall,
            unit: "s",
            target: Some(1.0),
        });
    }
    Ok(figures)
}

/// What a recording of the whole system takes beyond the time that it was asked to sample.
pub(crate) fn one_shot(bench: &Bench) -> Figures {
    let (prof, file) = (bench.prof.display(), bench.path("shot.data"));
    let seconds = bench.seconds;
    let ours = format!("{prof} record -q -a -F 999 -d {seconds} -o {file}");
    let theirs = format!("perf record -q -a -g -F 999 -o {file} -- sleep {seconds}");
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for _ in 0..bench.rounds {
        costs[0].push(cost_of(&ours)?);
        costs[1].push(cost_of(&theirs)?);
    }
    let [ours, theirs] = costs.map(median);
    debug_assert!(Path::new(&file).exists());
    Ok(vec![Figure {
        name: "one shot, beyond the sampling".to_owned(),
        peer: "perf fp".to_owned(),
        ours: ours.wall - f64::from(seconds),
        theirs: theirs.wall - f64::from(seconds),
        unit: "s",
        target: Some(0.2),
    }])
}
