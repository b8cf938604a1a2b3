//! Event names as people type them: `cycles:u`, `sched:sched_switch`, `r1a8`, `cpu-clock/freq=99/u`.

use crate::abi::{cache, event_type, flag, hardware, software};
use crate::attr::EventAttr;
use crate::event_terms::{EventRate, EventStacks, EventTerms, PmuTerm};

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
        /// `sched`, or a pattern with `*` and `?`
        system: String,
        /// `sched_switch`, or a pattern
        name: String,
    },
    /// An event of a PMU; its number and what the terms mean is in sysfs.
    Pmu {
        /// `cpu`
        pmu: String,
        /// `event=0x3c`
        terms: Vec<PmuTerm>,
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
    /// How often, where the event says so itself.
    pub rate: Option<EventRate>,
    /// How its stacks are walked, where it says so itself.
    pub stacks: Option<EventStacks>,
    /// Which hits of a tracepoint count, in the kernel's language for filters: `prev_pid > 1`.
    pub filter: Option<String>,
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

/// What was typed is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The name is no event's.
    #[error(transparent)]
    Unknown(#[from] UnknownEvent),
    /// A term between the slashes says nothing about the event.
    #[error("`{term}` says nothing about the event `{event}`")]
    Term {
        /// What is in front of the slashes.
        event: String,
        /// The term.
        term: String,
    },
}

impl EventSpec {
    /// Reads one name with its terms and modifiers.
    ///
    /// # Errors
    /// [`EventError`], for an unknown name with those that look like it.
    pub fn parse(text: &str) -> Result<Self, EventError> {
        Self::parse_in_group(text, "")
    }

    /// Reads one name with its terms and modifiers, and the modifiers of its group.
    pub(crate) fn parse_in_group(text: &str, of_group: &str) -> Result<Self, EventError> {
        let unknown = || UnknownEvent {
            name: text.to_owned(),
            near: near(text),
        };
        let (kind, modifiers, terms) = match text.split_once('/') {
            Some((base, rest)) => {
                let (terms, modifiers) = rest.rsplit_once('/').ok_or_else(unknown)?;
                let modifiers = modifiers.strip_prefix(':').unwrap_or(modifiers);
                if !modifiers.is_empty() && !Self::is_modifiers(modifiers) {
                    return Err(unknown().into());
                }
                let wrong = |term| EventError::Term {
                    event: base.to_owned(),
                    term,
                };
                let terms = EventTerms::parse(terms).map_err(wrong)?;
                (kind_with_terms(base, &terms)?, modifiers, terms)
            }
            None => {
                let (base, modifiers) = match text.rsplit_once(':') {
                    Some((base, modifiers))
                        if Self::is_modifiers(modifiers) && kind_of(base).is_some() =>
                    {
                        (base, modifiers)
                    }
                    _ => (text, ""),
                };
                let kind = kind_of(base).ok_or_else(unknown)?;
                (kind, modifiers, EventTerms::default())
            }
        };
        let has = |letter| modifiers.contains(letter) || of_group.contains(letter);
        let named = has('u') || has('k') || has('h');
        Ok(Self {
            name: terms.name.unwrap_or_else(|| text.to_owned()),
            kind,
            exclude_kernel: named && !has('k'),
            exclude_user: named && !has('u'),
            exclude_hypervisor: named && !has('h'),
            precise: precision(modifiers).max(precision(of_group)) as u8,
            rate: terms.rate,
            stacks: terms.stacks,
            filter: None,
        })
    }

    pub(crate) fn is_modifiers(text: &str) -> bool {
        let is_known = |letter| "ukhpPHGSD".contains(letter);
        !text.is_empty() && precision(text) <= 3 && text.chars().all(is_known)
    }

    /// Puts the modifiers into an attr; the kind and config too, but for what tracefs and sysfs tell.
    pub fn apply(&self, attr: &mut EventAttr) {
        match self.kind {
            EventKind::Config { kind, config } => {
                attr.kind = kind;
                attr.config = config;
            }
            EventKind::Tracepoint { .. } => attr.kind = event_type::TRACEPOINT,
            EventKind::Pmu { .. } => {}
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

/// The kind of an event with terms, which may be those of a PMU.
fn kind_with_terms(base: &str, terms: &EventTerms) -> Result<EventKind, EventError> {
    if let ("cpu", [PmuTerm { name, value: None }]) = (base, &terms.of_pmu[..])
        && let Some((_, config)) = HARDWARE.iter().find(|(event, _)| event == name)
    {
        return Ok(EventKind::Config {
            kind: event_type::HARDWARE,
            config: *config,
        });
    }
    match (kind_of(base), terms.of_pmu.first()) {
        (Some(kind), None) => Ok(kind),
        (Some(_), Some(term)) => Err(EventError::Term {
            event: base.to_owned(),
            term: term.name.clone(),
        }),
        (None, _) if is_word(base) && near(base).is_empty() => Ok(EventKind::Pmu {
            pmu: base.to_owned(),
            terms: terms.of_pmu.clone(),
        }),
        (None, _) => Err(EventError::Unknown(UnknownEvent {
            name: base.to_owned(),
            near: near(base),
        })),
    }
}

fn is_word(text: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty() && text.bytes().all(is_of_word)
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
    let is_pattern = |text: &str| is_word(&text.replace(['*', '?'], "_"));
    let known = HARDWARE
        .iter()
        .chain(SOFTWARE)
        .any(|(event, _)| *event == system);
    (is_pattern(system) && is_pattern(name) && !known).then(|| EventKind::Tracepoint {
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
        for pattern in ["sched:*", "sch?d:sched_*:u"] {
            let spec = EventSpec::parse(pattern).unwrap();
            assert!(
                matches!(spec.kind, EventKind::Tracepoint { .. }),
                "{pattern}"
            );
        }
    }

    #[test]
    fn terms_between_slashes_are_rates_stacks_names_and_what_a_pmu_knows() {
        let spec = |text| EventSpec::parse(text).unwrap();
        let clock = spec("cpu-clock/freq=99,call-graph=no/u");
        assert_eq!(clock.name, "cpu-clock/freq=99,call-graph=no/u");
        assert_eq!(clock.rate, Some(EventRate::Frequency(99)));
        assert_eq!(clock.stacks, Some(EventStacks::None));
        assert!(clock.exclude_kernel);
        assert_eq!(
            parsed("cycles/period=100000,name=mine/k"),
            (0, 0, false, true)
        );
        assert_eq!(spec("cycles/name=mine/").name, "mine");
        assert_eq!(parsed("cpu/cycles/"), (0, 0, false, false));
        assert_eq!(parsed("cpu/cpu-cycles,freq=99/u"), (0, 0, true, false));
        assert_eq!(parsed("cpu/instructions/"), (0, 1, false, false));
        let EventKind::Pmu { pmu, terms } = spec("cpu/event=0x3c,umask=0/").kind else {
            panic!("no PMU")
        };
        let terms = terms.iter().map(|it| (it.name.as_str(), it.value));
        let terms: Vec<_> = terms.collect();
        let expected = [("event", Some(0x3c)), ("umask", Some(0))];
        assert_eq!((pmu.as_str(), &terms[..]), ("cpu", &expected[..]));
        let wrong = EventSpec::parse("cpu-clock/frob/").unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "`frob` says nothing about the event `cpu-clock`"
        );
    }

    #[test]
    fn an_unknown_name_suggests_the_one_that_was_meant() {
        let near = |text| match EventSpec::parse(text) {
            Err(EventError::Unknown(unknown)) => unknown.near,
            other => panic!("{other:?}"),
        };
        assert_eq!(near("cylces"), ["cycles"]);
        assert_eq!(near("cylces/freq=99/"), ["cycles"]);
        assert_eq!(near("zzzzzz"), [""; 0]);
        for text in [
            "cycles:x",
            "",
            "cycles/freq=99",
            "cycles/freq=99/x",
            "cpu-clok/",
        ] {
            assert!(EventSpec::parse(text).is_err(), "{text}");
        }
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
