use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::Range;

use prof_model::VirtAddr;
use prof_profile::{FrameId, Names, Profile, ScriptFrame, ScriptHead, ScriptSample};

use crate::script_extras;
use crate::text::{printable, push_blanks, push_hex, push_number, width};
use crate::{PlaceId, Places, SymbolKind};

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
    /// The branches before.
    Branches,
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

const FIELDS: [(&str, ScriptField); 23] = [
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
         addr, symoff, srcline, period, iregs, uregs, brstack, phys_addr, data_page_size, \
         code_page_size, weight, ins_lat, misc"
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

/// What `script` prints.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptOptions {
    /// The fields; `None` for those that are usual for each event.
    pub fields: Option<ScriptFields>,
    /// Inlined functions have lines of their own.
    pub inline: bool,
    /// Callchains, else the instruction only.
    pub callchains: bool,
    /// At most so many frames.
    pub max_stack: usize,
    /// Times have nine decimals, else six.
    pub nanoseconds: bool,
}

impl Default for ScriptOptions {
    fn default() -> Self {
        Self {
            fields: None,
            inline: true,
            callchains: true,
            max_stack: 127,
            nanoseconds: false,
        }
    }
}

/// Writes samples one at a time.
#[derive(Debug)]
pub struct ScriptWriter<'a> {
    profile: &'a Profile,
    places: Places,
    options: ScriptOptions,
    event_width: usize,
    written: RefCell<FrameLines>,
    line: RefCell<String>, // its memory is used again
}

/// The lines of frames as they were written before: most frames come again and again.
#[derive(Debug, Default)]
struct FrameLines {
    fields: Option<ScriptFields>, // for which they are
    text: String,
    of_frame: Vec<Range<usize>>, // in `text`; empty where a frame was not written yet
}

impl FrameLines {
    /// Appends the lines of a frame, which `write` makes if they are not known.
    fn push(
        &mut self,
        line: &mut String,
        frame: FrameId,
        fields: ScriptFields,
        write: impl FnOnce(&mut String),
    ) {
        if self.fields != Some(fields) {
            *self = Self {
                fields: Some(fields),
                ..Self::default()
            };
        }
        if self.of_frame.len() <= frame.index() {
            self.of_frame.resize(frame.index() + 1, 0..0);
        }
        let known = &mut self.of_frame[frame.index()];
        if known.start == known.end {
            let start = self.text.len();
            write(&mut self.text);
            *known = start..self.text.len();
        }
        line.push_str(&self.text[known.clone()]);
    }
}

impl<'a> ScriptWriter<'a> {
    /// A writer for samples of `profile`, whose frames and names it looks up.
    pub fn new(profile: &'a Profile, names: &Names, options: ScriptOptions) -> Self {
        let widths = profile.events.iter().map(|event| event.name.len());
        let mut places = Places::new(profile, names, options.inline);
        let shows_lines = |fields: ScriptFields| fields.has(ScriptField::SrcLine);
        if options.fields.is_some_and(shows_lines) {
            places = places.with_lines(profile, names, options.inline);
        }
        Self {
            profile,
            places,
            options,
            event_width: widths.max().unwrap_or(0),
            written: RefCell::default(),
            line: RefCell::default(),
        }
    }

    /// Writes one sample: a line, and the callchain below it if there is one. A sample of an event
    /// that the profile does not have is left out.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write, sample: &ScriptSample) -> io::Result<()> {
        let Some(event) = self.profile.events.get(usize::from(sample.event)) else {
            return Ok(());
        };
        let has_callchain = event.has_callchain && self.options.callchains;
        let fields = self
            .options
            .fields
            .unwrap_or_else(|| ScriptFields::default_for(event.is_tracepoint, event.has_callchain));
        let is_chain = has_callchain && fields.has(ScriptField::Ip);
        let mut line = self.line.take();
        line.clear();
        let head = ScriptHead {
            comm: sample.comm,
            named: sample.tid,
            pid: sample.pid,
            tid: sample.tid,
            cpu: sample.cpu,
            time: sample.time,
            misc: sample.extras.misc,
        };
        self.push_head(&mut line, &head, fields, is_chain);
        if fields.has(ScriptField::Period) {
            push_number(&mut line, sample.period, 10, b' ');
            line.push(' ');
        }
        if fields.has(ScriptField::Event) {
            let missing = self.event_width - event.name.len();
            push_blanks(&mut line, missing);
            line.push_str(&event.name);
            line.push_str(": ");
        }
        if let Some(trace) = &sample.trace
            && fields.has(ScriptField::Trace)
        {
            line.push_str(&printable(trace));
        }
        if let Some(VirtAddr(addr)) = sample.addr
            && fields.has(ScriptField::Addr)
        {
            let _ = write!(line, "{addr:>16x}");
            if let Some(data) = &sample.data {
                self.name(&mut line, self.places.physical(data.frame), fields);
            }
        }
        script_extras::before_code(&mut line, &sample.extras, fields);
        if is_chain {
            line.push('\n');
            let frames = sample.frames.iter().take(self.options.max_stack);
            for frame in frames {
                self.chain_frame(&mut line, frame, fields);
            }
        } else if fields.has(ScriptField::Ip) {
            self.single_frame(&mut line, sample, fields);
        }
        script_extras::behind_code(&mut line, &sample.extras, fields);
        line.push('\n');
        let result = out.write_all(line.as_bytes());
        self.line.replace(line);
        result
    }

    /// How the line of a record beside the samples of `event` begins.
    pub fn start(&self, event: u16, head: &ScriptHead) -> String {
        let event = self.profile.events.get(usize::from(event));
        let has_callchain = event.is_some_and(|event| event.has_callchain);
        let fields = self.options.fields.unwrap_or_else(|| {
            let is_tracepoint = event.is_some_and(|event| event.is_tracepoint);
            ScriptFields::default_for(is_tracepoint, has_callchain)
        });
        let is_chain = has_callchain && self.options.callchains && fields.has(ScriptField::Ip);
        let mut line = String::new();
        self.push_head(&mut line, head, fields, is_chain);
        line
    }

    /// Who, where and when.
    fn push_head(
        &self,
        line: &mut String,
        head: &ScriptHead,
        fields: ScriptFields,
        is_chain: bool,
    ) {
        if fields.has(ScriptField::Comm) {
            let name = head.comm.map(|comm| self.profile.comms.display(comm));
            let comm = match &name {
                Some(name) => printable(name),
                None => format!(":{}", head.named).into(),
            };
            if !is_chain {
                push_blanks(line, 16_usize.saturating_sub(width(&comm)));
            }
            line.push_str(&comm);
            line.push(' ');
        }
        let (pid, tid) = (head.pid.0, head.tid.0);
        match (fields.has(ScriptField::Pid), fields.has(ScriptField::Tid)) {
            (true, true) => {
                let _ = write!(line, "{pid:>5}/{tid:<5} ");
            }
            (true, false) => push_id(line, pid),
            (false, true) => push_id(line, tid),
            (false, false) => {}
        }
        if let Some(cpu) = head.cpu
            && fields.has(ScriptField::Cpu)
        {
            line.push('[');
            push_number(line, cpu.0.into(), 3, b'0');
            line.push_str("] ");
        }
        if fields.has(ScriptField::Misc) {
            let _ = write!(line, "{:<6}", head.misc);
        }
        if let Some(time) = head.time
            && fields.has(ScriptField::Time)
        {
            let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
            push_number(line, seconds, 5, b' ');
            line.push('.');
            if self.options.nanoseconds {
                push_number(line, nanos, 9, b'0');
            } else {
                push_number(line, nanos / 1000, 6, b'0');
            }
            line.push_str(": ");
        }
    }

    /// A frame of a callchain: a line for each function inlined there and one for the physical one.
    /// The address is the one in the file where there is a file.
    fn chain_frame(&self, line: &mut String, frame: &ScriptFrame, fields: ScriptFields) {
        let key = self.profile.frame(frame.frame);
        let is_file = key
            .dso
            .is_some_and(|dso| self.profile.dsos.get(dso).kind.is_file_relative());
        let addr = if is_file { key.shown } else { frame.addr.0 };
        let write = |line: &mut String| {
            for place in self.places.of_frame(frame.frame) {
                line.push('\t');
                push_hex(line, addr, 16);
                self.name(line, place, fields);
                line.push('\n');
                self.source_line(line, place, fields, true);
            }
        };
        if addr == key.shown {
            let mut written = self.written.borrow_mut();
            written.push(line, frame.frame, fields, write);
        } else {
            write(line); // it has another address in each process
        }
    }

    /// The instruction by itself, with its address in the process.
    fn single_frame(&self, line: &mut String, sample: &ScriptSample, fields: ScriptFields) {
        let _ = write!(line, " {:>16x}", sample.ip.0);
        match sample.frames.first() {
            Some(frame) => {
                let place = self.places.physical(frame.frame);
                self.name(line, place, fields);
                self.source_line(line, place, fields, false);
            }
            None => {
                if fields.has(ScriptField::Sym) {
                    line.push_str(" [unknown]");
                }
                if fields.has(ScriptField::Dso) {
                    line.push_str(" ([unknown])");
                }
            }
        }
    }

    /// ` function+0xoffset (module)`.
    fn name(&self, line: &mut String, place: PlaceId, fields: ScriptFields) {
        let symbol = self.places.symbol_at(place);
        let frame = self.places.get(place).frame;
        let key = self.profile.frame(frame);
        if fields.has(ScriptField::Sym) {
            line.push(' ');
            if symbol.is_named() {
                line.push_str(&symbol.name);
            } else {
                line.push_str("[unknown]");
            }
            if symbol.is_named() && fields.has(ScriptField::SymOff) {
                let physical = self.places.symbol_at(self.places.physical(frame));
                let offset = key.shown.wrapping_sub(physical.start);
                line.push_str("+0x");
                push_hex(line, offset, 1);
            }
        }
        if symbol.kind == SymbolKind::Inlined {
            line.push_str(" (inlined)");
        } else if fields.has(ScriptField::Dso) {
            match symbol.dso {
                Some(dso) => {
                    let dso = self.profile.dsos.get(dso);
                    let _ = write!(line, " ({})", printable(&dso.long_name()));
                }
                None => line.push_str(" ([unknown])"),
            }
        }
    }

    fn source_line(&self, line: &mut String, place: PlaceId, fields: ScriptFields, below: bool) {
        if !fields.has(ScriptField::SrcLine) || !self.places.symbol_at(place).is_named() {
            return;
        }
        let source = self
            .places
            .line_by_rank(self.places.get(place).line as usize);
        if below {
            let _ = writeln!(line, "  {source}");
        } else {
            let _ = write!(line, "\n  {source}");
        }
    }
}

/// A process or a thread; where there is none its number is negative.
fn push_id(line: &mut String, id: i32) {
    match u64::try_from(id) {
        Ok(id) => push_number(line, id, 5, b' '),
        Err(_) => {
            let _ = write!(line, "{id:>5}");
        }
    }
    line.push(' ');
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
