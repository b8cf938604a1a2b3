//! Frames as `script` prints them.

use std::io::Write as _;

use prof_model::{InlineFrame, Resolution, SourceLine, Symbol, printable};
use prof_profile::{FrameId, FrameKey, Names, Profile};

use crate::digits::push_hex;
use crate::text::base_name;
use crate::{ScriptField, ScriptFields};

/// What is printed of a frame.
#[derive(Debug)]
pub(crate) struct FrameText<'a> {
    profile: &'a Profile,
    names: &'a Names,
    fields: ScriptFields,
    inline: bool,
    modules: Vec<String>, // ` (PATH)` by DsoId
}

/// A function at a frame.
#[derive(Clone, Copy)]
enum Function<'n> {
    Physical(&'n Symbol, Option<&'n SourceLine>),
    /// One inlined into it.
    Inlined(&'n InlineFrame, &'n Symbol),
    Unknown,
}

impl<'a> FrameText<'a> {
    /// For these fields; with the functions inlined there if `inline`.
    pub(crate) fn new(
        profile: &'a Profile,
        names: &'a Names,
        fields: ScriptFields,
        inline: bool,
    ) -> Self {
        let module = |path: &str| format!(" ({})", printable(path));
        let modules = profile.dsos.iter();
        Self {
            profile,
            names,
            fields,
            inline,
            modules: modules.map(|(_, dso)| module(&dso.long_name())).collect(),
        }
    }

    /// A frame of a callchain: a line for each function inlined there and one for the physical one.
    pub(crate) fn push_lines(&self, text: &mut Vec<u8>, frame: FrameId, addr: u64) {
        let key = self.profile.frame(frame);
        let mut push_line = |function| {
            text.push(b'\t');
            push_hex(text, addr, 16, b' ');
            self.push_function(text, key, function);
            text.push(b'\n');
            if let Some(source) = self.source(key, function) {
                let _ = writeln!(text, "  {source}");
            }
        };
        match self.names.get(frame) {
            Resolution::Named {
                symbol,
                inlined,
                location,
            } => {
                let inlined = inlined.iter().filter(|_| self.inline);
                inlined.for_each(|copy| push_line(Function::Inlined(copy, symbol)));
                push_line(Function::Physical(symbol, location.as_ref()));
            }
            Resolution::Unresolved(_) => push_line(Function::Unknown),
        }
    }

    /// The address to be shown of a frame that lies at `addr`, if the frame does not tell it: what is
    /// no file's has another one in each process.
    pub(crate) fn own_addr(&self, frame: FrameId, addr: u64) -> Option<u64> {
        let key = self.profile.frame(frame);
        let is_in_file = |dso| self.profile.dsos.get(dso).kind.is_file_relative();
        let is_told = key.shown == addr || key.dso.is_some_and(is_in_file);
        (!is_told).then_some(addr)
    }

    /// The physical function of a frame.
    fn physical(&self, frame: FrameId) -> Function<'a> {
        match self.names.get(frame) {
            Resolution::Named {
                symbol, location, ..
            } => Function::Physical(symbol, location.as_ref()),
            Resolution::Unresolved(_) => Function::Unknown,
        }
    }

    /// The physical function of a frame alone: ` function+0xoffset (module)`.
    pub(crate) fn push_name(&self, text: &mut Vec<u8>, frame: FrameId) {
        self.push_function(text, self.profile.frame(frame), self.physical(frame));
    }

    /// The same, and its source line below.
    pub(crate) fn push_single(&self, text: &mut Vec<u8>, frame: FrameId) {
        self.push_name(text, frame);
        let source = self.source(self.profile.frame(frame), self.physical(frame));
        if let Some(source) = source {
            let _ = write!(text, "\n  {source}");
        }
    }

    /// A function alone, with the offset in it: `function+0xoffset`; `[unknown]` of a place without a name.
    pub(crate) fn push_symbol_of(&self, text: &mut Vec<u8>, frame: Option<FrameId>) {
        let named = frame.map(|frame| (self.profile.frame(frame), self.names.get(frame)));
        let Some((key, Resolution::Named { symbol, .. })) = named else {
            text.extend_from_slice(b"[unknown]");
            return;
        };
        text.extend_from_slice(printable(&symbol.name).as_bytes());
        text.extend_from_slice(b"+0x");
        push_hex(text, key.shown.wrapping_sub(symbol.start), 1, b' ');
    }

    /// A module alone, if modules are printed: `(module)`.
    pub(crate) fn push_module_of(&self, text: &mut Vec<u8>, frame: Option<FrameId>) {
        let start = text.len();
        self.push_module(text, frame.map(|frame| self.profile.frame(frame)));
        if text.len() > start {
            text.remove(start); // the blank
        }
    }

    /// A place of which nothing is known.
    pub(crate) fn push_nowhere(&self, text: &mut Vec<u8>) {
        self.push_symbol(text, None);
        self.push_module(text, None);
    }

    fn push_function(&self, text: &mut Vec<u8>, key: &FrameKey, function: Function<'_>) {
        match function {
            Function::Physical(symbol, _) => {
                let offset = key.shown.wrapping_sub(symbol.start);
                self.push_symbol(text, Some((&symbol.name, offset)));
                self.push_module(text, Some(key));
            }
            Function::Inlined(copy, within) => {
                let offset = key.shown.wrapping_sub(within.start);
                self.push_symbol(text, Some((&copy.name, offset)));
                text.extend_from_slice(b" (inlined)");
            }
            Function::Unknown => {
                self.push_symbol(text, None);
                self.push_module(text, Some(key));
            }
        }
    }

    /// ` name+0xoffset`
    fn push_symbol(&self, text: &mut Vec<u8>, named: Option<(&str, u64)>) {
        if !self.fields.has(ScriptField::Sym) {
            return;
        }
        let Some((name, offset)) = named else {
            text.extend_from_slice(b" [unknown]");
            return;
        };
        text.push(b' ');
        text.extend_from_slice(printable(name).as_bytes());
        if self.fields.has(ScriptField::SymOff) {
            text.extend_from_slice(b"+0x");
            push_hex(text, offset, 1, b' ');
        }
    }

    fn push_module(&self, text: &mut Vec<u8>, key: Option<&FrameKey>) {
        if self.fields.has(ScriptField::Dso) {
            let module = match key.and_then(|key| key.dso) {
                Some(dso) => &self.modules[dso.0 as usize],
                None => " ([unknown])",
            };
            text.extend_from_slice(module.as_bytes());
        }
    }

    /// `file:line` of a function that has a name, or what tells as much without debug info.
    fn source(&self, key: &FrameKey, function: Function<'_>) -> Option<String> {
        if !self.fields.has(ScriptField::SrcLine) {
            return None;
        }
        let at = |at: &SourceLine| format!("{}:{}", printable(base_name(&at.file)), at.line);
        match function {
            Function::Physical(_, Some(location)) => Some(at(location)),
            Function::Physical(symbol, None) => {
                let offset = key.lookup.wrapping_sub(symbol.start);
                Some(format!("{}+{offset:#x}", printable(&symbol.name)))
            }
            Function::Inlined(copy, _) => Some(match &copy.location {
                Some(location) => at(location),
                None => format!("{} (inlined)", printable(&copy.name)),
            }),
            Function::Unknown => None,
        }
    }
}

/// The lines of a profile's frames: most come in many samples.
#[derive(Debug, Default)]
pub(crate) struct ChainLines {
    text: Vec<u8>,
    ends: Vec<usize>, // in `text`, by FrameId; later frames are not kept
}

/// So much text is kept, in bytes.
const MOST_LINES: usize = 16 << 20;

impl ChainLines {
    /// With the addresses of the frames themselves.
    pub(crate) fn new(frames: &FrameText<'_>) -> Self {
        let mut lines = Self::default();
        for (frame, key) in frames.profile.frames() {
            frames.push_lines(&mut lines.text, frame, key.shown);
            lines.ends.push(lines.text.len());
            if lines.text.len() > MOST_LINES {
                break;
            }
        }
        lines
    }

    /// Appends the lines of a frame; `frames` as before.
    pub(crate) fn push(&self, text: &mut Vec<u8>, frame: FrameId, frames: &FrameText<'_>) {
        let index = frame.index();
        let Some(&end) = self.ends.get(index) else {
            frames.push_lines(text, frame, frames.profile.frame(frame).shown);
            return;
        };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        text.extend_from_slice(&self.text[start..end]);
    }
}
