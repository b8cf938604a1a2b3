//! Records as the kernel and perf write them: the same bytes in a ring and in a file.

use prof_model::{BuildId, CpuMode, FileId, Pid, Tid};

use crate::abi::{misc, record, sample};
use crate::attr::EventAttr;
use crate::bytes::{Reader, Short, Words};
use crate::sample::{ReadValues, Sample};

/// Bytes of a record's header: type, misc and size.
pub const HEADER_SIZE: usize = 8;

/// A record whose body nobody has looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// [`crate::abi::record`].
    pub kind: u32,
    /// [`crate::abi::misc`].
    pub misc: u16,
    /// All of it, header included.
    pub bytes: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// The record at the start of `bytes`.
    ///
    /// # Errors
    /// [`Short`] if its size is below 8 or reaches behind `bytes`.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Short> {
        let mut reader = Reader::new(bytes);
        let (kind, misc, size) = (reader.u32()?, reader.u16()?, reader.u16()?);
        let size = usize::from(size);
        if size < HEADER_SIZE {
            return Err(Short);
        }
        Ok(Self {
            kind,
            misc,
            bytes: bytes.get(..size).ok_or(Short)?,
        })
    }

    /// What follows the header.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_SIZE..]
    }

    /// In which mode the CPU was.
    pub fn cpu_mode(&self) -> CpuMode {
        match self.misc & misc::CPUMODE_MASK {
            misc::KERNEL => CpuMode::Kernel,
            misc::USER => CpuMode::User,
            misc::HYPERVISOR => CpuMode::Hypervisor,
            misc::GUEST_KERNEL => CpuMode::GuestKernel,
            misc::GUEST_USER => CpuMode::GuestUser,
            _ => CpuMode::Unknown,
        }
    }
}

/// Who and when: the end of every kernel record but samples, with `sample_id_all`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleId {
    /// Process and thread.
    pub task: Option<(i32, i32)>,
    /// Nanoseconds of the event's clock. Recorders write 0 in records they made up.
    pub time: Option<u64>,
    /// The event's id, with ID or IDENTIFIER.
    pub id: Option<u64>,
    /// The CPU.
    pub cpu: Option<u32>,
}

impl SampleId {
    /// Bytes it takes for this sample type.
    #[inline]
    pub fn size(sample_type: u64) -> usize {
        const FIELDS: u64 = sample::TID
            | sample::TIME
            | sample::ID
            | sample::STREAM_ID
            | sample::CPU
            | sample::IDENTIFIER;
        (sample_type & FIELDS).count_ones() as usize * 8
    }

    /// Reads it from the end of a body; returns what lies before it.
    ///
    /// # Errors
    /// [`Short`] if the body is shorter.
    pub fn split(body: &[u8], sample_type: u64) -> Result<(&[u8], Self), Short> {
        let at = body
            .len()
            .checked_sub(Self::size(sample_type))
            .ok_or(Short)?;
        let (before, trailer) = body.split_at(at);
        let mut reader = Reader::new(trailer);
        let mut this = Self::default();
        if sample_type & sample::TID != 0 {
            this.task = Some((reader.u32()? as i32, reader.u32()? as i32));
        }
        if sample_type & sample::TIME != 0 {
            this.time = Some(reader.u64()?);
        }
        if sample_type & sample::ID != 0 {
            this.id = Some(reader.u64()?);
        }
        if sample_type & sample::STREAM_ID != 0 {
            reader.u64()?;
        }
        if sample_type & sample::CPU != 0 {
            this.cpu = Some(reader.u32()?);
            reader.u32()?;
        }
        if sample_type & sample::IDENTIFIER != 0 {
            this.id = Some(reader.u64()?);
        }
        Ok((before, this))
    }
}

/// What was mapped where: MMAP and MMAP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmap<'a> {
    /// -1 for the kernel.
    pub pid: Pid,
    /// The thread that mapped.
    pub tid: Tid,
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
    /// Offset in the file; for the kernel the address of its reference symbol.
    pub pgoff: u64,
    /// The file, in MMAP2 without a build-id.
    pub file: Option<FileId>,
    /// The file's build-id, in MMAP2 that carry it instead.
    pub build_id: Option<BuildId>,
    /// `PROT_*`.
    pub prot: u32,
    /// `MAP_*`.
    pub flags: u32,
    /// Kernel or user.
    pub mode: CpuMode,
    /// Path or perf's word for it.
    pub name: &'a [u8],
}

/// A thread that starts or ends: FORK and EXIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its process.
    pub pid: Pid,
    /// Itself.
    pub tid: Tid,
    /// Its creator's process.
    pub ppid: Pid,
    /// Its creator.
    pub ptid: Tid,
    /// Nanoseconds.
    pub time: u64,
    /// A FORK that a recorder made up for a process it found running: mappings are not inherited.
    pub made_up: bool,
}

/// Kernel text that comes or goes: BPF programs, trampolines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ksymbol<'a> {
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// 1: a BPF program, 2: code that the kernel made elsewhere.
    pub kind: u16,
    /// Whether it is gone from here on.
    pub unregister: bool,
    /// Its name.
    pub name: &'a [u8],
}

/// A BPF program that was loaded or unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfEvent<'a> {
    /// 1: loaded, 2: unloaded.
    pub kind: u16,
    /// None are known.
    pub flags: u16,
    /// The program's number.
    pub id: u32,
    /// A hash of its instructions.
    pub tag: &'a [u8],
}

/// A decoded record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// MMAP or MMAP2.
    Mmap(Mmap<'a>),
    /// COMM: a thread has a new name.
    Comm {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
        /// Whether it runs another program from here on.
        exec: bool,
        /// The name.
        name: &'a [u8],
    },
    /// FORK.
    Fork(Task),
    /// EXIT.
    Exit(Task),
    /// LOST: so many records did not fit into the ring.
    Lost {
        /// The event whose ring it was.
        id: u64,
        /// How many.
        lost: u64,
    },
    /// LOST_SAMPLES: so many samples of an event were dropped.
    LostSamples {
        /// How many.
        lost: u64,
    },
    /// THROTTLE or UNTHROTTLE: the event fired too often and was stopped for a tick.
    Throttle {
        /// Whether it goes on from here.
        resumed: bool,
    },
    /// SAMPLE.
    Sample(Sample<'a>),
    /// SWITCH: the thread was put on a CPU or taken off it.
    Switch {
        /// Taken off.
        out: bool,
        /// Although it could have gone on.
        preempted: bool,
        /// Who runs next, or ran before; in SWITCH_CPU_WIDE.
        other: Option<(Pid, Tid)>,
    },
    /// NAMESPACES: in which a thread lives from here on.
    Namespaces {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
        /// Device and inode of each: net, uts, ipc, pid, user, mnt, cgroup.
        links: Words<'a>,
    },
    /// CGROUP: a control group has a number.
    Cgroup {
        /// The number.
        id: u64,
        /// Its path below the root of all.
        path: &'a [u8],
    },
    /// BPF_EVENT.
    BpfEvent(BpfEvent<'a>),
    /// TEXT_POKE: the kernel changed its own code.
    TextPoke {
        /// Where.
        addr: u64,
        /// What was there.
        old: &'a [u8],
        /// What is there now.
        new: &'a [u8],
    },
    /// KSYMBOL.
    Ksymbol(Ksymbol<'a>),
    /// READ: what a thread that ends has counted.
    Read {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
        /// The counters.
        values: ReadValues<'a>,
    },
    /// A kind that nothing here needs.
    Other,
}

/// Decodes the body of any record but a sample, given without its [`SampleId`].
///
/// # Errors
/// [`Short`] where a field is missing.
pub(crate) fn decode_body<'a>(
    raw: RawRecord<'_>,
    body: &'a [u8],
    read_format: u64,
) -> Result<Record<'a>, Short> {
    let mut reader = Reader::new(body);
    let pid_tid = |reader: &mut Reader<'a>| -> Result<(Pid, Tid), Short> {
        Ok((Pid(reader.u32()? as i32), Tid(reader.u32()? as i32)))
    };
    Ok(match raw.kind {
        record::MMAP | record::MMAP2 => Record::Mmap(decode_mmap(raw, reader)?),
        record::COMM => {
            let (pid, tid) = pid_tid(&mut reader)?;
            Record::Comm {
                pid,
                tid,
                exec: raw.misc & misc::COMM_EXEC != 0,
                name: reader.c_string(),
            }
        }
        record::FORK | record::EXIT => {
            let (pid, ppid) = (reader.u32()? as i32, reader.u32()? as i32);
            let (tid, ptid) = (reader.u32()? as i32, reader.u32()? as i32);
            let task = Task {
                pid: Pid(pid),
                tid: Tid(tid),
                ppid: Pid(ppid),
                ptid: Tid(ptid),
                time: reader.u64()?,
                made_up: raw.misc & misc::FORK_EXEC != 0,
            };
            if raw.kind == record::FORK {
                Record::Fork(task)
            } else {
                Record::Exit(task)
            }
        }
        record::READ => {
            let (pid, tid) = pid_tid(&mut reader)?;
            Record::Read {
                pid,
                tid,
                values: ReadValues::decode(&mut reader, read_format)?,
            }
        }
        record::LOST => Record::Lost {
            id: reader.u64()?,
            lost: reader.u64()?,
        },
        record::LOST_SAMPLES => Record::LostSamples {
            lost: reader.u64()?,
        },
        record::THROTTLE | record::UNTHROTTLE => Record::Throttle {
            resumed: raw.kind == record::UNTHROTTLE,
        },
        record::SWITCH | record::SWITCH_CPU_WIDE => Record::Switch {
            out: raw.misc & misc::SWITCH_OUT != 0,
            preempted: raw.misc & misc::SWITCH_OUT_PREEMPT != 0,
            other: match raw.kind {
                record::SWITCH => None,
                _ => Some(pid_tid(&mut reader)?),
            },
        },
        record::NAMESPACES => {
            let (pid, tid) = pid_tid(&mut reader)?;
            let count = reader.u64()?;
            Record::Namespaces {
                pid,
                tid,
                links: reader.words(count.checked_mul(2).ok_or(Short)?)?,
            }
        }
        record::CGROUP => Record::Cgroup {
            id: reader.u64()?,
            path: reader.c_string(),
        },
        record::BPF_EVENT => Record::BpfEvent(BpfEvent {
            kind: reader.u16()?,
            flags: reader.u16()?,
            id: reader.u32()?,
            tag: reader.bytes(8)?,
        }),
        record::TEXT_POKE => {
            let addr = reader.u64()?;
            let (old, new) = (reader.u16()?, reader.u16()?);
            Record::TextPoke {
                addr,
                old: reader.bytes(usize::from(old))?,
                new: reader.bytes(usize::from(new))?,
            }
        }
        record::KSYMBOL => {
            let (addr, len) = (reader.u64()?, reader.u32()?);
            let (kind, flags) = (reader.u16()?, reader.u16()?);
            Record::Ksymbol(Ksymbol {
                addr,
                len,
                kind,
                unregister: flags & 1 != 0,
                name: reader.c_string(),
            })
        }
        _ => Record::Other,
    })
}

fn decode_mmap<'a>(raw: RawRecord<'_>, mut reader: Reader<'a>) -> Result<Mmap<'a>, Short> {
    const PROT_READ: u32 = 1;
    const PROT_EXEC: u32 = 4;
    let (pid, tid) = (Pid(reader.u32()? as i32), Tid(reader.u32()? as i32));
    let (addr, len, pgoff) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let mut mmap = Mmap {
        pid,
        tid,
        addr,
        len,
        pgoff,
        file: None,
        build_id: None,
        prot: if raw.misc & misc::MMAP_DATA == 0 {
            PROT_EXEC
        } else {
            PROT_READ
        },
        flags: 0,
        mode: raw.cpu_mode(),
        name: &[],
    };
    if raw.kind == record::MMAP2 {
        if raw.misc & misc::MMAP_BUILD_ID != 0 {
            let len = usize::from(reader.u8()?).min(20);
            reader.bytes(3)?;
            let id = reader.bytes(20)?;
            mmap.build_id = BuildId::new(&id[..len]);
        } else {
            let (major, minor) = (reader.u32()?, reader.u32()?);
            let (inode, generation) = (reader.u64()?, reader.u64()?);
            mmap.file = (inode != 0).then_some(FileId {
                major,
                minor,
                inode,
                generation,
            });
        }
        mmap.prot = reader.u32()?;
        mmap.flags = reader.u32()?;
    }
    mmap.name = reader.c_string();
    Ok(mmap)
}

/// Decodes a record with the layout that `attr` asked for.
///
/// # Errors
/// [`Short`] where a field is missing.
#[inline(always)] // so that a sample is made in its place: it is larger than what is read of it
pub fn decode<'a>(raw: RawRecord<'a>, attr: &EventAttr) -> Result<(Record<'a>, SampleId), Short> {
    if raw.kind == record::SAMPLE {
        let sample = Sample::decode(raw, attr)?;
        let id = SampleId {
            task: Some((sample.pid.0, sample.tid.0)),
            time: sample.time,
            id: sample.id,
            cpu: sample.cpu.map(|cpu| cpu.0),
        };
        return Ok((Record::Sample(sample), id));
    }
    let (body, id) = if raw.kind < record::HEADER_ATTR && attr.has(crate::abi::flag::SAMPLE_ID_ALL)
    {
        SampleId::split(raw.body(), attr.sample_type)?
    } else {
        (raw.body(), SampleId::default())
    };
    Ok((decode_body(raw, body, attr.read_format)?, id))
}
