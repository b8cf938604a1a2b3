//! Event names as people type them: `cycles:u`, `sched:sched_switch`, `r1a8`.

use crate::abi::{cache, event_type, flag, hardware, software};
use crate::attr::EventAttr;

const HARDWARE: &[(&str, u64)] = &[
    ("cycles", hardware::CPU_CYCLES),
    ("cpu-cycles", hardware::CPU_CYCLES),
    ("instructions", hardware::INSTRUCTIONS),
    ("cache-references", hardware::CACHE_REFERENCES),
    ("cache-misses", hardware::CACHE_MISSES),
    ("branches", hardware::BRANCH_INSTRUCTIONS),
    ("branch-instructions", hardware::BRANCH_INSTRUCTIONS),
    ("branch-misses", hardware::BRANCH_MISSES),
    ("bus-cycles", hardware::BUS_CYCLES),
    ("stalled-cycles-frontend", hardware::STALLED_CYCLES_FRONTEND),
    ("idle-cycles-frontend", hardware::STALLED_CYCLES_FRONTEND),
    ("stalled-cycles-backend", hardware::STALLED_CYCLES_BACKEND),
    ("idle-cycles-backend", hardware::STALLED_CYCLES_BACKEND),
    ("ref-cycles", hardware::REF_CPU_CYCLES),
];

const SOFTWARE: &[(&str, u64)] = &[
    ("cpu-clock", software::CPU_CLOCK),
    ("task-clock", software::TASK_CLOCK),
    ("page-faults", software::PAGE_FAULTS),
    ("faults", software::PAGE_FAULTS),
    ("context-switches", software::CONTEXT_SWITCHES),
    ("cs", software::CONTEXT_SWITCHES),
    ("cpu-migrations", software::CPU_MIGRATIONS),
    ("migrations", software::CPU_MIGRATIONS),
    ("minor-faults", software::PAGE_FAULTS_MIN),
    ("major-faults", software::PAGE_FAULTS_MAJ),
    ("alignment-faults", software::ALIGNMENT_FAULTS),
    ("emulation-faults", software::EMULATION_FAULTS),
    ("dummy", software::DUMMY),
    ("bpf-output", software::BPF_OUTPUT),
    ("cgroup-switches", software::CGROUP_SWITCHES),
];

const CACHES: &[(&[&str], u64)] = &[
    (&["L1-dcache", "l1-d", "l1d"], cache::L1D),
    (&["L1-icache", "l1-i", "l1i"], cache::L1I),
    (&["LLC"], cache::LL),
    (&["dTLB"], cache::DTLB),
    (&["iTLB"], cache::ITLB),
    (&["branch"], cache::BPU),
    (&["node"], cache::NODE),
];

const CACHE_OPERATIONS: &[(&str, u64)] = &[
    (
        "load-misses",
        cache::OP_READ << 8 | cache::RESULT_MISS << 16,
    ),
    ("loads", cache::OP_READ << 8 | cache::RESULT_ACCESS << 16),
    (
        "store-misses",
        cache::OP_WRITE << 8 | cache::RESULT_MISS << 16,
    ),
    ("stores", cache::OP_WRITE << 8 | cache::RESULT_ACCESS << 16),
    (
        "prefetch-misses",
        cache::OP_PREFETCH << 8 | cache::RESULT_MISS << 16,
    ),
    (
        "prefetches",
        cache::OP_PREFETCH << 8 | cache::RESULT_ACCESS << 16,
    ),
];

/// What an event counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A kind and its configuration, ready for `perf_event_open`.
    Config {
        /// [`event_type`].
        kind: u32,
        /// Which one.
        config: u64,
    },
    /// A tracepoint; its number is in tracefs, `events/SYSTEM/NAME/id`.
    Tracepoint {
        /// `sched`
        system: String,
        /// `sched_switch`
        name: String,
    },
}

/// An event that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// As typed, modifiers included: what reports print.
    pub name: String,
    /// What it counts.
    pub kind: EventKind,
    /// Only user code (`:u`): kernel and hypervisor are excluded.
    pub exclude_kernel: bool,
    /// Only kernel code (`:k`).
    pub exclude_user: bool,
    /// Not the hypervisor's code, which only `:h` names.
    pub exclude_hypervisor: bool,
    /// `:p`, `:pp`, `:ppp`.
    pub precise: u8,
}

/// A name that is no event's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown event `{name}`")]
pub struct UnknownEvent {
    /// The name.
    pub name: String,
    /// Names that look like it, best first.
    pub near: Vec<String>,
}

impl EventSpec {
    /// Reads one name with its modifiers.
    ///
    /// # Errors
    /// [`UnknownEvent`], with names that look like it.
    pub fn parse(text: &str) -> Result<Self, UnknownEvent> {
        Self::parse_in_group(text, "")
    }

    /// Reads one name with its modifiers and those of its group.
    pub(crate) fn parse_in_group(text: &str, of_group: &str) -> Result<Self, UnknownEvent> {
        let unknown = || UnknownEvent {
            name: text.to_owned(),
            near: near(text),
        };
        let (base, modifiers) = match text.rsplit_once(':') {
            Some((base, modifiers)) if Self::is_modifiers(modifiers) && kind_of(base).is_some() => {
                (base, modifiers)
            }
            _ => (text, ""),
        };
        let has = |letter| modifiers.contains(letter) || of_group.contains(letter);
        let named = has('u') || has('k') || has('h');
        Ok(Self {
            name: text.to_owned(),
            kind: kind_of(base).ok_or_else(unknown)?,
            exclude_kernel: named && !has('k'),
            exclude_user: named && !has('u'),
            exclude_hypervisor: named && !has('h'),
            precise: precision(modifiers).max(precision(of_group)) as u8,
        })
    }

    pub(crate) fn is_modifiers(text: &str) -> bool {
        let is_known = |letter| "ukhpPHGSD".contains(letter);
        !text.is_empty() && precision(text) <= 3 && text.chars().all(is_known)
    }

    /// Puts the modifiers into an attr; the kind and config too, but for tracepoints.
    pub fn apply(&self, attr: &mut EventAttr) {
        match self.kind {
            EventKind::Config { kind, config } => {
                attr.kind = kind;
                attr.config = config;
            }
            EventKind::Tracepoint { .. } => attr.kind = event_type::TRACEPOINT,
        }
        attr.set(flag::EXCLUDE_KERNEL, self.exclude_kernel);
        attr.set(flag::EXCLUDE_HV, self.exclude_hypervisor);
        attr.set(flag::EXCLUDE_USER, self.exclude_user);
        attr.set(flag::PRECISE_IP_1, self.precise & 1 != 0);
        attr.set(flag::PRECISE_IP_2, self.precise & 2 != 0);
    }
}

fn precision(modifiers: &str) -> usize {
    modifiers.matches('p').count()
}

fn kind_of(base: &str) -> Option<EventKind> {
    let config = |kind, config| Some(EventKind::Config { kind, config });
    let find = |table: &[(&str, u64)]| {
        let (_, config) = table.iter().find(|(name, _)| *name == base)?;
        Some(*config)
    };
    if let Some(number) = find(HARDWARE) {
        return config(event_type::HARDWARE, number);
    }
    if let Some(number) = find(SOFTWARE) {
        return config(event_type::SOFTWARE, number);
    }
    if let Some(number) = cache_config(base) {
        return config(event_type::HW_CACHE, number);
    }
    if let Some(hex) = base.strip_prefix('r')
        && let Ok(number) = u64::from_str_radix(hex, 16)
    {
        return config(event_type::RAW, number);
    }
    let (system, name) = base.split_once(':')?;
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    let known = HARDWARE
        .iter()
        .chain(SOFTWARE)
        .any(|(event, _)| *event == system);
    (is_word(system) && is_word(name) && !known).then(|| EventKind::Tracepoint {
        system: system.to_owned(),
        name: name.to_owned(),
    })
}

fn cache_config(base: &str) -> Option<u64> {
    CACHES.iter().find_map(|(names, cache)| {
        let operation = names
            .iter()
            .find_map(|name| base.strip_prefix(name)?.strip_prefix('-'))?;
        let (_, bits) = CACHE_OPERATIONS
            .iter()
            .find(|(name, _)| *name == operation)?;
        Some(cache | bits)
    })
}

/// Every name that is not a tracepoint's or a raw number.
pub fn known_names() -> impl Iterator<Item = String> {
    let plain = HARDWARE
        .iter()
        .chain(SOFTWARE)
        .map(|(name, _)| (*name).to_owned());
    let caches = CACHES.iter().flat_map(|(names, _)| {
        let operations = CACHE_OPERATIONS.iter();
        operations.map(move |(operation, _)| format!("{}-{operation}", names[0]))
    });
    plain.chain(caches)
}

/// A name for an event that a file leaves unnamed, as perf derives it.
pub fn derive_name(attr: &EventAttr) -> String {
    let find = |table: &[(&str, u64)]| {
        let (name, _) = table.iter().find(|(_, config)| *config == attr.config)?;
        Some((*name).to_owned())
    };
    let mut name = match attr.kind {
        event_type::HARDWARE => find(HARDWARE),
        event_type::SOFTWARE => find(SOFTWARE),
        event_type::RAW => Some(format!("raw 0x{:x}", attr.config)),
        _ => None,
    }
    .unwrap_or_else(|| format!("unknown attr type: {}", attr.kind));
    let mut modifiers = String::new();
    if attr.flags & (flag::EXCLUDE_KERNEL | flag::EXCLUDE_USER | flag::EXCLUDE_HV) != 0 {
        for (excluded, letter) in [
            (flag::EXCLUDE_KERNEL, 'k'),
            (flag::EXCLUDE_USER, 'u'),
            (flag::EXCLUDE_HV, 'h'),
        ] {
            if !attr.has(excluded) {
                modifiers.push(letter);
            }
        }
    }
    (0..attr.precise_ip()).for_each(|_| modifiers.push('p'));
    if !modifiers.is_empty() {
        name = format!("{name}:{modifiers}");
    }
    name
}

fn near(text: &str) -> Vec<String> {
    let base = text.split(':').next().unwrap_or(text);
    let mut names: Vec<_> = known_names()
        .map(|name| (strsim::damerau_levenshtein(base, &name), name))
        .filter(|(distance, name)| *distance <= 3.min(name.len() / 2))
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (u32, u64, bool, bool) {
        let spec = EventSpec::parse(text).unwrap();
        let EventKind::Config { kind, config } = spec.kind else {
            panic!("{text} is a tracepoint")
        };
        (kind, config, spec.exclude_kernel, spec.exclude_user)
    }

    #[test]
    fn names_and_modifiers_are_those_of_perf() {
        assert_eq!(parsed("cycles"), (0, 0, false, false));
        assert_eq!(parsed("cycles:u"), (0, 0, true, false));
        assert_eq!(parsed("cpu-clock:k"), (1, 0, false, true));
        assert_eq!(parsed("cs:uk"), (1, 3, false, false));
        assert_eq!(parsed("L1-dcache-load-misses"), (3, 0x10000, false, false));
        assert_eq!(parsed("LLC-stores"), (3, 0x102, false, false));
        assert_eq!(parsed("node-prefetch-misses"), (3, 0x10206, false, false));
        assert_eq!(parsed("r1a8:u"), (4, 0x1a8, true, false));
        assert_eq!(EventSpec::parse("cycles:ppp").unwrap().precise, 3);
    }

    #[test]
    fn a_system_and_a_name_are_a_tracepoint() {
        let spec = EventSpec::parse("sched:sched_switch:u").unwrap();
        assert!(spec.exclude_kernel);
        let kind = EventKind::Tracepoint {
            system: "sched".into(),
            name: "sched_switch".into(),
        };
        assert_eq!(spec.kind, kind);
    }

    #[test]
    fn an_unknown_name_suggests_the_one_that_was_meant() {
        assert_eq!(EventSpec::parse("cylces").unwrap_err().near, ["cycles"]);
        assert!(EventSpec::parse("cycles:x").is_err());
        assert!(EventSpec::parse("").is_err());
        assert_eq!(EventSpec::parse("zzzzzz").unwrap_err().near, [""; 0]);
    }

    #[test]
    fn every_name_is_derived_from_the_attr_that_it_makes() {
        let attr_of = |name: &str| {
            let mut attr = EventAttr::default();
            EventSpec::parse(name).unwrap().apply(&mut attr);
            attr
        };
        let plain = HARDWARE.iter().chain(SOFTWARE);
        let names = plain.map(|(name, _)| *name).chain(["r1a8"]);
        for name in names {
            for modifiers in ["", ":u", ":k", ":uk", ":kh", ":pp", ":up"] {
                let attr = attr_of(&format!("{name}{modifiers}"));
                let derived = derive_name(&attr);
                if let Some(raw) = derived.strip_prefix("raw 0x") {
                    assert_eq!(raw.split(':').next(), Some("1a8"), "{name}{modifiers}");
                    continue;
                }
                assert_eq!(attr_of(&derived), attr, "{name}{modifiers}: {derived}");
            }
        }
    }

    #[test]
    fn a_name_is_derived_from_an_attr() {
        let spec = EventSpec::parse("cpu-clock:u").unwrap();
        let mut attr = EventAttr::default();
        spec.apply(&mut attr);
        assert_eq!(derive_name(&attr), "cpu-clock:u");
    }
}
