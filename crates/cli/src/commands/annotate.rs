//! `prof annotate`: the instructions of a function, and how many samples each has.

use std::io::{BufWriter, Write};

use prof_profile::{SelfSamples, Weight};
use prof_report::{
    AnnotateOptions, AnnotateValue, Annotation, EventGroup, Filter, PercentType, hot_functions,
    write_annotation,
};
use prof_session::{LoadedRecording, Wanted};
use prof_symbolizer::{AsmSyntax, NoCode};

use crate::command_line::shared::InputArgs;
use crate::input;
use crate::messages::{CliError, Outcome};
use crate::printed;
use crate::sampling;
use crate::terminal;

/// `prof annotate`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof annotate compress              where in compress the time goes\n  \
    prof annotate                       the same for the hottest functions\n  \
    prof annotate compress --no-source  instructions only\n  \
    prof annotate compress -l           first the hottest source lines")]
pub struct AnnotateArgs {
    #[command(flatten)]
    pub input: InputArgs,

    /// The function; without it, those with at least --percent-limit of the samples
    #[arg(value_name = "SYMBOL", conflicts_with = "symbol")]
    pub function: Option<String>,

    /// The function
    #[arg(short, long, value_name = "SYMBOL")]
    pub symbol: Option<String>,

    /// Only functions of these libraries and programs
    #[arg(short, long, value_name = "DSO,...", value_delimiter = ',')]
    pub dsos: Vec<String>,

    /// Only samples on these CPUs
    #[arg(short = 'C', long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// No source lines between the instructions
    #[arg(long, overrides_with = "source")]
    pub no_source: bool,

    /// Source lines between the instructions (the default)
    #[arg(long)]
    pub source: bool,

    /// First the source lines with the most samples
    #[arg(short = 'l', long)]
    pub print_line: bool,

    /// Paths with their folders
    #[arg(short = 'P', long)]
    pub full_paths: bool,

    /// How x86 instructions are written: att or intel
    #[arg(short = 'M', long, value_name = "SYNTAX", default_value = "att", value_parser = ["att", "intel"])]
    pub disassembler_style: String,

    /// The bytes of instructions, too
    #[arg(long, overrides_with = "no_asm_raw")]
    pub asm_raw: bool,

    /// Only the text of instructions (the default)
    #[arg(long, hide = true)]
    pub no_asm_raw: bool,

    /// Numbers of samples instead of shares
    #[arg(short = 'n', long, conflicts_with = "show_total_period")]
    pub show_nr_samples: bool,

    /// Sums of periods instead of shares
    #[arg(long)]
    pub show_total_period: bool,

    /// What shares are shares of: local-period, local-hits (the function), global-period,
    /// global-hits (the event)
    #[arg(long, value_name = "OF", default_value = "local-period", value_parser = percent_type)]
    pub percent_type: PercentType,

    /// Leave out functions with a smaller share of the event, in percent. Default: 1, or 0 for a
    /// function that is named
    #[arg(long, value_name = "PERCENT")]
    pub percent_limit: Option<f64>,

    /// Say nothing about functions that cannot be shown
    #[arg(long)]
    pub skip_missing: bool,

    /// Colours: always, never, or auto, which is only on a terminal
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true,
        default_missing_value = "always", value_parser = ["always", "never", "auto"])]
    pub stdio_color: Option<String>,

    /// Columns for all events side by side, even if they were not counted together
    #[arg(long)]
    pub group: bool,

    /// Print to the terminal or a pipe: the only way there is
    #[arg(long, visible_alias = "stdio2")]
    pub stdio: bool,

    /// Nothing but the code: no word about what is missing
    #[arg(short, long)]
    pub quiet: bool,

    /// Accepted because perf has it
    #[arg(short, long, hide = true)]
    pub verbose: bool,

    /// Accepted because perf has it
    #[arg(short, long, hide = true)]
    pub modules: bool,

    /// Accepted because perf has it: the disassembler is built in
    #[arg(long, value_name = "PATH")]
    pub objdump: Option<std::path::PathBuf>,
}

fn percent_type(text: &str) -> Result<PercentType, String> {
    let known = PercentType::ALL.iter();
    let mut named = known.clone().filter(|(name, _)| *name == text);
    let names: Vec<_> = known.map(|(name, _)| *name).collect();
    let found = named.next().map(|&(_, kind)| kind);
    found.ok_or_else(|| format!("known are {}", names.join(", ")))
}

/// Runs `prof annotate`.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &AnnotateArgs) -> Outcome {
    let filter = filter(args)?;
    let mut input = input::read(&args.input.read_options(), Wanted::default())?;
    let wanted = args.function.as_ref().or(args.symbol.as_ref());
    let limit = args
        .percent_limit
        .unwrap_or(if wanted.is_some() { 0.0 } else { 1.0 });
    let (mut shown, mut left_out) = (0, 0);
    let mut refused = Vec::new();
    let options = options(args);
    let mut out = BufWriter::new(printed::colored_stdout(options.color));
    for group in event_groups(&input, args.group) {
        let profile = &input.profile;
        let totals = group.events.iter().map(|&event| profile.total(event));
        let totals: Vec<_> = totals.collect();
        let names = group.events.iter().map(|&event| usize::from(event));
        let event = group.describe(names.map(|event| profile.events[event].name.as_str()));
        for samples in hot_functions(profile, &input.names, &group.events, &filter) {
            let symbol = &samples.symbol;
            let is_wanted = |name: &String| **name == *symbol.name || **name == *symbol.raw;
            if !wanted.is_none_or(is_wanted) {
                continue;
            }
            let mut both = samples.totals.iter().zip(&totals);
            let is_hot = |(function, event): (&Weight, &Weight)| {
                let share = function.period as f64 * 100.0;
                function.samples > 0 && share >= limit * event.period as f64
            };
            if !both.any(is_hot) {
                left_out += 1;
                continue;
            }
            let dso = profile.dsos.get(samples.dso);
            let syntax = match args.disassembler_style.as_str() {
                "intel" => AsmSyntax::Intel,
                _ => AsmSyntax::Att,
            };
            let code = match input.namer.code(samples.dso, dso, symbol, syntax) {
                Ok(code) => code,
                Err(reason) => {
                    refused.push(no_code(&samples, &dso.long_name(), &reason));
                    continue;
                }
            };
            if shown > 0 {
                writeln!(out)?;
            }
            shown += 1;
            let annotation = Annotation {
                module: &dso.long_name(),
                event: &event,
                event_totals: &totals,
                samples: &samples,
                code: &code,
            };
            write_annotation(&mut out, &annotation, &options)?;
            if !args.quiet {
                doubts(&annotation, args);
            }
        }
    }
    out.flush()?;
    if shown == 0 {
        let nothing = || no_function(&input, &filter, wanted, left_out);
        return Err(refused.into_iter().next().unwrap_or_else(nothing).into());
    }
    if !args.quiet {
        for message in refused.iter().filter(|_| !args.skip_missing) {
            message.say();
        }
        if left_out > 0 {
            eprintln!("prof: {left_out} functions below {limit}% are left out (--percent-limit)");
        }
    }
    Ok(0)
}

/// The events that share a table.
fn event_groups(input: &LoadedRecording, forced: bool) -> Vec<EventGroup> {
    let known = input::event_groups(&input.recording, forced);
    EventGroup::of_all(input.profile.events.len() as u16, &known)
}

/// How many samples a function has, of all events together.
fn count(samples: &SelfSamples) -> u64 {
    samples.totals.iter().map(|total| total.samples).sum()
}

fn options(args: &AnnotateArgs) -> AnnotateOptions {
    AnnotateOptions {
        source: !args.no_source,
        raw: args.asm_raw,
        print_lines: args.print_line,
        full_paths: args.full_paths,
        value: match (args.show_nr_samples, args.show_total_period) {
            (true, _) => AnnotateValue::Samples,
            (_, true) => AnnotateValue::Period,
            _ => AnnotateValue::Percent,
        },
        percent_type: args.percent_type,
        color: terminal::has_colored_text(args.stdio_color.as_deref()),
    }
}

fn filter(args: &AnnotateArgs) -> Result<Filter, CliError> {
    let cpus = args.cpu.as_deref().map(sampling::cpus).transpose()?;
    Ok(Filter {
        dsos: args.dsos.clone(),
        cpus: cpus.unwrap_or_default(),
        ..args.input.filter()
    })
}

/// Why a function has no instructions here, and what to do about it.
fn no_code(samples: &SelfSamples, module: &str, reason: &NoCode) -> CliError {
    let message = CliError::new(format!(
        "could not show the instructions of `{}` in {module} ({} samples)",
        samples.symbol.name,
        count(samples)
    ));
    let message = message.cause(reason);
    match reason {
        NoCode::File(_) => message.hint("`--symfs DIR` looks for files below a directory"),
        NoCode::Kernel(_) => {
            let message = match nix::unistd::geteuid().is_root() {
                true => message,
                false => message.hint("root may read the code of the kernel that runs"),
            };
            message.hint("`--vmlinux FILE` reads the code of an uncompressed kernel")
        }
        NoCode::KernelProgram => {
            message.hint("`bpftool prog dump jited` shows the code of programs that are loaded")
        }
        NoCode::Generated => message.hint(
            "the runtime can print its code: `--print-opt-code` of node, -XX:+PrintAssembly of java",
        ),
        NoCode::NoBytes | NoCode::Machine(_) => message,
    }
}

/// What a reader of the code should know: on stderr, so that it does not stand in the code.
fn doubts(annotation: &Annotation<'_>, args: &AnnotateArgs) {
    let Annotation { samples, code, .. } = annotation;
    let name = &samples.symbol.name;
    if !args.no_source {
        for source in &code.sources {
            if let Err(reason) = source.lines {
                eprintln!("prof: {name}: source {} {}", source.path, reason.describe());
            }
        }
        if code.sources.is_empty() {
            eprintln!(
                "prof: {name}: no source lines: {} has no debug info for it",
                code.file
            );
        }
    }
    let (_, elsewhere) = samples.by_instruction(code);
    if elsewhere.samples > 0 {
        eprintln!(
            "prof: {name}: {} of {} samples lie in none of its instructions",
            elsewhere.samples,
            count(samples)
        );
    }
}

/// There is no such function, or none that is hot enough.
fn no_function(
    input: &LoadedRecording,
    filter: &Filter,
    wanted: Option<&String>,
    left_out: usize,
) -> CliError {
    let Some(wanted) = wanted else {
        return CliError::new(match left_out {
            0 => "no sample passes the filters, or none has a name".to_owned(),
            count => format!("no function has so many samples ({count} have fewer)"),
        });
    };
    let message = CliError::new(format!("no sample lies in a function `{wanted}`"));
    if left_out > 0 {
        return message.cause("it has fewer samples than --percent-limit asks for");
    }
    let profile = &input.profile;
    let mut similar: Vec<(f64, String)> = Vec::new();
    for event in 0..profile.events.len() as u16 {
        for samples in hot_functions(profile, &input.names, &[event], filter) {
            let name = samples.symbol.name.to_string();
            let likeness = match name.contains(wanted.as_str()) {
                true => 1.0,
                false => strsim::jaro_winkler(&name, wanted),
            };
            similar.push((likeness, name));
        }
    }
    similar.sort_by(|left, right| right.0.total_cmp(&left.0)); // stable: the hotter first
    similar.dedup_by(|left, right| left.1 == right.1);
    let similar = similar.iter().filter(|(likeness, _)| *likeness > 0.8);
    let similar: Vec<_> = similar
        .take(3)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    match similar.is_empty() {
        true => message
            .hint("`prof report --no-children -g none --sort sym` lists those that have some"),
        false => message.hint(format!("these have some: {}", similar.join(", "))),
    }
}
