//! What addr2line, binutils' or LLVM's, says about every address that a recording hit, beside what we say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A function's name, source file without folders, and line.
type Place = (String, String, u32);

/// Where we and addr2line differ, over the programs and libraries in a folder.
///
/// In libc addr2line takes headers' lines for those of the source file, and names some functions by
/// labels that no caller knows.
pub(crate) fn faults(recording: &Path, folder: &Path, addr2line: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut compared = 0;
    let modules = ours(recording).into_iter();
    for (module, addresses) in modules.filter(|(module, _)| Path::new(module).starts_with(folder)) {
        let theirs = theirs(addr2line, &module, &addresses);
        let aliases = aliases(&module);
        for ((offset, ours), (address, theirs)) in addresses.iter().zip(&theirs) {
            if theirs.iter().all(|(_, file, _)| file == "??") {
                continue; // it has no debug info for the address: then it guesses
            }
            compared += 1;
            if !agree(ours, theirs, &aliases) {
                faults.push(format!(
                    "{module} {offset:#x} ({address:#x}): {ours:?}, addr2line says {theirs:?}"
                ));
            }
        }
    }
    if compared < 3 {
        faults.push(format!("only {compared} addresses with debug info"));
    }
    faults
}

/// The physical function, the last one, may have several names. The innermost one gets that name
/// from addr2line if its own is not mangled, although the language mangles.
fn agree(ours: &[Place], theirs: &[Place], aliases: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let (Some((own, inlined)), Some((other, their_inlined))) =
        (ours.split_last(), theirs.split_last())
    else {
        return false;
    };
    // Without debug info the symbol table may tell a file, for which addr2line has no line: `crtstuff.c:?`.
    let is_unknown = |a: &Place, b: &Place| a.1 == "??" && (a.2, b.2) == (0, 0);
    let same_line = |a: &Place, b: &Place| (&a.1, a.2) == (&b.1, b.2) || is_unknown(a, b);
    let names = aliases.get(bare(&own.0));
    let is_alias = names.is_some_and(|names| names.contains(bare(&other.0)));
    let same = |(index, (a, b)): (usize, (&Place, &Place))| {
        let is_mangled = a.0.starts_with("_Z") || a.0.starts_with("_R");
        let is_renamed = index == 0 && b.0 == other.0 && !is_mangled;
        same_line(a, b) && (a.0 == b.0 || is_renamed)
    };
    inlined.len() == their_inlined.len()
        && inlined.iter().zip(their_inlined).enumerate().all(same)
        && same_line(own, other)
        && (is_alias || bare(&own.0) == bare(&other.0))
}

/// Without the version and without the suffix of a copy that the compiler made.
fn bare(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.find('.') {
        Some(dot) if dot > 0 && !name.contains('/') && !name.starts_with("main.") => &name[..dot],
        _ => name,
    }
}

/// By module and offset in the file, the functions there, innermost first.
fn ours(recording: &Path) -> BTreeMap<String, BTreeMap<u64, Vec<Place>>> {
    let mut script = Command::new(env!("CARGO_BIN_EXE_prof"));
    script.args(["script", "--no-demangle", "-F", "ip,sym,dso,srcline", "-i"]);
    let output = script.arg(recording).output().unwrap();
    assert!(output.status.success(), "{script:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut modules: BTreeMap<String, BTreeMap<u64, Vec<Place>>> = BTreeMap::new();
    let mut places = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(frame) = line.strip_prefix('\t') else {
            continue;
        };
        let (address, rest) = frame.trim_start().split_once(' ').expect("a frame");
        let (name, module) = rest.rsplit_once(" (").expect("a frame with a module");
        let module = module.trim_end_matches(')');
        let place = lines.next_if(|line| line.starts_with("  "));
        let place = place.map_or("", str::trim);
        let (file, line) = match place.rsplit_once(':') {
            Some((file, line)) => (file, line.parse().unwrap_or(0)),
            None => ("??", 0),
        };
        places.push((name.to_owned(), file.to_owned(), line));
        if module != "inlined" {
            let places = std::mem::take(&mut places);
            let address = u64::from_str_radix(address, 16).expect("an address");
            if Path::new(module).is_file() {
                let module = modules.entry(module.to_owned()).or_default();
                module.insert(address, places);
            }
        }
    }
    modules
}

/// What addr2line says, with the address that it was asked for.
fn theirs(
    addr2line: &str,
    module: &str,
    offsets: &BTreeMap<u64, Vec<Place>>,
) -> Vec<(u64, Vec<Place>)> {
    let to_address = segments(module);
    let addresses: Vec<u64> = offsets.keys().map(|&offset| to_address(offset)).collect();
    let mut addr2line = Command::new(addr2line);
    addr2line.args(["-a", "-f", "-i", "-e", module]);
    let mut child = addr2line
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let asked: String = addresses.iter().map(|at| format!("{at:#x}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut all: Vec<(u64, Vec<Place>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(address) = line.strip_prefix("0x") {
            all.push((u64::from_str_radix(address, 16).unwrap(), Vec::new()));
            continue;
        }
        let place = lines.next().unwrap().split(" (disc").next().unwrap();
        let (file, number) = place.rsplit_once(':').unwrap();
        let file = file.rsplit('/').next().unwrap().to_owned();
        let place = (line.to_owned(), file, number.parse().unwrap_or(0));
        all.last_mut().unwrap().1.push(place);
    }
    assert_eq!(all.len(), addresses.len());
    all
}

/// From file offsets to addresses, by the segments that `readelf` lists.
fn segments(module: &str) -> impl Fn(u64) -> u64 {
    let listing = stdout(Command::new("readelf").args(["-lW", module]));
    let lines = listing.lines().filter_map(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let number = |word: &str| u64::from_str_radix(&word[2..], 16).unwrap();
        (words.first() == Some(&"LOAD")).then(|| {
            let is_code = words[6..].contains(&"E");
            (
                !is_code,
                number(words[1]),
                number(words[2]),
                number(words[4]),
            )
        })
    });
    let mut segments: Vec<_> = lines.collect();
    segments.sort_unstable();
    move |offset| {
        let mut segments = segments.iter();
        let found = segments.find(|(_, start, _, size)| (*start..start + size).contains(&offset));
        let (_, start, address, _) = found.expect("an offset that is loaded");
        offset - start + address
    }
}

/// For each symbol all names at its address.
fn aliases(module: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut listing = stdout(Command::new("nm").arg(module));
    listing += &stdout(Command::new("nm").args(["-D", module]));
    let mut by_address: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in listing.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        if let [address, _, name] = words[..] {
            let names = by_address.entry(address).or_default();
            names.insert(bare(name).to_owned());
        }
    }
    let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for names in by_address.into_values() {
        for name in &names {
            let all = aliases.entry(name.clone()).or_default();
            all.extend(names.iter().cloned());
        }
    }
    aliases
}

fn stdout(command: &mut Command) -> String {
    let output = command.stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
