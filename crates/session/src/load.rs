//! A recording, read into a profile and named.
//!
//! In: [`ReadOptions`]. Out: a [`LoadedRecording`]. Elsewhere: the file format (`prof-perfdata`), what a
//! report makes of a profile (`prof-report`).

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use prof_event::Tracker;
use prof_model::{DsoAddr, DsoId, DsoTable};
use prof_perfdata::{Error, Item, Recording};
use prof_profile::{Names, Profile};
use prof_symbolizer::{FileFinder, MappedFile, Request};

use crate::branches::BranchUse;
use crate::build_ids::BuildIds;
use crate::error::LoadError;
use crate::files::Files;
use crate::generated::GeneratedCode;
use crate::machine::Machine;
use crate::naming::{self, Namer};
use crate::pipeline::Pipeline;
use crate::read_options::ReadOptions;
use crate::selection::{Counters, Selection, Wanted};

/// A recording that was read.
pub struct LoadedRecording {
    /// The file, for a second pass.
    pub recording: Recording,
    /// Its samples.
    pub profile: Profile,
    /// Names and mappings as of the last record.
    pub tracker: Tracker,
    /// Names by frame.
    pub names: Names,
    /// Names for further addresses.
    pub namer: Namer,
    /// From when to when all of it was recorded, in nanoseconds of its clock, where a part of it was asked
    /// for and samples have times.
    pub recorded: Option<(u64, u64)>,
    /// Whether its profile counts branches instead of samples.
    pub counts_branches: bool,
    /// What each thread counted, where that was wanted.
    pub counters: Counters,
    /// What a reader should be told, in the order in which it was found.
    pub warnings: Vec<Warning>,
}

/// What makes a recording less than it seems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Copies of the stack are of a machine that cannot be unwound here.
    ForeignStacks {
        /// How many samples have such a copy.
        samples: u64,
        /// The machine's name.
        machine: String,
    },
    /// What the file itself shows.
    File(String),
    /// These files gave names although nothing tells that they are the ones that ran.
    WithoutBuildId(Vec<String>),
    /// The times of this jitdump cannot be compared with those of the samples.
    UnorderedDump(String),
    /// Times were taken as seconds from the recording's beginning, as all of them lie before it.
    FromStart {
        /// From when to when was recorded, in nanoseconds of the recording's clock.
        recorded: (u64, u64),
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignStacks { samples, machine } => write!(
                f,
                "the user stacks of {samples} samples are of {machine} and are not unwound here"
            ),
            Self::File(warning) => f.write_str(warning),
            Self::WithoutBuildId(files) => {
                const NAMED: usize = 3;
                let named = files[..files.len().min(NAMED)].join(", ");
                write!(f, "no build-id is recorded for {named}")?;
                if files.len() > NAMED {
                    write!(f, " and {} more", files.len() - NAMED)?;
                }
                f.write_str(": the names are those of the files there now")
            }
            Self::FromStart {
                recorded: (first, last),
            } => {
                let seconds = |ns: &u64| *ns as f64 / 1e9;
                write!(
                    f,
                    "times are seconds from its start, as its own clock runs from {:.3} to {:.3} s",
                    seconds(first),
                    seconds(last)
                )
            }
            Self::UnorderedDump(dump) => write!(
                f,
                "its times are not those of `{dump}`: code that shared an address with other code \
                 has no name; record with `-k mono`"
            ),
        }
    }
}

/// Opens a recording; `-` is stdin.
///
/// # Errors
/// What the file is instead.
pub fn open(path: &Path) -> Result<Recording, LoadError> {
    let opened = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(LoadError::Stdin)?;
        Recording::from_bytes(bytes)
    } else {
        Recording::open(path).map(|mut recording| {
            recording.map_with(|file, offset, len| {
                let part = MappedFile::open_part(file, offset, len)?;
                Some(Arc::new(part))
            });
            recording
        })
    };
    opened.map_err(|source| LoadError::Recording {
        name: path.display().to_string(),
        source,
    })
}

/// A pipeline that reads the files of this recording.
pub fn pipeline(recording: &Recording, options: &ReadOptions) -> Pipeline {
    let machine = Machine::of(recording.features());
    let finder = FileFinder::new(options.symfs.clone()).foreign(machine.is_foreign());
    let mut generated = GeneratedCode::stored(finder.clone());
    if let Some(names) = recording.stored_names() {
        generated.keep(names);
    }
    Pipeline::recorded(
        recording.events(),
        options.max_stack,
        Files::stored(finder),
        generated,
        machine,
        BuildIds::of(recording),
    )
}

/// Reads all of a recording and names what its samples hit; with what a report wants beyond stacks.
///
/// # Errors
/// The file cannot be read, or has no times where they are needed.
pub fn load(options: &ReadOptions, wanted: Wanted) -> Result<LoadedRecording, LoadError> {
    let mut recording = open(&options.path)?;
    let kernel = naming::expected_kernel(&recording, options);
    let mut selection = Selection::new(&mut recording, options, wanted)?;
    let mut pipeline = pipeline(&recording, options);
    pipeline.use_branches(selection.branches());
    pipeline.aggregate_beside();
    for_each(&mut recording, &options.name(), |item| {
        selection.take(&mut pipeline, &item);
    })?;
    pipeline.set_events(recording.events());
    pipeline.finish();
    for &place in &selection.places {
        pipeline.profile.add_place(place);
    }
    let mut namer = Namer::new(&recording, &pipeline, options, wanted.lines, kernel);
    let names = Names::build_at_once(&pipeline.profile, |hits| {
        namer.resolve_all(&requests(hits, &pipeline.profile.dsos))
    });
    let mut warnings = warnings(&recording, &pipeline, &namer);
    if let Some((recorded, true)) = selection.recorded_times() {
        warnings.push(Warning::FromStart { recorded });
    }
    Ok(LoadedRecording {
        recording,
        profile: pipeline.profile,
        tracker: pipeline.tracker,
        names,
        namer,
        counts_branches: selection.branches() == BranchUse::Counted,
        recorded: selection.recorded_times().map(|(recorded, _)| recorded),
        counters: selection.counters,
        warnings,
    })
}

fn warnings(recording: &Recording, pipeline: &Pipeline, namer: &Namer) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if pipeline.foreign_stacks() > 0 {
        warnings.push(Warning::ForeignStacks {
            samples: pipeline.foreign_stacks(),
            machine: pipeline.machine().name().to_owned(),
        });
    }
    warnings.extend(recording.warnings().iter().cloned().map(Warning::File));
    let unverified: Vec<_> = namer.unverified().map(str::to_owned).collect();
    if !unverified.is_empty() {
        warnings.push(Warning::WithoutBuildId(unverified));
    }
    let unordered = pipeline.generated.unordered(&pipeline.profile.dsos);
    let unordered = unordered.map(|dso| Warning::UnorderedDump(dso.long_name().into_owned()));
    warnings.extend(unordered);
    warnings
}

/// The addresses that samples hit as the symbolizer wants to be asked for them.
pub fn requests<'a>(hits: &'a [(DsoId, Vec<DsoAddr>)], dsos: &'a DsoTable) -> Vec<Request<'a>> {
    let requests = hits.iter().map(|(id, addrs)| Request {
        id: *id,
        dso: dsos.get(*id),
        addrs,
    });
    requests.collect()
}

/// Visits the records of a recording in time order. `name` is for the error.
///
/// # Errors
/// The file is damaged.
pub fn for_each(
    recording: &mut Recording,
    name: &str,
    mut visit: impl FnMut(Item<'_>),
) -> Result<(), LoadError> {
    let result = recording.for_each(|item| -> Result<(), Error> {
        visit(item);
        Ok(())
    });
    result.map_err(|source| LoadError::Recording {
        name: name.to_owned(),
        source,
    })
}
