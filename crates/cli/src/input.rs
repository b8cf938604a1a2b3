//! A recording, read into a profile and named.

use std::collections::HashMap;
use std::io::Read;

use prof_event::EventSet;
use prof_model::{BuildId, CpuMode, Dso, DsoKind, Reason, Resolution};
use prof_perfdata::{Error, Features, Item, Recording};
use prof_profile::Names;
use prof_symbolizer::{FileFinder, KernelText, Symbolizer};

use crate::args::InputArgs;
use crate::error::CliError;
use crate::stage::{Files, Stage};

/// A recording that was read.
pub struct Input {
    /// The file, for a second pass.
    pub recording: Recording,
    /// The profile, and what led to it.
    pub stage: Stage,
    /// Names by frame.
    pub names: Names,
}

/// Opens a recording.
///
/// # Errors
/// A message that says what the file is instead.
pub fn open(args: &InputArgs) -> Result<Recording, CliError> {
    let name = args.input.display().to_string();
    let opened = if args.input.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        let read = read.map_err(|error| CliError::new("could not read stdin").cause(error));
        read?;
        Recording::from_bytes(bytes)
    } else {
        Recording::open(&args.input)
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
    let finder = FileFinder::new(args.symfs.clone());
    let mut stage = Stage::new(recording.events(), Files::stored(finder), args.max_stack);
    let build_ids = recording.features().build_ids.iter();
    stage.build_ids = build_ids
        .filter(|stored| stored.mode != CpuMode::Kernel)
        .map(|stored| (stored.path.clone(), stored.build_id))
        .collect::<HashMap<Vec<u8>, BuildId>>();
    stage
}

/// Reads all of a recording and names what its samples hit.
///
/// # Errors
/// A message.
pub fn read(args: &InputArgs) -> Result<Input, CliError> {
    let mut recording = open(args)?;
    let mut stage = stage(&recording, args);
    let name = args.input.display().to_string();
    for_each(&mut recording, &name, |item| {
        stage.take(item.events, &item.decoded, item.chain_end);
    })?;
    stage.set_events(recording.events());
    stage.finish();
    for warning in recording.warnings() {
        eprintln!("prof: {name}: {warning}");
    }
    let names = names(&recording, &stage, args);
    Ok(Input {
        recording,
        stage,
        names,
    })
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

/// Names from the recording itself where it has them, else from the files of this machine.
fn names(recording: &Recording, stage: &Stage, args: &InputArgs) -> Names {
    let stored = recording.stored_names();
    let mut symbolizer = Symbolizer::new(prof_symbolizer::Options {
        inline: !args.no_inline,
        demangle: !args.no_demangle,
        symfs: args.symfs.clone(),
        kernel_build_id: kernel_build_id(recording.features()),
        kernel_text: kernel_text(stage),
        ..prof_symbolizer::Options::default()
    });
    stage.files.give_to(&mut symbolizer);
    let profile = &stage.profile;
    // Without a reference there is no telling by how much the kernel was moved since.
    let is_hidden =
        |dso: &Dso| dso.kind == DsoKind::Kernel && stage.tracker.kernel_reference.is_none();
    Names::build(profile, |id, addrs| {
        let dso = profile.dsos.get(id);
        if is_hidden(dso) {
            return vec![Resolution::Unresolved(Reason::KernelRestricted); addrs.len()];
        }
        let known = addrs
            .iter()
            .map(|&addr| stored.and_then(|stored| stored.resolve(dso, addr)));
        let mut answers: Vec<_> = known.collect();
        // What the recorder could not name may have found its debug file here.
        let missing: Vec<_> = answers
            .iter()
            .zip(addrs)
            .filter(|(answer, _)| !matches!(answer, Some(Resolution::Named { .. })))
            .map(|(_, &addr)| addr)
            .collect();
        let mut found = if missing.is_empty() {
            Vec::new().into_iter()
        } else {
            symbolizer.resolve(id, dso, &missing).into_iter()
        };
        for answer in &mut answers {
            if matches!(answer, Some(Resolution::Named { .. })) {
                continue;
            }
            match (found.next(), &answer) {
                (Some(Resolution::Unresolved(_)), Some(_)) | (None, _) => {} // the recorder's reason
                (Some(other), _) => *answer = Some(other),
            }
        }
        let unnamed = Resolution::Unresolved(Reason::NoSymbol);
        let answers = answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| unnamed.clone()));
        let raw_names = args.no_demangle;
        answers
            .map(|answer| {
                if raw_names {
                    with_raw_name(answer)
                } else {
                    answer
                }
            })
            .collect()
    })
}

fn with_raw_name(mut answer: Resolution) -> Resolution {
    if let Resolution::Named { symbol, .. } = &mut answer {
        symbol.name = symbol.raw.clone();
    }
    answer
}

fn kernel_build_id(features: &Features) -> Option<BuildId> {
    let mut stored = features.build_ids.iter();
    Some(
        stored
            .find(|stored| stored.mode == CpuMode::Kernel)?
            .build_id,
    )
}

/// Where the recorded kernel's text lay: it may be elsewhere since the last boot.
fn kernel_text(stage: &Stage) -> Option<KernelText> {
    let processes = &stage.tracker.processes;
    let (_, reference) = stage.tracker.kernel_reference.clone()?;
    let mut mappings = processes.kernel.iter();
    let text = mappings.find(|mapping| processes.dsos.get(mapping.dso).kind == DsoKind::Kernel)?;
    Some(KernelText {
        start: text.start,
        end: text.end,
        reference,
    })
}

/// The lines that `--header` prints, each with its `# `.
pub fn header_lines(recording: &Recording) -> Vec<String> {
    let features = recording.features();
    let mut lines = vec!["# ========".to_owned()];
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("# {name} : {value}"));
        }
    };
    let captured = features.clock.map(|clock| clock.wall_ns / 1_000_000_000);
    put(
        "captured at",
        captured.map(|seconds| format!("{seconds} s after 1970 (UTC)")),
    );
    put("hostname", features.hostname.clone());
    put("os release", features.os_release.clone());
    put("perf version", features.version.clone());
    put("arch", features.arch.clone());
    put(
        "nrcpus online",
        features.nr_cpus_online.map(|count| count.to_string()),
    );
    put(
        "nrcpus avail",
        features.nr_cpus_available.map(|count| count.to_string()),
    );
    put("cpudesc", features.cpu_desc.clone());
    put("cpuid", features.cpu_id.clone());
    put(
        "total memory",
        features.total_mem_kb.map(|kb| format!("{kb} kB")),
    );
    let cmdline = features
        .cmdline
        .iter()
        .map(|word| format!("{word} "))
        .collect::<String>();
    put("cmdline", Some(cmdline).filter(|line| !line.is_empty()));
    events(recording.events(), &mut put);
    if let Some((first, last)) = features.sample_time {
        let seconds = |ns: u64| format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000);
        put("time of first sample", Some(seconds(first)));
        put("time of last sample", Some(seconds(last)));
        let millis = last.saturating_sub(first) as f64 / 1e6;
        put("sample duration", Some(format!("{millis:10.3} ms")));
    }
    lines.push("# ========".to_owned());
    lines.push("#".to_owned());
    lines
}

fn events(events: &EventSet, put: &mut impl FnMut(&str, Option<String>)) {
    for event in events.events() {
        let attr = &event.attr;
        let rate = if attr.frequency().is_some() {
            "sample_freq"
        } else {
            "sample_period"
        };
        let line = format!(
            "name = {}, type = {}, size = 128, config = {:#x}, {{ {rate} }} = {}, sample_type = {:#x}",
            event.name, attr.kind, attr.config, attr.sample_period_or_freq, attr.sample_type
        );
        put("event", Some(line));
    }
}
