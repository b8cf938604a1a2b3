//! What holds whatever the bytes are. Each function takes any bytes and panics where its property does
//! not hold. The fuzz targets call them with what libFuzzer thinks of, the tests of `prof-cli` with a
//! fixed number of damaged examples.

pub(crate) mod elf; // sections or segments as a file
pub(crate) mod generated; // perf maps, jitdumps
pub(crate) mod kernel_tables; // kallsyms
pub(crate) mod mappings; // what processes map
pub(crate) mod programs; // ELF, DWARF, Go's table
pub(crate) mod recordings; // perf.data, pipes
pub(crate) mod records; // the records in them
pub(crate) mod tracepoints; // formats of tracepoints
pub(crate) mod unwinding; // tables, registers, stacks

/// A property, and its name.
pub(crate) type Property = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const ALL: &[Property] = &[
    ("records", records::property),
    ("perf_data", recordings::perf_data),
    ("pipe", recordings::pipe),
    ("unwinding", unwinding::property),
    ("elf", programs::elf),
    ("pclntab", programs::pclntab),
    ("go_program", programs::go_program),
    ("kallsyms", kernel_tables::property),
    ("perf_map", generated::perf_map),
    ("jitdump", generated::jitdump),
    ("mappings", mappings::property),
    ("tracepoint", tracepoints::property),
];

/// Numbers off the front of the bytes; zeros where they end.
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl Numbers<'_> {
    /// The next one.
    pub(crate) fn next(&mut self) -> u64 {
        let (taken, rest) = self.0.split_at(self.0.len().min(8));
        self.0 = rest;
        let mut bytes = [0; 8];
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }
}
