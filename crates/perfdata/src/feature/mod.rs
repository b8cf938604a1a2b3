//! Facts about a recording, each in a section of its own behind the records.

mod build_ids; // which files were hit
mod clock; // the recording's clock and the wall clock
mod event_desc; // names of the events
mod groups; // events that were counted together
mod numa;
mod topology; // cores and sockets

pub use build_ids::StoredBuildId;
pub use clock::ClockData;
pub use groups::EventGroup;
pub use numa::NumaNode;
pub use topology::CpuTopology;

pub(crate) use build_ids::parse as parse_build_ids;
pub(crate) use event_desc::parse as parse_event_names;

use prof_event::{EventSet, Reader, Short};

use crate::fields::{Put, list, string};

/// Numbers of the feature sections.
pub(crate) mod bit {
    pub(crate) const TRACING_DATA: u32 = 1;
    pub(crate) const BUILD_ID: u32 = 2;
    pub(crate) const HOSTNAME: u32 = 3;
    pub(crate) const OS_RELEASE: u32 = 4;
    pub(crate) const VERSION: u32 = 5;
    pub(crate) const ARCH: u32 = 6;
    pub(crate) const NR_CPUS: u32 = 7;
    pub(crate) const CPU_DESC: u32 = 8;
    pub(crate) const CPU_ID: u32 = 9;
    pub(crate) const TOTAL_MEM: u32 = 10;
    pub(crate) const CMDLINE: u32 = 11;
    pub(crate) const EVENT_DESC: u32 = 12;
    pub(crate) const CPU_TOPOLOGY: u32 = 13;
    pub(crate) const NUMA_TOPOLOGY: u32 = 14;
    pub(crate) const BRANCH_STACK: u32 = 15;
    pub(crate) const PMU_MAPPINGS: u32 = 16;
    pub(crate) const GROUP_DESC: u32 = 17;
    pub(crate) const SAMPLE_TIME: u32 = 21;
    pub(crate) const CLOCK_ID: u32 = 23;
    pub(crate) const COMPRESSED: u32 = 27;
    pub(crate) const CLOCK_DATA: u32 = 29;
    /// In a pipe: no further feature follows.
    pub(crate) const PIPE_END: u32 = 32;
}

/// Facts about a recording. Each may be missing: nothing in a file depends on them but names of
/// events and tracepoint fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// `uname -n`.
    pub hostname: Option<String>,
    /// `uname -r`.
    pub os_release: Option<String>,
    /// The recorder's version.
    pub version: Option<String>,
    /// `uname -m`.
    pub arch: Option<String>,
    /// CPUs that are there.
    pub nr_cpus_available: Option<u32>,
    /// CPUs that run; written only together with [`Self::nr_cpus_available`].
    pub nr_cpus_online: Option<u32>,
    /// The CPU's name.
    pub cpu_desc: Option<String>,
    /// Vendor, family, model and stepping.
    pub cpu_id: Option<String>,
    /// Main memory, KiB.
    pub total_mem_kb: Option<u64>,
    /// The recorder's path, then its arguments.
    pub cmdline: Vec<String>,
    /// Cores and sockets.
    pub cpu_topology: Option<CpuTopology>,
    /// Memory nodes.
    pub numa: Vec<NumaNode>,
    /// Samples have branch records, which readers then report on instead of samples.
    pub branch_stacks: bool,
    /// PMUs of sysfs by the number that attrs have as their type.
    pub pmu_mappings: Vec<(u32, String)>,
    /// Events that were counted together.
    pub groups: Vec<EventGroup>,
    /// Files that samples hit.
    pub build_ids: Vec<StoredBuildId>,
    /// Times of the first and the last sample. [`crate::Writer`] fills it in.
    pub sample_time: Option<(u64, u64)>,
    /// The same moment on two clocks.
    pub clock: Option<ClockData>,
    /// How records were compressed. [`crate::Writer`] fills it in.
    pub compressed: Option<Compressed>,
    /// Formats of tracepoints, see [`crate::TracingData`].
    pub tracing_data: Option<Vec<u8>>,
}

/// How the records of a file were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// zstd's level.
    pub level: u32,
    /// How many times smaller the records became.
    pub ratio: u32,
    /// The most that one compressed record holds, bytes.
    pub mmap_len: u32,
}

/// perf's number for zstd.
const ZSTD: u32 = 1;

impl Features {
    /// The sections that these facts fill, ascending, with the description of `events`.
    pub(crate) fn payloads(&self, events: &EventSet) -> Vec<(u32, Vec<u8>)> {
        let mut sections = Vec::new();
        let mut put = |bit: u32, payload: Option<Vec<u8>>| {
            sections.extend(payload.map(|payload| (bit, payload)));
        };
        let text = |field: &Option<String>| {
            field.as_ref().map(|text| {
                let mut payload = Vec::new();
                payload.put_string(text.as_bytes());
                payload
            })
        };
        put(bit::TRACING_DATA, self.tracing_data.clone());
        put(bit::BUILD_ID, build_ids::to_bytes(&self.build_ids));
        put(bit::HOSTNAME, text(&self.hostname));
        put(bit::OS_RELEASE, text(&self.os_release));
        put(bit::VERSION, text(&self.version));
        put(bit::ARCH, text(&self.arch));
        put(bit::NR_CPUS, self.nr_cpus());
        put(bit::CPU_DESC, text(&self.cpu_desc));
        put(bit::CPU_ID, text(&self.cpu_id));
        let memory = self.total_mem_kb.map(|kb| kb.to_le_bytes().to_vec());
        put(bit::TOTAL_MEM, memory);
        put(bit::CMDLINE, self.cmdline_payload());
        put(bit::EVENT_DESC, Some(event_desc::to_bytes(events)));
        let topology = self.cpu_topology.as_ref().map(CpuTopology::to_bytes);
        put(bit::CPU_TOPOLOGY, topology);
        put(bit::NUMA_TOPOLOGY, numa::to_bytes(&self.numa));
        put(bit::BRANCH_STACK, self.branch_stacks.then(Vec::new));
        put(bit::PMU_MAPPINGS, self.pmu_payload());
        put(bit::GROUP_DESC, groups::to_bytes(&self.groups));
        let times = self.sample_time;
        put(
            bit::SAMPLE_TIME,
            times.map(|(first, last)| words(&[first, last])),
        );
        put(bit::CLOCK_ID, self.clock.map(|_| clock::resolution()));
        put(bit::COMPRESSED, self.compressed.map(Compressed::to_bytes));
        put(bit::CLOCK_DATA, self.clock.map(ClockData::to_bytes));
        sections
    }

    /// Takes in one section. Those that are of no use here are passed over.
    ///
    /// # Errors
    /// [`Short`] if the section ends too early; the fact is then missing.
    pub(crate) fn parse(&mut self, bit: u32, payload: &[u8]) -> Result<(), Short> {
        let mut reader = Reader::new(payload);
        let reader = &mut reader;
        match bit {
            bit::TRACING_DATA => self.tracing_data = Some(payload.to_vec()),
            bit::BUILD_ID => self.build_ids.extend(build_ids::parse(payload)?),
            bit::HOSTNAME => self.hostname = Some(string(reader)?),
            bit::OS_RELEASE => self.os_release = Some(string(reader)?),
            bit::VERSION => self.version = Some(string(reader)?),
            bit::ARCH => self.arch = Some(string(reader)?),
            bit::NR_CPUS => {
                self.nr_cpus_available = Some(reader.u32()?);
                self.nr_cpus_online = Some(reader.u32()?);
            }
            bit::CPU_DESC => self.cpu_desc = Some(string(reader)?),
            bit::CPU_ID => self.cpu_id = Some(string(reader)?),
            bit::TOTAL_MEM => self.total_mem_kb = Some(reader.u64()?),
            bit::CMDLINE => self.cmdline = list(reader)?,
            bit::CPU_TOPOLOGY => {
                let cpus = self.nr_cpus_available.unwrap_or(0);
                self.cpu_topology = Some(CpuTopology::parse(reader, cpus)?);
            }
            bit::NUMA_TOPOLOGY => self.numa = numa::parse(reader)?,
            bit::BRANCH_STACK => self.branch_stacks = true,
            bit::PMU_MAPPINGS => {
                let count = reader.u32()?;
                self.pmu_mappings = (0..count)
                    .map(|_| Ok((reader.u32()?, string(reader)?)))
                    .collect::<Result<_, Short>>()?;
            }
            bit::GROUP_DESC => self.groups = groups::parse(reader)?,
            bit::SAMPLE_TIME => {
                let times = (reader.u64()?, reader.u64()?);
                self.sample_time = (times != (0, 0)).then_some(times); // 0, 0: written by a pipe
            }
            bit::COMPRESSED => self.compressed = Compressed::parse(reader)?,
            bit::CLOCK_DATA => self.clock = Some(ClockData::parse(reader)?),
            _ => {}
        }
        Ok(())
    }

    fn nr_cpus(&self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        payload.put_u32(self.nr_cpus_available?);
        payload.put_u32(self.nr_cpus_online?);
        Some(payload)
    }

    fn cmdline_payload(&self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        payload.put_list(&self.cmdline);
        (!self.cmdline.is_empty()).then_some(payload)
    }

    fn pmu_payload(&self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        payload.put_u32(self.pmu_mappings.len() as u32);
        for (kind, name) in &self.pmu_mappings {
            payload.put_u32(*kind);
            payload.put_string(name.as_bytes());
        }
        (!self.pmu_mappings.is_empty()).then_some(payload)
    }
}

impl Compressed {
    fn to_bytes(self) -> Vec<u8> {
        let mut payload = Vec::new();
        for field in [0, ZSTD, self.level, self.ratio, self.mmap_len] {
            payload.put_u32(field);
        }
        payload
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Option<Self>, Short> {
        let (_version, kind) = (reader.u32()?, reader.u32()?);
        let this = Self {
            level: reader.u32()?,
            ratio: reader.u32()?,
            mmap_len: reader.u32()?,
        };
        Ok((kind == ZSTD).then_some(this))
    }
}

fn words(fields: &[u64]) -> Vec<u8> {
    fields.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_model::{BuildId, CpuMode, Pid};

    pub(super) fn example() -> Features {
        let text = |text: &str| Some(text.to_owned());
        Features {
            hostname: text("box"),
            os_release: text("6.18.44"),
            version: text("prof 0.1.0"),
            arch: text("x86_64"),
            nr_cpus_available: Some(2),
            nr_cpus_online: Some(1),
            cpu_desc: text("A CPU"),
            cpu_id: text("GenuineIntel,6,167,1"),
            total_mem_kb: Some(4096),
            cmdline: vec!["/bin/prof".into(), "record".into()],
            cpu_topology: Some(CpuTopology {
                core_siblings: vec!["0-1".into()],
                thread_siblings: vec!["0".into(), "1".into()],
                cpus: vec![(0, 0), (1, 0)],
            }),
            numa: vec![NumaNode {
                node: 0,
                total_kb: 4096,
                free_kb: 1024,
                cpus: "0-1".into(),
            }],
            branch_stacks: true,
            pmu_mappings: vec![(1, "software".into()), (2, "tracepoint".into())],
            groups: vec![EventGroup {
                name: "{anon_group}".into(),
                leader: 0,
                members: 2,
            }],
            build_ids: vec![StoredBuildId {
                mode: CpuMode::User,
                pid: Pid(-1),
                build_id: BuildId::new(&[7; 20]).unwrap(),
                path: b"/bin/true".to_vec(),
            }],
            sample_time: Some((5, 9)),
            clock: Some(ClockData {
                clockid: 1,
                wall_ns: 1_700_000_000_000_000_000,
                clock_ns: 55,
            }),
            compressed: Some(Compressed {
                level: 1,
                ratio: 9,
                mmap_len: 196_608,
            }),
            tracing_data: Some(b"\x17\x08\x44tracing".to_vec()),
        }
    }

    #[test]
    fn every_fact_survives_writing_and_reading() {
        let features = example();
        let mut read = Features::default();
        let sections = features.payloads(&EventSet::default());
        assert!(sections.is_sorted_by_key(|(bit, _)| *bit));
        for (bit, payload) in &sections {
            read.parse(*bit, payload).unwrap();
        }
        assert_eq!(read, features);
    }

    #[test]
    fn a_section_that_ends_early_is_an_error_wherever_it_is_cut() {
        for (bit, payload) in example().payloads(&EventSet::default()) {
            for cut in 0..payload.len() {
                // Only survival: a blob or a list of records may be shorter.
                let mut read = Features {
                    nr_cpus_available: Some(2),
                    ..Features::default()
                };
                let result = read.parse(bit, &payload[..cut]);
                let free = [bit::TRACING_DATA, bit::BUILD_ID, bit::EVENT_DESC];
                let unread = bit == bit::CLOCK_ID;
                assert!(
                    result.is_err() || free.contains(&bit) || unread,
                    "{bit} {cut}"
                );
            }
        }
    }
}
