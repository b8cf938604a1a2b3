//! Works on files: reports, flame graphs, text.

use crate::inputs::Bench;
use crate::measure::{Cost, cost_of, median};
use crate::table::Figure;

type Figures = Result<Vec<Figure>, String>;

/// Both commands in turn; targets for time and memory.
fn compare(
    bench: &Bench,
    work: &str,
    ours: &str,
    (peer, theirs): (&str, &str),
    (time, memory): (f64, Option<f64>),
) -> Figures {
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for round in 0..=bench.rounds {
        for (costs, command) in costs.iter_mut().zip([ours, theirs]) {
            let cost = cost_of(command)?;
            if round > 0 {
                costs.push(cost); // the first one warms the caches
            }
        }
    }
    let [ours, theirs] = costs.map(median);
    let figure = |name, ours, theirs, unit, target| Figure {
        name: format!("{work}, {name}"),
        peer: peer.to_owned(),
        ours,
        theirs,
        unit,
        target,
    };
    Ok(vec![
        figure("wall", ours.wall, theirs.wall, "s", Some(time)),
        figure("cpu", ours.cpu, theirs.cpu, "s", None),
        figure("peak", ours.peak, theirs.peak, "MB", memory),
    ])
}

pub(crate) fn report(bench: &Bench) -> Figures {
    let (prof, input) = (bench.prof.display(), bench.system_wide()?);
    let ours = format!("{prof} report -i {input} --stdio -n");
    let theirs = format!("perf report -i {input} --stdio -n");
    compare(
        bench,
        "report",
        &ours,
        ("perf", &theirs),
        (1.0 / 25.0, Some(0.25)),
    )
}

pub(crate) fn flame_graph(bench: &Bench) -> Figures {
    let (prof, input) = (bench.prof.display(), bench.system_wide()?);
    let svg = bench.path("out.svg");
    let bin = bench.path("bin");
    let ours = format!("{prof} report -i {input} --svg {svg} -q");
    let theirs = format!(
        "perf script -i {input} | {bin}/inferno-collapse-perf -q | {bin}/inferno-flamegraph -q"
    );
    let peer = ("perf+inferno", theirs.as_str());
    compare(bench, "flame graph", &ours, peer, (1.0 / 20.0, None))
}

pub(crate) fn script(bench: &Bench) -> Figures {
    let (prof, input) = (bench.prof.display(), bench.system_wide()?);
    let ours = format!("{prof} script -i {input}");
    let theirs = format!("perf script -i {input}");
    compare(bench, "script", &ours, ("perf", &theirs), (1.0 / 8.0, None))
}

pub(crate) fn dwarf(bench: &Bench) -> Figures {
    let prof = bench.prof.display();
    let input = bench.dwarf(bench.seconds / 2)?;
    let report = |tool: &str| format!("{tool} report -i {input} --stdio");
    let (ours, theirs) = (report(&prof.to_string()), report("perf"));
    compare(
        bench,
        "report dwarf",
        &ours,
        ("perf", &theirs),
        (1.0 / 6.0, None),
    )
}

pub(crate) fn large_dwarf(bench: &Bench) -> Figures {
    let prof = bench.prof.display();
    let input = bench.dwarf(bench.seconds * 2)?;
    let report = |tool: &str| format!("{tool} report -i {input} --stdio");
    let (ours, theirs) = (report(&prof.to_string()), report("perf"));
    let targets = (1.0 / 8.0, Some(1.0 / 6.0));
    compare(
        bench,
        "report large dwarf",
        &ours,
        ("perf", &theirs),
        targets,
    )
}

pub(crate) fn inline(bench: &Bench) -> Figures {
    let (prof, input) = (bench.prof.display(), bench.large_program()?);
    let ours = format!("{prof} report -i {input} --stdio --inline");
    let theirs = format!("perf report -i {input} --stdio --inline");
    compare(
        bench,
        "report inline",
        &ours,
        ("perf", &theirs),
        (1.0 / 25.0, Some(0.25)),
    )
}

/// Ten times the samples of one program against one time.
pub(crate) fn growth(bench: &Bench) -> Figures {
    let (prof, deep) = (bench.prof.display(), bench.deep(false)?);
    let record = |name: &str, hz: u32| -> Result<String, String> {
        let path = bench.path(name);
        crate::inputs::shell(&format!(
            "{prof} record -q -F {hz} -o {path} -- {deep} {} 2 30 >/dev/null",
            bench.seconds * 2
        ))?;
        Ok(path)
    };
    let (small, large) = (record("grow-1.data", 999)?, record("grow-10.data", 9990)?);
    let report = |input: &str| format!("{prof} report -i {input} --stdio");
    let mut figures = compare(
        bench,
        "growth, 10x samples",
        &report(&large),
        ("prof, 1x", &report(&small)),
        (10.5, Some(2.0)),
    )?;
    figures.retain(|figure| figure.unit != "s" || figure.target.is_some());
    Ok(figures)
}
