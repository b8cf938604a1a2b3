//! Two recordings, row by row.

use std::collections::BTreeMap;

use prof_profile::{Names, Profile, Weight};
use serde_json::Value;

use crate::statistics::{
    FALSE_DISCOVERY_RATE, Proportion, error, false_discovery_rates, fisher, smallest_possible,
};
use crate::{Column, Places, ReportOptions, Table};

/// One of the recordings.
#[derive(Clone, Copy, Debug)]
pub struct DiffSide<'a> {
    /// Its samples.
    pub profile: &'a Profile,
    /// Their names.
    pub names: &'a Names,
}

/// The number that rows are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum DiffCompute {
    /// The difference of the shares; the largest first, whatever its sign.
    #[default]
    DeltaAbs,
    /// The same, growth first.
    Delta,
    /// The sum of periods now over that before.
    Ratio,
    /// The sums of periods, each with a factor: the second's now less the first's before.
    WeightedDiff(i64, i64),
}

/// What is compared of code that has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnnamedCode {
    /// All of a module together: addresses say nothing about another build.
    #[default]
    ByModule,
    /// Each address, as perf does.
    ByAddress,
}

/// An event in two recordings.
#[derive(Clone, Debug)]
pub struct EventDiff {
    /// Its name in the first.
    pub name: String,
    /// All samples before, which shares are shares of.
    pub before: Weight,
    /// All samples now; `None` if the second recording has no such event.
    pub after: Option<Weight>,
    /// Whether rows weigh what they are on the stack of, not what they ran themselves.
    pub children: bool,
    /// What rows differ by.
    pub keys: Vec<Column>,
    /// In the order of what was computed.
    pub rows: Vec<DiffRow>,
}

/// One line of a comparison.
#[derive(Clone, Debug)]
pub struct DiffRow {
    /// The texts of the keys.
    pub labels: Vec<String>,
    /// What it counted before.
    pub before: Option<Weight>,
    /// What it counts now.
    pub after: Option<Weight>,
    /// The share before, in percent; 0 if it was not there.
    pub percent_before: f64,
    /// The share now, in percent.
    pub percent_after: f64,
    /// How sure the difference is; `None` if there is only one recording of the event.
    pub test: Option<DiffTest>,
    pub(crate) values: BTreeMap<&'static str, Value>,
}

/// Whether a difference is more than the error that comes from counting samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffTest {
    /// Half of the 95% interval of the difference, in percent.
    pub error: f64,
    /// How likely counts at least as uneven are, if the true shares are equal.
    pub p_value: f64,
    /// The false discovery rate at which this row is just called real; `None` for a row with so few
    /// samples that no outcome could tell.
    pub q_value: Option<f64>,
}

impl DiffTest {
    /// Whether such a difference is to be expected of equal shares.
    pub fn is_noise(&self) -> bool {
        self.q_value.is_none_or(|q| q > FALSE_DISCOVERY_RATE)
    }
}

impl DiffRow {
    /// By how much the share grew, in percent of all.
    pub fn delta(&self) -> f64 {
        self.percent_after - self.percent_before
    }

    /// The sum of periods now over that before; `None` where there was nothing before, or is nothing
    /// now.
    pub fn ratio(&self) -> Option<f64> {
        let (before, after) = (self.before?, self.after?);
        (before.period > 0).then(|| after.period as f64 / before.period as f64)
    }

    /// The difference of the sums of periods with these factors; `None` as for [`DiffRow::ratio`].
    pub fn weighted(&self, before: i64, after: i64) -> Option<i128> {
        let then = i128::from(self.before?.period) * i128::from(before);
        Some(i128::from(self.after?.period) * i128::from(after) - then)
    }

    /// Whether the difference may be sampling noise.
    pub fn is_noise(&self) -> bool {
        self.test.is_some_and(|test| test.is_noise())
    }
}

/// Compares the events of two recordings: each of the first that has samples with the one of the same
/// name in the second. `options` are those of a report: with `children` a row weighs what it is on the
/// stack of, else what it ran itself.
pub fn diff(
    before: DiffSide<'_>,
    after: DiffSide<'_>,
    options: &ReportOptions,
    compute: DiffCompute,
    unnamed: UnnamedCode,
) -> Vec<EventDiff> {
    let places = |side: DiffSide<'_>| {
        let arrange = match unnamed {
            UnnamedCode::ByAddress => Places::new,
            UnnamedCode::ByModule => Places::by_name,
        };
        let places = arrange(side.profile, side.names, options.inline);
        options.with_lines(places, side.profile, side.names)
    };
    let (places_before, places_after) = (places(before), places(after));
    let mut diffs = Vec::new();
    for event in 0..before.profile.events.len() as u16 {
        let Some(table) = Table::new(before.profile, &places_before, options, event) else {
            continue;
        };
        let name = &before.profile.events[usize::from(event)].name;
        let other = same_event(name, after.profile);
        let table_after =
            other.and_then(|it| Table::new(after.profile, &places_after, options, it));
        let mut diff = pair(&table, table_after.as_ref());
        if let (Some(other), Some(table_after)) = (other, &table_after) {
            let then = Effective::of(before.profile, event, &table);
            test(
                &mut diff.rows,
                then,
                Effective::of(after.profile, other, table_after),
            );
        }
        sort(&mut diff.rows, compute);
        diffs.push(diff);
    }
    diffs
}

/// The event of that name. What follows the last `:` may differ: whether an event was asked for by
/// name or by default decides it, and the kernel's version.
pub fn same_event(name: &str, profile: &Profile) -> Option<u16> {
    let find = |matches: &dyn Fn(&str) -> bool| {
        let mut events = profile.events.iter();
        events.position(|event| matches(&event.name))
    };
    let base = without_modifiers(name);
    let found = find(&|other| other == name).or_else(|| find(&|it| without_modifiers(it) == base));
    found.map(|index| index as u16)
}

/// `cpu-clock` of `cpu-clock:pppH`, but all of `sched:sched_switch`.
fn without_modifiers(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((base, end)) if end.bytes().all(|byte| b"ukhpPGHISDWe".contains(&byte)) => base,
        _ => name,
    }
}

/// Rows of one side by their labels: functions of one name in one module are one row, since their
/// addresses say nothing about another build.
type Rows = BTreeMap<Vec<String>, (Weight, BTreeMap<&'static str, Value>)>;

fn rows_of(table: &Table<'_>, keys: &[Column]) -> Rows {
    let mut rows = Rows::new();
    for row in table.rows() {
        let labels = keys.iter().map(|&key| table.label(row, key).into_owned());
        let labels = labels.collect();
        let values = || {
            let values = keys.iter();
            let mut values: BTreeMap<_, _> = values
                .flat_map(|&key| crate::json::values(table, row, key))
                .collect();
            values.remove("address");
            values
        };
        let entry = rows.entry(labels);
        entry.or_insert_with(|| (Weight::default(), values())).0 += table.main_weight(row);
    }
    rows
}

fn pair(before: &Table<'_>, after: Option<&Table<'_>>) -> EventDiff {
    let keys = before.columns().iter().copied();
    let keys: Vec<Column> = keys.filter(|column| column.is_key()).collect();
    let mut both: BTreeMap<Vec<String>, DiffRow> = BTreeMap::new();
    let new_row = |labels: &Vec<String>, values| DiffRow {
        labels: labels.clone(),
        before: None,
        after: None,
        percent_before: 0.0,
        percent_after: 0.0,
        test: None,
        values,
    };
    for (labels, (weight, values)) in rows_of(before, &keys) {
        let row = both.entry(labels);
        let row = row.or_insert_with_key(|labels| new_row(labels, values));
        row.before = Some(weight);
        row.percent_before = before.percent(weight.period);
    }
    for (labels, (weight, values)) in after.map(|it| rows_of(it, &keys)).unwrap_or_default() {
        let row = both.entry(labels);
        let row = row.or_insert_with_key(|labels| new_row(labels, values));
        row.after = Some(weight);
        row.percent_after = after.map_or(0.0, |it| it.percent(weight.period));
    }
    EventDiff {
        name: before.event().name.clone(),
        before: before.counted(),
        after: after.map(Table::counted),
        children: before.layout().children,
        keys,
        rows: both.into_values().collect(),
    }
}

/// The largest first; rows that equal each other stay in the order of their labels.
fn sort(rows: &mut [DiffRow], compute: DiffCompute) {
    let is_one_sided = |row: &DiffRow| row.before.is_none() || row.after.is_none();
    let rank = |row: &DiffRow| match compute {
        DiffCompute::DeltaAbs => row.delta().abs(),
        DiffCompute::Delta => row.delta(),
        DiffCompute::Ratio => row.ratio().unwrap_or_default(),
        DiffCompute::WeightedDiff(before, after) => {
            row.weighted(before, after).unwrap_or_default() as f64
        }
    };
    // What differs by less than 10^-9 percent differs by rounding.
    let rank = |row: &DiffRow| (rank(row) * 1e9).round();
    let by_share = matches!(compute, DiffCompute::DeltaAbs | DiffCompute::Delta);
    rows.sort_by(|left, right| {
        let order = rank(right).total_cmp(&rank(left));
        if by_share {
            return order;
        }
        // without a partner there is nothing to compute: the new before the gone, by their weight
        let group = |row: &DiffRow| (is_one_sided(row), row.after.is_none());
        let weight = |row: &DiffRow| row.after.or(row.before).map(|weight| weight.period);
        let groups = group(left).cmp(&group(right));
        groups.then_with(|| match is_one_sided(left) {
            true => weight(right).cmp(&weight(left)),
            false => order,
        })
    });
}

/// How many samples of equal weight would tell the shares as exactly as these do.
#[derive(Clone, Copy)]
struct Effective {
    samples: f64,
    period: u64,
}

impl Effective {
    /// Where periods differ, the heavy samples decide, and they are fewer (Kish's design effect). What
    /// an entry's samples have in common counts as the period of each.
    fn of(profile: &Profile, event: u16, table: &Table<'_>) -> Self {
        let (mut sum, mut squares) = (0.0, 0.0);
        for (_, weight) in profile.sorted_samples(event) {
            let (samples, period) = (weight.samples as f64, weight.period as f64);
            sum += period;
            squares += period * period / samples.max(1.0);
        }
        let period = table.counted().period; // of fewer samples where shares are relative
        let samples = match sum > 0.0 {
            true => sum / squares * period as f64,
            false => 0.0,
        };
        Self { samples, period }
    }

    fn proportion(self, weight: Option<Weight>) -> Proportion {
        let share = match self.period {
            0 => 0.0,
            all => weight.unwrap_or_default().period as f64 / all as f64,
        };
        let of = self.samples.round() as u64;
        Proportion {
            hits: ((share * self.samples).round() as u64).min(of),
            of,
        }
    }
}

fn test(rows: &mut [DiffRow], before: Effective, after: Effective) {
    let sides = |row: &DiffRow| (before.proportion(row.before), after.proportion(row.after));
    let mut candidates = Vec::new();
    let mut p_values = Vec::new();
    for (index, row) in rows.iter_mut().enumerate() {
        let (then, now) = sides(row);
        let p_value = fisher(then, now);
        row.test = Some(DiffTest {
            error: 100.0 * error(then, now),
            p_value,
            q_value: None,
        });
        // A row that no outcome could call real is no test, and does not make the others stricter.
        if smallest_possible(then, now) <= FALSE_DISCOVERY_RATE {
            candidates.push(index);
            p_values.push(p_value);
        }
    }
    for (index, rate) in candidates.into_iter().zip(false_discovery_rates(&p_values)) {
        if let Some(test) = &mut rows[index].test {
            test.q_value = Some(rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_not_part_of_an_events_name() {
        assert_eq!(without_modifiers("cpu-clock:pppH"), "cpu-clock");
        assert_eq!(without_modifiers("cycles"), "cycles");
        assert_eq!(
            without_modifiers("sched:sched_switch"),
            "sched:sched_switch"
        );
    }
}
