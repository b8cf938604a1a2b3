//! Nobody is meant by what was typed: what was looked for, and who may have been meant.

use prof_model::Tid;
use prof_target::NotFound;

use super::present::{Capability, Present};
use super::{CliError, USAGE, open_errors};

/// So many of a list are named.
const NAMED: usize = 8;

/// The message for whom nobody was found.
pub fn not_found(error: NotFound) -> CliError {
    let message = CliError::from_error(&error);
    let present = Present::look();
    if let Some((why, remedy)) = present.blind() {
        return message.cause(why).hint(remedy); // nobody can be found
    }
    match error {
        NotFound::Number(number) => open_errors::no_such_process(Tid(number)),
        NotFound::Word(_) => message
            .status(USAGE)
            .hint("a number, a name, `:PORT`, or a container's id: `-p nginx`"),
        NotFound::Port(_) => message
            .status(USAGE)
            .hint("a number from 1 to 65535: `-p :8080`, `-p :53/udp`"),
        NotFound::Name { near, .. } if near.is_empty() => message
            .hint("looked for: comm, executable and argv[0], exactly; `ps -e` lists them")
            .hint("or by port, `-p :8080`; `--container NAME`; `--unit NAME`"),
        NotFound::Name { near, .. } => {
            let mut names: Vec<_> = near.into_iter().map(|(_, name)| name).collect();
            names.sort();
            names.dedup();
            message.hint(format!("did you mean {}?", names.join(", ")))
        }
        NotFound::Listener { others, .. } => {
            let others = others.iter().map(|port| format!(":{port}"));
            let message = message.hint("looked for in all network namespaces that may be seen");
            with_list(message, "somebody listens on", others.collect())
        }
        NotFound::HiddenListener { .. } => message
            .cause("the files of other users' processes cannot be read")
            .hints(present.as_root().map(str::to_owned))
            .hints(present.capabilities(&[Capability::SYS_PTRACE]))
            .hint("docs/permissions.md has all ways"),
        NotFound::Container { known, .. } if known.is_empty() => {
            message.cause("no process here is in a cgroup that is named after a container")
        }
        NotFound::Container { known, .. } => with_list(message, "there are", known),
        NotFound::Unit { near, .. } => with_list(message, "did you mean", near),
        NotFound::Cgroup { tried, .. } if tried.is_empty() => {
            message.cause("no hierarchy of cgroups is mounted here")
        }
        NotFound::Cgroup { tried, .. } => {
            let first = tried[0].display();
            message.hint(match tried.len() {
                1 => format!("looked for {first}"),
                count => format!("looked for {first}, and so in {count} hierarchies"),
            })
        }
        NotFound::Unreadable { .. } => message,
    }
}

fn with_list(message: CliError, before: &str, mut list: Vec<String>) -> CliError {
    if list.is_empty() {
        return message;
    }
    let more = list.len().saturating_sub(NAMED);
    list.truncate(NAMED);
    let list = list.join(", ");
    message.hint(match more {
        0 => format!("{before}: {list}"),
        more => format!("{before}: {list} and {more} more"),
    })
}
