//! Parts of a recording, as `--time` names them.

use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use prof_perfdata::ClockData;

use crate::error::NoTimeSlices;

/// One part, as given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slice {
    /// From and to, in nanoseconds of the recording's clock.
    Times(u64, u64),
    /// From and to by the clock on the wall; `None` for an end that is open.
    Clock(Option<Moment>, Option<Moment>),
    /// From and to, in percent of the recording.
    Percent(f64, f64),
}

/// A range without a time in it.
const NOTHING: RangeInclusive<u64> = RangeInclusive::new(1, 0);

/// A time of the day, or of one day.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moment {
    date: Option<Date>,
    time: Time,
}

/// Which parts of a recording are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSlices {
    /// As given.
    pub text: String,
    slices: Vec<Slice>,
}

/// What is known about a recording's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedTimes {
    /// Of the first and the last sample, in nanoseconds of the recording's clock.
    pub samples: (u64, u64),
    /// When the recording began; where that is not known, with the first sample.
    pub began: u64,
    /// What that clock has to do with the one on the wall, if it is known.
    pub clock: Option<ClockData>,
}

/// The parts in nanoseconds of the recording's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRanges {
    /// Each with its last nanosecond.
    pub ranges: Vec<RangeInclusive<u64>>,
    /// Whether the times were taken as seconds from the recording's beginning, since all of them lie before it.
    pub from_start: bool,
}

impl TimeSlices {
    /// Reads `1513.3,1513.4`, `1513.3,` (to the end), `,1513.4` (from the start), `03:12:05,03:12:10` and
    /// `2026-11-29T03:12:05,` (local time), several of these with blanks between, `10%-20%,40%-50%` and
    /// `10%/2` (the second tenth).
    ///
    /// # Errors
    /// The text, if it is none of these.
    pub fn parse(text: &str) -> Result<Self, NoTimeSlices> {
        let slices: Option<Vec<_>> = if text.contains('%') {
            text.split(',').map(|part| percent(part.trim())).collect()
        } else {
            text.split_whitespace().map(times).collect()
        };
        let slices = slices.filter(|slices| !slices.is_empty());
        let slices = slices.ok_or_else(|| NoTimeSlices(text.to_owned()))?;
        Ok(Self {
            text: text.to_owned(),
            slices,
        })
    }

    /// Whether they make no sense without the recording's clock on the wall.
    pub fn need_clock(&self) -> bool {
        let mut slices = self.slices.iter();
        slices.any(|slice| matches!(slice, Slice::Clock(..)))
    }

    /// Whether they make no sense without times of samples.
    pub fn need_times(&self) -> bool {
        let mut slices = self.slices.iter();
        slices.any(|slice| !matches!(slice, Slice::Times(..)))
    }

    /// The parts of a recording. Times that all lie before its beginning are seconds from there: a
    /// recording's clock says nothing to anybody, and nobody asks for what there is not.
    pub fn ranges(&self, recorded: &RecordedTimes) -> TimeRanges {
        let (first, last) = recorded.samples;
        let from_start = self.slices.iter().all(|slice| match *slice {
            Slice::Times(from, u64::MAX) => from > 0 && from < recorded.began,
            Slice::Times(_, to) => to < recorded.began,
            _ => false,
        });
        let since = if from_start { recorded.began } else { 0 };
        let at = |percent: f64| {
            let length = last.saturating_sub(first) as f64;
            first.saturating_add((length * percent / 100.0) as u64)
        };
        let range = |slice: &Slice| match *slice {
            Slice::Times(from, to) => from.saturating_add(since)..=to.saturating_add(since),
            Slice::Clock(from, to) => recorded.by_clock(from, to),
            // Where one part ends and the next begins, a sample is in one of them.
            Slice::Percent(from, 100.0) => at(from)..=last,
            Slice::Percent(from, to) => at(from)..=at(to).saturating_sub(1),
        };
        TimeRanges {
            ranges: self.slices.iter().map(range).collect(),
            from_start,
        }
    }
}

impl RecordedTimes {
    /// From one time of the day to another: on the first of the recording's days on which the recording
    /// has something of it.
    fn by_clock(&self, from: Option<Moment>, to: Option<Moment>) -> RangeInclusive<u64> {
        let zone = TimeZone::system();
        let (first, last) = self.samples;
        let (Some(first_day), Some(last_day)) =
            (self.day_of(first, &zone), self.day_of(last, &zone))
        else {
            return NOTHING;
        };
        let days = first_day.series(1.day()).take_while(|day| *day <= last_day);
        let on = |day: Date| {
            let start = from.map_or(Some(0), |from| self.time_of(from, day, &zone));
            let mut end = to.map_or(Some(u64::MAX), |to| self.time_of(to, day, &zone));
            if let (Some(to), Some(begin)) = (to, start)
                && end.is_some_and(|end| end < begin)
            {
                end = self.time_of(to, day.tomorrow().ok()?, &zone); // over midnight
            }
            Some(start?..=end?)
        };
        let mut ranges = days.filter_map(on);
        let some = |range: &RangeInclusive<u64>| *range.start() <= last && *range.end() >= first;
        ranges.find(some).unwrap_or(NOTHING)
    }

    fn day_of(&self, at: u64, zone: &TimeZone) -> Option<Date> {
        let clock = self.clock?;
        let since = i128::from(at) - i128::from(clock.clock_ns);
        let at = Timestamp::from_nanosecond(i128::from(clock.wall_ns) + since).ok()?;
        Some(at.to_zoned(zone.clone()).date())
    }

    fn time_of(&self, moment: Moment, day: Date, zone: &TimeZone) -> Option<u64> {
        let clock = self.clock?;
        let at = moment.date.unwrap_or(day).to_datetime(moment.time);
        let wall = at.to_zoned(zone.clone()).ok()?.timestamp().as_nanosecond();
        let since = wall - i128::from(clock.wall_ns);
        Some((i128::from(clock.clock_ns) + since).clamp(0, i128::from(u64::MAX)) as u64)
    }
}

fn times(part: &str) -> Option<Slice> {
    let (from, to) = part.split_once(',')?;
    if part.contains(':') {
        let moment = |text: &str| match text {
            "" => Some(None),
            text => moment(text).map(Some),
        };
        return Some(Slice::Clock(moment(from)?, moment(to)?));
    }
    let time = |text: &str, otherwise: u64| match text {
        "" => Some(otherwise),
        text => nanoseconds(text),
    };
    let (from, to) = (time(from, 0)?, time(to, u64::MAX)?);
    (from <= to).then_some(Slice::Times(from, to))
}

/// `03:12:05.5` or `2026-11-29T03:12:05`.
fn moment(text: &str) -> Option<Moment> {
    if text.contains('T') {
        let at: DateTime = text.parse().ok()?;
        return Some(Moment {
            date: Some(at.date()),
            time: at.time(),
        });
    }
    Some(Moment {
        date: None,
        time: text.parse().ok()?,
    })
}

/// Seconds with up to nine decimals, exactly.
fn nanoseconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let seconds: u64 = whole.parse().ok()?;
    let nanos: u64 = format!("{part:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn percent(part: &str) -> Option<Slice> {
    let number = |text: &str| -> Option<f64> {
        let number: f64 = text.strip_suffix('%')?.parse().ok()?;
        (0.0..=100.0).contains(&number).then_some(number)
    };
    if let Some((width, index)) = part.split_once('/') {
        let (width, index) = (number(width)?, index.parse::<u32>().ok()?);
        let from = width * f64::from(index.checked_sub(1)?);
        return (from < 100.0).then(|| Slice::Percent(from, (from + width).min(100.0)));
    }
    let (from, to) = match part.split_once('-') {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (0.0, number(part)?),
    };
    (from < to).then_some(Slice::Percent(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ranges_of(text: &str, samples: (u64, u64)) -> TimeRanges {
        let recorded = RecordedTimes {
            samples,
            began: samples.0,
            clock: None,
        };
        TimeSlices::parse(text).unwrap().ranges(&recorded)
    }

    fn ranges(text: &str) -> Vec<RangeInclusive<u64>> {
        ranges_of(text, (1000, 2000)).ranges
    }

    /// In whole seconds of a clock that shows 100 s at `wall`, local time.
    fn by_clock(text: &str, wall: &str, samples: (u64, u64)) -> (u64, u64) {
        let wall: DateTime = wall.parse().unwrap();
        let wall = wall.to_zoned(TimeZone::system()).unwrap().timestamp();
        let recorded = RecordedTimes {
            samples: (samples.0 * SECOND, samples.1 * SECOND),
            began: samples.0 * SECOND,
            clock: Some(ClockData {
                clockid: 1,
                wall_ns: wall.as_nanosecond() as u64,
                clock_ns: 100 * SECOND,
            }),
        };
        let ranges = TimeSlices::parse(text).unwrap().ranges(&recorded).ranges;
        assert_eq!(ranges.len(), 1);
        (ranges[0].start() / SECOND, ranges[0].end() / SECOND)
    }

    #[test]
    fn times_of_the_day_are_those_of_the_clock_on_the_wall() {
        let recorded = (100, 200);
        let by_clock = |text| by_clock(text, "2026-11-29T03:12:00", recorded);
        assert_eq!(by_clock("03:12:05,03:12:10"), (105, 110));
        assert_eq!(by_clock("03:12:05,"), (105, u64::MAX / SECOND));
        assert_eq!(by_clock(",03:12:10.5"), (0, 110));
        assert_eq!(by_clock("2026-11-29T03:12:05,03:13"), (105, 160));
        assert_eq!(by_clock("03:15:00,03:16:00"), (0, 0)); // is empty, see below
        assert_eq!(by_clock("2026-11-30T03:12:05,2026-11-30T03:12:06"), (0, 0));
    }

    #[test]
    fn times_of_the_day_are_of_the_day_that_has_something_of_them() {
        let late = |text| by_clock(text, "2026-11-29T23:59:50", (100, 200));
        assert_eq!(late("23:59:55,00:00:05"), (105, 115));
        assert_eq!(late("00:00:05,00:00:10"), (115, 120));
        let none = TimeSlices::parse("12:00,13:00").unwrap();
        let recorded = RecordedTimes {
            samples: (1, 2),
            began: 1,
            clock: None,
        };
        assert!(none.need_clock() && none.ranges(&recorded).ranges[0].is_empty());
    }

    #[test]
    fn times_before_the_recording_are_seconds_from_its_start() {
        let recorded = (5000 * SECOND, 5036 * SECOND);
        let from_start = |text| {
            let ranges = ranges_of(text, recorded);
            let seconds = ranges.ranges.iter();
            let seconds = seconds.map(|it| (it.start() / SECOND, it.end() / SECOND));
            (seconds.collect::<Vec<_>>(), ranges.from_start)
        };
        assert_eq!(from_start("0,1"), (vec![(5000, 5001)], true));
        assert_eq!(
            from_start("1,2 5,6"),
            (vec![(5001, 5002), (5005, 5006)], true)
        );
        assert_eq!(from_start("30,"), (vec![(5030, u64::MAX / SECOND)], true));
        assert_eq!(
            from_start("1,2 5000,5001"),
            (vec![(1, 2), (5000, 5001)], false)
        );
        assert!(!from_start("4999,5001").1);
        assert!(!from_start(",5001").1);
    }

    #[test]
    fn times_are_exact_and_open_at_either_end() {
        assert_eq!(ranges("1.3,2.000000001"), [1_300_000_000..=2_000_000_001]);
        assert_eq!(
            ranges(",7 8,"),
            [0..=7_000_000_000, 8_000_000_000..=u64::MAX]
        );
    }

    #[test]
    fn shares_follow_each_other_without_overlap() {
        assert_eq!(ranges("10%-20%,20%-100%"), [1100..=1199, 1200..=2000]);
        assert_eq!(ranges("10%/2"), [1100..=1199]);
        assert_eq!(ranges("50%/2"), [1500..=2000]);
        assert_eq!(ranges("25%"), [1000..=1249]);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in [
            "",
            "5",
            "a,b",
            "2,1",
            "1.0000000001,",
            "20%-10%",
            "10%/0",
            "101%",
            "10%/11",
            "%",
            "25:00,26:00",
            "03:12:05",
            "yesterdayT03:12,",
        ] {
            assert!(TimeSlices::parse(text).is_err(), "{text}");
        }
    }
}
