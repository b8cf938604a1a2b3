//! From a callchain to frames: each address in its DSO, as the mappings are at that moment.
//!
//! In: a callchain and what is known about the process. Out: [`PlacedChain`]. Elsewhere: what the mappings
//! are (`prof_event::Tracker`), names of frames ([`crate::naming`]).

use prof_event::abi::{callchain, event_type, flag, sample};
use prof_event::{Event, Sample, Tracker};
use prof_model::{AddressSpace, CpuMode, DsoId, DsoKind, DsoTable, Mapping, Pid, VirtAddr};
use prof_profile::{FrameKey, PartId};

use crate::generated::GeneratedCode;
use crate::kernel_parts::KernelParts;

/// How user callers are written in the callchains of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// As return addresses: the kernel's frame-pointer walk.
    ReturnAddresses,
    /// As the calls themselves, return address - 1: what an unwinder makes of it.
    CallSites,
}

impl Callers {
    /// What `prof record` says about an event in its attr: it has unwound the user part itself, so
    /// the kernel's own walk is excluded.
    pub fn of(event: &Event) -> Self {
        if event.attr.has(flag::EXCLUDE_CALLCHAIN_USER) {
            Self::CallSites
        } else {
            Self::ReturnAddresses
        }
    }
}

/// The frames of one sample, valid until the next one is placed.
#[derive(Clone, Copy, Debug)]
pub struct PlacedChain<'a> {
    /// The kernel's part of the callchain, where its frames are kept apart.
    pub inner: Option<(PartId, &'a [FrameKey])>,
    /// The frames behind that part, innermost first.
    pub frames: &'a [FrameKey],
    chain: &'a [u64],
    addresses: &'a [u64], // of `frames`
    /// Mappings among them of files that may be no programs, see [`prof_model::Dso::may_be_generated`].
    pub(crate) doubtful: &'a [Mapping],
}

impl<'a> PlacedChain<'a> {
    /// All frames, innermost first, each with its recorded address.
    pub fn all_frames(&self) -> impl Iterator<Item = (&'a FrameKey, VirtAddr)> {
        let kernel = self.inner.map(|(_, frames)| frames);
        let kernel = kernel.into_iter().flatten().zip(kernel_part(self.chain));
        let others = self.frames.iter().zip(self.addresses);
        let frames = kernel.chain(others);
        frames.map(|(frame, &addr)| (frame, VirtAddr(addr)))
    }

    /// The recorded addresses of [`Self::all_frames`]; none if each of a callchain lies in a file or has
    /// the address that its frame has.
    pub fn own_addresses(&self, event: &Event, dsos: &DsoTable) -> Vec<VirtAddr> {
        let is_in_file = |dso| dsos.get(dso).kind.is_file_relative();
        let is_told = |(frame, addr): (&FrameKey, &u64)| {
            frame.shown == *addr || frame.dso.is_some_and(is_in_file)
        };
        // The kernel's code, whose parts are not among these, is numbered as it was recorded.
        let mut frames = self.frames.iter().zip(self.addresses);
        let is_chain = event.attr.sample_type & sample::CALLCHAIN != 0;
        if is_chain && frames.all(is_told) {
            return Vec::new();
        }
        self.all_frames().map(|(_, addr)| addr).collect()
    }
}

/// Finds the place of each address of a callchain.
#[derive(Default)]
pub(crate) struct Placing {
    kernel_parts: KernelParts,
    frames: Vec<FrameKey>, // these three are reused from sample to sample
    addresses: Vec<u64>,
    doubtful: Vec<Mapping>,
}

impl Placing {
    /// The frames of a sample's callchain; the sampled instruction alone where there is no callchain.
    pub(crate) fn place<'a>(
        &'a mut self,
        event: &Event,
        sample: &Sample<'_>,
        chain: &'a [u64],
        tracker: &mut Tracker,
        generated: &mut GeneratedCode,
    ) -> PlacedChain<'a> {
        self.frames.clear();
        self.addresses.clear();
        self.doubtful.clear();
        let kernel = kernel_part(chain);
        let mut inner = self.kernel_parts.find(kernel);
        let rest = match inner {
            Some(_) => &chain[1 + kernel.len()..],
            None => chain,
        };
        let unwound = event.attr.sample_type & sample::STACK_USER != 0;
        let call_sites = unwound || Callers::of(event) == Callers::CallSites;
        let mut places = Places::of(sample, tracker, generated, &mut self.doubtful);
        let mut last_mode = None;
        for (mode, addr) in prof_event::with_modes(rest.iter().copied(), CpuMode::User) {
            // The first address of each part is the one that ran; the others called.
            let exact = last_mode != Some(mode) || (mode == CpuMode::User && call_sites);
            last_mode = Some(mode);
            let lookup = if exact { addr } else { addr.saturating_sub(1) };
            self.frames.push(places.find(mode, addr, lookup));
            self.addresses.push(addr);
        }
        if inner.is_none() && self.frames.is_empty() {
            let ip = sample.ip.0;
            self.frames.push(places.find(sample.mode, ip, ip));
            self.addresses.push(ip);
        }
        if inner.is_none() && !kernel.is_empty() {
            inner = self.kernel_parts.keep(kernel, &self.frames[..kernel.len()]);
            if inner.is_some() {
                self.frames.drain(..kernel.len());
                self.addresses.drain(..kernel.len());
            }
        }
        PlacedChain {
            inner: inner.map(|part| (part, self.kernel_parts.frames(part))),
            frames: &self.frames,
            chain,
            addresses: &self.addresses,
            doubtful: &self.doubtful,
        }
    }

    /// The kernel has other code from now on.
    pub(crate) fn kernel_changed(&mut self) {
        self.kernel_parts.forget();
    }
}

/// What tells the places of one sample's addresses.
pub(crate) struct Places<'a> {
    tracker: &'a Tracker,
    generated: &'a mut GeneratedCode,
    space: &'a AddressSpace,
    hidden_kernel: Option<DsoId>,
    pid: Pid,
    time: Option<u64>,
    last: Option<(CpuMode, &'a Mapping)>, // a caller often lies in the same file
    last_is_generated: bool,              // perhaps, as `Dso::may_be_generated` tells
    doubtful: &'a mut Vec<Mapping>,
}

impl<'a> Places<'a> {
    /// Those of a sample, by what is mapped now. `doubtful` is added to.
    pub(crate) fn of(
        sample: &Sample<'_>,
        tracker: &'a mut Tracker,
        generated: &'a mut GeneratedCode,
        doubtful: &'a mut Vec<Mapping>,
    ) -> Self {
        let hidden_kernel = tracker.hidden_kernel();
        let tracker: &Tracker = tracker;
        let space = tracker.processes.space(sample.pid);
        Self {
            tracker,
            generated,
            space: space.unwrap_or(AddressSpace::nowhere()),
            hidden_kernel,
            pid: sample.pid,
            time: sample.time,
            last: None,
            last_is_generated: false,
            doubtful,
        }
    }

    /// Whether a part of the kernel is known to lie there.
    pub(crate) fn is_in_kernel(&self, addr: u64) -> bool {
        self.tracker.kernel_mapping(VirtAddr(addr)).is_some()
    }

    /// The place of `addr`. `lookup` is where its name is looked up: a byte before it for a return
    /// address.
    #[inline]
    pub(crate) fn find(&mut self, mode: CpuMode, addr: u64, lookup: u64) -> FrameKey {
        let mapping = match (mode, self.last) {
            (_, Some((same, mapping)))
                if same == mode && (mapping.start..mapping.end).contains(&lookup) =>
            {
                Some(mapping)
            }
            (CpuMode::Kernel, _) => self.tracker.kernel_mapping(VirtAddr(lookup)),
            (CpuMode::User | CpuMode::Unknown, _) => self.space.find(VirtAddr(lookup)),
            _ => None,
        };
        let dsos = &self.tracker.processes.dsos;
        if let Some(mapping) = mapping
            && !matches!(self.last, Some((_, last)) if std::ptr::eq(last, mapping))
        {
            self.last = Some((mode, mapping));
            self.last_is_generated = dsos.get(mapping.dso).may_be_generated();
            if self.last_is_generated {
                self.doubtful.push(*mapping);
            }
        }
        // Code of a jitdump lies where no program is mapped.
        let kind = mapping.map(|mapping| dsos.get(mapping.dso).kind);
        let is_free = matches!(kind, None | Some(DsoKind::Jit(_) | DsoKind::Memory));
        if mode == CpuMode::User
            && (is_free || self.last_is_generated)
            && let Some((dso, place)) = self.generated.find(self.pid, lookup, self.time)
        {
            return FrameKey {
                mode,
                dso: Some(dso),
                shown: place.0.wrapping_add(addr - lookup),
                lookup: place.0,
            };
        }
        if matches!(kind, Some(DsoKind::Jit(_))) {
            self.generated.hit(self.pid);
        }
        match mapping {
            None => FrameKey {
                mode,
                dso: self.hidden_kernel.filter(|_| mode == CpuMode::Kernel),
                shown: addr,
                lookup,
            },
            Some(mapping) => FrameKey {
                mode,
                dso: Some(mapping.dso),
                shown: mapping.dso_addr(VirtAddr(addr)).0,
                lookup: mapping.dso_addr(VirtAddr(lookup)).0,
            },
        }
    }
}

/// What the kernel did for itself before anything else of a callchain, without its marker.
fn kernel_part(chain: &[u64]) -> &[u64] {
    match chain {
        [callchain::KERNEL, rest @ ..] => {
            let is_address = |entry: &&u64| **entry < callchain::FIRST;
            &rest[..rest.iter().take_while(is_address).count()]
        }
        _ => &[],
    }
}

/// Software events that are page faults: all, minor, major.
const PAGE_FAULTS: [u64; 3] = [2, 5, 6];
/// Where the kernel's half of the addresses of 64-bit machines begins.
pub(crate) const FIRST_OF_KERNEL: u64 = 1 << 63;

/// The place of the data that a page fault was about; `None` of other events, where perf does not name
/// the data either.
pub fn faulted_data(
    tracker: &Tracker,
    event: &Event,
    sample: &Sample<'_>,
) -> Option<(VirtAddr, FrameKey)> {
    let addr = VirtAddr(sample.addr?);
    if event.attr.kind != event_type::SOFTWARE || !PAGE_FAULTS.contains(&event.attr.config) {
        return None;
    }
    // The kernel, too, touches data of the user: the address tells whose it is.
    let (mode, mapping) = match addr.0 >= FIRST_OF_KERNEL {
        true => (CpuMode::Kernel, tracker.kernel_mapping(addr)),
        false => {
            let space = tracker.processes.space(sample.pid);
            (CpuMode::User, space.and_then(|space| space.find(addr)))
        }
    };
    let place = mapping.map_or(addr.0, |mapping| mapping.dso_addr(addr).0);
    let key = FrameKey {
        mode,
        dso: mapping.map(|mapping| mapping.dso),
        shown: place,
        lookup: place,
    };
    Some((addr, key))
}
