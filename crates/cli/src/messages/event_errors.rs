//! Events that were asked for and are none: what to write instead.

use std::io;

use prof_event::{EventError, EventListError, UnknownEvent};
use prof_sampler::{OpenError, tracepoint_format, tracepoints};
use prof_tracepoint::TracepointFormat;

use super::CliError;
use super::present::Present;

const FILTERED: &str = "for example `-e sched:sched_switch --filter 'prev_pid > 1'`";

/// The message for what is no list of events, or cannot have a filter.
pub fn no_event_list(error: &EventListError) -> CliError {
    let message = || CliError::usage(error.to_string());
    match error {
        EventListError::Event(EventError::Unknown(error)) => unknown_event(error),
        EventListError::Event(EventError::Term { .. }) => message().hint(
            "`freq=HZ`, `period=N`, `call-graph=fp`, `dwarf` or `no`, `name=TEXT`, as in \
             `-e cpu-clock/freq=99/`",
        ),
        EventListError::Group(_) => message().hint("for example `-e '{cpu-clock,page-faults}'`"),
        EventListError::Modifiers(_) => message()
            .hint("only the user's code `:u`, the kernel's `:k`, the leader's samples `:S`"),
        EventListError::NoFilter { .. } => message().hint(FILTERED),
    }
}

/// The message for a filter without an event before it.
pub fn no_event_to_filter(filter: &str) -> CliError {
    CliError::usage(format!("`--filter {filter}` has no event before it")).hint(FILTERED)
}

fn unknown_event(error: &UnknownEvent) -> CliError {
    let message = CliError::usage(error.to_string());
    match error.near.as_slice() {
        [] => {
            message.hint("for example `cycles`, `cpu-clock`, `page-faults`, `sched:sched_switch`")
        }
        near => {
            let near: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
            message.hint(format!("did you mean {}?", near.join(" or ")))
        }
    }
}

/// The message for an event that this machine does not have as it was asked for.
pub fn not_there(message: CliError, error: &OpenError, present: &Present) -> CliError {
    match error {
        OpenError::NoTracepoint { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            let (why, ways) = no_tracefs(true, present);
            message.cause(why).hints(ways)
        }
        OpenError::NoTracepoint { system, name, .. } => {
            no_tracepoint(message, system, name, present)
        }
        OpenError::TooManyTracepoints { .. } => message.hint(
            "those of one system: `-e 'sched:*'`, or fewer of it: `-e 'syscalls:sys_enter_*'`",
        ),
        OpenError::Filter { event, .. } => match fields(event) {
            Some(fields) => message
                .hint(format!("its fields are {fields}"))
                .hint("text stands in quotes: `--filter 'prev_comm == \"sh\"'`"),
            None => message,
        },
        OpenError::NoPmu { known, .. } if known.is_empty() => message
            .cause("/sys is not mounted here")
            .hint("mount it: `mount -t sysfs sysfs /sys`"),
        OpenError::NoPmu { pmu, known, .. } if pmu.starts_with("cpu") => message
            .cause(format!(
                "there are only {} (a virtual machine?)",
                quoted(known)
            ))
            .hint("sample time instead: `-e cpu-clock`"),
        OpenError::NoPmu { known, .. } => message.hint(format!("there are {}", quoted(known))),
        OpenError::NoPmuTerm { known, .. } => match known.as_slice() {
            [] => message.hint("only numbers, such as `config=0x1`"),
            known => message.hint(format!("it knows {}", quoted(known))),
        },
        _ => message,
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The fields that a filter of a tracepoint may name.
fn fields(event: &str) -> Option<String> {
    let mut words = event.split(':');
    let (system, name) = (words.next()?, words.next()?);
    let format = TracepointFormat::parse(system, &tracepoint_format(system, name).ok()?);
    let names: Vec<_> = format
        .own_fields()
        .map(|it| format!("`{}`", it.name))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Why no tracepoint is to be seen, closed or not there, and what to do.
pub fn no_tracefs(is_closed: bool, present: &Present) -> (&'static str, Vec<String>) {
    let host = "run prof on the host".to_owned();
    if is_closed {
        let ways = match present.as_root() {
            Some(root) => root.to_owned(),
            None => host,
        };
        return (
            "only root may read tracefs (/sys/kernel/tracing)",
            vec![ways],
        );
    }
    let mount = "mount it: `mount -t tracefs tracefs /sys/kernel/tracing`";
    let ways = match (present.own_users, present.user) {
        (true, _) => vec![host],
        (false, 0) => vec![mount.to_owned()],
        (false, _) => vec![format!("{mount}, as root")],
    };
    ("tracefs is not mounted", ways)
}

/// Names the tracepoints that may have been meant.
fn no_tracepoint(message: CliError, system: &str, name: &str, present: &Present) -> CliError {
    let all = tracepoints("*", "*").unwrap_or_default();
    let distance = |one: &str, other: &str| strsim::damerau_levenshtein(one, other);
    let nearest = all.iter().min_by_key(|(other_system, other_name)| {
        (distance(system, other_system), distance(name, other_name))
    });
    let Some((near_system, near_name)) = nearest else {
        let (why, ways) = no_tracefs(false, present);
        return message.cause(why).hints(ways);
    };
    let message = match name.contains(['*', '?']) {
        true => message,
        false => message.hint(format!("did you mean `{near_system}:{near_name}`?")),
    };
    message.hint(format!("see what there is: `prof list '{near_system}:*'`"))
}
