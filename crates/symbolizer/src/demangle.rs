use std::borrow::Cow;
use std::fmt;

/// A mangled name can refer back to parts of itself, so that a short one may stand for gigabytes.
const LONGEST_NAME: usize = 64 << 10;

/// The name as reports print it: C++ without parameters and return type, Rust without hash, the
/// suffixes of compiler-made copies (`.isra.0`, `.llvm.123`) left out. Other names as they are.
pub(crate) fn demangle(raw: &str) -> Cow<'_, str> {
    // PLT stubs (`@plt`) and versioned names (`@@GLIBC_2.17`) keep their tail.
    if raw.len() > LONGEST_NAME {
        return Cow::Borrowed(raw);
    }
    let (mangled, tail) = raw.split_at(raw.find('@').unwrap_or(raw.len()));
    let name = match mangled.as_bytes() {
        [b'_', b'Z', ..] => rust_legacy(mangled).or_else(|| cpp(mangled)),
        [b'_', b'R', ..] => rust_v0(mangled),
        [b'c', b'a', b'm', b'l', ..] => crate::ocaml_names::demangle(mangled),
        _ => None,
    };
    match name {
        Some(name) => Cow::Owned(name + tail),
        None => Cow::Borrowed(raw),
    }
}

fn rust_v0(mangled: &str) -> Option<String> {
    let own = before_dot(mangled);
    let symbol = rustc_demangle::try_demangle(own).ok()?;
    Some(format!("{symbol:#}"))
}

/// Looks like C++, but its last part is a hash: `17h`, 16 digits, `E`.
fn rust_legacy(mangled: &str) -> Option<String> {
    let end = mangled.rfind("17h")? + 20;
    let (own, suffix) = mangled.split_at_checked(end)?;
    if !suffix.is_empty() && !suffix.starts_with('.') {
        return None;
    }
    let symbol = rustc_demangle::try_demangle(own).ok()?;
    Some(format!("{symbol:#}"))
}

fn cpp(mangled: &str) -> Option<String> {
    let own = before_dot(mangled);
    match thunk(own) {
        Some((kind, target)) => Some(format!(
            "{kind} to {}",
            cpp_function(&format!("_Z{target}"))?
        )),
        None => cpp_function(own),
    }
}

fn cpp_function(mangled: &str) -> Option<String> {
    whole_cpp_name(mangled).or_else(|| cpp_name_alone(mangled))
}

/// The library refuses some types that only functions are declared with: `std::sin<int>` returns
/// `enable_if<is_integer<T>::value>::type`. Neither return type nor parameters are printed, so the name
/// is told from as much of them as the library reads.
fn cpp_name_alone(mangled: &str) -> Option<String> {
    const LONGEST: usize = 2000; // each byte costs an attempt
    if mangled.len() > LONGEST || !mangled.is_ascii() || !mangled.contains("sr") {
        return None; // `sr` begins the names that it refuses
    }
    let ends = (3..mangled.len()).rev();
    let mut names = ends.filter_map(|end| {
        let (start, rest) = mangled.split_at(end);
        // What follows is an argument of a template, whose name this is not.
        if rest.starts_with('I') {
            return None;
        }
        let name = whole_cpp_name(&format!("{start}v"))?;
        // In the middle of an identifier the type would belong to that.
        (whole_cpp_name(&format!("{start}i"))? == name).then_some(name)
    });
    names.next()
}

fn whole_cpp_name(mangled: &str) -> Option<String> {
    let symbol = cpp_demangle::Symbol::new(mangled.as_bytes()).ok()?;
    let options = cpp_demangle::DemangleOptions::new()
        .no_params()
        .no_return_type();
    let mut name = Capped(String::new());
    symbol.structured_demangle(&mut name, &options).ok()?;
    Some(as_binutils_prints(name.0))
}

/// The library and GNU binutils differ in details: numbers as template arguments
/// (`(unsigned int)8`, `8u`), empty parameter packs (`<int, >`), and whether a member function of a
/// local class keeps its qualifiers.
fn as_binutils_prints(mut name: String) -> String {
    const SUFFIXES: [(&str, &str); 5] = [
        ("(unsigned int)", "u"),
        ("(unsigned long)", "ul"),
        ("(long)", "l"),
        ("(unsigned long long)", "ull"),
        ("(long long)", "ll"),
    ];
    for (cast, suffix) in SUFFIXES {
        if name.contains(cast) {
            name = numbers_with_suffix(&name, cast, suffix);
        }
    }
    if let Some(table) = name
        .strip_prefix("{vtable(")
        .and_then(|it| it.strip_suffix(")}"))
    {
        return format!("vtable for {table}");
    }
    if name.contains(", >") {
        name = name.replace(", >", ">");
    }
    let last = name.rsplit("::").next().unwrap_or(&name);
    if last.starts_with("operator ") {
        return name; // what follows is the type that it converts to
    }
    let suffixes = [" const", " volatile", " &&", " &"];
    while let Some(short) = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)) {
        name.truncate(short.len());
    }
    name
}

/// Turns `(unsigned int)8` into `8u`; the same words before anything but a number are a parameter.
fn numbers_with_suffix(name: &str, cast: &str, suffix: &str) -> String {
    let mut parts = name.split(cast);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.strip_prefix('-').unwrap_or(part);
        let digits = digits.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits + usize::from(part.starts_with('-')));
        if digits == 0 {
            out += cast;
            out += part;
        } else {
            out += number;
            out += suffix;
            out += rest;
        }
    }
    out
}

struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST_NAME {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The kind of an adjusting thunk and the mangled function behind it: `_ZThn16_N1A1fEv`,
/// `_ZTv0_n24_N1A1fEv`.
fn thunk(mangled: &str) -> Option<(&'static str, &str)> {
    fn skip_offset(name: &str) -> Option<&str> {
        let digits = name.strip_prefix('n').unwrap_or(name);
        let (number, rest) = digits.split_once('_')?;
        (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(rest)
    }
    if let Some(rest) = mangled.strip_prefix("_ZTh") {
        return Some(("non-virtual thunk", skip_offset(rest)?));
    }
    let rest = mangled.strip_prefix("_ZTv")?;
    Some(("virtual thunk", skip_offset(skip_offset(rest)?)?))
}

/// Neither C++ nor Rust v0 names have a dot of their own: what follows is the suffix of a copy.
fn before_dot(mangled: &str) -> &str {
    mangled.split_once('.').map_or(mangled, |(own, _)| own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpp_names_lose_parameters_return_type_and_clone_suffix() {
        assert_eq!(demangle("_ZN1A1fIiEEvT_"), "A::f<int>");
        assert_eq!(demangle("_ZN5space3fooEibc.isra.0.cold"), "space::foo");
        assert_eq!(
            demangle("_ZNSt6vectorIiSaIiEE9push_backEOi"),
            "std::vector<int, std::allocator<int> >::push_back"
        );
        assert_eq!(demangle("_ZNK1BcvbEv"), "B::operator bool");
        assert_eq!(
            demangle("_ZZ4mainENKUliE_clEi"),
            "main::{lambda(int)#1}::operator()"
        );
        assert_eq!(demangle("_ZN1AILj8ELln3EJEE1fEv"), "A<8u, -3l>::f");
        assert_eq!(demangle("_ZNKR1A1fEv"), "A::f");
        assert_eq!(demangle("_ZTVN5space1AE"), "vtable for space::A");
        assert_eq!(demangle("_ZNK1AcvKiEv"), "A::operator int const");
        assert_eq!(demangle("_ZThn16_N1A1fEi"), "non-virtual thunk to A::f");
        assert_eq!(demangle("_ZTv0_n24_N1A1fEv"), "virtual thunk to A::f");
    }

    #[test]
    fn a_return_type_that_cannot_be_read_does_not_hide_the_name() {
        let by_trait = "N9__gnu_cxx11__enable_ifIXsrSt12__is_integerIT_E7__valueEdE6__typeES3_";
        assert_eq!(demangle(&format!("_ZSt3sinIiE{by_trait}")), "std::sin<int>");
        assert_eq!(
            demangle(&format!("_ZSt3sinIiE{by_trait}.cold")),
            "std::sin<int>"
        );
        let of_class =
            "_ZN2wi3absI1AEENS_13binary_traitsIT_S2_XsrNS_10int_traitsIS2_EE1pEE1rERKS2_";
        assert_eq!(demangle(of_class), "wi::abs<A>");
        // Here the name itself cannot be read.
        let unreadable = "_Z3sumIXsrSt12__is_integerIiE7__valueEEvv";
        assert_eq!(demangle(unreadable), unreadable);
    }

    #[test]
    fn rust_names_lose_their_hash_and_llvm_suffix() {
        let legacy = "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE";
        assert_eq!(demangle(legacy), "core::fmt::Formatter::pad");
        assert_eq!(
            demangle(&format!("{legacy}.llvm.123456")),
            "core::fmt::Formatter::pad"
        );
        assert_eq!(
            demangle(&format!("{legacy}.cold")),
            "core::fmt::Formatter::pad"
        );
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(demangle("_RNvC6_123foo3bar.cold"), "123foo::bar");
    }

    #[test]
    fn names_of_stubs_and_versions_keep_their_tail() {
        assert_eq!(demangle("_ZN1A1fIiEEvT_@plt"), "A::f<int>@plt");
        assert_eq!(
            demangle("clock_gettime@@GLIBC_2.17"),
            "clock_gettime@@GLIBC_2.17"
        );
    }

    #[test]
    fn names_that_are_not_mangled_stay_as_they_are() {
        for name in [
            "main",
            "_Zork",
            "_ZN",
            "_R",
            "_",
            "",
            "foo.isra.0",
            "runtime.mallocgc",
        ] {
            assert_eq!(demangle(name), name);
        }
    }
}
