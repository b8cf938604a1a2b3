//! Which samples are of a CPU that had nothing to do.

use prof_model::Pid;
use prof_profile::{Profile, SampleKey};

use crate::{Places, SymbolKind};

/// What functions begin with in which an idle CPU waits, on the machines that we know.
const WAITING: [&str; 19] = [
    "acpi_idle",
    "acpi_safe_halt",
    "arch_cpu_idle",
    "cpu_do_idle",
    "cpu_idle_poll",
    "cpu_startup_entry",
    "cpuidle_",
    "default_idle",
    "default_enter_idle",
    "do_idle",
    "haltpoll_",
    "intel_idle",
    "io_idle",
    "mwait_idle",
    "native_safe_halt",
    "poll_idle",
    "psci_",
    "pv_native_safe_halt",
    "tick_nohz_idle",
];

/// Whether a sample is of an idle CPU: of the thread that runs where no other does, and not in an interrupt
/// that came meanwhile, which is work. Where the kernel's functions have no names the thread decides.
pub(crate) fn is_idle(profile: &Profile, places: &Places, key: &SampleKey) -> bool {
    if key.pid != Pid(0) {
        return false;
    }
    let innermost = profile.stacks().frames(key.stack).next();
    innermost.is_none_or(|frame| {
        let symbol = places.symbol_at(places.physical(frame));
        match symbol.kind {
            SymbolKind::Function => WAITING.iter().any(|start| symbol.name.starts_with(start)),
            _ => true,
        }
    })
}
