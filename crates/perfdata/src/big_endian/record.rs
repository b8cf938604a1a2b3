use prof_event::abi::{branch, event_type, flag, misc, read_format, record, sample};
use prof_event::{Event, EventAttr, HEADER_SIZE, SampleId, Short};
use prof_tracepoint::TracepointField;

use super::cursor::Cursor;
use super::{Layouts, feature};

/// Turns an attr of any size.
///
/// The flags are bit fields: the first is the highest bit on a big-endian machine, the lowest on a
/// little-endian one.
pub(crate) fn turn_attr(attr: &mut [u8]) -> Result<(), Short> {
    let mut cursor = Cursor::new(attr);
    cursor.u32s(2)?; // type, size
    cursor.u64s(4)?; // config, period, sample type, read format
    let flags = cursor.bytes(8)?;
    for byte in flags.iter_mut() {
        *byte = byte.reverse_bits();
    }
    let precise = [flags[1] & 0x80, flags[2] & 1]; // a number of two bits across bytes
    flags[1] = flags[1] & 0x7f | precise[1] << 7;
    flags[2] = flags[2] & 0xfe | precise[0] >> 7;
    // What an older attr does not have is not there to be turned.
    let mut later = || -> Result<(), Short> {
        cursor.u32s(2)?; // wake-up, kind of breakpoint
        cursor.u64s(4)?; // config1, config2, branches, user registers
        cursor.u32s(2)?; // stack, clock
        cursor.u64()?; // registers at the interrupt
        cursor.u32()?; // AUX watermark
        cursor.u16()?; // stack depth
        cursor.u16()?;
        cursor.u32s(2)?; // AUX size
        cursor.words() // data for SIGTRAP, and what is newer
    };
    let _ = later();
    Ok(())
}

impl Layouts {
    /// Turns a whole record, whose header is turned already, and learns the events that it tells.
    ///
    /// # Errors
    /// [`Short`] where it ends too early; it is turned up to there.
    pub(super) fn turn_record(&mut self, bytes: &mut [u8]) -> Result<(), Short> {
        let (header, body) = bytes.split_at_mut_checked(HEADER_SIZE).ok_or(Short)?;
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let misc = u16::from_le_bytes([header[4], header[5]]);
        match kind {
            record::SAMPLE => self.turn_sample(body),
            record::HEADER_ATTR => self.turn_event(body),
            record::HEADER_FEATURE => {
                let mut cursor = Cursor::new(body);
                let feature = cursor.u64()?;
                feature::turn(u32::try_from(feature).unwrap_or(u32::MAX), cursor.rest())
            }
            kind if kind >= record::HEADER_ATTR => turn_of_perf(kind, body),
            kind => {
                let at = body.len() - self.turn_trailer(body)?;
                turn_of_kernel(kind, misc, &mut body[..at])
            }
        }
    }

    /// Turns who and when, at the end of the kernel's records; returns the bytes it has.
    fn turn_trailer(&self, body: &mut [u8]) -> Result<usize, Short> {
        let Some(mut attr) = self.events.events().first().map(|event| &event.attr) else {
            return Ok(0);
        };
        if !attr.has(flag::SAMPLE_ID_ALL) {
            return Ok(0);
        }
        if attr.sample_type & sample::IDENTIFIER != 0 {
            let id = body.last_chunk().ok_or(Short)?;
            attr = self.attr_of(u64::from_be_bytes(*id)).unwrap_or(attr);
        }
        let size = SampleId::size(attr.sample_type);
        let at = body.len().checked_sub(size).ok_or(Short)?;
        let mut cursor = Cursor::new(&mut body[at..]);
        let has = |bit: u64| attr.sample_type & bit != 0;
        if has(sample::TID) {
            cursor.u32s(2)?;
        }
        for bit in [sample::TIME, sample::ID, sample::STREAM_ID] {
            if has(bit) {
                cursor.u64()?;
            }
        }
        if has(sample::CPU) {
            cursor.u32s(2)?;
        }
        cursor.words()?; // identifier
        Ok(size)
    }

    fn attr_of(&self, id: u64) -> Option<&EventAttr> {
        let index = self.events.by_id(id)?;
        Some(&self.events.events()[index].attr)
    }

    fn turn_sample(&self, body: &mut [u8]) -> Result<(), Short> {
        let first = self.events.events().first().ok_or(Short)?;
        let mut attr = &first.attr;
        let mut cursor = Cursor::new(body);
        // In all events the id lies behind the same fields.
        if attr.sample_type & sample::IDENTIFIER != 0 {
            attr = self.attr_of(cursor.u64()?).unwrap_or(attr);
        }
        let has = |attr: &EventAttr, bit: u64| attr.sample_type & bit != 0;
        if has(attr, sample::IP) {
            cursor.u64()?;
        }
        if has(attr, sample::TID) {
            cursor.u32s(2)?;
        }
        for bit in [sample::TIME, sample::ADDR] {
            if has(attr, bit) {
                cursor.u64()?;
            }
        }
        if has(attr, sample::ID) {
            attr = self.attr_of(cursor.u64()?).unwrap_or(attr);
        }
        let has = |bit: u64| has(attr, bit);
        if has(sample::STREAM_ID) {
            cursor.u64()?;
        }
        if has(sample::CPU) {
            cursor.u32s(2)?;
        }
        if has(sample::PERIOD) {
            cursor.u64()?;
        }
        if has(sample::READ) {
            turn_read(&mut cursor, attr.read_format)?;
        }
        if has(sample::CALLCHAIN) {
            let count = cursor.u64()?;
            cursor.u64s(count)?;
        }
        if has(sample::RAW) {
            let len = cursor.u32()? as usize;
            self.turn_raw(attr, cursor.bytes(len)?);
        }
        if has(sample::BRANCH_STACK) {
            let count = cursor.u64()?;
            if attr.branch_sample_type & branch::HW_INDEX != 0 {
                cursor.u64()?;
            }
            for _ in 0..count {
                cursor.u64s(2)?;
                turn_branch(cursor.bytes(8)?);
            }
            if attr.branch_sample_type & branch::COUNTERS != 0 {
                cursor.u64s(count)?;
            }
        }
        if has(sample::REGS_USER) {
            turn_registers(&mut cursor, attr.sample_regs_user)?;
        }
        if has(sample::STACK_USER) {
            let size = usize::try_from(cursor.u64()?).map_err(|_| Short)?;
            if size != 0 {
                cursor.bytes(size)?;
                cursor.u64()?;
            }
        }
        let weight = sample::WEIGHT | sample::WEIGHT_STRUCT; // never both
        for bit in [weight, sample::DATA_SRC, sample::TRANSACTION] {
            if has(bit) {
                cursor.u64()?;
            }
        }
        if has(sample::REGS_INTR) {
            turn_registers(&mut cursor, attr.sample_regs_intr)?;
        }
        for bit in [
            sample::PHYS_ADDR,
            sample::CGROUP,
            sample::DATA_PAGE_SIZE,
            sample::CODE_PAGE_SIZE,
        ] {
            if has(bit) {
                cursor.u64()?;
            }
        }
        if has(sample::AUX) {
            cursor.u64()?;
        }
        Ok(())
    }

    /// The numbers in a tracepoint's data. Without its format they stay.
    fn turn_raw(&self, attr: &EventAttr, raw: &mut [u8]) {
        let is_tracepoint = attr.kind == event_type::TRACEPOINT;
        let mut formats = self.tracepoints.iter();
        let format = formats.find(|format| is_tracepoint && format.id == attr.config);
        let Some(format) = format else {
            return;
        };
        for field in &format.fields {
            let range = field.offset..field.offset.saturating_add(field.size);
            if let Some(bytes) = raw.get_mut(range) {
                for number in bytes.chunks_exact_mut(width(field)) {
                    number.reverse();
                }
            }
        }
    }

    fn turn_event(&mut self, body: &mut [u8]) -> Result<(), Short> {
        let size = body.get(4..8).ok_or(Short)?;
        let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let size = if size == 0 {
            prof_event::MIN_ATTR_SIZE
        } else {
            size
        };
        let (attr, ids) = body.split_at_mut_checked(size).ok_or(Short)?;
        turn_attr(attr)?;
        let mut cursor = Cursor::new(ids);
        let mut event = Event {
            attr: EventAttr::parse(attr)?,
            name: String::new(),
            ids: Vec::new(),
        };
        while let Ok(id) = cursor.u64() {
            event.ids.push(id);
        }
        self.events.push(event);
        Ok(())
    }
}

/// The bytes of one number of a field: an array has several.
fn width(field: &TracepointField) -> usize {
    let Some((_, count)) = field.kind.rsplit_once('[') else {
        return field.size.max(1);
    };
    let count: usize = count.trim_end_matches(']').parse().unwrap_or(0);
    match field.size.checked_div(count) {
        Some(width) if width > 0 => width,
        _ if field.kind.starts_with("__data_loc") || field.kind.starts_with("__rel_loc") => 4,
        _ => 1,
    }
}

fn turn_read(cursor: &mut Cursor<'_>, format: u64) -> Result<(), Short> {
    let times = read_format::TOTAL_TIME_ENABLED | read_format::TOTAL_TIME_RUNNING;
    let times = u64::from((format & times).count_ones());
    let of_one = 1 + u64::from((format & (read_format::ID | read_format::LOST)).count_ones());
    let counters = match format & read_format::GROUP {
        0 => 1,
        _ => cursor.u64()?,
    };
    cursor.u64s(times)?;
    cursor.u64s(counters.checked_mul(of_one).ok_or(Short)?)
}

/// The word of a branch's flags: such machines give its fields their places from the highest bit down.
fn turn_branch(word: &mut [u8]) {
    const WIDTHS: [u32; 9] = [1, 1, 1, 1, 16, 4, 2, 4, 3];
    let Ok(bytes) = <[u8; 8]>::try_from(&*word) else {
        return;
    };
    let theirs = u64::from_be_bytes(bytes);
    let (mut ours, mut at) = (0, 0);
    for width in WIDTHS {
        ours |= theirs << at >> (u64::BITS - width) << at;
        at += width;
    }
    word.copy_from_slice(&ours.to_le_bytes());
}

fn turn_registers(cursor: &mut Cursor<'_>, mask: u64) -> Result<(), Short> {
    match cursor.u64()? {
        0 => Ok(()),
        _ => cursor.u64s(u64::from(mask.count_ones())),
    }
}

/// A record that the kernel writes, without its trailer.
fn turn_of_kernel(kind: u32, misc: u16, body: &mut [u8]) -> Result<(), Short> {
    let mut cursor = Cursor::new(body);
    match kind {
        record::MMAP | record::MMAP2 => {
            cursor.u32s(2)?;
            cursor.u64s(3)?;
            if kind == record::MMAP {
                return Ok(());
            }
            if misc & misc::MMAP_BUILD_ID != 0 {
                cursor.bytes(24)?;
            } else {
                cursor.u32s(2)?;
                cursor.u64s(2)?;
            }
            cursor.u32s(2)
        }
        record::COMM | record::ITRACE_START | record::SWITCH_CPU_WIDE => cursor.u32s(2),
        record::FORK | record::EXIT => {
            cursor.u32s(4)?;
            cursor.u64().map(drop)
        }
        record::READ | record::NAMESPACES => {
            cursor.u32s(2)?;
            cursor.words()
        }
        record::KSYMBOL => {
            cursor.u64()?;
            cursor.u32()?;
            cursor.u16()?;
            cursor.u16().map(drop)
        }
        record::BPF_EVENT => {
            cursor.u16()?;
            cursor.u16()?;
            cursor.u32().map(drop)
        }
        record::CGROUP | record::TEXT_POKE => cursor.u64().map(drop),
        record::LOST
        | record::THROTTLE
        | record::UNTHROTTLE
        | record::AUX
        | record::LOST_SAMPLES
        | record::AUX_OUTPUT_HW_ID => cursor.words(),
        _ => Ok(()),
    }
}

/// A record that perf writes, as far as anybody reads it.
fn turn_of_perf(kind: u32, body: &mut [u8]) -> Result<(), Short> {
    let mut cursor = Cursor::new(body);
    match kind {
        record::HEADER_TRACING_DATA => cursor.u32s(2),
        record::HEADER_BUILD_ID => cursor.u32().map(drop),
        record::ID_INDEX => cursor.words(),
        record::EVENT_UPDATE => cursor.u64s(2),
        record::AUXTRACE => {
            cursor.u64s(3)?;
            cursor.u32s(4)
        }
        record::COMPRESSED2 => cursor.u64().map(drop),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use prof_model::BranchFlags;

    use super::*;

    #[test]
    fn the_flags_of_a_branch_lie_at_the_other_end_of_their_word() {
        let theirs: u64 = 1 << 62 | 1 << 60 | 300 << 44 | 15 << 40 | 0b01 << 38 | 3 << 34 | 2 << 31;
        let mut word = theirs.to_be_bytes();
        turn_branch(&mut word);
        let ours = BranchFlags(u64::from_le_bytes(word));
        assert!(ours.is_predicted() && !ours.is_mispredicted());
        assert!(ours.is_abort() && !ours.in_transaction());
        assert_eq!((ours.cycles(), ours.kind(), ours.new_kind()), (300, 15, 3));
        assert_eq!(ours.0 >> 24 & 0b11, 0b01); // speculation
        assert_eq!(ours.0 >> 30, 2); // privilege level
    }
}
