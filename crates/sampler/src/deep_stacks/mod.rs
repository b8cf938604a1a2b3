//! Stacks that are larger than what the kernel copies of them: a program in the kernel reads the rest in the
//! moment of the sample.
//!
//! In: whose stacks are so deep. Out: what lay behind the copies, as [`StackPart`]s. Elsewhere: which events run
//! the program, and when (`open/`, `sampler.rs`).

#[allow(unsafe_code)] // bpf(2)
mod bpf;
mod program; // what runs in the kernel
mod reading; // the program at work

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use prof_model::{Cpu, Pid, Tid, VirtAddr};

use crate::sys::EventFd;
use bpf::{Map, MapKind};
use reading::Reading;

/// The kernel's own number of the namespace that the program's process numbers are of.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// A part of a thread's stack behind the copy that a sample has of it, as it was when the sample was taken.
#[derive(Clone, Copy, Debug)]
pub struct StackPart<'a> {
    /// The thread's process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// Its stack pointer.
    pub sp: VirtAddr,
    /// When it was read, in nanoseconds of the recording's clock: little later than the time of the sample,
    /// and the same for all parts that belong to it.
    pub time: u64,
    /// Where the bytes lay.
    pub addr: VirtAddr,
    /// The bytes. None are also told of, where it would have been too much.
    pub bytes: &'a [u8],
}

/// Why stacks are not read behind their copies when samples are taken.
#[derive(Debug)]
pub enum NoDeepStacks {
    /// Nothing is copied of stacks, or little.
    NoCopies,
    /// Samples are taken by several events, or are counted, or have another clock.
    OtherEvents,
    /// There are too many threads.
    TooMany,
    /// The recorder numbers processes otherwise than the kernel.
    OtherNamespace,
    /// The kernel did not let us.
    Refused(io::Error),
}

impl fmt::Display for NoDeepStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCopies => write!(f, "stacks are not copied"),
            Self::OtherEvents => write!(f, "for one event at a frequency by the usual clock only"),
            Self::TooMany => write!(f, "too many threads"),
            Self::OtherNamespace => write!(f, "processes have other numbers in this container"),
            Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

/// What reads deep stacks. It costs little as long as there are none: the events run a program that only calls
/// another one, which is loaded when the first deep stack was seen.
#[derive(Debug)]
pub(crate) struct DeepStacks {
    caller: OwnedFd,
    called: Map<u32, u32>,
    cpus: Vec<Cpu>,
    copied: u32,
    reading: Option<Reading>,
}

impl DeepStacks {
    /// Loads what the events run, for samples on these CPUs with so many bytes of the stack.
    pub(crate) fn load(cpus: &[Cpu], copied: u32) -> Result<Self, NoDeepStacks> {
        if !cfg!(target_arch = "x86_64") || u64::from(copied) < 2 * program::PAGE {
            return Err(NoDeepStacks::NoCopies);
        }
        let namespace = std::fs::metadata("/proc/self/ns/pid").map(|it| it.ino());
        if namespace.ok() != Some(FIRST_PID_NAMESPACE) {
            return Err(NoDeepStacks::OtherNamespace);
        }
        let called = Map::new(MapKind::ProgramArray, 1).map_err(NoDeepStacks::Refused)?;
        let caller = bpf::load(&program::caller(called.fd())).map_err(NoDeepStacks::Refused)?;
        Ok(Self {
            caller,
            called,
            cpus: cpus.to_vec(),
            copied,
            reading: None,
        })
    }

    /// Has an event run the program with each of its samples, and what is inherited of it.
    pub(crate) fn attach(&self, event: &EventFd) -> io::Result<()> {
        event.set_bpf(self.caller.as_fd())
    }

    /// Begins to read, if that was not done yet.
    pub(crate) fn begin(&mut self) -> io::Result<&Reading> {
        let reading = match self.reading.take() {
            Some(reading) => reading,
            None => {
                let reading = Reading::begin(&self.cpus, self.copied)?;
                self.called.set(0, reading.program.as_raw_fd() as u32)?;
                reading
            }
        };
        Ok(self.reading.insert(reading))
    }

    /// What becomes readable when much was handed over.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.reading.iter().flat_map(Reading::fds)
    }

    /// Takes out what was handed over so far.
    pub(crate) fn drain(
        &mut self,
        take: &mut dyn FnMut(StackPart<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match &mut self.reading {
            Some(reading) => reading.drain(take),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_the_programs() {
        let loaded = DeepStacks::load(&[Cpu(0)], 64_000).and_then(|mut deep| {
            deep.begin().map_err(NoDeepStacks::Refused)?;
            Ok(())
        });
        match loaded {
            Err(NoDeepStacks::Refused(error))
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::EPERM | libc::EACCES | libc::ENOSYS)
                ) =>
            {
                panic!("{error}")
            }
            Err(refused) => eprintln!("skipped: {refused}"),
            Ok(()) => {}
        }
    }
}
