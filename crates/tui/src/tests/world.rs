use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use prof_model::{
    ChainEnd, CodePlace, CommTable, CpuMode, Dso, DsoId, DsoKind, DsoTable, FunctionCode,
    Instruction, Pid, Resolution, SourceLine, SourceText, Symbol, SymbolSource, Tid,
};
use prof_profile::{EventInfo, FrameKey, Names, Profile, Sample, Unit};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::{App, Effect};
use crate::{Cost, CpuUse, Facts, History, Intake, Request, Samples, Source, Window};

pub(super) const SECOND: u64 = 1_000_000_000;

/// Samples of equal stacks: thread, functions from the outermost one, how many.
pub(super) type Stacks<'a> = &'a [(i32, &'a str, u64)];

/// The modules of functions, by how their names begin.
const MODULES: [(&str, &str, DsoKind, CpuMode); 4] = [
    ("k_", "[kernel.kallsyms]", DsoKind::Kernel, CpuMode::Kernel),
    ("jit_", "jit", DsoKind::Jit(Pid(100)), CpuMode::User),
    ("lib_", "/usr/lib/libz.so.1", DsoKind::File, CpuMode::User),
    ("", "/usr/bin/server", DsoKind::File, CpuMode::User),
];

/// Adds a slice. A function `a+b` is `b` inlined into `a`.
pub(super) fn add(history: &mut History, span: Range<u64>, stacks: Stacks<'_>) {
    add_ending(history, span, stacks, ChainEnd::Root);
}

pub(super) fn add_ending(
    history: &mut History,
    span: Range<u64>,
    stacks: Stacks<'_>,
    end: ChainEnd,
) {
    let mut dsos = DsoTable::default();
    for (_, path, kind, _) in MODULES {
        dsos.intern(Dso {
            path: path.as_bytes().to_vec(),
            kind,
            file: None,
            build_id: None,
        });
    }
    let mut comms = CommTable::default();
    let mut functions: Vec<&str> = stacks.iter().flat_map(|it| it.1.split(';')).collect();
    functions.sort_unstable();
    functions.dedup();
    let mut profile = Profile::new(vec![EventInfo::default(); 2]);
    for &(tid, stack, count) in stacks {
        let frames: Vec<FrameKey> = stack
            .rsplit(';')
            .map(|name| {
                let index = functions.iter().position(|it| *it == name).unwrap() as u64;
                let module = MODULES
                    .iter()
                    .position(|it| name.starts_with(it.0))
                    .unwrap();
                FrameKey {
                    mode: MODULES[module].3,
                    dso: Some(DsoId(module as u32)),
                    shown: index,
                    lookup: index,
                }
            })
            .collect();
        // thread 0 is the idle one; 9 and 10 are another process
        let pid = match tid {
            0 => 0,
            9.. => 200,
            _ => 100,
        };
        let comm = Some(comms.intern(format!("worker-{tid}").as_bytes()));
        for _ in 0..count {
            profile.add(&Sample {
                event: 0,
                pid: Pid(pid),
                tid: Tid(pid + tid),
                comm,
                cpu: None,
                time: None,
                period: 10,
                frames: &frames,
                inner: None,
                end,
            });
        }
    }
    let names = Names::build(&profile, |_, addrs| {
        let named = addrs.iter().map(|addr| named(functions[addr.0 as usize]));
        named.collect()
    });
    let samples = Samples {
        profile: &profile,
        names: &names,
        dsos: &dsos,
        comms: &comms,
        inline: true,
        process_name: &|pid| Some(if pid == Pid(200) { "other" } else { "server" }.to_owned()),
    };
    Intake::new(history, samples).add(span, profile.samples());
}

fn named(name: &str) -> Resolution {
    if name == "lib_?" {
        return Resolution::Unresolved(prof_model::Reason::NoSymbolTable);
    }
    let line = |line| SourceLine {
        file: Arc::from("/src/server/main.rs"),
        line,
    };
    let (outer, inner) = name.split_once('+').unwrap_or((name, ""));
    let inlined = (!inner.is_empty()).then(|| prof_model::InlineFrame {
        name: Arc::from(inner),
        location: Some(line(7)),
    });
    Resolution::Named {
        symbol: Symbol {
            name: Arc::from(outer),
            raw: Arc::from(outer),
            start: 0,
            size: 1,
            source: SymbolSource::Symtab,
        },
        inlined: inlined.into_iter().collect(),
        location: Some(line(outer.len() as u32)),
    }
}

/// Ten seconds: in the first five `parse` is hot, in the last five `compress`.
pub(super) fn server(mut history: History) -> History {
    for second in 0..10 {
        let (parse, compress) = if second < 5 { (60, 10) } else { (10, 60) };
        add(
            &mut history,
            second * SECOND..(second + 1) * SECOND,
            &[
                (1, "main;serve;parse", parse),
                (2, "main;serve;reply;lib_compress", compress),
                (2, "main;serve;reply;k_write;k_copy_to_user", 10),
                (1, "main;serve;parse+get_token", 10),
                (1, "main;serve;jit_rule", 5),
                (9, "main;wait", 5),
            ],
        );
    }
    history
}

/// What a test sees of the outside.
pub(super) struct TestSource {
    pub(super) history: History,
    pub(super) facts: Facts,
    pub(super) live: bool,
    pub(super) written: Vec<(String, Range<u64>, String, usize)>,
    pub(super) resets: usize,
}

impl Source for TestSource {
    fn is_live(&self) -> bool {
        self.live
    }
    fn facts(&self) -> Facts {
        self.facts.clone()
    }
    fn version(&self) -> u64 {
        self.history.version()
    }
    fn look(&self, see: &mut dyn FnMut(&History)) {
        see(&self.history);
    }
    fn reset(&mut self) {
        self.resets += 1;
        self.history.clear();
    }
    fn suggested_file(&self) -> String {
        "top.svg".to_owned()
    }
    fn write(&mut self, path: &Path, window: &Window<'_>) -> Result<String, String> {
        let name = path.display().to_string();
        if name.starts_with("/nowhere") {
            return Err(format!("could not write {name}"));
        }
        self.written.push((
            name.clone(),
            window.span.clone(),
            window.filters.to_owned(),
            window.paths.stacks.len(),
        ));
        Ok(format!("wrote {name}"))
    }
    fn code(&mut self, _: DsoId, address: u64) -> Result<(Arc<str>, FunctionCode), String> {
        let line = |line: u32| CodePlace {
            function: Arc::from("parse"),
            source: 0,
            line,
        };
        let instruction = |offset: u64, text: &str, at: u32| Instruction {
            offset,
            address: 0x1000 + offset,
            bytes: Box::new([0]),
            text: text.to_owned(),
            place: Some(line(at)),
        };
        if address > 100 {
            return Err("no code".to_owned());
        }
        let first = address.saturating_sub(1);
        let code = FunctionCode {
            file: "/usr/bin/server".to_owned(),
            section: None,
            instructions: vec![
                instruction(first, "push %rbp", 2),
                instruction(first + 1, "add %eax,%ebx", 3),
                instruction(first + 2, "ret", 4),
            ],
            sources: vec![SourceText {
                path: Arc::from("/src/server/main.rs"),
                lines: Ok((1..=9).map(|it| format!("text of line {it}")).collect()),
            }],
        };
        Ok((Arc::from("parse"), code))
    }
    fn news(&mut self) -> Option<Result<String, String>> {
        None
    }
    fn request(&mut self) -> Option<Request> {
        None
    }
    fn stop(&mut self) {}
}

/// The screens, a terminal in memory, and a clock that a test turns.
pub(super) struct Screens {
    pub(super) app: App,
    pub(super) source: TestSource,
    pub(super) now: Instant,
    size: (u16, u16),
    buffer: Buffer,
}

impl Screens {
    pub(super) fn live() -> Self {
        Self::new(true, 80, 24)
    }

    pub(super) fn new(live: bool, width: u16, height: u16) -> Self {
        let history = if live {
            History::live()
        } else {
            History::recorded()
        };
        let source = TestSource {
            history: server(history),
            facts: facts(live),
            live,
            written: Vec::new(),
            resets: 0,
        };
        let app = App::new(live, false);
        let mut screens = Self {
            app,
            source,
            now: Instant::now(),
            size: (width, height),
            buffer: Buffer::default(),
        };
        screens.look();
        screens
    }

    /// Lets three seconds go by, so that rows may move, and draws.
    pub(super) fn look(&mut self) {
        self.now += Duration::from_secs(3);
        self.app.update(&self.source, self.now);
        self.draw();
    }

    pub(super) fn draw(&mut self) {
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        self.buffer = Buffer::empty(area);
        self.app.find_callers(&self.source);
        crate::draw::draw(&mut self.app, area, &mut self.buffer);
    }

    pub(super) fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.draw();
    }

    pub(super) fn press(&mut self, key: KeyCode) -> Effect {
        self.press_with(key, KeyModifiers::NONE)
    }

    pub(super) fn press_with(&mut self, key: KeyCode, modifiers: KeyModifiers) -> Effect {
        let event = KeyEvent::new(key, modifiers);
        let effect = self.app.press(event, &mut self.source, self.now);
        self.draw();
        effect
    }

    /// Presses one key after the other; `\n` is Enter, `\t` Tab, `\x1b` Esc.
    pub(super) fn type_keys(&mut self, keys: &str) {
        for key in keys.chars() {
            self.press(match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                key => KeyCode::Char(key),
            });
        }
    }

    /// The screen as lines without blanks at their ends.
    pub(super) fn text(&self) -> String {
        let area = self.buffer.area;
        let line = |y| {
            let cells = (0..area.width).map(|x| self.buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        let lines: Vec<String> = (0..area.height).map(line).collect();
        lines.join("\n") + "\n"
    }

    /// The names in the rows of a table, from the top.
    pub(super) fn names(&self) -> Vec<String> {
        let rows = self.app.order.iter();
        rows.map(|&row| self.app.picture.rows[row].key.name().to_owned())
            .collect()
    }

    /// What the cursor is on.
    pub(super) fn under_cursor(&self) -> String {
        let subject = self.app.subject();
        subject.map_or_else(String::new, |key| key.name().to_owned())
    }

    pub(super) fn message(&self) -> &str {
        self.app.message.as_ref().map_or("", |it| &it.text)
    }

    /// The styles of the cell where `text` begins.
    pub(super) fn style_of(&self, text: &str) -> ratatui::style::Style {
        let lines = self.text();
        let (y, line) = lines
            .lines()
            .enumerate()
            .find(|(_, line)| line.contains(text))
            .unwrap_or_else(|| panic!("no {text} in\n{lines}"));
        let x = line[..line.find(text).unwrap()].chars().count();
        self.buffer[(x as u16, y as u16)].style()
    }
}

fn facts(live: bool) -> Facts {
    let event = |name: &str| EventInfo {
        name: name.to_owned(),
        sample_freq: Some(99),
        unit: match name {
            "cpu-clock" => Unit::CpuTime,
            _ => Unit::Count,
        },
        ..EventInfo::default()
    };
    Facts {
        target: "server (100)".to_owned(),
        container: live.then(|| "3f2a91c04d5e web-0".to_owned()),
        cpu: live.then_some(CpuUse {
            used: 1.98,
            available: 2.0,
            quota: Some(1.5),
            throttled: Some(Duration::from_millis(230)),
        }),
        machine_cpus: (!live).then_some(4),
        events: vec![event("cpu-clock"), event("page-faults")],
        lost: 12,
        processes: [(
            prof_model::Pid(100),
            "root  18 MB  /srv/server --port 80 --workers 4",
        )]
        .map(|(pid, details)| (pid, details.to_owned()))
        .into(),
        cost: live.then_some(Cost {
            cpu_percent: 0.4,
            memory_bytes: 18_000_000,
        }),
        ..Facts::default()
    }
}
