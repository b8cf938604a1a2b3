//! The tracepoints of a recording, by their numbers.

use std::collections::HashMap;

use crate::expression::PrintFormat;
use crate::fields;
use crate::format::TracepointFormat;
use crate::print::{self, Pointers};
use crate::value::Data;

/// The tracepoints of a recording: what their fields are, and how their samples are printed.
#[derive(Debug, Default)]
pub struct Tracepoints {
    by_id: HashMap<u64, Tracepoint>,
    /// The kernel's constant strings by address: what pointers in the data stand for.
    strings: HashMap<u64, String>,
}

#[derive(Debug)]
struct Tracepoint {
    format: TracepointFormat,
    /// `None` where the kernel's format string cannot be followed.
    print: Option<PrintFormat>,
}

impl Tracepoints {
    /// Takes the formats of a recording, and the text of the recorded kernel's `printk_formats` file
    /// in tracefs, which tells its constant strings. Of two formats with one number the first counts.
    pub fn new(formats: impl IntoIterator<Item = TracepointFormat>, printk_formats: &str) -> Self {
        let mut by_id = HashMap::new();
        for format in formats {
            by_id.entry(format.id).or_insert_with(|| Tracepoint {
                print: PrintFormat::parse(&format),
                format,
            });
        }
        Self {
            by_id,
            strings: constant_strings(printk_formats),
        }
    }

    /// The format of the tracepoint whose attr has this config.
    pub fn format(&self, id: u64) -> Option<&TracepointFormat> {
        self.by_id.get(&id).map(|tracepoint| &tracepoint.format)
    }

    /// Prints a sample as the kernel would: `prev_comm=bash prev_pid=4121 ...`. Texts in it are as they were
    /// recorded: whoever shows it makes it printable. Where
    /// the kernel's format string cannot be followed, because it calls what only the kernel has or
    /// nests too deep, or does not fit the data, every field is printed by its name. The text is
    /// empty for a tracepoint whose format is not known.
    ///
    /// `id` is the config of the sample's attr, `raw` its raw data. `function` names a kernel
    /// address: the function's name, and the distance from its start in bytes.
    pub fn print(
        &self,
        id: u64,
        raw: &[u8],
        function: &dyn Fn(u64) -> Option<(String, u64)>,
    ) -> String {
        let Some(Tracepoint { format, print }) = self.by_id.get(&id) else {
            return String::new();
        };
        let data = Data { format, raw };
        let pointers = Pointers {
            strings: &self.strings,
            function,
        };
        let print = print.as_ref();
        print
            .and_then(|print| print::print(print, data, pointers))
            .unwrap_or_else(|| fields::print(format, raw))
    }
}

/// Parses lines such as `0xffffffff82a0b1c8 : "start context switch"`.
fn constant_strings(printk_formats: &str) -> HashMap<u64, String> {
    let lines = printk_formats.lines().filter_map(|line| {
        let (address, text) = line.split_once(" : ")?;
        let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
        let text = text.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some((address, text.replace("\\n", "")))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::MAX_DEPTH;

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
        let format = TracepointFormat::parse("test", &text);
        let mut raw = n.to_le_bytes().to_vec();
        raw.extend((20_u32 | 3 << 16).to_le_bytes());
        raw.extend(0xff10_u64.to_le_bytes());
        raw.extend([1, 0, 2, 0]);
        raw.extend(b"ab\0");
        let strings = "0xff10 : \"a constant\\n\"\nno line\n";
        let function = |at| Some(("function".to_owned(), at - 0xff00));
        Tracepoints::new([format], strings).print(7, &raw, &function)
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
        assert_eq!(printed(r#""%s", jiffies_to_msecs(REC->n)"#, 1), FIELDS);
        assert_eq!(printed(r#""%d", REC->unknown"#, 1), FIELDS);
        assert_eq!(printed(r#""%d %d", REC->n"#, 1), FIELDS);
        assert_eq!(printed("(((", 1), FIELDS);
    }

    #[test]
    fn of_two_formats_with_one_number_the_first_counts() {
        let text = |fields: &str| format!("ID: 7\n{fields}print fmt: \"%d\", REC->n\n");
        let n = "field:int n;\toffset:4;\tsize:4;\tsigned:1;\n";
        let before = "field:int m;\toffset:0;\tsize:4;\tsigned:1;\n";
        let texts = [text(n), text(&format!("{before}{n}"))];
        let formats = texts.map(|text| TracepointFormat::parse("test", &text));
        let tracepoints = Tracepoints::new(formats, "");
        assert_eq!(
            tracepoints.print(7, &[0, 0, 0, 0, 9, 0, 0, 0], &|_| None),
            "9"
        );
        assert_eq!(tracepoints.format(7).unwrap().fields.len(), 1);
    }

    #[test]
    fn a_width_or_precision_of_a_foreign_file_is_no_panic_and_no_gigabyte() {
        let wide = printed(r#""%.99999999d|%99999999d", 1, 2"#, 1);
        assert_eq!(wide, format!("{:04096}|{:4096}", 1, 2));
        assert_eq!(printed(r#""%.*x", 9223372036854775807, 1"#, 1).len(), 4096);
        let widths = format!("\"{}\"{}", "%4096d".repeat(1000), ", 1".repeat(1000));
        assert_eq!(printed(&widths, 1), FIELDS);
        let past_the_end = printed(r#""%d", REC->port[9223372036854775807]"#, 1);
        assert_eq!(past_the_end, FIELDS);
    }

    /// What is printed where the format string cannot be followed, and `n` is 1.
    const FIELDS: &str = "n=1 file=ab at=0xff10 port=01000200";

    /// A way to nest: what is in front of a level, in the innermost, and behind a level. Then how many
    /// levels are as deep as can be, and the value of these.
    const NESTINGS: [(&str, &str, &str, usize, i64); 10] = [
        ("(", "7", ")", MAX_DEPTH - 1, 7),
        ("-", "7", "", MAX_DEPTH - 1, -7), // an odd number of signs
        ("!", "7", "", MAX_DEPTH - 1, 0),
        ("(u8)", "263", "", MAX_DEPTH - 1, 7),
        ("1 ? ", "7", " : 0", MAX_DEPTH - 1, 7),
        ("0 ? 1 : ", "7", "", MAX_DEPTH - 1, 7),
        (
            "1 + (",
            "7",
            ")",
            MAX_DEPTH / 2 - 1,
            7 + MAX_DEPTH as i64 / 2 - 1,
        ),
        ("0 || 1 && 2 | (", "1", ")", MAX_DEPTH / 4 - 1, 1),
        ("__builtin_expect(", "7", ", 1)", MAX_DEPTH - 1, 7),
        ("REC->port[", "0", " * 0]", MAX_DEPTH - 2, 1),
    ];

    /// The format string with that many levels.
    fn nested((front, innermost, behind, ..): (&str, &str, &str, usize, i64), n: usize) -> String {
        format!(
            "\"%ld\", {}{innermost}{}",
            front.repeat(n),
            behind.repeat(n)
        )
    }

    #[test]
    fn expressions_have_a_value_as_deep_as_the_limit_and_none_beyond_it() {
        for nesting in NESTINGS {
            let (front, .., deepest, value) = nesting;
            let at_the_limit = printed(&nested(nesting, deepest), 1);
            assert_eq!(at_the_limit, value.to_string(), "{front}");
            for deeper in [deepest + 1, 20_000, 100_000] {
                assert_eq!(printed(&nested(nesting, deeper), 1), FIELDS, "{front}");
            }
        }
    }

    #[test]
    fn the_deepest_expression_needs_little_of_the_stack() {
        let all = || NESTINGS.map(|nesting| printed(&nested(nesting, nesting.3), 1));
        let builder = std::thread::Builder::new().stack_size(512 << 10);
        let values = builder.spawn(all).unwrap().join().unwrap();
        assert_eq!(values, NESTINGS.map(|nesting| nesting.4.to_string()));
    }

    #[test]
    fn a_hundred_thousand_operators_in_a_row_have_their_value() {
        let value = |operators: &str| printed(&format!("\"%ld\", 1{operators}"), 1);
        assert_eq!(value(&" + 1".repeat(100_000)), "100001");
        assert_eq!(value(&" - 1".repeat(100_000)), "-99999");
        assert_eq!(value(&" + 2 * 3 - 6".repeat(50_000)), "1");
        assert_eq!(value(&" && 2 == 2".repeat(50_000)), "1");
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
