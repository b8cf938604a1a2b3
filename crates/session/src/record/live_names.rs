//! What the addresses of a recording are called, from the files that are still open.
//!
//! In: a recorder that has all its samples. Out: names for reports, and the same for the end of a file.
//! Elsewhere: names of a recording that is read ([`crate::naming`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use prof_model::{Reason, Resolution};
use prof_perfdata::StoredNames;
use prof_profile::Names;
use prof_symbolizer::{Request, RunningKernel, Symbolizer};

use super::recorder::{Destination, Recorder};
use crate::load::requests;

/// Names of everything that samples hit.
pub struct LiveNames {
    /// By frame of the profile.
    pub names: Names,
    /// The same for the end of a file. Counters and ends of callchains are not filled in.
    pub stored: StoredNames,
    /// Whether looking them up failed in a way that nobody has foreseen. Then there are none.
    pub failed: bool,
}

/// Names are looked up for so long at most: who recorded for ten seconds waits no minute for the end. Programs as people
/// have them take a tenth of that, also on a machine that does ten other things.
const LONGEST: Duration = Duration::from_secs(5);

impl<D: Destination> Recorder<D> {
    /// Finishes the profile and names every address that samples hit, once. `kernel` names the kernel's. What
    /// is not reached in time has no name, for [`Reason::LeftOut`].
    pub fn find_names(&mut self, kernel: RunningKernel) -> LiveNames {
        let pipeline = &mut self.pipeline;
        pipeline.finish();
        pipeline.generated.refresh();
        pipeline.generated.look_for_maps();
        let mut symbolizer = Symbolizer::new(prof_symbolizer::Options {
            until: Some(Instant::now() + LONGEST),
            ..prof_symbolizer::Options::default()
        });
        symbolizer.expect_kernel(kernel);
        pipeline.give_files_to(&mut symbolizer);
        for (pid, map) in pipeline.generated.take_maps() {
            symbolizer.use_perf_map(pid, map);
        }
        symbolizer.use_doubted(pipeline.generated.doubted());
        symbolizer.use_told(&pipeline.generated.take_told());
        let mut stored = StoredNames::default();
        stored.callers_are_call_sites = true;
        let (profile, generated) = (&pipeline.profile, &mut pipeline.generated);
        let dsos = &profile.dsos;
        let mut failed = false;
        let names = Names::build_at_once(profile, |hits| {
            let requests = requests(hits, dsos);
            let mut answers = or_nothing(&requests, &mut failed, |requests| {
                symbolizer.resolve_all(requests)
            });
            if failed {
                return answers; // the symbolizer is in no state to be asked more
            }
            for (request, answers) in requests.iter().zip(&answers) {
                if !generated.is_dump(request.id) {
                    stored.add(request.dso, request.addrs, answers);
                }
            }
            generated.settle(&requests, &mut answers, dsos, &mut symbolizer, &mut stored);
            answers
        });
        LiveNames {
            names,
            stored,
            failed,
        }
    }
}

/// What `look_up` answers. Files of others are read for it: where that panics there are no names, which is
/// noted, and the recording is worth no less.
fn or_nothing(
    requests: &[Request<'_>],
    failed: &mut bool,
    look_up: impl FnOnce(&[Request<'_>]) -> Vec<Vec<Resolution>>,
) -> Vec<Vec<Resolution>> {
    catch_unwind(AssertUnwindSafe(|| look_up(requests))).unwrap_or_else(|_| {
        *failed = true;
        let none = |request: &Request<'_>| {
            vec![Resolution::Unresolved(Reason::LeftOut); request.addrs.len()]
        };
        requests.iter().map(none).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use prof_event::abi::callchain;
    use prof_model::{Dso, DsoAddr, DsoKind, Reason, Resolution};

    use super::super::recorder::tests::{record_all, recorder};
    use super::*;
    use crate::common::{CODE, Elf, JitDump, Process, Records, Sampled, TEXT, attr, one_event};

    /// A process with a program, generated code, and a dump of it.
    struct Running {
        dir: tempfile::TempDir,
        process: Process,
        records: Records,
    }

    impl Running {
        fn new() -> Self {
            let mut this = Self {
                dir: tempfile::tempdir().unwrap(),
                process: Process::new(),
                records: Records::of(one_event(attr(0))),
            };
            let pid = this.process.0;
            JitDump::new().save(&this.dump());
            let mut map = |range, path: &Path| {
                this.records.map(1, pid, range, 0, path.to_str().unwrap());
            };
            map(TEXT, &this.dir.path().join("program"));
            map(CODE..CODE + 0x1000, Path::new("//anon"));
            map(
                0x5000_0000..0x5000_1000,
                &this.dir.path().join("jit-7.dump"),
            );
            this
        }

        fn dump(&self) -> PathBuf {
            self.dir.path().join("jit-7.dump")
        }

        fn sample(&mut self, time: u64, addr: u64) {
            self.records.sample(&Sampled {
                pid: self.process.0,
                tid: self.process.0,
                time,
                chain: vec![callchain::USER, addr],
                ..Sampled::default()
            });
        }
    }

    /// What each frame is called, in the order in which they were hit.
    fn called<D: Destination>(recorder: &Recorder<D>, names: &LiveNames) -> Vec<String> {
        let frames = recorder.pipeline.profile.frames();
        let names = frames.map(|(frame, _)| match names.names.get(frame) {
            Resolution::Named { symbol, .. } => symbol.name.to_string(),
            Resolution::Unresolved(reason) => format!("{reason:?}"),
        });
        names.collect()
    }

    fn dso(path: &Path) -> Dso {
        Dso {
            path: path.to_str().unwrap().into(),
            kind: DsoKind::File,
            file: None,
            build_id: None,
        }
    }

    #[test]
    fn where_looking_names_up_panics_every_address_is_left_out() {
        let dso = dso(Path::new("/x"));
        let addrs = [DsoAddr(1), DsoAddr(2)];
        let requests = [Request {
            id: prof_model::DsoId(0),
            dso: &dso,
            addrs: &addrs,
        }];
        let mut failed = false;
        let answers = or_nothing(&requests, &mut failed, |_| {
            panic!("a file that nobody foresaw")
        });
        let left_out = Resolution::Unresolved(Reason::LeftOut);
        assert_eq!(answers, [[left_out.clone(), left_out]]);
        assert!(failed);
    }

    #[test]
    fn addresses_are_named_by_the_files_that_were_open_and_stored_with_their_build_ids() {
        let mut running = Running::new();
        let program = running.dir.path().join("program");
        let mut elf = Elf::with_build_id();
        let main = elf.function("main", &[0x90; 16]);
        elf.save(&program);
        running.process.write_map();
        running.sample(100, TEXT.start + main);
        running.sample(101, CODE + 8);
        running.sample(102, 0x10);
        let mut recorder = recorder(&running.records.events, ());
        record_all(&mut recorder, &running.records);
        std::fs::remove_file(&program).unwrap();
        std::fs::remove_file(running.process.map()).unwrap();
        let names = recorder.find_names(RunningKernel::default());
        assert_eq!(
            called(&recorder, &names),
            ["main", "generated", "NoMapping"]
        );
        let stored = names.stored;
        assert!(stored.callers_are_call_sites);
        assert_eq!(stored.len(), 2);
        let of_program = stored.dsos().find(|dso| dso.build_id.is_some()).unwrap();
        assert_eq!(of_program.build_id, Elf::build_id());
        let main = stored.resolve(&dso(&program), DsoAddr(main));
        assert!(matches!(main, Some(Resolution::Named { symbol, .. }) if &*symbol.name == "main"));
    }

    #[test]
    fn code_that_its_compiler_announces_after_it_ran_has_its_name_at_the_end() {
        let mut running = Running::new();
        running.sample(150, CODE + 8);
        let mut recorder = recorder(&running.records.events, ());
        record_all(&mut recorder, &running.records);
        let mut dump = JitDump::new();
        let late = dump.load(100, CODE, 0x40, "late");
        dump.load(100, CODE + 0x100, 0x40, "never hit");
        dump.save(&running.dump());
        let names = recorder.find_names(RunningKernel::default());
        assert_eq!(called(&recorder, &names), ["late"]);
        let loads = names.stored.loads(&dso(&running.dump())).unwrap();
        let loads: Vec<_> = loads.iter().map(|it| (it.start, it.offset)).collect();
        assert_eq!(loads, [(CODE, late)]);
    }

    #[test]
    fn code_is_not_called_by_what_lay_there_before_if_its_own_name_came_late() {
        let mut running = Running::new();
        let mut dump = JitDump::new();
        dump.load(100, CODE, 0x40, "first");
        dump.save(&running.dump());
        running.sample(150, CODE + 8);
        let mut recorder = recorder(&running.records.events, ());
        record_all(&mut recorder, &running.records);
        let before = recorder.find_names(RunningKernel::default());
        assert_eq!(called(&recorder, &before), ["first"]);
        dump.load(120, CODE, 0x40, "second"); // it was this that ran
        dump.save(&running.dump());
        let names = recorder.find_names(RunningKernel::default());
        assert_eq!(
            called(&recorder, &names),
            [format!("{:?}", Reason::NoPerfMap)]
        );
    }
}
