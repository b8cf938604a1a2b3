//! Files of another kernel, and files whose programs were built anew: no name is better than a wrong
//! one.

use crate::lab::Lab;

/// Flips the first byte of a build-id wherever the file has it.
fn change_build_id(lab: &Lab, file: &str, module: &str) {
    let listed = lab.perf("buildid-list", file).ok().out;
    let line = listed.lines().find(|line| line.ends_with(module)).unwrap();
    let hex = line.split(' ').next().unwrap();
    let id: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let path = lab.place.file(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let mut at = 0;
    let mut changed = 0;
    while let Some(found) = bytes[at..].windows(id.len()).position(|it| it == id) {
        at += found;
        bytes[at] ^= 0xff;
        changed += 1;
    }
    assert!(changed > 0, "{module} in {file}");
    std::fs::write(path, bytes).unwrap();
}

const ROWS: &str = "report --stdio --no-children -g none -q --sort dso,sym -t ;";

/// The functions of a module.
fn functions(lab: &Lab, options: &str, file: &str, module: &str) -> Vec<String> {
    let out = lab.prof(&format!("{ROWS}{options}"), file).ok().out;
    let rows = out.lines().filter_map(|line| {
        let mut columns = line.split(';').skip(1);
        let (dso, symbol) = (columns.next()?, columns.next()?);
        (dso.trim() == module).then(|| symbol.trim().to_owned())
    });
    rows.collect()
}

/// Whether any has a name rather than an address.
fn has_names(functions: &[String]) -> bool {
    assert!(!functions.is_empty());
    functions.iter().any(|it| !it.contains("] 0x"))
}

const KERNEL: &str = "[kernel.kallsyms]";

#[test]
fn kernel_addresses_of_another_build_are_not_named_from_this_kernel() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.data", "-F 2999 -g"));
    let named = functions(&lab, "", "fp.data", KERNEL);
    if !has_names(&named) {
        println!("skipped: the kernel hides its symbols");
        return;
    }
    change_build_id(&lab, "fp.data", KERNEL);
    assert!(!has_names(&functions(&lab, "", "fp.data", KERNEL)));

    // What is given by hand is believed.
    let tables = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let tables = tables.replace(" exc_page_fault\n", " given_by_hand\n");
    std::fs::write(lab.place.file("tables"), tables).unwrap();
    let given = functions(&lab, " --kallsyms tables", "fp.data", KERNEL);
    let expected: Vec<_> = named
        .iter()
        .map(|it| it.replace("exc_page_fault", "given_by_hand"))
        .collect();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(given), sorted(expected));
}

#[test]
fn kernel_addresses_of_another_release_are_not_named_where_no_build_id_is_known() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.data", "-B -F 2999 -g"));
    if !has_names(&functions(&lab, "", "fp.data", KERNEL)) {
        println!("skipped: the kernel hides its symbols");
        return;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.trim().as_bytes();
    let path = lab.place.file("fp.data");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(release.len())
        .rposition(|it| it == release)
        .unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
    assert!(!has_names(&functions(&lab, "", "fp.data", KERNEL)));
}

#[test]
fn a_program_that_was_built_anew_gives_no_names_and_one_without_a_build_id_a_warning() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.data", "-F 2999 -g"));
    let sure = lab.prof(ROWS, "fp.data").ok();
    assert!(functions(&lab, "", "fp.data", "work").contains(&"[.] leaf".to_owned()));
    assert!(!sure.err.contains("work"), "{}", sure.err);
    change_build_id(&lab, "fp.data", "/work");
    assert!(!has_names(&functions(&lab, "", "fp.data", "work")));

    assert!(lab.record("unsure.data", "-B -F 2999 -g"));
    assert!(functions(&lab, "", "unsure.data", "work").contains(&"[.] leaf".to_owned()));
    let unsure = lab.prof(ROWS, "unsure.data").ok();
    assert!(unsure.err.contains("no build-id is recorded for") && unsure.err.contains("/work"));
}
