use std::sync::Arc;

use prof_model::{
    BuildId, ChainEnd, Dso, DsoAddr, DsoKind, FileId, InlineFrame, JitLoad, Pid, Reason,
    Resolution, SourceLine, Symbol, SymbolSource,
};

use super::StoredNames;

fn file(inode: u64, generation: u64, build_id: Option<u8>) -> Dso {
    Dso {
        path: b"/bin/a".to_vec(),
        kind: DsoKind::File,
        file: Some(FileId {
            major: 8,
            minor: 1,
            inode,
            generation,
        }),
        build_id: build_id.map(|byte| BuildId::new(&[byte; 20]).unwrap()),
    }
}

fn line(file: &str, line: u32) -> Option<SourceLine> {
    Some(SourceLine {
        file: Arc::from(file),
        line,
    })
}

fn named(name: &str, source: SymbolSource) -> Resolution {
    Resolution::Named {
        symbol: Symbol {
            name: Arc::from(name),
            raw: Arc::from(format!("_Z{name}")),
            start: 0x1000,
            size: 0x20,
            source,
        },
        inlined: vec![InlineFrame {
            name: Arc::from("inner"),
            location: line("inner.c", 7),
        }],
        location: line("outer.c", 9),
    }
}

fn example() -> StoredNames {
    let mut names = StoredNames {
        callers_are_call_sites: true,
        ..StoredNames::default()
    };
    let answers = [
        named("main", SymbolSource::Dwarf),
        Resolution::Unresolved(Reason::NoSymbol),
        named("main", SymbolSource::Dwarf),
    ];
    let addresses = [0x1008, 0x2000, 0x1000].map(DsoAddr);
    names.add(&file(5, 1, Some(1)), &addresses, &answers);
    let rebuilt = [named("newer", SymbolSource::Symtab)];
    names.add(&file(6, 1, None), &[DsoAddr(0x1008)], &rebuilt);
    let jit = Dso {
        path: b"/tmp/perf-9.map".to_vec(),
        kind: DsoKind::Jit(Pid(9)),
        file: None,
        build_id: None,
    };
    let jitted = [named("jitted", SymbolSource::PerfMap)];
    names.add(&jit, &[DsoAddr(u64::MAX)], &jitted);
    for end in [ChainEnd::Root, ChainEnd::NoRule, ChainEnd::NoRule] {
        names.ends.push(end);
    }
    names.counters.samples = 3;
    names.counters.used_event = "cpu-clock".into();
    names.counters.notes = vec!["no PMU".into()];
    names.span = Some((300, u64::MAX));
    names
}

#[test]
fn all_that_is_stored_is_read_back() {
    let names = example();
    assert_eq!(
        StoredNames::from_trailer(&names.to_trailer()).unwrap(),
        names
    );
    assert_eq!(names.len(), 5);
}

#[test]
fn an_address_is_found_in_the_file_that_was_mapped_and_in_no_other() {
    let names = example();
    let name = |dso: &Dso, addr| match names.resolve(dso, DsoAddr(addr)) {
        Some(Resolution::Named { symbol, .. }) => symbol.name.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(name(&file(5, 1, Some(1)), 0x1008), "main");
    assert_eq!(name(&file(5, 0, None), 0x1008), "main"); // generation not known
    assert_eq!(name(&file(6, 1, Some(3)), 0x1008), "newer"); // build-id learnt by the reader
    assert_eq!(name(&file(5, 2, None), 0x1008), "None");
    assert_eq!(name(&file(5, 1, Some(2)), 0x1008), "None");
    assert_eq!(name(&file(5, 1, Some(1)), 0x1009), "None");
    let reason = "Some(Unresolved(NoSymbol))";
    assert_eq!(name(&file(5, 1, Some(1)), 0x2000), reason);
}

#[test]
fn a_payload_that_is_cut_or_of_another_version_is_an_error() {
    let mut trailer = example().to_trailer();
    let whole = trailer.payload.clone();
    let mut readable = Vec::new();
    for cut in 0..whole.len() {
        trailer.payload.truncate(cut);
        readable.extend(StoredNames::from_trailer(&trailer).ok());
        trailer.payload.clone_from(&whole);
    }
    // One cut leaves what a recorder wrote that did not know of the span.
    let without_span = StoredNames {
        span: None,
        ..example()
    };
    assert_eq!(readable, [without_span]);
    trailer.version += 1;
    assert_eq!(
        StoredNames::from_trailer(&trailer).unwrap_err().to_string(),
        "the stored names at offset 0x0: they have version 4, this program reads version 3"
    );
}

#[test]
fn what_a_jitdump_says_is_kept_apart_from_names() {
    let load = |time| JitLoad {
        time,
        start: 0x7f00_0000_0000,
        size: 0x40,
        offset: time * 100,
    };
    let dump = file(7, 0, None);
    let mut names = example();
    names.add_loads(&dump, vec![load(1), load(2)]);
    let read = StoredNames::from_trailer(&names.to_trailer()).unwrap();
    assert_eq!(read, names);
    assert_eq!(read.loads(&dump), Some(&[load(1), load(2)][..]));
    assert_eq!(read.loads(&file(5, 1, Some(1))), None);
    let only = read.only_loads();
    assert_eq!(only.loads(&dump), read.loads(&dump));
    assert!(only.is_empty());
}
