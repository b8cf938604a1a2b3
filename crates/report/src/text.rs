use std::fmt::Write as _;

use crate::digits::push_decimal;

/// The last component of a path; the whole path if that is empty.
pub(crate) fn base_name(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}

/// The first letters of a name as a number, which compares as they do: nearly always it decides.
pub(crate) fn first_letters(name: &str) -> u128 {
    let mut letters = [0; 16];
    let len = name.len().min(letters.len());
    letters[..len].copy_from_slice(&name.as_bytes()[..len]);
    u128::from_be_bytes(letters)
}

/// How many columns a terminal needs for a name: one per character.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// The beginning of a name, in at most `columns` columns: a library's version comes after it.
pub(crate) fn cut_right(name: &str, columns: usize) -> String {
    if name.chars().count() <= columns {
        return name.to_owned();
    }
    let kept: String = name.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The end of a name, in at most `columns` columns: a function comes after its packages.
pub(crate) fn cut_left(name: &str, columns: usize) -> String {
    let len = name.chars().count();
    if len <= columns {
        return name.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let end: String = name.chars().skip(len - kept).collect();
    // begin with a whole component if that does not cost too much of the name
    match end.find("::").filter(|&at| at + 2 < end.len() / 2) {
        Some(at) => format!("…{}", &end[at..]),
        None => format!("…{end}"),
    }
}

/// Appends so many blanks.
pub(crate) fn push_blanks(text: &mut String, mut count: usize) {
    const BLANKS: &str = "                                                                ";
    while count > BLANKS.len() {
        text.push_str(BLANKS);
        count -= BLANKS.len();
    }
    text.push_str(&BLANKS[..count]);
}

/// The first so many columns of a text.
pub(crate) fn cut(text: &str, width: usize) -> &str {
    let end = match text.is_ascii() {
        true => width,
        false => text.char_indices().nth(width).map_or(text.len(), |it| it.0),
    };
    text.get(..end).unwrap_or(text)
}

/// Appends a text with blanks behind it, up to a width: `format!` panics at widths of 65,536 columns,
/// which names have.
pub(crate) fn push_left(text: &mut String, label: &str, to: usize) {
    text.push_str(label);
    push_blanks(text, to.saturating_sub(width(label)));
}

/// Appends a text with blanks before it, up to a width.
pub(crate) fn push_right(text: &mut String, label: &str, to: usize) {
    push_blanks(text, to.saturating_sub(width(label)));
    text.push_str(label);
}

/// A text with blanks behind it, up to a width.
pub(crate) fn left(label: &str, to: usize) -> String {
    let mut text = String::new();
    push_left(&mut text, label, to);
    text
}

/// A text with blanks before it, up to a width.
pub(crate) fn right(label: &str, to: usize) -> String {
    let mut text = String::new();
    push_right(&mut text, label, to);
    text
}

/// Appends a share in percent with two decimals, as `{percent:width$.2}%`.
pub(crate) fn push_percent(text: &mut String, percent: f64, width: usize) {
    let hundredths = percent * 100.0;
    let down = hundredths as u32;
    let rest = hundredths - f64::from(down);
    // Where the product's own error could decide the last digit, the long way is taken.
    let is_certain = (0.0..1e9).contains(&hundredths) && (rest - 0.5).abs() > 1e-5;
    if !is_certain {
        push_right(text, &format!("{percent:.2}"), width);
        text.push('%');
        return;
    }
    let number = down + u32::from(rest > 0.5);
    let mut digits = [b' '; 24];
    let mut at = digits.len() - "0.00%".len();
    let (mut whole, cents) = (number / 100, (number % 100) as u8);
    digits[at..].copy_from_slice(&[b'0', b'.', b'0' + cents / 10, b'0' + cents % 10, b'%']);
    digits[at] += (whole % 10) as u8;
    while whole >= 10 {
        whole /= 10;
        at -= 1;
        digits[at] = b'0' + (whole % 10) as u8;
    }
    let wide = width + "%".len();
    push_blanks(text, wide.saturating_sub(digits.len()));
    let start = at.min(digits.len() - wide.min(digits.len()));
    text.push_str(std::str::from_utf8(&digits[start..]).unwrap_or_default());
}

/// Appends a share in percent with four decimals, as `{percent:.4}%`.
pub(crate) fn push_fine_percent(text: &mut String, percent: f64) {
    let parts = percent * 10_000.0;
    let down = parts as u64;
    let rest = parts - down as f64;
    let is_certain = (0.0..1e9).contains(&parts) && (rest - 0.5).abs() > 1e-5; // as above
    if !is_certain {
        let _ = write!(text, "{percent:.4}%");
        return;
    }
    let number = down + u64::from(rest > 0.5);
    push_decimal(text, number / 10_000, 0, b' ');
    text.push('.');
    push_decimal(text, number % 10_000, 4, b'0');
    text.push('%');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_wide_as_it_is_asked_to_be() {
        assert_eq!(left("ä", 3) + "|", "ä  |");
        assert_eq!(right("ä", 3), "  ä");
        assert_eq!((&*left("long", 2), &*right("long", 2)), ("long", "long"));
        assert_eq!(
            (cut("äöü", 2), cut("äöü", 3), cut("äöü", 4)),
            ("äö", "äöü", "äöü")
        );
        assert_eq!((cut("abc", 2), cut("abc", 4)), ("ab", "abc"));
        assert_eq!(
            (left("", 70_000).len(), right("", 70_000).len()),
            (70_000, 70_000)
        );
    }

    #[test]
    fn a_share_is_written_as_the_standard_library_writes_it() {
        let shares = (0..20_000).map(|n| f64::from(n) * 100.0 / 7_919.0);
        let special = [
            0.0,
            0.005,
            0.125,
            1.005,
            99.995,
            100.0,
            1e7,
            1e12,
            f64::NAN,
            -1.0,
        ];
        for share in shares.chain(special) {
            for width in [0, 6, 9, 40] {
                let mut text = String::new();
                push_percent(&mut text, share, width);
                assert_eq!(text, format!("{share:width$.2}%"));
            }
            let mut text = String::new();
            push_fine_percent(&mut text, share);
            assert_eq!(text, format!("{share:.4}%"));
        }
    }

    #[test]
    fn the_base_name_of_a_folder_is_its_path() {
        assert_eq!(base_name("/usr/lib/libc.so.6"), "libc.so.6");
        assert_eq!(base_name("[vdso]"), "[vdso]");
        assert_eq!(base_name("a/"), "a/");
    }

    #[test]
    fn a_long_module_loses_its_version() {
        assert_eq!(cut_right("libc.so.6", 9), "libc.so.6");
        assert_eq!(
            cut_right("libLLVM.so.22.1-rust-1.95.0", 16),
            "libLLVM.so.22.1…"
        );
        assert_eq!(cut_right("grüße", 4), "grü…");
    }

    #[test]
    fn a_long_name_loses_its_packages_and_keeps_its_function() {
        assert_eq!(cut_left("short", 5), "short");
        assert_eq!(cut_left("alpha::beta::gamma::run", 14), "…::gamma::run");
        assert_eq!(cut_left("abcdefgh", 4), "…fgh");
        assert_eq!(cut_left("grüße", 3), "…ße");
    }
}
