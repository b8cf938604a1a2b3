//! Building records.

use crate::abi::{record, sample};
use crate::attr::EventAttr;
use crate::record::{HEADER_SIZE, SampleId};
use crate::sample::Sample;

/// A record would be longer than the 64 KiB that its size field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record of {0} bytes is longer than 65535")]
pub struct TooLong(pub usize);

/// The size of a record is a multiple of this.
pub const RECORD_ALIGN: usize = 8;

/// Appends one record to a buffer, field by field.
#[derive(Debug)]
pub struct RecordBuilder<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> RecordBuilder<'b> {
    /// Starts a record at the end of `out`.
    pub fn new(out: &'b mut Vec<u8>, kind: u32, misc: u16) -> Self {
        let start = out.len();
        out.extend(kind.to_le_bytes());
        out.extend(misc.to_le_bytes());
        out.extend([0; 2]); // the size, known at the end
        Self { out, start }
    }

    /// Appends a 16-bit field; so the methods below for theirs.
    pub fn u16(&mut self, field: u16) -> &mut Self {
        self.bytes(&field.to_le_bytes())
    }

    /// Appends a 32-bit field.
    pub fn u32(&mut self, field: u32) -> &mut Self {
        self.bytes(&field.to_le_bytes())
    }

    /// Appends a 64-bit field.
    pub fn u64(&mut self, field: u64) -> &mut Self {
        self.bytes(&field.to_le_bytes())
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// Appends a NUL-terminated string, padded to 8 bytes.
    pub fn c_string(&mut self, text: &[u8]) -> &mut Self {
        self.bytes(text).bytes(&[0]);
        let len = self.out.len() - self.start;
        self.out.resize(self.start + len.next_multiple_of(8), 0);
        self
    }

    /// Appends who and when, as `sample_id_all` asks.
    pub fn sample_id(&mut self, sample_type: u64, id: &SampleId) -> &mut Self {
        let (pid, tid) = id.task.unwrap_or_default();
        if sample_type & sample::TID != 0 {
            self.u32(pid as u32).u32(tid as u32);
        }
        if sample_type & sample::TIME != 0 {
            self.u64(id.time.unwrap_or(0));
        }
        for bit in [sample::ID, sample::STREAM_ID] {
            if sample_type & bit != 0 {
                self.u64(id.id.unwrap_or(0));
            }
        }
        if sample_type & sample::CPU != 0 {
            self.u32(id.cpu.unwrap_or(0)).u32(0);
        }
        if sample_type & sample::IDENTIFIER != 0 {
            self.u64(id.id.unwrap_or(0));
        }
        self
    }

    /// Writes the size into the header. It becomes a multiple of 8, as that of every record of the kernel:
    /// perf 7.2 refuses others.
    ///
    /// # Errors
    /// [`TooLong`]; the buffer is then as it was before the record.
    pub fn finish(&mut self) -> Result<(), TooLong> {
        let len = (self.out.len() - self.start).next_multiple_of(RECORD_ALIGN);
        self.out.resize(self.start + len, 0);
        let Ok(size) = u16::try_from(len) else {
            self.out.truncate(self.start);
            return Err(TooLong(len));
        };
        self.out[self.start + HEADER_SIZE - 2..][..2].copy_from_slice(&size.to_le_bytes());
        Ok(())
    }
}

/// Appends a SAMPLE record with the fields that `attr` names, from a decoded sample and a callchain
/// with its markers. Fields that a decoded sample does not keep (branch stacks, registers, stacks and
/// what follows) must not be in `attr.sample_type`, nor read values that the sample has not.
///
/// # Errors
/// [`TooLong`]; the buffer is then as it was.
pub fn encode_sample(
    out: &mut Vec<u8>,
    misc: u16,
    sample: &Sample<'_>,
    callchain: &[u64],
    attr: &EventAttr,
) -> Result<(), TooLong> {
    let has = |bit: u64| attr.sample_type & bit != 0;
    let mut record = RecordBuilder::new(out, record::SAMPLE, misc);
    if has(sample::IDENTIFIER) {
        record.u64(sample.id.unwrap_or(0));
    }
    if has(sample::IP) {
        record.u64(sample.ip.0);
    }
    if has(sample::TID) {
        record.u32(sample.pid.0 as u32).u32(sample.tid.0 as u32);
    }
    if has(sample::TIME) {
        record.u64(sample.time.unwrap_or(0));
    }
    if has(sample::ADDR) {
        record.u64(sample.addr.unwrap_or(0));
    }
    for bit in [sample::ID, sample::STREAM_ID] {
        if has(bit) {
            record.u64(sample.id.unwrap_or(0));
        }
    }
    if has(sample::CPU) {
        record.u32(sample.cpu.map_or(0, |cpu| cpu.0)).u32(0);
    }
    if has(sample::PERIOD) {
        record.u64(sample.period);
    }
    if let Some(read) = sample.read.filter(|_| has(sample::READ)) {
        read.encode(&mut record);
    }
    if has(sample::CALLCHAIN) {
        record.u64(callchain.len() as u64);
        for &entry in callchain {
            record.u64(entry);
        }
    }
    if has(sample::RAW) {
        let raw = sample.raw.unwrap_or_default();
        // The kernel pads so that length and bytes together end on 8.
        let padded = (raw.len() + 4).next_multiple_of(8) - 4;
        record.u32(padded as u32).bytes(raw);
        record.bytes(&[0; 8][..padded - raw.len()]);
    }
    record.finish()
}
