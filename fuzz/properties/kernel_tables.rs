//! Any text as `/proc/kallsyms`: a name is one of its names, and starts at one of its addresses. Or any
//! ELF file as the kernel's: a name is in it, and starts where it says or before.

use std::io::Write;

use prof_model::{Dso, DsoAddr, DsoId, DsoKind, Resolution};
use prof_symbolizer::{Options, Symbolizer};

/// Any bytes as the file.
pub(crate) fn property(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let text = String::from_utf8_lossy(bytes);
    let address = |line: &str| u64::from_str_radix(line.split_whitespace().next()?, 16).ok();
    let starts: Vec<u64> = text.lines().filter_map(address).collect();
    let nearby = starts
        .iter()
        .take(40)
        .flat_map(|&at| [at, at.saturating_add(3)]);
    let addrs: Vec<DsoAddr> = nearby.chain([0, u64::MAX]).map(DsoAddr).collect();
    let dso = Dso {
        path: b"[kernel.kallsyms]".to_vec(),
        kind: DsoKind::Kernel,
        file: None,
        build_id: None,
    };
    let mut symbolizer = Symbolizer::new(Options {
        kallsyms: Some(file.path().to_owned()),
        ..Options::default()
    });
    let answers = symbolizer.resolve(DsoId(0), &dso, &addrs);
    assert_eq!(answers.len(), addrs.len());
    for (addr, answer) in addrs.iter().zip(answers) {
        if let Resolution::Named { symbol, .. } = answer {
            assert!(symbol.start <= addr.0 && addr.0 - symbol.start <= symbol.size);
            let is_table = !bytes.starts_with(b"\x7fELF");
            assert!(!is_table || starts.contains(&symbol.start), "{symbol:?}");
            // What cannot be printed is a question mark in names.
            let is_there = symbol.raw.contains('?') || text.contains(&*symbol.raw);
            assert!(is_there, "{symbol:?}");
        }
    }
}
