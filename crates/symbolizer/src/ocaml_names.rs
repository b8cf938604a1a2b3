//! Names of functions as OCaml's native compiler makes them up to version 5.0: `camlStdlib__List__map_123`.

/// The name as in the source: `Stdlib.List.map`. Functions without a name keep their number, which is all that
/// tells them apart: `Main.fun_1206`. `None` if it is no such name.
pub(crate) fn demangle(mangled: &str) -> Option<String> {
    let path = mangled.strip_prefix("caml")?;
    let (path, number) = path.rsplit_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !path.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let (_, function) = path.split_once("__").filter(|(_, name)| !name.is_empty())?;
    let mut name = with_letters(path)?.replace("__", ".");
    if function.rsplit("__").next() == Some("fun") {
        name = format!("{name}_{number}");
    }
    Some(name)
}

/// With what stands in hexadecimal behind a `$`: operators and apostrophes. `None` if anything is not of a
/// name.
fn with_letters(path: &str) -> Option<String> {
    let mut pieces = path.split('$');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (hex, rest) = piece.split_at_checked(2)?;
        let letter = u8::from_str_radix(hex, 16).ok()?;
        name.push(char::from(letter));
        name.push_str(rest);
    }
    name.bytes()
        .all(|byte| byte.is_ascii_graphic())
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_parted_by_dots_and_numbers_left_out() {
        for (mangled, name) in [
            ("camlStdlib__List__map_123", "Stdlib.List.map"),
            ("camlStdlib__$40_198", "Stdlib.@"),
            ("camlMain__go$27_270", "Main.go'"),
            ("camlMain__read_line_271", "Main.read_line"),
            ("camlMain___unused_12", "Main._unused"),
            ("camlMain__fun_1206", "Main.fun_1206"),
            ("camlDune__exe__Main__fun_9", "Dune.exe.Main.fun_9"),
        ] {
            assert_eq!(demangle(mangled).as_deref(), Some(name), "{mangled}");
        }
    }

    #[test]
    fn other_names_are_not_touched() {
        for name in [
            "caml_alloc_small_dispatch",
            "caml_call_gc",
            "camlMain__entry",
            "camlMain__code_begin",
            "camlMain_12",
            "camlMain___12",
            "camlMain__x_",
            "camlMain__a$4_1",
            "camlMain__a$zz_1",
            "camlMain__a$00_1",
            "camlMain__\u{e4}$4\u{e4}_1",
            "camlcase__map_1",
            "Camel__map_1",
            "",
        ] {
            assert_eq!(demangle(name), None, "{name}");
        }
    }
}
