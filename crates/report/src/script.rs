use std::io::Write as _;
use std::sync::atomic::AtomicUsize;

use prof_model::{CommId, VirtAddr, printable};
use prof_profile::{Names, Profile, ScriptHead, ScriptSample};

use crate::data_source;
use crate::digits::{push_decimal, push_hex};
use crate::script_extras;
use crate::script_frames::{ChainLines, FrameText};
use crate::text::{push_blanks, push_right, width};
use crate::{ScriptField, ScriptFields};

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

/// Writes samples one at a time. Several threads can do so at once.
#[derive(Debug)]
pub struct ScriptWriter<'a> {
    options: ScriptOptions,
    events: Vec<EventText>,
    fields_of_none: ScriptFields, // of records that belong to no event
    comms: Vec<CommText>,         // by CommId
    frames: FrameText<'a>,
    lines: ChainLines,
    source_width: AtomicUsize, // of what was printed of a data source, so far
}

/// What is printed for an event, and its name as all of its samples have it.
#[derive(Debug)]
struct EventText {
    fields: ScriptFields,
    is_chain: bool,
    name: String,
}

/// A thread's name, with the blanks that stand before it where no callchain follows.
#[derive(Debug)]
struct CommText {
    padded: String,
    blanks: usize,
}

impl CommText {
    fn new(name: &str) -> Self {
        let name = printable(name);
        let blanks = 16_usize.saturating_sub(width(&name));
        let mut padded = String::new();
        push_blanks(&mut padded, blanks);
        padded.push_str(&name);
        padded.push(' ');
        Self { padded, blanks }
    }

    fn get(&self, is_chain: bool) -> &str {
        &self.padded[if is_chain { self.blanks } else { 0 }..]
    }
}

impl<'a> ScriptWriter<'a> {
    /// A writer for samples of `profile`, whose frames and names it looks up.
    pub fn new(profile: &'a Profile, names: &'a Names, options: ScriptOptions) -> Self {
        let shown = profile.events.iter().map(|event| printable(&event.name));
        let widths = shown.map(|name| width(&name));
        let event_width = widths.max().unwrap_or(0);
        let events = profile.events.iter().map(|event| {
            let fields = options.fields;
            let fields = fields.unwrap_or_else(|| ScriptFields::usual(event));
            let mut name = String::new();
            push_right(&mut name, &printable(&event.name), event_width);
            name.push_str(": ");
            EventText {
                fields,
                is_chain: event.has_callchain && options.callchains && fields.has(ScriptField::Ip),
                name,
            }
        });
        let events: Vec<_> = events.collect();
        // What is printed of code is the same for all events that print it.
        let of_code = options
            .fields
            .unwrap_or_else(|| ScriptFields::default_for(false, true));
        let frames = FrameText::new(profile, names, of_code, options.inline);
        let lines = match events.iter().any(|event| event.is_chain) {
            true => ChainLines::new(&frames),
            false => ChainLines::default(),
        };
        let comms = (0..profile.comms.len() as u32).map(CommId);
        let comms = comms.map(|comm| CommText::new(&profile.comms.display(comm)));
        Self {
            fields_of_none: options
                .fields
                .unwrap_or_else(|| ScriptFields::default_for(false, false)),
            options,
            events,
            comms: comms.collect(),
            frames,
            lines,
            source_width: AtomicUsize::new(0),
        }
    }

    /// Appends one sample: a line, and the callchain below it if there is one. A sample of an event
    /// that the profile does not have is left out.
    pub fn write(&self, text: &mut Vec<u8>, sample: &ScriptSample) {
        let Some(event) = self.events.get(usize::from(sample.event)) else {
            return;
        };
        let fields = event.fields;
        let head = ScriptHead {
            comm: sample.comm,
            named: sample.tid,
            pid: sample.pid,
            tid: sample.tid,
            cpu: sample.cpu,
            time: sample.time,
            misc: sample.extras.misc,
        };
        self.push_head(text, &head, fields, event.is_chain);
        if fields.has(ScriptField::Period) {
            push_decimal(text, sample.period, 10, b' ');
            text.push(b' ');
        }
        if fields.has(ScriptField::Event) {
            text.extend_from_slice(event.name.as_bytes());
        }
        if let Some(trace) = &sample.trace
            && fields.has(ScriptField::Trace)
        {
            text.extend_from_slice(printable(trace).as_bytes());
        }
        if let Some(VirtAddr(addr)) = sample.addr
            && fields.has(ScriptField::Addr)
        {
            push_hex(text, addr, 16, b' ');
            if let Some(data) = sample.data {
                self.frames.push_name(text, data);
            }
        }
        if let Some(source) = sample.extras.data_src
            && fields.has(ScriptField::DataSource)
        {
            data_source::push(text, source, &self.source_width);
        }
        script_extras::before_code(text, &sample.extras, fields);
        if event.is_chain {
            text.push(b'\n');
            self.push_chain(text, sample);
        } else if fields.has(ScriptField::Ip) {
            text.push(b' ');
            push_hex(text, sample.ip.0, 16, b' ');
            match sample.frames.first() {
                Some(&frame) => self.frames.push_single(text, frame),
                None => self.frames.push_nowhere(text),
            }
        }
        script_extras::behind_code(text, &sample.extras, fields, &self.frames);
        text.push(b'\n');
    }

    /// How the line of a record beside the samples of `event` begins.
    pub fn write_head(&self, text: &mut Vec<u8>, event: u16, head: &ScriptHead) {
        let (fields, is_chain) = match self.events.get(usize::from(event)) {
            Some(event) => (event.fields, event.is_chain),
            None => (self.fields_of_none, false),
        };
        self.push_head(text, head, fields, is_chain);
    }

    /// Who, where and when.
    fn push_head(
        &self,
        text: &mut Vec<u8>,
        head: &ScriptHead,
        fields: ScriptFields,
        is_chain: bool,
    ) {
        if fields.has(ScriptField::Comm) {
            match head.comm {
                Some(comm) => {
                    let comm = self.comms[comm.0 as usize].get(is_chain);
                    text.extend_from_slice(comm.as_bytes());
                }
                None => {
                    let comm = CommText::new(&format!(":{}", head.named));
                    text.extend_from_slice(comm.get(is_chain).as_bytes());
                }
            }
        }
        let (pid, tid) = (head.pid.0, head.tid.0);
        match (fields.has(ScriptField::Pid), fields.has(ScriptField::Tid)) {
            (true, true) => {
                let _ = write!(text, "{pid:>5}/{tid:<5} ");
            }
            (true, false) => push_id(text, pid),
            (false, true) => push_id(text, tid),
            (false, false) => {}
        }
        if let Some(cpu) = head.cpu
            && fields.has(ScriptField::Cpu)
        {
            text.push(b'[');
            push_decimal(text, cpu.0.into(), 3, b'0');
            text.extend_from_slice(b"] ");
        }
        if fields.has(ScriptField::Misc) {
            let _ = write!(text, "{:<6}", head.misc);
        }
        if let Some(time) = head.time
            && fields.has(ScriptField::Time)
        {
            let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
            push_decimal(text, seconds, 5, b' ');
            text.push(b'.');
            if self.options.nanoseconds {
                push_decimal(text, nanos, 9, b'0');
            } else {
                push_decimal(text, nanos / 1000, 6, b'0');
            }
            text.extend_from_slice(b": ");
        }
    }

    fn push_chain(&self, text: &mut Vec<u8>, sample: &ScriptSample) {
        let frames = sample.frames.iter().take(self.options.max_stack);
        if sample.addresses.is_empty() {
            frames.for_each(|&frame| self.lines.push(text, frame, &self.frames));
            return;
        }
        for (&frame, addr) in frames.zip(&sample.addresses) {
            match self.frames.own_addr(frame, addr.0) {
                None => self.lines.push(text, frame, &self.frames),
                Some(addr) => self.frames.push_lines(text, frame, addr),
            }
        }
    }
}

/// A process or a thread; where there is none its number is negative.
fn push_id(text: &mut Vec<u8>, id: i32) {
    match u64::try_from(id) {
        Ok(id) => push_decimal(text, id, 5, b' '),
        Err(_) => {
            let _ = write!(text, "{id:>5}");
        }
    }
    text.push(b' ');
}
