//! Durations and sizes as people type them, and numbers as they read them.

use std::time::Duration;

pub use prof_report::thousands;

/// Reads `10s`, `500ms`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let good = || format!("`{text}` is no duration; try `10s`, `500ms` or `2m`");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| good())?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(good()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| good())
}

/// A length of time in the one unit that tells enough: `25 s`, `40 min`, `3 h`, `12 days`.
pub fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds, seconds / 60, seconds / 3600) {
        (..120, ..) => format!("{seconds} s"),
        (_, minutes @ ..120, _) => format!("{minutes} min"),
        (.., hours @ ..48) => format!("{hours} h"),
        (.., hours) => format!("{} days", hours / 24),
    }
}

/// Reads an interval that is not empty.
pub fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("`{text}` is no interval; try `100ms`")),
        interval => Ok(interval),
    }
}

/// Reads the time between two pictures: what is counted is cut into seconds.
pub fn refresh(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        delay if delay < Duration::from_secs(1) => Err(format!(
            "`{text}` is too short, because samples are counted by the second; try `1s`"
        )),
        delay => Ok(delay),
    }
}

/// How much time a picture looks back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// So much.
    Last(Duration),
    /// All of it.
    All,
}

/// Reads `10s`, `1m`, `all`.
pub fn window(text: &str) -> Result<Window, String> {
    if text == "all" {
        return Ok(Window::All);
    }
    refresh(text).map(Window::Last)
}

/// Reads `8M`, `512KiB`, `64k`; a bare number is pages, as perf's `-m` has it.
pub fn ring_size(text: &str) -> Result<usize, String> {
    let good = || format!("`{text}` is no size; try `8M`, `512K`, or a number of pages");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| good())?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" => prof_sampler::page_size(),
        "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(good()),
    };
    number
        .checked_mul(unit)
        .filter(|&size| size > 0 && size <= 1 << 31)
        .ok_or_else(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_seconds() {
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "10x", "-1", "1e9999", "inf"] {
            assert!(duration(bad).unwrap_err().contains("try"), "{bad}");
        }
    }

    #[test]
    fn a_length_of_time_has_one_unit() {
        let roughly = |seconds| super::roughly(Duration::from_secs(seconds));
        assert_eq!(roughly(119), "119 s");
        assert_eq!(roughly(25 * 60 + 59), "25 min");
        assert_eq!(roughly(3 * 3600), "3 h");
        assert_eq!(roughly(50 * 3600), "2 days");
    }

    #[test]
    fn a_window_has_seconds_or_is_everything() {
        assert_eq!(window("all"), Ok(Window::All));
        assert_eq!(window("60"), Ok(Window::Last(Duration::from_secs(60))));
        assert!(window("500ms").unwrap_err().contains("try `1s`"));
        assert!(window("ever").unwrap_err().contains("try"));
    }

    #[test]
    fn a_ring_size_has_a_unit_or_is_pages() {
        assert_eq!(ring_size("8M"), Ok(8 << 20));
        assert_eq!(ring_size("512KiB"), Ok(512 << 10));
        assert_eq!(ring_size("2"), Ok(2 * prof_sampler::page_size()));
        for bad in ["", "0", "8X", "99999999999G"] {
            assert!(ring_size(bad).is_err(), "{bad}");
        }
    }
}
