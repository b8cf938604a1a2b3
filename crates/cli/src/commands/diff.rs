//! `prof diff`: two recordings, what grew and what shrank.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use prof_model::{Pid, Tid};
use prof_report::{
    Column, Comparison, DiffCompute, DiffOptions, DiffSide, Filter, FlameGraphExport,
    FoldedOptions, ReportOptions, UnnamedCode, diff, fold, parse_sort, write_diff,
    write_differential, write_json_diff,
};

use prof_session::{InlinedFunctions, LoadedRecording, ReadOptions, TimeSlices, Wanted};

use crate::command_line::shared::time_slices;
use crate::export;
use crate::input;
use crate::messages::{CliError, Failure, Outcome};
use crate::printed;
use crate::sampling;
use crate::units::thousands;

/// `prof diff`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof diff                             perf.data.old against perf.data\n  \
    prof diff calm.data incident.data     what is different now\n  \
    prof diff a.data b.data --hide-noise  only what is more than noise\n  \
    prof diff a.data b.data --children    functions with all that they call\n  \
    prof diff a.data b.data c.data        b and c against a\n  \
    prof diff a.data b.data --svg d.svg   a flame graph: red grew, blue shrank")]
pub struct DiffArgs {
    /// The recording before, and those to compare with it; with one file, perf.data.old is before.
    /// Default: perf.data.old and perf.data
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The number that rows are compared by: delta, delta-abs, ratio, wdiff:W1,W2
    #[arg(short, long, value_name = "NUMBER", default_value = "delta-abs", value_parser = compute)]
    pub compute: DiffCompute,

    /// Rows in the order of this recording: 0 is the one before, 1 the first of the others
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub order: usize,

    /// Group by: comm, dso, symbol, pid, tid, cpu, srcline ...
    #[arg(short, long, value_name = "KEY,...", default_value = "dso,symbol")]
    pub sort: String,

    /// Compare what functions take with all that they call, not what they take themselves
    #[arg(long)]
    pub children: bool,

    /// Only rows that both recordings have
    #[arg(short, long)]
    pub baseline_only: bool,

    /// Leave out rows whose difference may be sampling noise
    #[arg(long, conflicts_with = "plain")]
    pub hide_noise: bool,

    /// The table as perf has it, without a column for the error of sampling
    #[arg(long)]
    pub plain: bool,

    /// Columns with the sums of periods
    #[arg(short, long)]
    pub period: bool,

    /// A column with how the number was computed
    #[arg(short = 'F', long)]
    pub formula: bool,

    /// Draw a flame graph of now: red grew, blue shrank
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub svg: Option<PathBuf>,

    /// The flame graph's title
    #[arg(long, value_name = "TEXT", requires = "svg")]
    pub title: Option<String>,

    /// Flame graph from the leaves
    #[arg(long, requires = "svg")]
    pub reverse: bool,

    /// Flame graph upside down (icicle)
    #[arg(long = "inverted", visible_alias = "icicle", requires = "svg")]
    pub inverted: bool,

    /// Leave out frames narrower than this, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.01, requires = "svg")]
    pub min_width: f64,

    /// The rows as JSON, for other programs
    #[arg(long)]
    pub json: bool,

    /// Only these threads' names
    #[arg(short = 'C', long, value_name = "COMM,...", value_delimiter = ',')]
    pub comms: Vec<String>,

    /// Only these libraries and programs
    #[arg(short, long, value_name = "DSO,...", value_delimiter = ',')]
    pub dsos: Vec<String>,

    /// Only these functions
    #[arg(short = 'S', long, value_name = "SYMBOL,...", value_delimiter = ',')]
    pub symbols: Vec<String>,

    /// Only these processes
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<i32>,

    /// Only these threads
    #[arg(long, value_name = "TID,...", value_delimiter = ',')]
    pub tid: Vec<i32>,

    /// Only samples on these CPUs
    #[arg(long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// Only this part of both: from,to in seconds of its clock, or from its start; 10%-20%
    #[arg(long, value_name = "FROM,TO", value_parser = time_slices)]
    pub time: Option<TimeSlices>,

    /// Shares of what the filters let through (relative) or of all samples (absolute)
    #[arg(long, value_name = "OF", value_parser = ["relative", "absolute"])]
    pub percentage: Option<String>,

    /// Look for files below this directory
    #[arg(long, value_name = "DIR")]
    pub symfs: Option<PathBuf>,

    /// Name kernel addresses by this copy of /proc/kallsyms
    #[arg(long, value_name = "FILE")]
    pub kallsyms: Option<PathBuf>,

    /// Separate columns with this, for other programs
    #[arg(short = 't', long, value_name = "TEXT")]
    pub field_separator: Option<String>,

    /// No lines that begin with #
    #[arg(short, long)]
    pub quiet: bool,

    /// Accepted because perf has it: read files whoever owns them
    #[arg(short, long)]
    pub force: bool,

    /// Accepted because perf has it
    #[arg(short, long, hide = true)]
    pub verbose: bool,

    /// Accepted because perf has it
    #[arg(short, long, hide = true)]
    pub modules: bool,
}

fn compute(text: &str) -> Result<DiffCompute, String> {
    let good = "try `delta-abs`, `delta`, `ratio` or `wdiff:1,1`";
    match text {
        "delta-abs" => return Ok(DiffCompute::DeltaAbs),
        "delta" => return Ok(DiffCompute::Delta),
        "ratio" => return Ok(DiffCompute::Ratio),
        "cycles" => {
            return Err(format!(
                "needs branch records, which are not compared; {good}"
            ));
        }
        _ => {}
    }
    let weights = text.strip_prefix("wdiff:");
    let weights = weights.and_then(|weights| weights.split_once(','));
    let weights = weights.and_then(|(before, after)| {
        let number = |text: &str| text.trim().parse::<i64>().ok().filter(|&it| it != 0);
        Some(DiffCompute::WeightedDiff(number(before)?, number(after)?))
    });
    weights.ok_or_else(|| good.to_owned())
}

/// Runs `prof diff`.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &DiffArgs) -> Outcome {
    let old_and = |new: &str| vec![PathBuf::from("perf.data.old"), PathBuf::from(new)];
    let files = match &args.files[..] {
        [] => old_and("perf.data"),
        [after] => vec![PathBuf::from("perf.data.old"), after.clone()],
        several => several.to_vec(),
    };
    let (before, others) = (&files[0], &files[1..]);
    if args.order > others.len() {
        let message = format!("there is no recording {} to order rows by", args.order);
        let hint = format!("they are numbered from 0, `{}`", before.display());
        return Err(CliError::usage(message).hint(hint).into());
    }
    if args.svg.is_some() && others.len() > 1 {
        let message = "a flame graph compares two recordings, not more";
        return Err(CliError::usage(message).into());
    }
    let report = options(args)?;
    let keys = report.sort.iter().flatten();
    let wanted = Wanted {
        text: keys.clone().any(|&key| key == Column::Trace),
        lines: report.needs_lines(),
        ..Wanted::default()
    };
    let read = |path: &Path| {
        let input = input::read(&read_options(args, path), wanted)?;
        if input.profile.is_empty() {
            return Err(input::no_samples(path, &input, args.time.as_ref()));
        }
        Ok(input)
    };
    let old = read(before)?;
    if let Some(svg) = &args.svg {
        let new = read(&others[0])?;
        draw(
            args,
            svg,
            (before, &old),
            (&others[0], &new),
            &report.filter,
        )?;
        return Ok(0);
    }
    say_losses(before, &old);
    let mut comparisons = Vec::new();
    for path in others {
        let new = read(path)?;
        let unnamed = match args.plain {
            true => UnnamedCode::ByAddress,
            false => UnnamedCode::ByModule,
        };
        let sides = (side_of(&old), side_of(&new));
        let events = diff(sides.0, sides.1, &report, args.compute, unnamed);
        if events.iter().all(|event| event.after.is_none()) {
            return Err(nothing_in_common((before, &old), (path, &new)).into());
        }
        say_losses(path, &new);
        comparisons.push(Comparison {
            name: path.display().to_string(),
            events,
        });
    }
    let options = DiffOptions {
        compute: args.compute,
        only_common: args.baseline_only,
        hide_noise: args.hide_noise,
        plain: args.plain,
        show_period: args.period,
        show_formula: args.formula,
        ordered_by: args.order.saturating_sub(1),
        by_baseline: args.order == 0,
    };
    let baseline = before.display().to_string();
    let mut out = BufWriter::new(match args.json {
        true => printed::json_stdout(),
        false => printed::stdout(),
    });
    if args.json {
        write_json_diff(&mut out, &baseline, &comparisons, &options)?;
    } else {
        write_diff(&mut out, &baseline, &comparisons, &options, &report)?;
    }
    out.flush()?;
    Ok(0)
}

fn side_of(input: &LoadedRecording) -> DiffSide<'_> {
    DiffSide {
        profile: &input.profile,
        names: &input.names,
    }
}

fn nothing_in_common(
    (before, old): (&Path, &LoadedRecording),
    (after, new): (&Path, &LoadedRecording),
) -> CliError {
    let names = |input: &LoadedRecording| {
        let events = input.profile.events.iter();
        let names: Vec<_> = events.map(|event| format!("`{}`", event.name)).collect();
        names.join(", ")
    };
    let (before, after) = (before.display(), after.display());
    CliError::new(format!("`{before}` and `{after}` have no event in common"))
        .cause(format!("{before} has samples of {}", names(old)))
        .cause(format!("{after} has samples of {}", names(new)))
}

/// Says what makes the comparison less than it seems.
fn say_losses(path: &Path, input: &LoadedRecording) {
    let lost = input.profile.losses.lost_samples;
    if lost > 0 {
        eprintln!(
            "prof: {}: lost {} samples: what differs may be what was lost",
            path.display(),
            thousands(lost)
        );
    }
}

fn options(args: &DiffArgs) -> Result<ReportOptions, CliError> {
    let sort = parse_sort(&args.sort).map_err(|error| CliError::usage(error.to_string()))?;
    if let Some(key) = sort.iter().find(|key| key.is_of_branch()) {
        let what = format!(
            "branches are not compared: they alone have the key `{}`",
            key.name()
        );
        return Err(CliError::usage(what).hint("`prof report -b` shows those of each recording"));
    }
    if sort.contains(&Column::Time) {
        return Err(CliError::usage(
            "two recordings have no times in common: `--sort time` makes no sense here",
        )
        .hint("`--time 10%-20%` compares a part of each"));
    }
    Ok(ReportOptions {
        sort: Some(sort),
        children: args.children,
        call_graph: prof_report::CallGraph {
            mode: prof_report::ChainMode::None,
            ..prof_report::CallGraph::default()
        },
        separator: args.field_separator.clone(),
        quiet: args.quiet,
        filter: Filter {
            comms: args.comms.clone(),
            dsos: args.dsos.clone(),
            symbols: args.symbols.clone(),
            symbol_part: String::new(),
            pids: args.pid.iter().copied().map(Pid).collect(),
            tids: args.tid.iter().copied().map(Tid).collect(),
            cpus: match &args.cpu {
                Some(list) => sampling::cpus(list)?,
                None => Vec::new(),
            },
            ..Filter::default()
        },
        relative_percent: args.percentage.as_deref() == Some("relative"),
        ..ReportOptions::default()
    })
}

fn read_options(args: &DiffArgs, path: &Path) -> ReadOptions {
    ReadOptions {
        symfs: args.symfs.clone(),
        kallsyms: args.kallsyms.clone(),
        inlined: InlinedFunctions::Everywhere,
        time: args.time.clone(),
        ..ReadOptions::new(path)
    }
}

fn look(args: &DiffArgs) -> FlameGraphExport {
    FlameGraphExport {
        title: args.title.clone(),
        reverse: args.reverse,
        inverted: args.inverted,
        min_width: args.min_width,
    }
}

/// Draws the first event that both recordings have.
fn draw(
    args: &DiffArgs,
    path: &Path,
    (old_path, old): (&Path, &LoadedRecording),
    (new_path, new): (&Path, &LoadedRecording),
    filter: &Filter,
) -> Result<(), Failure> {
    let (before, after) = (&old.profile, &new.profile);
    let pairs = (0..before.events.len() as u16).filter_map(|event| {
        let other = prof_report::same_event(&before.events[usize::from(event)].name, after)?;
        let both = before.total(event).samples > 0 && after.total(other).samples > 0;
        both.then_some((event, other))
    });
    let Some((then, now)) = pairs.into_iter().next() else {
        return Err(
            CliError::new("the recordings have no event in common: nothing to draw").into(),
        );
    };
    let event = &after.events[usize::from(now)];
    let folding = FoldedOptions {
        annotate: true,
        inline: true,
        threads: true,
        idle: true,
        filter: filter.clone(),
        ..FoldedOptions::default()
    };
    let title = format!(
        "{} compared with {}: red grew, blue shrank",
        new_path.display(),
        old_path.display()
    );
    let subtitle = format!(
        "{}, {} samples before, {} now",
        event.name,
        thousands(before.total(then).samples),
        thousands(after.total(now).samples)
    );
    let options = look(args).options(event, &title, subtitle);
    let old_stacks = fold(before, &old.names, then, &folding);
    let new_stacks = fold(after, &new.names, now, &folding);
    let is_file = export::write_to(path, |mut out| {
        write_differential(&mut out, &old_stacks, &new_stacks, &options)
    })?;
    if is_file && !args.quiet {
        eprintln!("flame graph: {}", path.display());
    }
    Ok(())
}
