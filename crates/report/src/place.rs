use std::sync::Arc;

use prof_model::{CpuMode, DsoId, InlineFrame, Reason, Resolution, SourceLine};
use prof_profile::{FrameId, FrameKey, Names, Profile};
use rustc_hash::FxHashMap;

use crate::text::{base_name, printable};

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
}

/// What stands for all of the kernel's functions where it hides their addresses.
const HIDDEN: &str = "[hidden by kptr_restrict]";

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
        !matches!(self.kind, SymbolKind::Unresolved(_))
    }

    /// As call graphs print it: the name, or the bare address.
    pub fn in_chain(&self) -> String {
        match self.kind {
            SymbolKind::Function => self.name.to_string(),
            SymbolKind::Inlined => format!("{} (inlined)", self.name),
            SymbolKind::Unresolved(Reason::KernelRestricted) => HIDDEN.to_owned(),
            SymbolKind::Unresolved(_) if self.start == 0 => "0".to_owned(),
            SymbolKind::Unresolved(_) => format!("{:#x}", self.start),
        }
    }

    /// As the `Symbol` column prints it.
    pub fn in_column(&self) -> String {
        match self.kind {
            SymbolKind::Function => format!("[{}] {}", self.level(), self.name),
            SymbolKind::Inlined => format!("[{}] {} (inlined)", self.level(), self.name),
            SymbolKind::Unresolved(Reason::KernelRestricted) => {
                format!("[{}] {HIDDEN}", self.level())
            }
            SymbolKind::Unresolved(_) if self.start == 0 => {
                format!("[{}] {:016}", self.level(), 0)
            }
            SymbolKind::Unresolved(_) => format!("[{}] {:#018x}", self.level(), self.start),
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

/// What makes two functions one: perf, too, compares modules by their short names.
type Identity = (u32, SymbolKind, u64, u64, Arc<str>);

impl Places {
    /// Arranges the names of all frames, with the functions inlined there if `inline`.
    pub fn new(profile: &Profile, names: &Names, inline: bool) -> Self {
        let (dso_names, dso_name_of) = dso_names(profile);
        let mut places = Self {
            dso_names,
            ..Self::default()
        };
        let unknown = places.dso_names.len() as u32 - 1;
        let mut ids: FxHashMap<Identity, SymbolId> = FxHashMap::default();
        let mut lines: FxHashMap<String, u32> = FxHashMap::default();
        for (frame, key) in profile.frames() {
            places.first_place.push(places.places.len() as u32);
            let resolution = names.get(frame);
            let inlined: &[InlineFrame] = match resolution {
                Resolution::Named { inlined, .. } if inline => inlined,
                _ => &[],
            };
            let dso_name = match key.dso {
                Some(dso) => dso_name_of[dso.0 as usize],
                None => unknown,
            };
            let copies = inlined.iter().map(|copy| {
                let symbol = symbol(key, dso_name, SymbolKind::Inlined, &copy.name, 0, 0);
                let line = line_of(key, &symbol, copy.location.as_ref());
                (symbol, line)
            });
            let physical = std::iter::once_with(|| physical(key, dso_name, resolution));
            for (symbol, line) in copies.chain(physical) {
                let identity = (
                    symbol.dso_name,
                    symbol.kind,
                    symbol.start,
                    symbol.size,
                    Arc::clone(&symbol.name),
                );
                let symbol = *ids.entry(identity).or_insert_with(|| {
                    places.symbols.push(symbol);
                    SymbolId(places.symbols.len() as u32 - 1)
                });
                let next = lines.len() as u32;
                let line = *lines.entry(line).or_insert(next);
                places.places.push(Place {
                    frame,
                    symbol,
                    line,
                });
            }
        }
        places.first_place.push(places.places.len() as u32);
        places.sort_symbols();
        places.sort_lines(lines);
        places
    }

    /// Renumbers the symbols into the order of their ids.
    fn sort_symbols(&mut self) {
        let key = |symbol: &SymbolInfo| {
            let by_address = (!symbol.is_named()).then_some(symbol.start);
            (
                by_address, // None, for a name, comes first
                Arc::clone(&symbol.name),
                symbol.dso_name,
                symbol.start,
                symbol.kind,
            )
        };
        let mut order: Vec<u32> = (0..self.symbols.len() as u32).collect();
        order.sort_by_cached_key(|&index| key(&self.symbols[index as usize]));
        let mut rank = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            rank[old as usize] = new as u32;
        }
        for place in &mut self.places {
            place.symbol.0 = rank[place.symbol.0 as usize];
        }
        self.symbols = order
            .iter()
            .map(|&old| self.symbols[old as usize].clone())
            .collect();
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

    /// The short name of a function's module.
    pub fn dso_name(&self, symbol: &SymbolInfo) -> &str {
        &self.dso_names[symbol.dso_name as usize]
    }

    pub(crate) fn dso_name_by_rank(&self, rank: usize) -> &str {
        &self.dso_names[rank]
    }

    pub(crate) fn line_by_rank(&self, rank: usize) -> &str {
        &self.lines[rank]
    }

    /// The first line that lies in the same file: it stands for the file.
    pub(crate) fn first_line_of_file(&self, rank: u32) -> u64 {
        u64::from(self.file_of_line[rank as usize])
    }

    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }
}

/// Distinct short names in their order, and each DSO's index among them.
fn dso_names(profile: &Profile) -> (Vec<String>, Vec<u32>) {
    let short: Vec<String> = profile
        .dsos
        .iter()
        .map(|(_, dso)| printable(&dso.short_name()).into_owned())
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

fn symbol(
    key: &FrameKey,
    dso_name: u32,
    kind: SymbolKind,
    name: &str,
    start: u64,
    size: u64,
) -> SymbolInfo {
    SymbolInfo {
        name: Arc::from(printable(name)),
        kind,
        dso: key.dso,
        start,
        size,
        mode: key.mode,
        dso_name,
    }
}

fn physical(key: &FrameKey, dso_name: u32, resolution: &Resolution) -> (SymbolInfo, String) {
    match resolution {
        Resolution::Named {
            symbol: named,
            location,
            ..
        } => {
            let kind = SymbolKind::Function;
            let symbol = symbol(key, dso_name, kind, &named.name, named.start, named.size);
            let line = line_of(key, &symbol, location.as_ref());
            (symbol, line)
        }
        Resolution::Unresolved(reason) => {
            let kind = SymbolKind::Unresolved(*reason);
            let start = match reason {
                Reason::KernelRestricted => 0, // its functions cannot be told apart
                _ => key.shown,
            };
            let symbol = symbol(key, dso_name, kind, "", start, 0);
            let line = line_of(key, &symbol, None);
            (symbol, line)
        }
    }
}

/// `file:line`, or else the offset in the function, or else the address.
fn line_of(key: &FrameKey, symbol: &SymbolInfo, location: Option<&SourceLine>) -> String {
    match (location, symbol.kind) {
        (Some(at), _) => format!("{}:{}", printable(base_name(&at.file)), at.line),
        (None, SymbolKind::Function) => {
            let offset = key.lookup.wrapping_sub(symbol.start);
            format!("{}+{offset:#x}", symbol.name)
        }
        (None, _) => symbol.in_chain(),
    }
}

/// A source line without its number.
pub(crate) fn file_of(line: &str) -> &str {
    line.rsplit_once(':').map_or(line, |(file, _)| file)
}
