#![allow(dead_code, unreachable_pub)] // each test file uses its part
//! Profiles made of `perf script` text, so that reports can be compared with those of stock perf.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prof_model::{
    ChainEnd, Cpu, CpuMode, Dso, DsoId, DsoKind, InlineFrame, Pid, Reason, Resolution, Symbol,
    SymbolSource, Tid, VirtAddr,
};
use prof_profile::{EventInfo, FrameKey, Names, Profile, Sample, ScriptExtras, ScriptSample};

/// A profile, and the names of its frames by where they are looked up.
pub struct Recording {
    pub profile: Profile,
    pub names: Names,
    pub samples: Vec<ScriptSample>,
}

/// A function in a module made up by a test.
pub fn named(name: &str, start: u64, size: u64) -> Resolution {
    Resolution::Named {
        symbol: Symbol {
            name: Arc::from(name),
            raw: Arc::from(name),
            start,
            size,
            source: SymbolSource::Symtab,
        },
        inlined: Vec::new(),
        location: None,
    }
}

pub fn dso(path: &str) -> Dso {
    let kind = if path == "[kernel.kallsyms]" {
        DsoKind::Kernel
    } else {
        DsoKind::File
    };
    Dso {
        path: path.as_bytes().to_vec(),
        kind,
        file: None,
        build_id: None,
    }
}

/// Reads what `perf script -F comm,pid,tid,time,period,event,ip,sym,symoff,dso --no-inline` prints
/// for callchains.
pub fn parse_script(text: &str) -> Recording {
    let mut profile = Profile::default();
    profile.dsos.intern(dso("[kernel.kallsyms]")); // comes first in a recording
    let mut samples = Vec::new();
    let mut answers: HashMap<(DsoId, u64), Resolution> = HashMap::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut lines = block.trim_start_matches('\n').lines();
        let head = Head::parse(lines.next().unwrap());
        let known = profile.events.iter().position(|it| it.name == head.event);
        let event = known.unwrap_or_else(|| {
            profile.events.push(EventInfo {
                name: head.event.to_owned(),
                has_callchain: true,
                ..EventInfo::default()
            });
            profile.events.len() - 1
        });
        let frames: Vec<FrameKey> = lines
            .map(|line| {
                let (addr, rest) = line.trim().split_once(' ').unwrap();
                let addr = u64::from_str_radix(addr, 16).unwrap();
                let (symbol, path) = rest.rsplit_once(" (").unwrap();
                let path = path.trim_end_matches(')');
                let is_kernel = path == "[kernel.kallsyms]";
                let id = (path != "[unknown]").then(|| profile.dsos.intern(dso(path)));
                if let (Some(id), Some((name, offset))) = (id, symbol.rsplit_once("+0x")) {
                    let start = addr - u64::from_str_radix(offset, 16).unwrap();
                    answers.insert((id, addr), named(name, start, 1));
                }
                FrameKey {
                    mode: if is_kernel {
                        CpuMode::Kernel
                    } else {
                        CpuMode::User
                    },
                    dso: id,
                    shown: addr,
                    lookup: addr,
                }
            })
            .collect();
        let comm = profile.comms.intern(head.comm.as_bytes());
        profile.add(&Sample {
            event: event as u16,
            pid: head.pid,
            tid: head.tid,
            comm: Some(comm),
            cpu: None,
            time: Some(head.time),
            period: head.period,
            frames: &frames,
            inner: None,
            end: ChainEnd::Unknown,
        });
        let frame = |key: &FrameKey| profile.frame_id(key).unwrap();
        samples.push(ScriptSample {
            event: event as u16,
            pid: head.pid,
            tid: head.tid,
            comm: Some(comm),
            cpu: None,
            time: Some(head.time),
            period: head.period,
            ip: VirtAddr(0),
            addr: None,
            data: None,
            frames: frames.iter().map(frame).collect(),
            addresses: Vec::new(),
            trace: None,
            extras: ScriptExtras::default(),
        });
    }
    let names = Names::build(&profile, |dso, addrs| {
        let unresolved = Resolution::Unresolved(Reason::NoSymbol);
        let answer = |addr: u64| answers.get(&(dso, addr)).unwrap_or(&unresolved).clone();
        addrs.iter().map(|addr| answer(addr.0)).collect()
    });
    Recording {
        profile,
        names,
        samples,
    }
}

struct Head<'a> {
    comm: &'a str,
    pid: Pid,
    tid: Tid,
    time: u64,
    period: u64,
    event: &'a str,
}

impl<'a> Head<'a> {
    /// `comm pid/tid time: period event: `, where the comm may contain blanks.
    fn parse(line: &'a str) -> Self {
        let ids = |word: &str| {
            let (pid, tid) = word.split_once('/')?;
            Some((Pid(pid.parse().ok()?), Tid(tid.parse().ok()?)))
        };
        let word = line
            .split_whitespace()
            .find(|word| ids(word).is_some())
            .unwrap();
        let (comm, rest) = line.split_once(word).unwrap();
        let (pid, tid) = ids(word).unwrap();
        let mut words = rest.split_whitespace();
        let time = words.next().unwrap().trim_end_matches(':');
        let (seconds, micros) = time.split_once('.').unwrap();
        let micros = format!("{seconds}{micros}").parse::<u64>().unwrap();
        Self {
            comm: comm.trim(),
            pid,
            tid,
            time: micros * 1000,
            period: words.next().unwrap().parse().unwrap(),
            event: words.next().unwrap().trim_end_matches(':'),
        }
    }
}

/// Samples made up by a test, all of one event with period 10.
///
/// A stack is written from its innermost frame on, `;` between frames. A frame is
/// `module!function/inlined/...`: the module is `cg` unless given, `k` is the kernel and `?` none;
/// inlined functions follow outermost first; a function `0x12e9` is an address without a name.
/// Functions get their addresses in the order in which they come up, 0x100 apart.
pub struct Maker {
    pub recording: Recording,
    starts: BTreeMap<String, u64>,
    answers: HashMap<(DsoId, u64), Resolution>,
}

/// Whose sample it is; the rest is usual.
#[derive(Clone, Copy)]
pub struct Who {
    pub comm: &'static str,
    pub pid: i32,
    pub tid: i32,
    pub cpu: Option<u32>,
    pub end: ChainEnd,
}

pub const MAIN: Who = Who {
    comm: "cg",
    pid: 7,
    tid: 7,
    cpu: None,
    end: ChainEnd::Root,
};

impl Maker {
    pub fn new() -> Self {
        let mut profile = Profile::new(vec![EventInfo {
            name: "cpu-clock:pppH".to_owned(),
            has_callchain: true,
            ..EventInfo::default()
        }]);
        profile.dsos.intern(dso("[kernel.kallsyms]"));
        Self {
            recording: Recording {
                profile,
                names: Names::default(),
                samples: Vec::new(),
            },
            starts: BTreeMap::new(),
            answers: HashMap::new(),
        }
    }

    pub fn frame(&mut self, text: &str, is_leaf: bool) -> FrameKey {
        let (module, functions) = text.split_once('!').unwrap_or(("cg", text));
        let mut functions = functions.split('/');
        let function = functions.next().unwrap();
        let id = match module {
            "?" => None,
            "k" => Some(DsoId(0)),
            module => {
                let path = format!("/usr/bin/{module}");
                Some(self.recording.profile.dsos.intern(dso(&path)))
            }
        };
        let hex = function.strip_prefix("0x");
        let shown = match hex.map(|hex| u64::from_str_radix(hex, 16).unwrap()) {
            Some(address) => address,
            None => {
                let next = 0x1000 + 0x100 * self.starts.len() as u64;
                *self.starts.entry(text.to_owned()).or_insert(next) + 0x10
            }
        };
        let lookup = if is_leaf {
            shown
        } else {
            shown.saturating_sub(1)
        };
        if let Some(id) = id {
            let inlined = functions.rev().map(|name| InlineFrame {
                name: Arc::from(name),
                location: None,
            });
            let answer = match hex {
                Some(_) => Resolution::Unresolved(Reason::NoSymbolTable),
                None => match named(function, shown - 0x10, 0x100) {
                    Resolution::Named { symbol, .. } => Resolution::Named {
                        symbol,
                        inlined: inlined.collect(),
                        location: None,
                    },
                    unresolved => unresolved,
                },
            };
            self.answers.insert((id, lookup), answer);
        }
        FrameKey {
            mode: if module == "k" {
                CpuMode::Kernel
            } else {
                CpuMode::User
            },
            dso: id,
            shown,
            lookup,
        }
    }

    pub fn add(mut self, who: Who, stack: &str, count: u64) -> Self {
        let frames: Vec<FrameKey> = stack
            .split(';')
            .enumerate()
            .map(|(index, text)| self.frame(text, index == 0))
            .collect();
        let profile = &mut self.recording.profile;
        let comm = profile.comms.intern(who.comm.as_bytes());
        for _ in 0..count {
            profile.add(&Sample {
                event: 0,
                pid: Pid(who.pid),
                tid: Tid(who.tid),
                comm: Some(comm),
                cpu: who.cpu.map(Cpu),
                time: None,
                period: 10,
                frames: &frames,
                inner: None,
                end: who.end,
            });
        }
        self
    }

    pub fn done(mut self) -> Recording {
        self.recording.names = Names::build(&self.recording.profile, |dso, addrs| {
            let answer = |addr: u64| self.answers[&(dso, addr)].clone();
            addrs.iter().map(|addr| answer(addr.0)).collect()
        });
        self.recording
    }
}
