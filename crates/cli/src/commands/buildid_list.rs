//! `prof buildid-list`: the build-ids of a recording, of a file, of the kernel.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prof_event::{Record, Sample, Tracker};
use prof_foreign_files::{ForeignFile, ForeignPath, Purpose};
use prof_model::{BuildId, CpuMode, DsoId, printable_bytes};
use prof_perfdata::Recording;
use prof_symbolizer::MappedFile;
use rustc_hash::FxHashSet;

use crate::input;
use crate::messages::{CliError, Outcome};
use crate::printed;

/// `prof buildid-list`.
#[derive(clap::Args, Debug, Clone)]
pub struct BuildidListArgs {
    /// The recording, or an ELF file; `-` for stdin
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    pub input: PathBuf,

    /// Only the running kernel's
    #[arg(short, long)]
    pub kernel: bool,

    /// Only files in which a sample lies, read from the samples themselves
    #[arg(short = 'H', long)]
    pub with_hits: bool,

    /// Accepted because perf has it: read files whoever owns them
    #[arg(short, long)]
    pub force: bool,

    /// Accepted because perf has it
    #[arg(short, long)]
    pub verbose: bool,
}

/// Runs `prof buildid-list`.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &BuildidListArgs) -> Outcome {
    let mut out = BufWriter::new(printed::stdout());
    if args.kernel {
        let id = prof_symbolizer::running_kernel_build_id()
            .ok_or_else(|| CliError::new("the running kernel tells no build-id"))?;
        writeln!(out, "{id}")?;
    } else if is_elf(&args.input) {
        writeln!(out, "{}", of_elf(&args.input)?)?;
    } else {
        let mut recording = input::open(&args.input)?;
        // Without the list the recorder makes at its end the samples must tell.
        for (id, path) in match recording.features().build_ids.is_empty() || args.with_hits {
            true => hits(&mut recording, &args.input)?,
            false => stored(&recording),
        } {
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            writeln!(out, "{id:<40} {}", printable_bytes(&path))?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    ForeignFile::open(&ForeignPath::at(path), Purpose::Program)
        .is_ok_and(|mut it| io::Read::read_exact(&mut it.file, &mut magic).is_ok())
        && magic == *b"\x7fELF"
}

fn of_elf(path: &Path) -> Result<BuildId, CliError> {
    let name = path.display();
    let unread = |error: &dyn std::fmt::Display| {
        CliError::new(format!("could not read `{name}`")).cause(error)
    };
    let opened = ForeignFile::open(&ForeignPath::at(path), Purpose::Program);
    let opened = opened.map_err(|refused| unread(&refused))?;
    let image = MappedFile::open(&opened.file).map_err(|error| unread(&error))?;
    prof_symbolizer::read_build_id(image.as_ref()).ok_or_else(|| {
        CliError::new(format!("`{name}` has no build-id"))
            .hint("linkers write one with `-Wl,--build-id`")
    })
}

type Listed = Vec<(Option<BuildId>, Vec<u8>)>;

fn stored(recording: &Recording) -> Listed {
    let stored = recording.features().build_ids.iter();
    let stored = stored.map(|stored| (Some(stored.build_id), stored.path.clone()));
    stored.collect()
}

/// What the samples' own addresses lie in, callers left out, in the order of the recorder's list,
/// then in that of the mappings.
fn hits(recording: &mut Recording, path: &Path) -> Result<Listed, CliError> {
    let mut tracker = Tracker::default();
    let mut hit: FxHashSet<DsoId> = FxHashSet::default();
    input::for_each(recording, path, |item| match &item.decoded.record {
        Record::Sample(sample) => hit.extend(dso_of(&tracker, sample)),
        record => tracker.apply(record),
    })?;
    let stored = stored(recording);
    let rank: HashMap<&[u8], usize> = stored
        .iter()
        .enumerate()
        .map(|(rank, (_, path))| (&path[..], rank))
        .collect();
    let dsos = tracker.processes.dsos.iter();
    let mut listed: Vec<_> = dsos
        .filter(|(id, _)| hit.contains(id))
        .map(|(id, dso)| {
            let rank = rank.get(&dso.path[..]).copied();
            let known = rank.and_then(|rank| stored[rank].0);
            let order = (rank.unwrap_or(usize::MAX), id);
            (order, (dso.build_id.or(known), dso.path.clone()))
        })
        .collect();
    listed.sort_by_key(|&(order, _)| order);
    let mut listed: Listed = listed.into_iter().map(|(_, listed)| listed).collect();
    listed.dedup(); // a file that was mapped under two inodes
    Ok(listed)
}

fn dso_of(tracker: &Tracker, sample: &Sample<'_>) -> Option<DsoId> {
    let mapping = match sample.mode {
        CpuMode::Kernel => tracker.kernel_mapping(sample.ip),
        CpuMode::User => tracker.processes.space(sample.pid)?.find(sample.ip),
        _ => None,
    };
    mapping.map(|mapping| mapping.dso)
}
