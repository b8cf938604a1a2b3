//! Text of others as people may see it: files, targets and the kernel name things as they like, and a terminal
//! obeys what it is sent.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character shows as itself and does nothing else: it is no control character, which could move a
/// terminal's cursor or end a line, does not turn the direction of the text around it, as in
/// `gpj.exe` that reads `exe.jpg`, and may stand in any XML.
pub fn is_printable(letter: char) -> bool {
    let is_hidden = matches!(
        letter,
        '\u{61c}' // marks the direction of Arabic letters
            | '\u{200e}'
            | '\u{200f}' // of others
            | '\u{2028}'
            | '\u{2029}' // end lines and paragraphs
            | '\u{202a}'..='\u{202e}' // turn the direction
            | '\u{2066}'..='\u{2069}' // turn it for a part
            | '\u{feff}' // has no width
            | '\u{fffe}'
            | '\u{ffff}' // are no characters
    );
    !is_hidden && !letter.is_control()
}

/// A text of others in one line, with what is not [`is_printable`] as Rust writes it: `\x1b`, `\n`, `\u{202e}`.
/// All other text, in any language, stays as it is.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_plain = match text.is_ascii() {
        true => !text.bytes().any(|byte| byte.is_ascii_control()),
        false => text.chars().all(is_printable),
    };
    if is_plain {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        push_printable(&mut shown, letter);
    }
    Cow::Owned(shown)
}

/// The same of bytes; those that are no UTF-8 are written as `\xe9`.
pub fn printable_bytes(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return printable(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        shown.push_str(&printable(chunk.valid()));
        push_bytes(&mut shown, chunk.invalid());
    }
    Cow::Owned(shown)
}

/// Appends a character as [`printable`] writes it.
pub fn push_printable(text: &mut String, letter: char) {
    match letter {
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        letter if is_printable(letter) => text.push(letter),
        letter if letter.is_ascii() => push_bytes(text, &[letter as u8]),
        letter => text.extend(letter.escape_unicode()),
    }
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}"); // into memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_carry_an_escape_sequence_or_a_second_line() {
        assert_eq!(
            printable("a\x1b[2J\nb\t\r\0\x7f"),
            r"a\x1b[2J\nb\t\r\x00\x7f"
        );
        assert_eq!(printable("a\u{9b}2Jb"), r"a\u{9b}2Jb");
    }

    #[test]
    fn a_name_cannot_turn_the_text_around_it() {
        let turned =
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{2028}\u{2029}";
        for letter in turned.chars() {
            let shown = printable(turned);
            assert!(!shown.contains(letter), "{shown}");
            assert!(shown.contains(&*letter.escape_unicode().to_string()));
        }
        assert_eq!(printable("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(printable("\u{fffe}\u{ffff}"), r"\u{fffe}\u{ffff}");
    }

    #[test]
    fn names_in_any_language_stay_as_they_are() {
        for name in [
            "plain::name<T>",
            r"C:\new",
            "größe",
            "函数",
            "👩\u{200d}🚀",
            "ש",
            "\u{fffd}",
        ] {
            assert!(matches!(printable(name), Cow::Borrowed(it) if it == name));
            assert!(matches!(printable_bytes(name.as_bytes()), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_seen() {
        assert_eq!(
            printable_bytes(b"caf\xe9/\x1b\xff\xc3\xa4"),
            "caf\\xe9/\\x1b\\xff\u{e4}"
        );
    }
}
