//! Prints the addresses that a recording hit most, each as a place in a file.
//!
//!     cargo run -p prof-examples --bin hottest-addresses -- perf.data

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use prof_event::{Record, Tracker};
use prof_model::{CpuMode, VirtAddr};
use prof_perfdata::Recording;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("which recording?")?;
    let mut recording = Recording::open(Path::new(&file))?;
    let mut tracker = Tracker::default();
    let mut hits: HashMap<String, u64> = HashMap::new();
    recording.for_each(|item| -> Result<(), prof_perfdata::Error> {
        let Record::Sample(sample) = &item.decoded.record else {
            tracker.apply(&item.decoded.record); // names and mappings as of now
            return Ok(());
        };
        let VirtAddr(ip) = sample.ip;
        let mapping = match sample.mode {
            CpuMode::Kernel => tracker.kernel_mapping(sample.ip),
            _ => {
                let space = tracker.processes.space(sample.pid);
                space.and_then(|space| space.find(sample.ip))
            }
        };
        let place = match mapping {
            Some(mapping) => {
                let dso = tracker.processes.dsos.get(mapping.dso);
                format!("{}+{:#x}", dso.short_name(), mapping.dso_addr(sample.ip).0)
            }
            None => format!("{ip:#x}"),
        };
        *hits.entry(place).or_default() += 1;
        Ok(())
    })?;
    let mut hits: Vec<_> = hits.into_iter().collect();
    hits.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (place, samples) in hits.iter().take(10) {
        println!("{samples:>6}  {place}");
    }
    Ok(())
}
