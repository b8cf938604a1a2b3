//! What `script` can print.

use prof_profile::EventInfo;

/// One thing that `script` prints about a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptField {
    /// Thread name.
    Comm,
    /// Thread.
    Tid,
    /// Process.
    Pid,
    /// Seconds since the recording's clock started.
    Time,
    /// CPU.
    Cpu,
    /// Event name.
    Event,
    /// Tracepoint fields.
    Trace,
    /// The instruction, or the callchain.
    Ip,
    /// Function names.
    Sym,
    /// Modules.
    Dso,
    /// Data address.
    Addr,
    /// Offsets in functions.
    SymOff,
    /// Source lines, each below its frame.
    SrcLine,
    /// Period.
    Period,
    /// Registers of the interrupted code.
    IntrRegs,
    /// Registers of the user code.
    UserRegs,
    /// The branches before, by address.
    Branches,
    /// The same by function.
    BranchSymbols,
    /// The same by their offsets in files.
    BranchOffsets,
    /// Where the data came from.
    DataSource,
    /// Physical data address.
    PhysAddr,
    /// Size of the data's page.
    DataPageSize,
    /// Size of the code's page.
    CodePageSize,
    /// What it cost.
    Weight,
    /// How long the instruction took.
    Latency,
    /// The mode of the CPU, in letters.
    Misc,
}

const FIELDS: [(&str, ScriptField); 26] = [
    ("comm", ScriptField::Comm),
    ("tid", ScriptField::Tid),
    ("pid", ScriptField::Pid),
    ("time", ScriptField::Time),
    ("cpu", ScriptField::Cpu),
    ("event", ScriptField::Event),
    ("trace", ScriptField::Trace),
    ("ip", ScriptField::Ip),
    ("sym", ScriptField::Sym),
    ("dso", ScriptField::Dso),
    ("addr", ScriptField::Addr),
    ("symoff", ScriptField::SymOff),
    ("srcline", ScriptField::SrcLine),
    ("period", ScriptField::Period),
    ("iregs", ScriptField::IntrRegs),
    ("uregs", ScriptField::UserRegs),
    ("brstack", ScriptField::Branches),
    ("brstacksym", ScriptField::BranchSymbols),
    ("brstackoff", ScriptField::BranchOffsets),
    ("data_src", ScriptField::DataSource),
    ("phys_addr", ScriptField::PhysAddr),
    ("data_page_size", ScriptField::DataPageSize),
    ("code_page_size", ScriptField::CodePageSize),
    ("weight", ScriptField::Weight),
    ("ins_lat", ScriptField::Latency),
    ("misc", ScriptField::Misc),
];

/// A field that `script` does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown field `{field}`; known are comm, tid, pid, time, cpu, event, trace, ip, sym, dso, \
         addr, symoff, srcline, period, iregs, uregs, brstack, brstacksym, brstackoff, data_src, \
         phys_addr, data_page_size, code_page_size, weight, ins_lat, misc"
)]
pub struct UnknownField {
    /// The field as given.
    pub field: String,
}

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptFields(u32);

impl ScriptFields {
    /// What is printed for an event unless asked otherwise: tracepoints have their fields instead
    /// of a period, and an address only as part of a callchain.
    pub fn default_for(is_tracepoint: bool, has_callchain: bool) -> Self {
        use ScriptField::{Comm, Cpu, Dso, Event, Ip, Period, Sym, SymOff, Tid, Time, Trace};
        let code = [Ip, Sym, SymOff, Dso];
        let fields = [Comm, Tid, Cpu, Time, Event].into_iter();
        let by_kind = if is_tracepoint { Trace } else { Period };
        let wants_code = !is_tracepoint || has_callchain;
        Self::of(
            fields
                .chain([by_kind])
                .chain(code.into_iter().filter(|_| wants_code)),
        )
    }

    /// What is printed for an event unless asked otherwise. Events of processors also have what their
    /// samples tell of an access to memory.
    pub fn usual(event: &EventInfo) -> Self {
        use ScriptField::{
            Addr, CodePageSize, DataPageSize, DataSource, Latency, PhysAddr, Weight,
        };
        let usual = Self::default_for(event.is_tracepoint, event.has_callchain);
        let memory = [
            Addr,
            DataSource,
            Weight,
            Latency,
            PhysAddr,
            DataPageSize,
            CodePageSize,
        ];
        match event.is_memory {
            true => Self(usual.0 | Self::of(memory).0),
            false => usual,
        }
    }

    /// These fields.
    pub fn of(fields: impl IntoIterator<Item = ScriptField>) -> Self {
        Self(fields.into_iter().fold(0, |set, it| set | 1 << it as u16))
    }

    /// Whether a field is among them.
    pub fn has(self, field: ScriptField) -> bool {
        self.0 & (1 << field as u16) != 0
    }

    /// Changes the set as `-F` asks: a list replaces it, `+field` and `-field` change it.
    ///
    /// # Errors
    /// [`UnknownField`] for the first word that is none.
    pub fn apply(self, text: &str) -> Result<Self, UnknownField> {
        let words = || text.split(',').filter(|word| !word.is_empty());
        let changes = words().any(|word| word.starts_with(['+', '-']));
        let mut set = if changes { self.0 } else { 0 };
        for word in words() {
            let name = word.trim_start_matches(['+', '-']);
            let found = FIELDS.iter().find(|(field, _)| *field == name);
            let (_, field) = found.ok_or_else(|| UnknownField {
                field: name.to_owned(),
            })?;
            let bit = 1 << *field as u16;
            if word.starts_with('-') {
                set &= !bit;
            } else {
                set |= bit;
            }
        }
        Ok(Self(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_replaces_the_fields_and_signs_change_them() {
        use ScriptField::{Comm, Cpu, Ip, Sym};
        let start = ScriptFields::of([Comm, Cpu]);
        assert_eq!(start.apply("ip,sym"), Ok(ScriptFields::of([Ip, Sym])));
        assert_eq!(start.apply("+ip,-cpu"), Ok(ScriptFields::of([Comm, Ip])));
        let error = start.apply("ip,colour").unwrap_err();
        assert_eq!(error.field, "colour");
    }
}
