//! A function's instructions with their shares, as `perf annotate --stdio` prints them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, Write};

use prof_model::{CodeLine, FunctionCode, printable};
use prof_profile::{Names, Profile, SelfSamples, Weight};

use crate::draw::push_colored;
use crate::text::{base_name, left};
use crate::{Filter, Places};

/// What stands before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AnnotateValue {
    /// A share.
    #[default]
    Percent,
    /// A number of samples.
    Samples,
    /// A sum of periods.
    Period,
}

/// What shares are shares of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PercentType {
    /// The function's sum of periods.
    #[default]
    LocalPeriod,
    /// The function's samples.
    LocalHits,
    /// The event's sum of periods.
    GlobalPeriod,
    /// The event's samples.
    GlobalHits,
}

impl PercentType {
    /// Every one, by perf's word for it.
    pub const ALL: [(&'static str, Self); 4] = [
        ("local-period", Self::LocalPeriod),
        ("local-hits", Self::LocalHits),
        ("global-period", Self::GlobalPeriod),
        ("global-hits", Self::GlobalHits),
    ];

    /// As perf prints it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::LocalPeriod => "local period",
            Self::LocalHits => "local hits",
            Self::GlobalPeriod => "global period",
            Self::GlobalHits => "global hits",
        }
    }

    /// The share of `part` in percent.
    fn of(self, part: Weight, function: Weight, event: Weight) -> f64 {
        let (part, all) = match self {
            Self::LocalPeriod => (part.period, function.period),
            Self::LocalHits => (part.samples, function.samples),
            Self::GlobalPeriod => (part.period, event.period),
            Self::GlobalHits => (part.samples, event.samples),
        };
        match all {
            0 => 0.0,
            all => part as f64 * 100.0 / all as f64,
        }
    }
}

/// How annotated code looks.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotateOptions {
    /// Source lines between the instructions.
    pub source: bool,
    /// The bytes of instructions.
    pub raw: bool,
    /// First the source lines with the largest shares.
    pub print_lines: bool,
    /// Paths with their folders.
    pub full_paths: bool,
    /// What stands before an instruction.
    pub value: AnnotateValue,
    /// What shares are shares of.
    pub percent_type: PercentType,
    /// Shares and instructions in colours.
    pub color: bool,
}

/// The functions that ran themselves in samples of these events that a filter lets through, those that
/// are hottest in the first one first.
pub fn hot_functions(
    profile: &Profile,
    names: &Names,
    events: &[u16],
    filter: &Filter,
) -> Vec<SelfSamples> {
    let places = Places::new(profile, names, false);
    let filter = filter.compile(profile, &places);
    profile.self_samples(names, events, |key| filter.passes(profile, key))
}

/// A function, its code and its samples.
#[derive(Clone, Copy, Debug)]
pub struct Annotation<'a> {
    /// The module's path.
    pub module: &'a str,
    /// The name of the event, or of the group.
    pub event: &'a str,
    /// All samples of each event.
    pub event_totals: &'a [Weight],
    /// Those of the function.
    pub samples: &'a SelfSamples,
    /// Its instructions.
    pub code: &'a FunctionCode,
}

/// Source lines with a smaller share, in percent, are not in the list of them.
const LEAST_LINE: f64 = 0.5;

/// Writes the code of one function.
///
/// # Errors
/// Those of `out`.
pub fn write_annotation(
    out: &mut dyn Write,
    annotation: &Annotation<'_>,
    options: &AnnotateOptions,
) -> io::Result<()> {
    let text = Text {
        annotation,
        options,
        weights: annotation.samples.by_instruction(annotation.code).0,
    };
    if options.print_lines {
        text.write_hot_lines(out)?;
    }
    text.write_title(out)?;
    text.write_code(out)
}

struct Text<'a> {
    annotation: &'a Annotation<'a>,
    options: &'a AnnotateOptions,
    weights: Vec<Vec<Weight>>,
}

impl Text<'_> {
    /// The shares of each event.
    fn percents(&self, weights: &[Weight]) -> Vec<f64> {
        let Annotation {
            samples,
            event_totals,
            ..
        } = self.annotation;
        let totals = samples.totals.iter().zip(*event_totals);
        let both = weights.iter().zip(totals);
        let percent_type = self.options.percent_type;
        both.map(|(&part, (&function, &event))| percent_type.of(part, function, event))
            .collect()
    }

    fn colored(&self, number: &str, percent: f64) -> String {
        let mut text = String::new();
        push_colored(&mut text, percent, self.options.color, |text| {
            text.push_str(number);
        });
        text
    }

    fn path<'p>(&self, path: &'p str) -> &'p str {
        match self.options.full_paths {
            true => path,
            false => base_name(path),
        }
    }

    /// Title of the columns of numbers, and the width of each.
    fn column(&self) -> (&'static str, usize) {
        match self.options.value {
            AnnotateValue::Percent => ("Percent", 8),
            AnnotateValue::Samples => ("Samples", 8),
            AnnotateValue::Period => ("Period", 12),
        }
    }

    fn write_title(&self, out: &mut dyn Write) -> io::Result<()> {
        let Annotation {
            module,
            event,
            samples,
            ..
        } = self.annotation;
        let (title, width) = self.column();
        let width = width * samples.totals.len();
        let title = format!(
            " {}|\tSource code & Disassembly of {} for {} ({} samples, percent: {})",
            left(title, width),
            printable(self.path(module)),
            printable(event),
            samples.totals.first().map_or(0, |total| total.samples),
            self.options.percent_type.describe()
        );
        writeln!(out, "{title}\n{}", "-".repeat(title.chars().count() + 5))
    }

    fn write_code(&self, out: &mut dyn Write) -> io::Result<()> {
        let code = self.annotation.code;
        let columns = self.annotation.samples.totals.len();
        let blank = " ".repeat(self.column().1 * columns + 1);
        let empty = format!("{blank}:");
        if let Some(section) = &code.section {
            writeln!(
                out,
                "{empty}\n{empty} Disassembly of section {}:\n{empty}",
                printable(section)
            )?;
        }
        let symbol = &self.annotation.samples.symbol;
        let start = code.instructions.first().map_or(0, |first| first.address);
        writeln!(out, "{empty} {start:016x} <{}>:", printable(&symbol.raw))?;
        let raw_width = match self.options.raw {
            true => code.instructions.iter().map(|it| it.bytes.len() * 3).max(),
            false => None,
        };
        for line in code.lines(self.options.source) {
            match line {
                CodeLine::Function(name, path) => {
                    let path = printable(self.path(path));
                    writeln!(out, "{empty} {}(): {path}", printable(name))?;
                }
                CodeLine::Source(number, text) => {
                    writeln!(out, "{empty} {number:<4} {}", printable(&untabbed(text)))?;
                }
                CodeLine::Instruction(index) => self.write_instruction(out, index, raw_width)?,
            }
        }
        writeln!(out)
    }

    fn write_instruction(
        &self,
        out: &mut dyn Write,
        index: usize,
        raw_width: Option<usize>,
    ) -> io::Result<()> {
        let instruction = &self.annotation.code.instructions[index];
        let weights = &self.weights[index];
        let width = self.column().1;
        let number = |(weight, percent): (&Weight, f64)| {
            let number = match self.options.value {
                AnnotateValue::Percent => format!("{percent:width$.2}"),
                AnnotateValue::Samples => format!("{:width$}", weight.samples),
                AnnotateValue::Period => format!("{:width$}", weight.period),
            };
            self.colored(&number, percent)
        };
        let numbers: String = weights
            .iter()
            .zip(self.percents(weights))
            .map(number)
            .collect();
        let raw = raw_width.map_or_else(String::new, |width| {
            let bytes = instruction.bytes.iter();
            let bytes: String = bytes.map(|byte| format!("{byte:02x} ")).collect();
            left(&bytes, width) + "   "
        });
        let address = format!("{:x}", instruction.address);
        let text = printable(&instruction.text);
        writeln!(out, "{numbers} : {address:>6}:   {raw}{text}")
    }

    /// The source lines that most samples lie in.
    fn write_hot_lines(&self, out: &mut dyn Write) -> io::Result<()> {
        let code = self.annotation.code;
        let mut lines: BTreeMap<(usize, u32), Vec<Weight>> = BTreeMap::new();
        for (instruction, weights) in code.instructions.iter().zip(&self.weights) {
            if let Some(place) = instruction.place.as_ref().filter(|place| place.line > 0) {
                let line = lines.entry((place.source, place.line));
                let sums = line.or_insert_with(|| vec![Weight::default(); weights.len()]);
                sums.iter_mut()
                    .zip(weights)
                    .for_each(|(sum, &it)| *sum += it);
            }
        }
        let lines = lines.into_iter();
        let lines = lines.map(|(line, weights)| (line, self.percents(&weights)));
        let mut lines: Vec<_> = lines
            .filter(|(_, percents)| percents.iter().any(|&percent| percent >= LEAST_LINE))
            .collect();
        lines.sort_by(|(_, left), (_, right)| {
            let pairs = right.iter().zip(left);
            let mut orders = pairs.map(|(right, left)| right.total_cmp(left));
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        let file = printable(self.annotation.module);
        writeln!(
            out,
            "\nSorted summary for file {file}\n{}\n",
            "-".repeat(46)
        )?;
        if lines.is_empty() {
            writeln!(out, " no source line is known")?;
        }
        for ((source, line), percents) in lines {
            let path = printable(self.path(&code.sources[source].path));
            let number = |percent: f64| self.colored(&format!("{percent:8.2}"), percent);
            let numbers: String = percents.into_iter().map(number).collect();
            writeln!(out, "{numbers} {path}:{line}")?;
        }
        Ok(())
    }
}

/// With blanks for tabs, which would fill up to other columns behind the number.
fn untabbed(line: &str) -> String {
    line.replace('\t', "        ")
}
