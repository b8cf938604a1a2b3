//! Parts of a recording, as `--time` names them.

use std::ops::RangeInclusive;

use crate::error::NoTimeSlices;

/// One part, as given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slice {
    /// From and to, in nanoseconds of the recording's clock.
    Times(u64, u64),
    /// From and to, in percent of the recording.
    Percent(f64, f64),
}

/// Which parts of a recording are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSlices {
    /// As given.
    pub text: String,
    slices: Vec<Slice>,
}

impl TimeSlices {
    /// Reads `1513.3,1513.4`, `1513.3,` (to the end), `,1513.4` (from the start), several of these
    /// with blanks between, `10%-20%,40%-50%` and `10%/2` (the second tenth).
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

    /// Whether the first and the last sample's times must be known.
    pub fn need_times(&self) -> bool {
        let mut slices = self.slices.iter();
        slices.any(|slice| matches!(slice, Slice::Percent(..)))
    }

    /// The parts of a recording with samples from `first` to `last`.
    pub fn ranges(&self, (first, last): (u64, u64)) -> Vec<RangeInclusive<u64>> {
        let at = |percent: f64| {
            let length = last.saturating_sub(first) as f64;
            first.saturating_add((length * percent / 100.0) as u64)
        };
        let range = |slice: &Slice| match *slice {
            Slice::Times(from, to) => from..=to,
            // Where one part ends and the next begins, a sample is in one of them.
            Slice::Percent(from, 100.0) => at(from)..=last,
            Slice::Percent(from, to) => at(from)..=at(to).saturating_sub(1),
        };
        self.slices.iter().map(range).collect()
    }
}

fn times(part: &str) -> Option<Slice> {
    let (from, to) = part.split_once(',')?;
    let time = |text: &str, otherwise: u64| match text {
        "" => Some(otherwise),
        text => nanoseconds(text),
    };
    let (from, to) = (time(from, 0)?, time(to, u64::MAX)?);
    (from <= to).then_some(Slice::Times(from, to))
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

    fn ranges(text: &str) -> Vec<RangeInclusive<u64>> {
        TimeSlices::parse(text).unwrap().ranges((1000, 2000))
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
        ] {
            assert!(TimeSlices::parse(text).is_err(), "{text}");
        }
    }
}
