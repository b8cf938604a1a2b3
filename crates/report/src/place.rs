use std::borrow::Cow;
use std::sync::Arc;

use prof_model::{CpuMode, Dso, DsoId, InlineFrame, Reason, Resolution, SourceLine, printable};
use prof_profile::{FrameId, FrameKey, Names, Profile};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::digits::{push_decimal, push_hex};
use crate::order::arrange;
use crate::text::{base_name, first_letters};

/// Index of a function in [`Places`]. Ids ascend as rows of equal weight do: functions by name, then
/// addresses without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub(crate) u32);

/// What sort of function it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolKind {
    /// One of the symbol table.
    Function,
    /// One whose body the compiler copied into others; all copies in a module are one.
    Inlined,
    /// An address without a name stands for itself.
    Unresolved(Reason),
    /// All addresses of a module that have no name, see [`Places::by_name`].
    Unnamed,
}

/// What stands for all of the kernel's functions where it hides their addresses.
const HIDDEN: &str = "[hidden by kptr_restrict]";

/// What stands for all addresses of a module that have no name.
const NO_NAMES: &str = "[no names]";

/// A function, or an address without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolInfo {
    /// Its name; empty if unresolved.
    pub name: Arc<str>,
    /// What sort it is.
    pub kind: SymbolKind,
    /// The module, if one was mapped.
    pub dso: Option<DsoId>,
    /// First address; the address itself if unresolved; 0 if inlined. Numbered as
    /// [`prof_model::DsoAddr`], virtual without a DSO.
    pub start: u64,
    /// Length in bytes; 0 where unknown.
    pub size: u64,
    /// In which mode it was first seen.
    pub mode: CpuMode,
    pub(crate) dso_name: u32, // into Places::dso_names
}

impl SymbolInfo {
    /// perf's letter for the mode: `k`, `.`, `g`, `u` or `H`.
    pub fn level(&self) -> char {
        match self.mode {
            CpuMode::Kernel => 'k',
            CpuMode::User => '.',
            CpuMode::GuestKernel => 'g',
            CpuMode::GuestUser => 'u',
            CpuMode::Hypervisor | CpuMode::Unknown => 'H',
        }
    }

    /// Whether it has a name.
    pub fn is_named(&self) -> bool {
        matches!(self.kind, SymbolKind::Function | SymbolKind::Inlined)
    }

    /// As call graphs print it: the name, or the bare address.
    pub fn in_chain(&self) -> String {
        match self.kind {
            SymbolKind::Function => self.name.to_string(),
            SymbolKind::Inlined => format!("{} (inlined)", self.name),
            SymbolKind::Unresolved(Reason::KernelRestricted) => HIDDEN.to_owned(),
            SymbolKind::Unnamed => NO_NAMES.to_owned(),
            SymbolKind::Unresolved(_) if self.start == 0 => "0".to_owned(),
            SymbolKind::Unresolved(_) => format!("{:#x}", self.start),
        }
    }

    /// As the `Symbol` column prints it.
    pub fn in_column(&self) -> String {
        let mut text = String::with_capacity("[k]  (inlined)".len() + self.name.len());
        self.push_in_column(&mut text);
        text
    }

    /// Appends what the `Symbol` column prints.
    pub(crate) fn push_in_column(&self, text: &mut String) {
        text.push('[');
        text.push(self.level());
        text.push_str("] ");
        match self.kind {
            SymbolKind::Function => text.push_str(&self.name),
            SymbolKind::Inlined => {
                text.push_str(&self.name);
                text.push_str(" (inlined)");
            }
            SymbolKind::Unresolved(Reason::KernelRestricted) => text.push_str(HIDDEN),
            SymbolKind::Unnamed => text.push_str(NO_NAMES),
            SymbolKind::Unresolved(_) if self.start == 0 => push_decimal(text, 0, 16, b'0'),
            SymbolKind::Unresolved(_) => {
                text.push_str("0x");
                push_hex(text, self.start, 16, b'0');
            }
        }
    }
}

/// Index of a place in [`Places`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(u32);

impl PlaceId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A frame of the profile, or one of the functions inlined there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The frame.
    pub frame: FrameId,
    /// The function.
    pub symbol: SymbolId,
    pub(crate) line: u32, // into Places::lines
}

impl Place {
    fn new(frame: FrameId, symbol: SymbolId) -> Self {
        Self {
            frame,
            symbol,
            line: 0,
        }
    }
}

/// The names of a profile, arranged for reports: strings are compared here once, so that rows and
/// trees are made of numbers.
#[derive(Clone, Debug, Default)]
pub struct Places {
    places: Vec<Place>,
    first_place: Vec<u32>, // by frame: innermost first, the last one is the physical function
    symbols: Vec<SymbolInfo>,
    dso_names: Vec<String>, // ascending, `[unknown]` last
    lines: Vec<String>,     // `file:line` without folders, ascending
    file_of_line: Vec<u32>, // the first line with the same file
}

impl Places {
    /// Arranges the names of all frames, with the functions inlined there if `inline`. Functions are
    /// told apart by their addresses, and so is what has no name, as perf does.
    pub fn new(profile: &Profile, names: &Names, inline: bool) -> Self {
        Self::arrange(profile, names, inline, false)
    }

    /// As [`Places::new`], but functions of one module and name are one, and so is all of a module that
    /// has no name: what somebody can act on who has only names, and what two recordings have in common.
    /// The generated code of all processes is one module, for a server's workers run the same.
    pub fn by_name(profile: &Profile, names: &Names, inline: bool) -> Self {
        Self::arrange(profile, names, inline, true)
    }

    fn arrange(profile: &Profile, names: &Names, inline: bool, by_name: bool) -> Self {
        let (dso_names, dso_name_of) = dso_names(profile, by_name);
        let unknown = dso_names.len() as u32 - 1;
        let frames = profile.frames().len(); // as many functions at most, but for inlined ones
        let mut places = Self {
            places: Vec::with_capacity(frames),
            first_place: Vec::with_capacity(frames + 1),
            symbols: Vec::with_capacity(frames),
            dso_names,
            ..Self::default()
        };
        let mut ids = SymbolIds {
            by_name,
            ..SymbolIds::default()
        };
        ids.by_extent.reserve(frames);
        for (frame, key) in profile.frames() {
            places.first_place.push(places.places.len() as u32);
            let resolution = names.get(frame);
            let dso_name = match key.dso {
                Some(dso) => dso_name_of[dso.0 as usize],
                None => unknown,
            };
            for copy in inlined_in(resolution, inline) {
                let symbol = symbol(key, dso_name, SymbolKind::Inlined, &copy.name, 0, 0);
                let symbol = ids.find_or_add(&mut places.symbols, symbol);
                places.places.push(Place::new(frame, symbol));
            }
            let mut symbol = physical(key, dso_name, resolution);
            if by_name && !symbol.is_named() {
                symbol.kind = match symbol.kind {
                    SymbolKind::Unresolved(Reason::KernelRestricted) => symbol.kind, // says more
                    _ => SymbolKind::Unnamed,
                };
                symbol.start = 0;
            }
            let symbol = ids.find_or_add(&mut places.symbols, symbol);
            places.places.push(Place::new(frame, symbol));
        }
        places.first_place.push(places.places.len() as u32);
        places.sort_symbols();
        places
    }

    /// Finds the source lines, too: only reports that show them need them. `inline` as before.
    #[must_use]
    pub fn with_lines(mut self, profile: &Profile, names: &Names, inline: bool) -> Self {
        let mut numbers: FxHashMap<String, u32> = FxHashMap::default();
        for (frame, key) in profile.frames() {
            let resolution = names.get(frame);
            let (physical, start) = match resolution {
                Resolution::Named {
                    location, symbol, ..
                } => (location.as_ref(), symbol.start),
                Resolution::Unresolved(_) => (None, 0),
            };
            let copies = inlined_in(resolution, inline).iter();
            let locations = copies.map(|copy| copy.location.as_ref()).chain([physical]);
            for (place, location) in self.of_frame(frame).zip(locations) {
                let offset = key.lookup.wrapping_sub(start);
                let line = line_of(offset, self.symbol_at(place), location);
                let next = numbers.len() as u32;
                self.places[place.index()].line = *numbers.entry(line).or_insert(next);
            }
        }
        self.sort_lines(numbers);
        self
    }

    /// Renumbers the symbols into the order of their ids.
    fn sort_symbols(&mut self) {
        fn key(symbol: &SymbolInfo) -> impl Ord + '_ {
            let by_address = (!symbol.is_named()).then_some(symbol.start);
            (
                by_address, // None, for a name, comes first
                &*symbol.name,
                symbol.dso_name,
                symbol.start,
                symbol.kind,
            )
        }
        // What nearly always decides, as a number: the first letters, or else the address, behind
        // them since no letter begins with 0xff.
        let lead = |symbol: &SymbolInfo| {
            if !symbol.is_named() {
                return u128::MAX << 64 | u128::from(symbol.start);
            }
            first_letters(&symbol.name)
        };
        let symbols = &self.symbols;
        let mut order: Vec<(u128, u32)> = symbols.iter().map(lead).zip(0..).collect();
        let whole = |id: u32| (key(&symbols[id as usize]), id);
        order.sort_unstable_by(|left, right| {
            let by_lead = left.0.cmp(&right.0);
            by_lead.then_with(|| whole(left.1).cmp(&whole(right.1)))
        });
        let order: Vec<u32> = order.into_iter().map(|(_, symbol)| symbol).collect();
        let mut rank = vec![0; order.len()];
        for (new, &old) in (0..).zip(&order) {
            rank[old as usize] = new;
        }
        for place in &mut self.places {
            place.symbol.0 = rank[place.symbol.0 as usize];
        }
        arrange(&mut self.symbols, order);
    }

    fn sort_lines(&mut self, lines: FxHashMap<String, u32>) {
        let mut sorted: Vec<(String, u32)> = lines.into_iter().collect();
        sorted.sort_unstable();
        let mut rank = vec![0; sorted.len()];
        for (new, (_, old)) in sorted.iter().enumerate() {
            rank[*old as usize] = new as u32;
        }
        for place in &mut self.places {
            place.line = rank[place.line as usize];
        }
        let mut files: FxHashMap<&str, u32> = FxHashMap::default();
        self.file_of_line = sorted
            .iter()
            .enumerate()
            .map(|(rank, (line, _))| *files.entry(file_of(line)).or_insert(rank as u32))
            .collect();
        self.lines = sorted.into_iter().map(|(line, _)| line).collect();
    }

    /// The places of a frame, innermost first. The last one is the physical function.
    pub fn of_frame(&self, frame: FrameId) -> impl DoubleEndedIterator<Item = PlaceId> + use<> {
        let index = frame.index();
        (self.first_place[index]..self.first_place[index + 1]).map(PlaceId)
    }

    /// The physical function of a frame.
    pub fn physical(&self, frame: FrameId) -> PlaceId {
        PlaceId(self.first_place[frame.index() + 1] - 1)
    }

    /// A place.
    pub fn get(&self, id: PlaceId) -> &Place {
        &self.places[id.index()]
    }

    /// The function at a place.
    pub fn symbol_at(&self, id: PlaceId) -> &SymbolInfo {
        self.symbol(self.get(id).symbol)
    }

    /// A function.
    pub fn symbol(&self, id: SymbolId) -> &SymbolInfo {
        &self.symbols[id.0 as usize]
    }

    /// Every function, by id.
    pub fn symbols(&self) -> &[SymbolInfo] {
        &self.symbols
    }

    /// What a function's module is called: its short name; with [`Places::by_name`] its common name.
    pub fn dso_name(&self, symbol: &SymbolInfo) -> &str {
        &self.dso_names[symbol.dso_name as usize]
    }

    /// How many short names of modules there are, `[unknown]` among them.
    pub(crate) fn dso_names(&self) -> usize {
        self.dso_names.len()
    }

    pub(crate) fn dso_name_by_rank(&self, rank: usize) -> &str {
        &self.dso_names[rank]
    }

    /// Empty without [`Places::with_lines`].
    pub(crate) fn line_by_rank(&self, rank: usize) -> &str {
        self.lines.get(rank).map_or("", String::as_str)
    }

    /// The first line that lies in the same file: it stands for the file.
    pub(crate) fn first_line_of_file(&self, rank: u32) -> u64 {
        u64::from(self.file_of_line.get(rank as usize).copied().unwrap_or(0))
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PlaceId> + use<> {
        (0..self.places.len() as u32).map(PlaceId)
    }

    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }
}

/// Distinct short names in their order, common ones if `by_name`, and each DSO's index among them.
fn dso_names(profile: &Profile, by_name: bool) -> (Vec<String>, Vec<u32>) {
    let name: fn(&Dso) -> String = match by_name {
        true => Dso::common_name,
        false => Dso::short_name,
    };
    let short: Vec<String> = profile
        .dsos
        .iter()
        .map(|(_, dso)| printable(&name(dso)).into_owned())
        .collect();
    let mut names = short.clone();
    names.sort_unstable();
    names.dedup();
    let ranks = short
        .iter()
        .map(|name| names.partition_point(|other| other < name) as u32)
        .collect();
    names.push("[unknown]".to_owned());
    (names, ranks)
}

/// The functions so far. perf, too, compares modules by their short names.
#[derive(Default)]
struct SymbolIds {
    by_name: bool,
    by_extent: FxHashMap<(u32, SymbolKind, u64, u64), SmallVec<[SymbolId; 1]>>,
    named: FxHashMap<(u32, SymbolKind, Arc<str>), SymbolId>,
}

impl SymbolIds {
    fn find_or_add(&mut self, symbols: &mut Vec<SymbolInfo>, symbol: SymbolInfo) -> SymbolId {
        let next = SymbolId(symbols.len() as u32);
        if symbol.kind == SymbolKind::Inlined || self.by_name {
            let key = (symbol.dso_name, symbol.kind, Arc::clone(&symbol.name));
            let id = *self.named.entry(key).or_insert(next);
            if id == next {
                symbols.push(symbol);
            }
            return id;
        }
        let extent = (symbol.dso_name, symbol.kind, symbol.start, symbol.size);
        let with_extent = self.by_extent.entry(extent).or_default();
        let is_same = |id: &&SymbolId| symbols[id.0 as usize].name == symbol.name;
        if let Some(&id) = with_extent.iter().find(is_same) {
            return id;
        }
        with_extent.push(next);
        symbols.push(symbol);
        next
    }
}

fn inlined_in(resolution: &Resolution, inline: bool) -> &[InlineFrame] {
    match resolution {
        Resolution::Named { inlined, .. } if inline => inlined,
        _ => &[],
    }
}

fn symbol(
    key: &FrameKey,
    dso_name: u32,
    kind: SymbolKind,
    name: &Arc<str>,
    start: u64,
    size: u64,
) -> SymbolInfo {
    SymbolInfo {
        name: match printable(name) {
            Cow::Borrowed(_) => Arc::clone(name),
            Cow::Owned(changed) => Arc::from(changed),
        },
        kind,
        dso: key.dso,
        start,
        size,
        mode: key.mode,
        dso_name,
    }
}

fn physical(key: &FrameKey, dso_name: u32, resolution: &Resolution) -> SymbolInfo {
    match resolution {
        Resolution::Named { symbol: named, .. } => {
            let kind = SymbolKind::Function;
            symbol(key, dso_name, kind, &named.name, named.start, named.size)
        }
        Resolution::Unresolved(reason) => SymbolInfo {
            name: Arc::default(),
            kind: SymbolKind::Unresolved(*reason),
            dso: key.dso,
            start: match reason {
                Reason::KernelRestricted => 0, // its functions cannot be told apart
                _ => key.shown,
            },
            size: 0,
            mode: key.mode,
            dso_name,
        },
    }
}

/// `file:line`, or else the offset in the function, or else the address.
fn line_of(offset: u64, symbol: &SymbolInfo, location: Option<&SourceLine>) -> String {
    match (location, symbol.kind) {
        (Some(at), _) => format!("{}:{}", printable(base_name(&at.file)), at.line),
        (None, SymbolKind::Function) => format!("{}+{offset:#x}", symbol.name),
        (None, _) => symbol.in_chain(),
    }
}

/// A source line without its number.
pub(crate) fn file_of(line: &str) -> &str {
    line.rsplit_once(':').map_or(line, |(file, _)| file)
}
