use prof_event::Short;

use super::cursor::Cursor;
use super::record::turn_attr;
use crate::feature::bit;

/// Turns the numbers of a feature section. Sections that nobody reads are left as they are.
///
/// # Errors
/// [`Short`] where it ends too early; it is turned up to there.
pub(crate) fn turn(feature: u32, payload: &mut [u8]) -> Result<(), Short> {
    let mut cursor = Cursor::new(payload);
    let cursor = &mut cursor;
    match feature {
        bit::TRACING_DATA => tracing_data(cursor),
        bit::BUILD_ID => {
            while !cursor.is_empty() {
                let (_kind, _misc, size) = (cursor.u32()?, cursor.u16()?, cursor.u16()?);
                cursor.u32()?; // pid
                cursor.bytes(usize::from(size).checked_sub(12).ok_or(Short)?)?;
            }
            Ok(())
        }
        bit::HOSTNAME
        | bit::OS_RELEASE
        | bit::VERSION
        | bit::ARCH
        | bit::CPU_DESC
        | bit::CPU_ID => cursor.string(),
        bit::NR_CPUS => cursor.u32s(2),
        bit::TOTAL_MEM | bit::SAMPLE_TIME | bit::CLOCK_ID => cursor.words(),
        bit::CMDLINE => list(cursor),
        bit::EVENT_DESC => event_desc(cursor),
        bit::CPU_TOPOLOGY => {
            list(cursor)?;
            list(cursor)?;
            while !cursor.is_empty() {
                cursor.u32()?; // cores and sockets; what may follow, nobody reads
            }
            Ok(())
        }
        bit::NUMA_TOPOLOGY => many(cursor, |node| {
            node.u32()?;
            node.u64s(2)?;
            node.string()
        }),
        bit::PMU_MAPPINGS => many(cursor, |pmu| {
            pmu.u32()?;
            pmu.string()
        }),
        bit::GROUP_DESC => many(cursor, |group| {
            group.string()?;
            group.u32s(2)
        }),
        bit::COMPRESSED => cursor.u32s(5),
        bit::CLOCK_DATA => {
            cursor.u32s(2)?;
            cursor.u64s(2)
        }
        _ => Ok(()),
    }
}

fn many<'a>(
    cursor: &mut Cursor<'a>,
    one: impl Fn(&mut Cursor<'a>) -> Result<(), Short>,
) -> Result<(), Short> {
    let count = cursor.u32()?;
    (0..count).try_for_each(|_| one(cursor))
}

fn list(cursor: &mut Cursor<'_>) -> Result<(), Short> {
    many(cursor, Cursor::string)
}

fn event_desc(cursor: &mut Cursor<'_>) -> Result<(), Short> {
    let (count, attr_size) = (cursor.u32()?, cursor.u32()? as usize);
    for _ in 0..count {
        turn_attr(cursor.bytes(attr_size)?)?;
        let ids = cursor.u32()?;
        cursor.string()?;
        cursor.u64s(u64::from(ids))?;
    }
    Ok(())
}

/// Bytes of the formats' magic and version.
const TRACING_MAGIC: usize = 14;

fn tracing_data(cursor: &mut Cursor<'_>) -> Result<(), Short> {
    cursor.bytes(TRACING_MAGIC)?;
    cursor.bytes(1)?.fill(0); // little-endian from here on
    cursor.bytes(1)?; // size of a long
    cursor.u32()?; // page size
    for _ in ["header_page", "header_event"] {
        cursor.c_string()?;
        cursor.long_text()?;
    }
    many(cursor, Cursor::long_text)?; // of ftrace
    many(cursor, |system| {
        system.c_string()?;
        many(system, Cursor::long_text)
    })?;
    cursor.string()?; // kallsyms
    cursor.string()?; // printk_formats
    if cursor.is_empty() {
        return Ok(());
    }
    cursor.long_text() // names of threads
}
