//! Draws a flame graph of samples that come from anywhere: here from this file.
//!
//!     cargo run -p prof-examples --bin draw > flame.svg

use std::error::Error;
use std::sync::Arc;

use prof_model::{ChainEnd, CpuMode, Dso, DsoKind, Pid, Resolution, Symbol, SymbolSource, Tid};
use prof_profile::{EventInfo, FrameKey, Names, Profile, Sample};
use prof_report::{FlameGraphOptions, FoldedOptions, fold, write_flame_graph};

/// Functions by address, and stacks of addresses, innermost first, with their samples.
const FUNCTIONS: [&str; 4] = ["main", "serve", "parse", "render"];
const STACKS: [(&[u64], u64); 3] = [(&[2, 1, 0], 70), (&[3, 1, 0], 25), (&[1, 0], 5)];

fn main() -> Result<(), Box<dyn Error>> {
    let mut profile = Profile::new(vec![EventInfo::default()]);
    let program = profile.dsos.intern(Dso {
        path: b"/usr/bin/server".to_vec(),
        kind: DsoKind::File,
        file: None,
        build_id: None,
    });
    let frame = |&address| FrameKey {
        mode: CpuMode::User,
        dso: Some(program),
        shown: address,
        lookup: address,
    };
    for (stack, samples) in STACKS {
        let frames: Vec<_> = stack.iter().map(frame).collect();
        for _ in 0..samples {
            profile.add(&Sample {
                event: 0,
                pid: Pid(1),
                tid: Tid(1),
                comm: None,
                cpu: None,
                time: None,
                period: 1,
                frames: &frames,
                inner: None,
                end: ChainEnd::Root,
            });
        }
    }
    let names = Names::build(&profile, |_, addresses| {
        let name = |address: u64| {
            let name: Arc<str> = FUNCTIONS[address as usize].into();
            Resolution::Named {
                symbol: Symbol {
                    raw: Arc::clone(&name),
                    name,
                    start: address,
                    size: 1,
                    source: SymbolSource::Symtab,
                },
                inlined: Vec::new(),
                location: None,
            }
        };
        addresses.iter().map(|address| name(address.0)).collect()
    });
    let stacks = fold(&profile, &names, 0, &FoldedOptions::default());
    let options = FlameGraphOptions {
        title: "A hundred samples".to_owned(),
        ..FlameGraphOptions::default()
    };
    write_flame_graph(&mut std::io::stdout().lock(), &stacks, &options)?;
    Ok(())
}
