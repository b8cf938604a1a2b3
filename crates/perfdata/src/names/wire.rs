//! The stored form: every string and every symbol once, the rest by index.

use std::collections::HashMap;
use std::sync::Arc;

use prof_model::{
    BuildId, ChainEnd, Dso, DsoAddr, DsoKind, FileId, InlineFrame, JitLoad, Pid, Reason,
    Resolution, SourceLine, Symbol, SymbolSource,
};
use serde::{Deserialize, Serialize};

use super::chain_ends::Run;
use super::{ChainEnds, Counters, NamedDso, StoredNames};
use crate::Error;
use crate::trailer::Trailer;

/// Counts up whenever the form changes.
const VERSION: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Wire {
    callers_are_call_sites: bool,
    strings: Vec<String>,
    dsos: Vec<WireDso>,
    samples: u64,
    /// Samples between runs, samples in the run, the end.
    ends: Vec<(u64, u64, u8)>,
    counters: Counters,
}

/// What follows a [`Wire`], where a recorder knew of it. A reader that does not ends before it.
#[derive(Default, Serialize, Deserialize)]
struct Later {
    span: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct WireDso {
    path: Vec<u8>,
    kind: u8,
    /// For JIT memory.
    pid: i32,
    build_id: Option<Vec<u8>>,
    /// Major, minor, inode, generation.
    file: Option<(u32, u32, u64, u64)>,
    symbols: Vec<WireSymbol>,
    addresses: Vec<WireAddress>,
    /// Time, start, size, offset.
    loads: Vec<(u64, u64, u64, u64)>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Hash, Clone, Copy)]
struct WireSymbol {
    name: u32,
    raw: u32,
    start: u64,
    size: u64,
    source: u8,
}

#[derive(Serialize, Deserialize)]
struct WireAddress {
    /// From the previous address.
    delta: u64,
    answer: WireAnswer,
}

#[derive(Serialize, Deserialize)]
enum WireAnswer {
    Named {
        symbol: u32,
        inlined: Vec<(u32, Option<WireLine>)>,
        location: Option<WireLine>,
    },
    Unresolved(u8),
}

#[derive(Serialize, Deserialize)]
struct WireLine {
    file: u32,
    line: u32,
}

const SOURCES: [SymbolSource; 11] = [
    SymbolSource::Symtab,
    SymbolSource::Dynsym,
    SymbolSource::Plt,
    SymbolSource::MiniDebugInfo,
    SymbolSource::Dwarf,
    SymbolSource::GoPclntab,
    SymbolSource::Kallsyms,
    SymbolSource::PerfMap,
    SymbolSource::Jitdump,
    SymbolSource::Stored,
    SymbolSource::Runtime,
];

/// Without JIT memory, which has a process as well.
const KINDS: [DsoKind; 6] = [
    DsoKind::Kernel,
    DsoKind::KernelModule,
    DsoKind::KernelSymbol,
    DsoKind::Vdso,
    DsoKind::File,
    DsoKind::Memory,
];
const JIT: u8 = KINDS.len() as u8;

impl StoredNames {
    pub(crate) fn to_trailer(&self) -> Trailer {
        let mut strings = Strings::default();
        let dsos = self
            .dsos
            .iter()
            .map(|named| WireDso::of(named, &mut strings))
            .collect();
        let mut next = 0;
        let ends = self.ends.runs().iter().map(|run| {
            let gap = run.first - next;
            next = run.first + run.count;
            (gap, run.count, run.end as u8)
        });
        let wire = Wire {
            callers_are_call_sites: self.callers_are_call_sites,
            ends: ends.collect(),
            dsos,
            strings: strings.list.iter().map(|text| text.to_string()).collect(),
            samples: self.ends.samples(),
            counters: self.counters.clone(),
        };
        let later = Later { span: self.span };
        Trailer {
            version: VERSION,
            payload: postcard::to_stdvec(&(wire, later))
                .expect("plain values in memory are always stored"),
        }
    }

    /// Reads what [`Self::to_trailer`] made.
    pub(crate) fn from_trailer(trailer: &Trailer) -> Result<Self, Error> {
        let corrupt = |what: String| Error::corrupt("the stored names", 0, what);
        if trailer.version != VERSION {
            return Err(corrupt(format!(
                "they have version {}, this program reads version {VERSION}",
                trailer.version
            )));
        }
        let broken = |error: postcard::Error| corrupt(error.to_string());
        let (wire, rest) = postcard::take_from_bytes::<Wire>(&trailer.payload).map_err(broken)?;
        let later = match rest {
            [] => Later::default(),
            rest => postcard::from_bytes(rest).map_err(broken)?,
        };
        let names = wire.into_names();
        let mut names = names.ok_or_else(|| corrupt("an index is out of range".to_owned()))?;
        names.span = later.span.filter(|(began, ended)| began <= ended);
        Ok(names)
    }
}

impl Wire {
    fn into_names(self) -> Option<StoredNames> {
        let strings: Vec<Arc<str>> = self.strings.into_iter().map(Arc::from).collect();
        let mut names = StoredNames {
            callers_are_call_sites: self.callers_are_call_sites,
            counters: self.counters,
            ..StoredNames::default()
        };
        for dso in self.dsos {
            names.push(dso.into_named(&strings)?);
        }
        let mut next = 0u64;
        let runs = self.ends.into_iter().map(|(gap, count, end)| {
            let first = next.checked_add(gap)?;
            next = first.checked_add(count)?;
            let end = *ChainEnd::ALL.get(usize::from(end))?;
            Some(Run { first, count, end })
        });
        names.ends = ChainEnds::from_runs(runs.collect::<Option<_>>()?, self.samples)?;
        Some(names)
    }
}

/// Numbers strings in the order they come.
#[derive(Default)]
struct Strings {
    list: Vec<Arc<str>>,
    index: HashMap<Arc<str>, u32>,
}

impl Strings {
    fn number(&mut self, text: &Arc<str>) -> u32 {
        if let Some(&number) = self.index.get(text) {
            return number;
        }
        let number = self.list.len() as u32;
        self.list.push(text.clone());
        self.index.insert(text.clone(), number);
        number
    }

    fn line(&mut self, line: &SourceLine) -> WireLine {
        WireLine {
            file: self.number(&line.file),
            line: line.line,
        }
    }
}

impl WireDso {
    fn of(named: &NamedDso, strings: &mut Strings) -> Self {
        let dso = &named.dso;
        let (kind, pid) = match dso.kind {
            DsoKind::Jit(pid) => (JIT, pid.0),
            kind => (position(&KINDS, kind), 0),
        };
        let mut symbols = Vec::new();
        let mut symbol_numbers = HashMap::new();
        let mut previous = 0;
        let mut addresses = Vec::new();
        for (addr, resolution) in &named.addresses {
            let answer = match resolution {
                Resolution::Unresolved(reason) => WireAnswer::Unresolved(*reason as u8),
                Resolution::Named {
                    symbol,
                    inlined,
                    location,
                } => {
                    let symbol = WireSymbol::of(symbol, strings);
                    let number = *symbol_numbers.entry(symbol).or_insert_with(|| {
                        symbols.push(symbol);
                        symbols.len() as u32 - 1
                    });
                    let inline = |frame: &InlineFrame| {
                        let name = strings.number(&frame.name);
                        (name, frame.location.as_ref().map(|line| strings.line(line)))
                    };
                    WireAnswer::Named {
                        symbol: number,
                        inlined: inlined.iter().map(inline).collect(),
                        location: location.as_ref().map(|line| strings.line(line)),
                    }
                }
            };
            addresses.push(WireAddress {
                delta: addr.0 - previous,
                answer,
            });
            previous = addr.0;
        }
        let loads = named.loads.iter();
        let loads = loads.map(|load| (load.time, load.start, load.size, load.offset));
        Self {
            path: dso.path.clone(),
            kind,
            pid,
            build_id: dso.build_id.map(|id| id.as_bytes().to_vec()),
            file: dso.file.map(|f| (f.major, f.minor, f.inode, f.generation)),
            symbols,
            addresses,
            loads: loads.collect(),
        }
    }

    fn into_named(self, strings: &[Arc<str>]) -> Option<NamedDso> {
        let kind = match self.kind {
            JIT => DsoKind::Jit(Pid(self.pid)),
            kind => *KINDS.get(usize::from(kind))?,
        };
        let dso = Dso {
            path: self.path,
            kind,
            file: self.file.map(|(major, minor, inode, generation)| FileId {
                major,
                minor,
                inode,
                generation,
            }),
            build_id: self.build_id.and_then(|id| BuildId::new(&id)),
        };
        let symbols: Vec<_> = self
            .symbols
            .iter()
            .map(|symbol| symbol.to_symbol(strings))
            .collect::<Option<_>>()?;
        let mut previous = 0u64;
        let mut addresses = Vec::new();
        for WireAddress { delta, answer } in self.addresses {
            previous = previous.checked_add(delta)?;
            addresses.push((
                DsoAddr(previous),
                answer.into_resolution(&symbols, strings)?,
            ));
        }
        let loads = self.loads.into_iter();
        let loads = loads.map(|(time, start, size, offset)| JitLoad {
            time,
            start,
            size,
            offset,
        });
        Some(NamedDso {
            dso,
            addresses,
            loads: loads.collect(),
        })
    }
}

impl WireSymbol {
    fn of(symbol: &Symbol, strings: &mut Strings) -> Self {
        Self {
            name: strings.number(&symbol.name),
            raw: strings.number(&symbol.raw),
            start: symbol.start,
            size: symbol.size,
            source: position(&SOURCES, symbol.source),
        }
    }

    fn to_symbol(self, strings: &[Arc<str>]) -> Option<Symbol> {
        Some(Symbol {
            name: string(strings, self.name)?,
            raw: string(strings, self.raw)?,
            start: self.start,
            size: self.size,
            source: *SOURCES.get(usize::from(self.source))?,
        })
    }
}

impl WireAnswer {
    fn into_resolution(self, symbols: &[Symbol], strings: &[Arc<str>]) -> Option<Resolution> {
        Some(match self {
            Self::Unresolved(reason) => {
                Resolution::Unresolved(*Reason::ALL.get(usize::from(reason))?)
            }
            Self::Named {
                symbol,
                inlined,
                location,
            } => Resolution::Named {
                symbol: symbols.get(symbol as usize)?.clone(),
                inlined: inlined
                    .into_iter()
                    .map(|(name, location)| {
                        Some(InlineFrame {
                            name: string(strings, name)?,
                            location: source_line(strings, location)?,
                        })
                    })
                    .collect::<Option<_>>()?,
                location: source_line(strings, location)?,
            },
        })
    }
}

/// `None` if there is no such string.
fn string(strings: &[Arc<str>], number: u32) -> Option<Arc<str>> {
    strings.get(number as usize).cloned()
}

/// `Some(None)` where there is no line, `None` where it names no string.
fn source_line(strings: &[Arc<str>], line: Option<WireLine>) -> Option<Option<SourceLine>> {
    let Some(line) = line else {
        return Some(None);
    };
    Some(Some(SourceLine {
        file: string(strings, line.file)?,
        line: line.line,
    }))
}

fn position<T: PartialEq>(all: &[T], one: T) -> u8 {
    let position = all.iter().position(|other| *other == one);
    position.expect("the tables list every variant") as u8
}
