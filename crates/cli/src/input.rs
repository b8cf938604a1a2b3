//! A recording, read into a profile and named.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use prof_model::{DsoAddr, DsoId, DsoTable};
use prof_perfdata::{Error, Item, Recording};
use prof_profile::Names;
use prof_symbolizer::{FileFinder, MappedFile, Request};

use crate::args::InputArgs;
use crate::build_ids::BuildIds;
use crate::error::CliError;
use crate::machine::Machine;
use crate::names::{self, Namer};
use crate::selection::{Counters, Selection, Wanted};
use crate::stage::{Files, Stage};

/// A recording that was read.
pub struct Input {
    /// The file, for a second pass.
    pub recording: Recording,
    /// The profile, and what led to it.
    pub stage: Stage,
    /// Names by frame.
    pub names: Names,
    /// Names for further addresses.
    pub namer: Namer,
    /// What each thread counted, where that was wanted.
    pub counters: Counters,
}

/// Opens a recording.
///
/// # Errors
/// A message that says what the file is instead.
pub fn open(args: &InputArgs) -> Result<Recording, CliError> {
    open_path(&args.input)
}

/// As [`open`], by its path alone.
///
/// # Errors
/// As [`open`].
pub fn open_path(path: &Path) -> Result<Recording, CliError> {
    let name = path.display().to_string();
    let opened = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        let read = read.map_err(|error| CliError::new("could not read stdin").cause(error));
        read?;
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
    opened.map_err(|error| explain(&name, &error))
}

fn explain(name: &str, error: &Error) -> CliError {
    let message = CliError::new(format!("could not read the recording `{name}`"));
    let inner = CliError::from_error(error);
    let mut message = message.cause(inner.what);
    message.causes.extend(inner.causes);
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => message
            .hint("record one: `prof record -p PID -d 10s`")
            .hint("or name it: `-i FILE`"),
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            message.hint("recordings belong to the user who made them; use sudo, or chown it")
        }
        _ => message,
    }
}

/// A stage that reads the files of this recording.
pub fn stage(recording: &Recording, args: &InputArgs) -> Stage {
    let machine = Machine::of(recording.features());
    let finder = FileFinder::new(args.symfs.clone()).foreign(machine.is_foreign());
    let mut stage = Stage::new(recording.events(), Files::stored(finder), args.max_stack);
    if let Some(names) = recording.stored_names() {
        stage.generated.keep(names);
    }
    stage.build_ids = BuildIds::of(recording);
    stage.machine = machine;
    stage
}

/// Reads all of a recording and names what its samples hit; with what a report wants beyond stacks.
///
/// # Errors
/// A message.
pub fn read(args: &InputArgs, wanted: Wanted) -> Result<Input, CliError> {
    let mut recording = open(args)?;
    let kernel = names::expected_kernel(&recording, args);
    let mut selection = Selection::new(&mut recording, args, wanted)?;
    let mut stage = stage(&recording, args);
    stage.aggregate_beside();
    let name = args.input.display().to_string();
    for_each(&mut recording, &name, |item| {
        selection.take(&mut stage, &item);
    })?;
    stage.set_events(recording.events());
    stage.finish();
    for &place in &selection.data {
        stage.profile.add_place(place);
    }
    if stage.foreign_stacks > 0 {
        let (count, machine) = (stage.foreign_stacks, stage.machine.name());
        eprintln!(
            "prof: {name}: the user stacks of {count} samples are of {machine} and are not unwound here"
        );
    }
    for warning in recording.warnings() {
        eprintln!("prof: {name}: {warning}");
    }
    let mut namer = Namer::new(&recording, &stage, args, wanted.lines, kernel);
    let names = Names::build_at_once(&stage.profile, |hits| {
        namer.resolve_all(&requests(hits, &stage.profile.dsos))
    });
    let unverified: Vec<&str> = namer.unverified().collect();
    if !unverified.is_empty() {
        eprintln!("prof: {name}: {}", without_build_id(&unverified));
    }
    for dso in stage.generated.unordered(&stage.profile.dsos) {
        eprintln!(
            "prof: {name}: its times are not those of `{}`: code that shared an address with other \
             code has no name; record with `-k mono`",
            dso.long_name()
        );
    }
    Ok(Input {
        recording,
        stage,
        names,
        namer,
        counters: selection.counters,
    })
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

/// That nothing tells whether these files are the ones that ran.
fn without_build_id(files: &[&str]) -> String {
    const NAMED: usize = 3;
    let more = match files.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = files[..files.len().min(NAMED)].join(", ");
    format!("no build-id is recorded for {named}{more}: the names are those of the files there now")
}

/// Visits the records of a recording in time order.
///
/// # Errors
/// The file is damaged.
pub fn for_each(
    recording: &mut Recording,
    name: &str,
    mut visit: impl FnMut(Item<'_>),
) -> Result<(), CliError> {
    let result = recording.for_each(|item| -> Result<(), Error> {
        visit(item);
        Ok(())
    });
    result.map_err(|error| explain(name, &error))
}
