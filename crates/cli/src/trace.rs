//! A tracepoint's raw data as text.

use prof_perfdata::{TracepointField, TracepointFormat};

/// Prints `prev_comm=bash prev_pid=4121 ...`: every field of its own, by name. perf prints what the
/// tracepoint's C format string makes of them, with the numbers of some fields as words.
pub fn print(format: &TracepointFormat, raw: &[u8]) -> String {
    let own = format
        .fields
        .iter()
        .filter(|field| !field.name.starts_with("common_"));
    let words: Vec<_> = own
        .map(|field| format!("{}={}", field.name, value(field, raw)))
        .collect();
    words.join(" ")
}

fn value(field: &TracepointField, raw: &[u8]) -> String {
    let bytes = field.offset.checked_add(field.size);
    let Some(bytes) = bytes.and_then(|end| raw.get(field.offset..end)) else {
        return "?".to_owned();
    };
    if field.kind.contains("__data_loc") || field.kind.contains("__rel_loc") {
        return elsewhere(field, bytes, raw);
    }
    if field.kind.contains("char") && field.kind.contains('[') {
        return text(bytes);
    }
    let number = |size: usize| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(&bytes[..size]);
        u64::from_le_bytes(wide)
    };
    match (field.size, field.signed) {
        (1, true) => (number(1) as i8).to_string(),
        (2, true) => (number(2) as i16).to_string(),
        (4, true) => (number(4) as i32).to_string(),
        (8, true) => (number(8) as i64).to_string(),
        (size @ (1 | 2 | 4), false) => number(size).to_string(),
        (8, false) if field.kind.contains('*') => format!("{:#x}", number(8)),
        (8, false) => number(8).to_string(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// A field whose bytes lie at the end of the data: length and offset, 16 bits each.
fn elsewhere(field: &TracepointField, place: &[u8], raw: &[u8]) -> String {
    let Ok(place) = <[u8; 4]>::try_from(place) else {
        return "?".to_owned();
    };
    let place = u32::from_le_bytes(place);
    let (mut at, len) = ((place & 0xffff) as usize, (place >> 16) as usize);
    if field.kind.contains("__rel_loc") {
        at += field.offset + 4;
    }
    match raw.get(at..at + len) {
        Some(bytes) if field.kind.contains("char") => text(bytes),
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        None => "?".to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    let len = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..len]);
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_switch\nID: 316\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:char prev_comm[4];\toffset:2;\tsize:4;\tsigned:1;\n\
        \tfield:short prio;\toffset:6;\tsize:2;\tsigned:1;\n\
        \tfield:__data_loc char[] file;\toffset:8;\tsize:4;\tsigned:1;\n";

    #[test]
    fn each_field_is_printed_by_its_type_and_missing_bytes_are_a_question_mark() {
        let format = TracepointFormat::parse("sched", FORMAT);
        let mut raw = vec![9, 0];
        raw.extend(b"sh\0x");
        raw.extend((-5_i16).to_le_bytes());
        raw.extend((12_u32 | 3 << 16).to_le_bytes());
        raw.extend(b"ab\0");
        assert_eq!(print(&format, &raw), "prev_comm=sh prio=-5 file=ab");
        assert_eq!(print(&format, &raw[..7]), "prev_comm=sh prio=? file=?");
        assert_eq!(print(&format, &raw[..13]), "prev_comm=sh prio=-5 file=?");
    }
}
