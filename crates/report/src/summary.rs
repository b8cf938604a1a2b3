use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use prof_model::{ChainEnd, DsoId, Reason, Resolution};
use prof_profile::{Names, Profile, Unit, Weight};
use rustc_hash::FxHashMap;

use crate::folded::fold_places;
use crate::heaviest_path::{PathStep, heaviest_path, path_lines};
use crate::idle::is_idle;
use crate::text::{cut_left, cut_right, push_left, width};
use crate::{FoldedOptions, Places, StackWeight, SymbolId};

const COLUMNS: usize = 80;
const MODULE_COLUMNS: usize = 20;
const PATH: &str = "path: ";
const PATH_LINES: usize = 2;

/// What a recording says at first glance, and how far to trust it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Summary {
    /// All samples of the event, without those of idle CPUs: what shares are shares of.
    pub total: Weight,
    /// Samples of idle CPUs.
    pub idle: Weight,
    /// The functions in which most of them ran, heaviest first.
    pub hottest: Vec<HotSymbol>,
    /// The way from the root on which most of the time is spent.
    pub path: Vec<PathStep>,
    /// How many samples' stacks ended for each reason, by the number of the reason.
    pub ends: [u64; ChainEnd::ALL.len()],
    /// How many frames the samples' stacks have together.
    pub frames: u64,
    /// How many of these have no name, by module, most first.
    pub unnamed: Vec<UnnamedModule>,
}

/// A function, over all threads.
#[derive(Clone, Debug, PartialEq)]
pub struct HotSymbol {
    /// Its name; `[no names]` for all addresses of a module that have none.
    pub name: String,
    /// The function whose body stands in it and ran in most of its samples, if it did in half of them, and the
    /// share of all that these are, in percent.
    pub inlined: Option<(String, f64)>,
    /// The common name of its module.
    pub module: String,
    /// The samples in which it ran itself.
    pub own: Weight,
    /// Their share of the total period, in percent.
    pub percent: f64,
    /// Half the width, in percentage points, of the interval that holds the true share in 19 of 20
    /// recordings like this one.
    pub error: f64,
}

/// A module with frames that have no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedModule {
    /// Its common name, `[unknown]` where nothing was mapped.
    pub module: String,
    /// What was mapped there; of several with this name the one with most of the frames.
    pub dso: Option<DsoId>,
    /// How many frames, counted once for every sample that they are in.
    pub frames: u64,
    /// How many of them for each reason, most first.
    pub reasons: Vec<(Reason, u64)>,
}

impl Summary {
    /// The share of samples with whole stacks, in percent, of those of which it is known.
    pub fn whole_percent(&self) -> Option<f64> {
        ChainEnd::whole_percent(&self.ends)
    }

    /// The share of frames without a name, in percent.
    pub fn unnamed_percent(&self) -> f64 {
        let unnamed = self.unnamed.iter().map(|module| module.frames).sum();
        percent(unnamed, self.frames)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 * 100.0 / whole as f64,
    }
}

/// How far off a share is likely to be, in percentage points, if it was found with `samples`
/// samples: 1.96 standard errors of a proportion.
fn sampling_error(percent: f64, samples: u64) -> f64 {
    let share = percent / 100.0;
    match samples {
        0 => 0.0,
        samples => 196.0 * (share * (1.0 - share) / samples as f64).max(0.0).sqrt(),
    }
}

/// Samples in which a function ran itself, and how much of their period the functions inlined there have.
#[derive(Default)]
struct Own {
    all: Weight,
    inlined: FxHashMap<SymbolId, u64>,
}

/// Frames of a module that have no name, counted as in [`UnnamedModule`].
#[derive(Default)]
struct Unnamed {
    by_reason: BTreeMap<Reason, u64>,
    by_dso: BTreeMap<Option<DsoId>, u64>,
}

/// Sums up one event, an index into the profile's events, with its `top` hottest functions.
pub fn summarize(profile: &Profile, names: &Names, event: u16, top: usize) -> Summary {
    let places = Places::by_name(profile, names, true);
    let samples = profile.sorted_samples(event);
    let mut summary = Summary::default();

    let mut own: FxHashMap<SymbolId, Own> = FxHashMap::default();
    let mut by_stack: FxHashMap<prof_profile::StackId, u64> = FxHashMap::default();
    for (key, weight) in &samples {
        if is_idle(profile, &places, key) {
            summary.idle += *weight;
            continue;
        }
        summary.total += *weight;
        summary.ends[key.end as usize] += weight.samples;
        *by_stack.entry(key.stack).or_default() += weight.samples;
        let innermost = profile.stacks().frames(key.stack).next();
        if let Some(frame) = innermost {
            let function = places.get(places.physical(frame)).symbol;
            let own = own.entry(function).or_default();
            own.all += *weight;
            let copy = places.of_frame(frame).next();
            let copy = copy.map(|place| places.get(place).symbol);
            if let Some(copy) = copy.filter(|&copy| copy != function) {
                *own.inlined.entry(copy).or_default() += weight.period;
            }
        }
    }
    let mut own: Vec<(SymbolId, Own)> = own.into_iter().collect();
    own.sort_unstable_by_key(|(symbol, own)| (Reverse(own.all.period), *symbol));
    let hottest = own.into_iter().take(top).map(|(symbol, own)| {
        let share = |period| percent(period, summary.total.period);
        let inlined = own.inlined.iter();
        let inlined = inlined.max_by_key(|&(&symbol, &period)| (period, Reverse(symbol)));
        let inlined = inlined.filter(|&(_, &period)| period >= own.all.period.div_ceil(2));
        let inlined = inlined.map(|(&copy, &period)| (copy, share(period)));
        let (own, percent) = (own.all, share(own.all.period));
        let symbol = places.symbol(symbol);
        HotSymbol {
            name: symbol.in_chain(),
            inlined: inlined.map(|(copy, share)| (places.symbol(copy).name.to_string(), share)),
            module: places.dso_name(symbol).to_owned(),
            own,
            percent,
            error: sampling_error(percent, summary.total.samples),
        }
    });
    summary.hottest = hottest.collect();
    if profile.events[usize::from(event)].has_callchain {
        let folding = FoldedOptions {
            threads: false,
            idle: false,
            ..FoldedOptions::default()
        };
        let stacks = fold_places(profile, &places, event, &folding);
        summary.path = heaviest_path(&stacks, StackWeight::Period);
    }

    let of_waits = profile.events[usize::from(event)].unit == Unit::WaitTime;
    let mut unnamed: BTreeMap<&str, Unnamed> = BTreeMap::new();
    for (stack, samples) in by_stack {
        for frame in profile.stacks().frames(stack) {
            let key = profile.frame(frame);
            if key.dso.is_none() && key.lookup == 0 && of_waits {
                continue; // a wait of which no stack is known
            }
            summary.frames += samples;
            if let Resolution::Unresolved(reason) = names.get(frame) {
                let module = places.dso_name(places.symbol_at(places.physical(frame)));
                let unnamed = unnamed.entry(module).or_default();
                *unnamed.by_reason.entry(*reason).or_default() += samples;
                let dso = profile.frame(frame).dso;
                *unnamed.by_dso.entry(dso).or_default() += samples;
            }
        }
    }
    summary.unnamed = unnamed
        .into_iter()
        .map(|(module, unnamed)| {
            let mut reasons: Vec<(Reason, u64)> = unnamed.by_reason.into_iter().collect();
            reasons.sort_by_key(|&(_, frames)| Reverse(frames));
            UnnamedModule {
                module: module.to_owned(),
                dso: unnamed
                    .by_dso
                    .into_iter()
                    .max_by_key(|it| it.1)
                    .and_then(|it| it.0),
                frames: reasons.iter().map(|&(_, frames)| frames).sum(),
                reasons,
            }
        })
        .collect();
    summary.unnamed.sort_by_key(|module| Reverse(module.frames));
    summary
}

/// Writes a summary in lines of at most 80 columns.
///
/// # Errors
/// Those of `out`.
pub fn write_summary(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    if summary.idle.samples > 0 {
        let idle = percent(
            summary.idle.period,
            summary.idle.period + summary.total.period,
        );
        writeln!(out, "{idle:>6.2}% idle; the rest is 100% of what follows")?;
    }
    let modules = summary.hottest.iter().map(|symbol| width(&symbol.module));
    let module_width = modules.max().unwrap_or(0).min(MODULE_COLUMNS);
    for symbol in &summary.hottest {
        let share = format!("{:>6.2}% ±{:<5.2}", symbol.percent, symbol.error);
        let module = cut_right(&symbol.module, module_width);
        let left = COLUMNS - width(&share) - module_width - 4;
        let inlined = symbol.inlined.as_ref();
        let inlined = inlined.map(|(name, percent)| format!(" ({percent:.2}% inlined {name})"));
        // The function is worth more than what is inlined there.
        let fits = |it: &String| width(&symbol.name) + width(it) <= left;
        let inlined = inlined.filter(fits).unwrap_or_default();
        let name = cut_left(&symbol.name, left - width(&inlined));
        let mut line = format!("{share}  ");
        push_left(&mut line, &module, module_width);
        writeln!(out, "{line}  {name}{inlined}")?;
    }
    if summary.path.len() > 1 {
        let lines = path_lines(&summary.path, COLUMNS - PATH.len(), PATH_LINES);
        for (line, start) in lines.iter().zip([PATH, "      "]) {
            writeln!(out, "{start}{line}")?;
        }
    }
    write_trust(out, summary)
}

/// Writes how far a summary can be trusted: whether stacks are whole, and frames have names.
///
/// # Errors
/// Those of `out`.
pub fn write_trust(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    if let Some(whole) = summary.whole_percent() {
        writeln!(out, "stacks: {whole:.1}% whole")?;
    }
    for end in ChainEnd::ALL.into_iter().filter(|end| end.is_cut()) {
        let samples = summary.ends[end as usize];
        if samples > 0 {
            writeln!(out, "  {samples} {}", end.describe())?;
        }
    }
    if !summary.unnamed.is_empty() {
        writeln!(out, "frames: {:.1}% unnamed", summary.unnamed_percent())?;
    }
    for module in &summary.unnamed {
        for (reason, frames) in &module.reasons {
            let text = format!("  {frames} in ");
            let rest = format!(": {}", reason.describe());
            let left = COLUMNS.saturating_sub(width(&text) + width(&rest));
            let name = cut_right(&module.module, left.max(1));
            writeln!(out, "{text}{name}{rest}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_of_990_samples_is_known_to_six_tenths() {
        assert_eq!(format!("{:.2}", sampling_error(1.0, 990)), "0.62");
        assert_eq!(sampling_error(100.0, 990), 0.0);
        assert_eq!(sampling_error(0.0, 0), 0.0);
    }
}
