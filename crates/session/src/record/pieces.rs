//! What each second of a recording has brought, for somebody who looks on: records, samples and files.
//!
//! In: records from the rings. Out: a [`Piece`] whenever one is asked for. Elsewhere: who names and shows
//! its samples; whether it is taken at once ([`Recorder::take_back`] undoes it).

use std::ops::Range;
use std::sync::Arc;

use prof_event::{RawRecord, Record};
use prof_model::{ChainEnd, CommTable, DsoId, DsoTable, Mapping, Pid, Tid};
use prof_profile::Profile;
use prof_symbolizer::{FoundFile, PerfMap, ToldName};
use rustc_hash::{FxHashMap, FxHashSet};

use super::recorder::{Destination, Recorder};

/// Files that no sample has hit for so many pieces are closed: during a build new ones come without
/// end, and what is known of each takes memory.
const UNUSED_AFTER: u32 = 60;
/// With more files than this, those that the last piece did not hit are closed.
const MAX_FILES: usize = 512;
/// A thread that has ended is forgotten so many pieces later: the last of its samples may be late.
const LATE: u32 = 3;
/// Samples that may wait to be kept for a file, in bytes.
const MAX_WAITING: usize = 16 << 20;

/// What a stretch of time has brought.
#[derive(Default)]
pub struct Piece {
    /// From when to when, in nanoseconds of the sampler's clock.
    pub span: Range<u64>,
    /// The records, as a file has them.
    pub records: Vec<u8>,
    /// Why the callchain of each sample in `records` ended.
    pub ends: Vec<ChainEnd>,
    /// The samples; names are yet to be found.
    pub profile: Profile,
    /// What the frames' modules are.
    pub dsos: Arc<DsoTable>,
    /// What the threads' names are.
    pub comms: Arc<CommTable>,
    /// What the samples' processes are called.
    pub processes: FxHashMap<Pid, String>,
    /// Files that were opened since the last piece.
    pub files: Vec<(DsoId, FoundFile)>,
    /// Perf maps that were opened since the last piece.
    pub perf_maps: Vec<(Pid, PerfMap)>,
    /// What runtimes have told since then.
    pub told: Vec<ToldName>,
    /// Files that were written over since they ran; what samples hit there has no name from now on.
    pub written_over: Vec<DsoId>,
    /// From which processes those that generated code were forked, nearest first.
    pub ancestors: Vec<(Pid, Vec<Pid>)>,
    /// Where processes executed files that may be code which they generated, since the last piece.
    pub generated: Vec<(Pid, Mapping)>,
    /// Files that were closed before these were opened.
    pub closed: Vec<DsoId>,
}

/// Gathers the records of the piece that is being recorded.
pub struct Pieces {
    since: u64,
    records: Vec<u8>,
    ends: Vec<ChainEnd>,
    count: u32,                        // pieces that were handed over
    ended: FxHashMap<Tid, (Pid, u32)>, // threads, and in which piece they did
    closed: Vec<DsoId>,
    dsos: Arc<DsoTable>,
    comms: Arc<CommTable>,
    handed: FxHashSet<DsoId>, // files
}

impl Pieces {
    /// Pieces from `now` on, in nanoseconds of the sampler's clock.
    pub fn new(now: u64) -> Self {
        Self {
            since: now,
            records: Vec::new(),
            ends: Vec::new(),
            count: 0,
            ended: FxHashMap::default(),
            closed: Vec::new(),
            dsos: Arc::default(),
            comms: Arc::default(),
            handed: FxHashSet::default(),
        }
    }

    /// When the piece that is being recorded began.
    pub fn since(&self) -> u64 {
        self.since
    }
}

impl Destination for Pieces {
    fn sample(&mut self, end: ChainEnd) -> Option<&mut Vec<u8>> {
        if self.records.len() >= MAX_WAITING {
            return None;
        }
        self.ends.push(end);
        Some(&mut self.records)
    }

    fn record(&mut self, raw: RawRecord<'_>, record: &Record<'_>) {
        match record {
            Record::Exit(task) => {
                self.ended.insert(task.tid, (task.pid, self.count));
            }
            Record::Fork(task) => {
                self.ended.remove(&task.tid);
            }
            _ => {}
        }
        self.records.extend_from_slice(raw.bytes);
    }
}

impl Recorder<Pieces> {
    /// What has come up to `until`, the time before which every record has been passed on. The next
    /// piece begins empty.
    pub fn piece(&mut self, until: u64) -> Piece {
        let (pieces, pipeline) = (&mut self.destination, &mut self.pipeline);
        let processes = &pipeline.tracker.processes;
        if processes.dsos.len() != pieces.dsos.len() {
            pieces.dsos = Arc::new(processes.dsos.clone());
        }
        if processes.comms.len() != pieces.comms.len() {
            pieces.comms = Arc::new(processes.comms.clone());
        }
        let opened = pipeline.files.opened();
        let new = opened.filter(|(id, _)| !pieces.handed.contains(id));
        let mut files: Vec<_> = new.map(|(id, file)| (id, file.clone())).collect();
        pieces.handed.extend(files.iter().map(|(id, _)| *id));
        files.extend(pipeline.generated.dumps()); // each time: they grow
        let ancestors = pipeline.generated.ancestors();
        let ancestors = ancestors.map(|(pid, of)| (pid, of.to_vec())).collect();
        let empty = Profile::new(pipeline.profile.events.clone());
        let profile = std::mem::replace(&mut pipeline.profile, empty);
        let mut names = FxHashMap::default();
        for (key, _) in profile.samples() {
            names.entry(key.pid).or_insert_with(|| {
                let comm = processes.comm_of(key.pid, Tid(key.pid.0));
                comm.map(|comm| processes.comms.display(comm).into_owned())
            });
        }
        let names = names.into_iter();
        let names = names.filter_map(|(pid, name)| Some((pid, name?)));
        let since = std::mem::replace(&mut pieces.since, until);
        Piece {
            span: since..until.max(since + 1),
            records: std::mem::take(&mut pieces.records),
            ends: std::mem::take(&mut pieces.ends),
            profile,
            dsos: Arc::clone(&pieces.dsos),
            comms: Arc::clone(&pieces.comms),
            processes: names.collect(),
            files,
            perf_maps: pipeline.generated.take_maps(),
            told: pipeline.generated.take_told(),
            ancestors,
            written_over: pipeline.files.written_over().collect(),
            generated: pipeline.generated.take_files(),
            closed: std::mem::take(&mut pieces.closed),
        }
    }

    /// Goes on with a piece that nobody took, as if it had not been asked for.
    pub fn take_back(&mut self, piece: Piece) {
        let pieces = &mut self.destination;
        pieces.since = piece.span.start;
        self.pipeline.profile = piece.profile;
        pieces.records = piece.records;
        pieces.ends = piece.ends;
        pieces.closed = piece.closed;
        for (id, _) in piece.files {
            pieces.handed.remove(&id);
        }
        let generated = &mut self.pipeline.generated;
        generated.put_back_maps(piece.perf_maps);
        generated.put_back_told(piece.told);
        generated.put_back_files(piece.generated);
    }

    /// The last piece was taken: forgets threads that ended long ago, and closes files that nothing hits
    /// any more.
    pub fn handed_over(&mut self) {
        self.forget_ended();
        let pieces = &mut self.destination;
        if pieces.count.is_multiple_of(UNUSED_AFTER) || pieces.handed.len() > MAX_FILES {
            pieces.closed = self.pipeline.close_unused_files();
            for id in &pieces.closed {
                pieces.handed.remove(id);
            }
        }
    }

    fn forget_ended(&mut self) {
        let Pieces { ended, count, .. } = &mut self.destination;
        *count += 1;
        ended.retain(|tid, (pid, piece)| {
            let is_late = *piece + LATE < *count;
            if is_late {
                self.pipeline.forget(*pid, *tid);
            }
            !is_late
        });
    }
}

#[cfg(test)]
mod tests;
