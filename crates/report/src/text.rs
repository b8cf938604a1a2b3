use std::borrow::Cow;

/// A name from outside without control characters, which could move a terminal's cursor or break
/// a line format. Each becomes `?`.
pub(crate) fn printable(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_control) {
        Cow::Owned(name.replace(char::is_control, "?"))
    } else {
        Cow::Borrowed(name)
    }
}

/// The last component of a path; the whole path if that is empty.
pub(crate) fn base_name(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}

/// How many columns a terminal needs for a name: one per character.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_carry_an_escape_sequence() {
        assert_eq!(printable("a\x1b[2J\nb"), "a?[2J?b");
        assert!(matches!(printable("plain::name"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_base_name_of_a_folder_is_its_path() {
        assert_eq!(base_name("/usr/lib/libc.so.6"), "libc.so.6");
        assert_eq!(base_name("[vdso]"), "[vdso]");
        assert_eq!(base_name("a/"), "a/");
    }
}
