//! What JIT compilers tell, of any content: what is found covers what was asked for.

use std::io::{Seek, Write};

use prof_model::{Dso, DsoAddr, DsoId, DsoKind, Pid, Resolution};
use prof_symbolizer::{JitDump, Options, Symbolizer};

/// Any bytes as the perf map of this process.
pub(crate) fn perf_map(bytes: &[u8]) {
    let pid = std::process::id();
    let path = format!("/tmp/perf-{pid}.map");
    std::fs::write(&path, bytes).expect("a place in /tmp");
    let text = String::from_utf8_lossy(bytes);
    let start = |line: &str| u64::from_str_radix(line.split_whitespace().next()?, 16).ok();
    let starts = text.lines().filter_map(start).take(40);
    let nearby = starts.flat_map(|at| [at, at.wrapping_add(5)]);
    let addrs: Vec<DsoAddr> = nearby.chain([0, u64::MAX]).map(DsoAddr).collect();
    let pid = Pid(pid as i32);
    let dso = Dso {
        path: path.clone().into_bytes(),
        kind: DsoKind::Jit(pid),
        file: None,
        build_id: None,
    };
    let mut symbolizer = Symbolizer::new(Options::default());
    let answers = symbolizer.resolve(DsoId(0), &dso, &addrs);
    let _ = std::fs::remove_file(&path);
    assert_eq!(answers.len(), addrs.len());
    for (addr, answer) in addrs.iter().zip(answers) {
        if let Resolution::Named { symbol, .. } = answer {
            let inside = addr.0.checked_sub(symbol.start);
            assert!(
                inside.is_some_and(|inside| inside < symbol.size),
                "{symbol:?}"
            );
        }
    }
}

/// Any bytes as a jitdump.
pub(crate) fn jitdump(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file.rewind().expect("a file");
    let mut dump = JitDump::new(file, true);
    let loads = dump.loads().to_vec();
    assert!(loads.len() <= bytes.len());
    let mut now = 0;
    for load in loads.iter().take(100) {
        for addr in [load.start, load.start.saturating_add(load.size / 2)] {
            now = now.max(load.time);
            if let Some(found) = dump.find(addr, now) {
                assert!(found.range().contains(&addr), "{found:?} for {addr:#x}");
                assert!(
                    !dump.is_ordered() || found.time <= now,
                    "{found:?} at {now}"
                );
            }
            let all = dump.loads_at(addr).all(|load| load.range().contains(&addr));
            assert!(all, "{addr:#x}");
        }
    }
}
