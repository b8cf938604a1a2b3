//! What the unwinder asks of the sampled process's memory, for stacks that are larger than their copy.
//! Reading it, and looking at it again and again, is for the caller; what it proves is `live_stack`'s.

use prof_model::VirtAddr;

use crate::RuntimeCode;

/// The memory of the sampled process as it is now, which is later than the sample. A test array can
/// be it.
pub trait LiveMemory {
    /// Which thread the sample is of, among all that are sampled.
    fn thread(&self) -> u64;

    /// When the sample was taken, by the clock of [`LiveMemory::now`].
    fn sampled_at(&self) -> u64;

    /// The time in nanoseconds. `None` if it cannot be compared with that of samples.
    fn now(&self) -> Option<u64>;

    /// Reads what lies at `addr`. Returns how many bytes there are, counted from the start of `into`.
    fn read(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize;

    /// The same for instructions, which are hardly ever others a moment later.
    fn read_code(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize;

    /// What the runtime that generated the code at `addr` tells about it. `None` if there is none that does.
    fn runtime_code(&mut self, addr: VirtAddr) -> Option<RuntimeCode<'_>> {
        let _ = addr;
        None
    }

    /// Has the bytes at `addr` looked at again and again from now on, for the sampled thread. They are
    /// two words of the program's that one store each changes.
    fn watch(&mut self, addr: VirtAddr);

    /// What the bytes watched for the sampled thread were when the sample was taken. `None` if that
    /// cannot be known: they are not watched for so long, or were others soon before or after.
    fn watched(&mut self) -> Option<Watched>;
}

/// What watched bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The number of this value: another one has another number, in all threads and processes.
    pub id: u64,
    /// The value.
    pub bytes: [u8; WATCHED_BYTES],
    /// Whether they were the same all the time from before the sample until now.
    pub is_still: bool,
}

/// How many bytes are watched.
pub const WATCHED_BYTES: usize = 16;
