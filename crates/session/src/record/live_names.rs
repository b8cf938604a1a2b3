//! What the addresses of a recording are called, from the files that are still open.
//!
//! In: a recorder whose profile is finished. Out: names for reports, and the same for the end of a file.
//! Elsewhere: names of a recording that is read ([`crate::naming`]).

use prof_perfdata::StoredNames;
use prof_profile::Names;
use prof_symbolizer::{RunningKernel, Symbolizer};

use super::recorder::{Destination, Recorder};
use crate::load::requests;

/// Names of everything that samples hit.
pub struct LiveNames {
    /// By frame of the profile.
    pub names: Names,
    /// The same for the end of a file. Counters and ends of callchains are not filled in.
    pub stored: StoredNames,
}

impl<D: Destination> Recorder<D> {
    /// Names every address that samples hit, once. The profile has to be
    /// [finished](crate::Pipeline::finish).
    pub fn find_names(&mut self, kernel: RunningKernel) -> LiveNames {
        let pipeline = &mut self.pipeline;
        pipeline.generated.refresh();
        let mut symbolizer = Symbolizer::new(prof_symbolizer::Options::default());
        symbolizer.expect_kernel(kernel);
        pipeline.give_files_to(&mut symbolizer);
        for (pid, map) in pipeline.generated.take_maps() {
            symbolizer.use_perf_map(pid, map);
        }
        let mut stored = StoredNames::default();
        stored.callers_are_call_sites = true;
        let (profile, generated) = (&pipeline.profile, &mut pipeline.generated);
        let dsos = &profile.dsos;
        let names = Names::build_at_once(profile, |hits| {
            let requests = requests(hits, dsos);
            let mut answers = symbolizer.resolve_all(&requests);
            for (request, answers) in requests.iter().zip(&answers) {
                if !generated.is_dump(request.id) {
                    stored.add(request.dso, request.addrs, answers);
                }
            }
            generated.settle(&requests, &mut answers, dsos, &mut symbolizer, &mut stored);
            answers
        });
        LiveNames { names, stored }
    }
}
