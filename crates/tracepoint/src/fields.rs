//! The fields of a tracepoint one by one, each by its name and type.

use crate::format::{TracepointField, TracepointFormat};
use crate::value::Data;

/// Every field but those that all tracepoints have: `pid=4121 comm=bash`.
pub(crate) fn print(format: &TracepointFormat, raw: &[u8]) -> String {
    let data = Data { format, raw };
    let words: Vec<_> = format
        .own_fields()
        .map(|field| format!("{}={}", field.name, value(field, data)))
        .collect();
    words.join(" ")
}

fn value(field: &TracepointField, data: Data<'_>) -> String {
    let Some(bytes) = data.bytes(field) else {
        return "?".to_owned();
    };
    if field.kind.contains("char") && field.kind.contains('[') {
        return text(bytes);
    }
    let number = |size: usize| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(&bytes[..size]);
        u64::from_le_bytes(wide)
    };
    match (bytes.len(), field.signed) {
        _ if field.kind.contains('[') => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
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

/// A string up to its NUL, whatever is in it.
pub(crate) fn text(bytes: &[u8]) -> String {
    let len = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
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
