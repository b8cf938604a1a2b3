//! Numbers and names in few columns.

use std::time::Duration;

/// A name in at most `columns` columns: what does not fit is left out in the middle, because both
/// ends tell most, the package in front and the function behind.
pub(crate) fn shorten(name: &str, columns: usize) -> String {
    let len = name.chars().count();
    if len <= columns {
        return name.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let front = kept * 2 / 5;
    let start: String = name.chars().take(front).collect();
    let end: String = name.chars().skip(len - (kept - front)).collect();
    match columns {
        0 => String::new(),
        _ => format!("{start}…{end}"),
    }
}

/// Shares as bars, one column each, on a scale on which `max` is full height. Something is never
/// drawn as nothing.
pub(crate) fn bars(shares: &[f32], max: f32) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    shares
        .iter()
        .map(|&share| BARS[height(share, max, 8)])
        .collect()
}

/// The beginning of a text that is too long.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// The same in half the columns, with a quarter of a character's height for a step.
pub(crate) fn narrow_bars(shares: &[f32], max: f32) -> String {
    const LEFT: [u32; 5] = [0, 0x40, 0x44, 0x46, 0x47];
    const RIGHT: [u32; 5] = [0, 0x80, 0xa0, 0xb0, 0xb8];
    let pair = |pair: &[f32]| {
        let left = LEFT[height(pair[0], max, 4)];
        let right = pair.get(1).map_or(0, |&share| RIGHT[height(share, max, 4)]);
        match left | right {
            0 => ' ',
            dots => char::from_u32(0x2800 + dots).unwrap_or(' '),
        }
    };
    shares.chunks(2).map(pair).collect()
}

fn height(share: f32, max: f32, steps: usize) -> usize {
    if share <= 0.0 || max <= 0.0 {
        return 0;
    }
    let height = (share / max * steps as f32).round() as usize;
    height.clamp(1, steps)
}

/// Bytes in a unit that suits them: `18 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A duration without needless digits: `230 ms`, `1.5 s`, `10 s`, `3 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 9.95 && (seconds - seconds.round()).abs() >= 0.05 {
        format!("{seconds:.1} s")
    } else if seconds < 119.5 {
        format!("{seconds:.0} s")
    } else if seconds < 7170.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// A number with thousands separated.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(
            shorten("alpha::beta::gamma::run", 23),
            "alpha::beta::gamma::run"
        );
        assert_eq!(shorten("alpha::beta::gamma::run", 11), "alph…a::run");
        assert_eq!(shorten("grüße", 3), "…ße");
        assert_eq!(shorten("ab", 0), "");
    }

    #[test]
    fn bars_are_to_scale_and_show_the_smallest_share() {
        assert_eq!(bars(&[0.0, 0.001, 0.5, 1.0], 1.0), " ▁▄█");
        assert_eq!(bars(&[0.0], 0.0), " ");
        assert_eq!(narrow_bars(&[0.0, 0.0, 1.0, 0.25, 0.01], 1.0), " ⣇⡀");
    }

    #[test]
    fn a_duration_has_the_unit_that_suits_it() {
        let of = |millis| duration(Duration::from_millis(millis));
        assert_eq!(
            [230, 1500, 10_000, 75_000, 180_000, 9_000_000].map(of),
            ["230 ms", "1.5 s", "10 s", "75 s", "3 min", "2.5 h"]
        );
    }
}
