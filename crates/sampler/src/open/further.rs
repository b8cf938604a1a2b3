//! Events on processes that join the target while it is sampled.
//!
//! In: what was opened, a process. Out: events on its threads and children, disabled. Elsewhere: who joins
//! (`joining.rs`).

use prof_model::Pid;

use super::error::OpenError;
use super::instances::open_scope;
use super::scopes::{Scopes, Unopened};
use super::{Opened, PlannedEvent};
use crate::descendants::Descendants;
use crate::options::{Options, Target};
use crate::scope::Scope;

/// Opens the events of a further process, and if they are inherited of its children, but for those that are sampled
/// already. Returns the first of the new [`Opened::instances`]. On an error there are none.
///
/// A file's head tells of each event's ids before the first record. That of a single event needs none of them: so
/// it may have further ones, and events beside others may not ([`can_join`]).
pub(crate) fn open_further(
    opened: &mut Opened,
    options: &Options,
    pid: Pid,
    is_sampled: impl Fn(Pid) -> bool,
) -> Result<usize, OpenError> {
    let options = Options {
        target: Target::Processes(vec![pid]),
        ..options.clone()
    };
    let first = opened.instances.len();
    let planned = std::mem::take(&mut opened.planned);
    let mut unknown = Scopes::new(&options);
    let children = Descendants::of(&[pid]).map(|child| child.pid);
    for child in children.filter(|&child| is_sampled(child)) {
        unknown.leave_out(child);
    }
    let result = open_until_stable(opened, &planned, unknown, options.inherit);
    opened.planned = planned;
    if let Err(error) = result {
        opened.instances.truncate(first);
        return Err(error);
    }
    Ok(first)
}

/// Whether processes may join what was opened.
pub(crate) fn can_join(opened: &Opened) -> bool {
    opened.planned.len() == 1
}

fn open_until_stable(
    opened: &mut Opened,
    planned: &[PlannedEvent],
    mut unknown: Scopes<'_>,
    inherit: bool,
) -> Result<(), OpenError> {
    let mut ids = vec![Vec::new(); planned.len()];
    let mut unopened = unknown.look()?;
    while !unopened.is_empty() {
        for Unopened { process, scopes } in unopened {
            for scope in scopes {
                open_scope(opened, planned, scope, &mut ids)?;
                if let Scope::Thread(tid) = scope {
                    unknown.opened_thread(tid);
                }
            }
            unknown.opened(process);
        }
        unopened = match inherit {
            true => unknown.look()?,
            false => Vec::new(),
        };
    }
    Ok(())
}
