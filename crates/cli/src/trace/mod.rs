//! A tracepoint's raw data as text.

mod expression; // the arguments of a format string
mod print; // `%d` and its kin
mod value; // fields out of bytes

use std::collections::HashMap;

use prof_perfdata::{TracepointField, TracepointFormat, TracingData};

use expression::PrintFormat;
use print::Pointers;
use value::Data;

/// How the tracepoints of a recording are printed.
#[derive(Debug, Default)]
pub struct Tracepoints {
    data: TracingData,
    /// By the event's number; `None` where the kernel's format cannot be followed.
    formats: HashMap<u64, Option<PrintFormat>>,
}

impl Tracepoints {
    /// With the formats that a recording brings.
    pub fn new(data: TracingData) -> Self {
        let formats = data.formats.iter();
        let formats = formats
            .map(|format| (format.id, PrintFormat::parse(format)))
            .collect();
        Self { data, formats }
    }

    /// Prints a sample of the event with this number as the kernel would: `prev_comm=bash
    /// prev_pid=4121 ...`. Where its format string calls what only the kernel has, every field by
    /// name. `function` names kernel addresses.
    pub fn print(
        &self,
        id: u64,
        raw: &[u8],
        function: &dyn Fn(u64) -> Option<(String, u64)>,
    ) -> String {
        let Some(format) = self.data.by_id(id) else {
            return String::new();
        };
        let data = Data { format, raw };
        let pointers = Pointers {
            strings: &self.data.strings,
            function,
        };
        let print = self.formats.get(&id).and_then(Option::as_ref);
        print
            .and_then(|print| print::print(print, data, pointers))
            .unwrap_or_else(|| fields(format, raw))
    }
}

/// Every field but those that all tracepoints have.
fn fields(format: &TracepointFormat, raw: &[u8]) -> String {
    let own = format
        .fields
        .iter()
        .filter(|field| !field.name.starts_with("common_"));
    let words: Vec<_> = own
        .map(|field| format!("{}={}", field.name, value(field, Data { format, raw })))
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
        assert_eq!(fields(&format, &raw), "prev_comm=sh prio=-5 file=ab");
        assert_eq!(fields(&format, &raw[..7]), "prev_comm=sh prio=? file=?");
        assert_eq!(fields(&format, &raw[..13]), "prev_comm=sh prio=-5 file=?");
    }

    /// Prints a tracepoint with one field of 4 bytes, `n`, a string and a pointer.
    fn printed(print: &str, n: i32) -> String {
        let text = format!(
            "name: test\nID: 7\nformat:\n\
             \tfield:int n;\toffset:0;\tsize:4;\tsigned:1;\n\
             \tfield:__data_loc char[] file;\toffset:4;\tsize:4;\tsigned:1;\n\
             \tfield:void * at;\toffset:8;\tsize:8;\tsigned:0;\n\
             \tfield:unsigned short port[2];\toffset:16;\tsize:4;\tsigned:0;\n\
             print fmt: {print}\n"
        );
        let data = TracingData {
            formats: vec![TracepointFormat::parse("test", &text)],
            strings: HashMap::from([(0xff10, "a constant".to_owned())]),
        };
        let mut raw = n.to_le_bytes().to_vec();
        raw.extend((20_u32 | 3 << 16).to_le_bytes());
        raw.extend(0xff10_u64.to_le_bytes());
        raw.extend([1, 0, 2, 0]);
        raw.extend(b"ab\0");
        Tracepoints::new(data).print(7, &raw, &|at| Some(("function".to_owned(), at - 0xff00)))
    }

    #[test]
    fn numbers_are_printed_as_c_prints_them() {
        assert_eq!(
            printed(r#""%d %5d|%-4d|%04d", REC->n, 7, 8, -9"#, -3),
            "-3     7|8   |-009"
        );
        assert_eq!(
            printed(r#""%x %#x %lx %hhu %o", REC->n, 16, -1, 511, 8"#, -1),
            "ffffffff 0x10 ffffffffffffffff 255 10"
        );
        assert_eq!(printed(r#""100%% %*d", 4, REC->n"#, 5), "100%    5");
        assert_eq!(printed(r#""%p %p", REC->at, 0"#, 5), "0xff10 (nil)");
    }

    #[test]
    fn operators_bind_as_in_c() {
        let value = |expression: &str, n| printed(&format!("\"%ld\", {expression}"), n);
        assert_eq!(value("REC->n & (1 | 2) ", 6), "2");
        assert_eq!(value("1 + 2 * 3 << 1 == 14 ? REC->n : 0", 6), "6");
        assert_eq!(value("(u8)REC->n - ~0", 300), "45");
        assert_eq!(value("REC->n < 0 ? -1 : 1", -7), "-1");
        assert_eq!(value("(unsigned long)REC->n < 1", -7), "0");
        assert_eq!(value("!!REC->n && sizeof(long) == 8UL || 0", 2), "1");
        assert_eq!(value("REC->port[1] - 10", 2), "-8");
        assert_eq!(value("__builtin_expect(REC->n > 1, 0)", 2), "1");
        assert_eq!(
            value("1 / REC->n", 0),
            "n=0 file=ab at=0xff10 port=01000200"
        ); // no value
    }

    #[test]
    fn tables_name_values_and_bits() {
        let flags =
            r#""%s", __print_flags(REC->n, "|", { 1, "one" }, { 6, "six" }, { 0, ((void *)0) })"#;
        assert_eq!(printed(flags, 7), "one|six");
        assert_eq!(printed(flags, 10), "0xa"); // half of six is not six
        assert_eq!(printed(flags, 0), "");
        let symbols = r#""<%s>", __print_symbolic(REC->n, { KERNEL_ONLY, "x" }, { 2, "t" "wo" })"#;
        assert_eq!(printed(symbols, 2), "<two>");
        assert_eq!(printed(symbols, 0), "<0x0>"); // nobody knows what KERNEL_ONLY is
    }

    #[test]
    fn strings_pointers_and_lines_are_found_where_they_lie() {
        let print = r#""%s %s %s\\n%ps", __get_str(file), REC->at, REC->n ? "yes" : "no", REC->at"#;
        assert_eq!(
            printed(&print.replace("\\\\", "\\"), 1),
            "ab a constant yes function"
        );
        assert_eq!(
            printed(r#""%pS %d", REC->at, __get_dynamic_array_len(file)"#, 1),
            "function+0x10 3"
        );
    }

    #[test]
    fn what_only_the_kernel_can_do_leaves_the_fields() {
        let fields = "n=1 file=ab at=0xff10 port=01000200";
        assert_eq!(printed(r#""%s", jiffies_to_msecs(REC->n)"#, 1), fields);
        assert_eq!(printed(r#""%d", REC->unknown"#, 1), fields);
        assert_eq!(printed(r#""%d %d", REC->n"#, 1), fields);
        assert_eq!(printed("(((", 1), fields);
    }

    #[test]
    fn nearly_all_formats_of_this_kernel_are_understood() {
        let Ok(systems) = std::fs::read_dir("/sys/kernel/tracing/events") else {
            println!("skipped: tracefs is not readable");
            return;
        };
        let events = systems
            .flatten()
            .filter_map(|system| std::fs::read_dir(system.path()).ok());
        let (mut known, mut all) = (0, 0);
        for event in events.flatten().flatten() {
            let Ok(text) = std::fs::read_to_string(event.path().join("format")) else {
                continue;
            };
            let format = TracepointFormat::parse("any", &text);
            let Some(print) = PrintFormat::parse(&format) else {
                all += 1;
                continue;
            };
            (known, all) = (known + 1, all + 1);
            // Data of any length: a text or none, but no panic.
            for len in [0, 3, 40, 400] {
                let raw = vec![0xa5; len];
                let pointers = Pointers {
                    strings: &HashMap::new(),
                    function: &|_| None,
                };
                print::print(
                    &print,
                    Data {
                        format: &format,
                        raw: &raw,
                    },
                    pointers,
                );
            }
        }
        assert!(known * 10 >= all * 9, "{known} of {all}");
    }
}
