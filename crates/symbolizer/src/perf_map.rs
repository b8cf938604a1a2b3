use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prof_foreign_files::{Doubt, ForeignFile, ForeignPath, Purpose, Writer};
use prof_model::Pid;

use crate::code_map::CodeMap;
use crate::files::process_folder;

/// The functions that a JIT compiler announced in its perf map, a text file that grows.
#[derive(Debug)]
pub struct PerfMap {
    file: File, // held open: the target, and with it the path into its root, may go away
    place: ForeignPath,
    writer: Writer, // who is believed
    doubt: Option<Doubt>,
    read: u64,     // bytes taken in
    rest: Vec<u8>, // of a line whose end was not written yet
    code: CodeMap<Arc<JitSymbol>>,
    room: Room,
    is_cut: bool, // there is more of it than was taken in
}

/// One function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JitSymbol {
    pub(crate) name: Arc<str>,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl JitSymbol {
    /// The addresses that it covers.
    pub(crate) fn range(&self) -> std::ops::Range<u64> {
        self.start..self.start.saturating_add(self.size)
    }
}

impl PerfMap {
    /// Opens the perf map of a process: in the `/tmp` of its own mount namespace, under the pid that
    /// it has in its own pid namespace, else in ours. One that `writer` has not written, and root neither, is
    /// opened as well but tells nothing, see [`PerfMap::doubt`].
    pub fn open(pid: Pid, writer: Writer) -> Option<Self> {
        let inner = fs::read_to_string(format!("/proc/{pid}/status"))
            .ok()
            .and_then(|status| inner_pid(&status))
            .unwrap_or(pid);
        let root = process_folder(pid).join("root");
        let candidates = [
            ForeignPath::below(&root, Path::new(&format!("tmp/perf-{inner}.map"))),
            ForeignPath::at(Path::new(&format!("/tmp/perf-{pid}.map"))),
        ];
        let started = started(pid);
        let maps = candidates.into_iter();
        let maps = maps.filter_map(|place| Self::open_at(place, writer));
        let mut maps: Vec<_> = maps.filter(|map| !map.is_left_over(started)).collect();
        maps.sort_by_key(|map| map.doubt.is_some()); // stable
        maps.into_iter().next()
    }

    /// Why nothing of it is believed, if so.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Whether an earlier process with the same pid wrote it: nobody removes them.
    fn is_left_over(&self, started: Option<SystemTime>) -> bool {
        let written = self.file.metadata().and_then(|file| file.modified());
        match (written, started) {
            (Ok(written), Some(started)) => written + ROUNDING < started,
            _ => false,
        }
    }

    /// Whether it was there before a time. The clock of files moves in steps of milliseconds: what has
    /// the same time may have come later, and is not believed.
    pub(crate) fn existed_before(&self, time: SystemTime) -> bool {
        let created = self.file.metadata().and_then(|file| file.created());
        created.ok().is_none_or(|created| created < time)
    }

    /// The map at a place.
    pub(crate) fn open_at(place: ForeignPath, writer: Writer) -> Option<Self> {
        let opened = ForeignFile::open(&place, Purpose::PerfMap).ok()?;
        Some(Self {
            doubt: writer.doubt(&opened.file.metadata().ok()?),
            writer,
            file: opened.file,
            place,
            read: 0,
            rest: Vec::new(),
            code: CodeMap::default(),
            room: Room::default(),
            is_cut: false,
        })
    }

    /// Takes in what was written since the last call, until a time if one is given. A file that was replaced or
    /// cut is read anew.
    pub(crate) fn refresh(&mut self, until: Option<Instant>) {
        let Ok(held) = self.file.metadata() else {
            return;
        };
        let replaced = self
            .place
            .metadata()
            .is_ok_and(|now| (now.dev(), now.ino()) != (held.dev(), held.ino()));
        if (replaced || held.len() < self.read)
            && let Some(anew) = Self::open_at(self.place.clone(), self.writer)
        {
            *self = anew;
        }
        self.doubt = self.doubt.or_else(|| self.writer.doubt(&held));
        if self.doubt.is_some() {
            return; // what was read of it before is as it was then
        }
        self.is_cut = false;
        while self.read_piece() {
            if self.room.is_used_up() || until.is_some_and(|until| until <= Instant::now()) {
                self.is_cut = true;
                break;
            }
        }
        // The last line may lack its end for good. If it is only half written, the whole one replaces
        // it on a later call.
        if let Some(symbol) = parse_line(&self.rest) {
            insert(&mut self.code, symbol);
        }
    }

    /// Whether there is more of it than was taken in: it is too much, or there was no time.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Takes in a piece of what was written; returns whether there was anything.
    fn read_piece(&mut self) -> bool {
        const PIECE: u64 = 1 << 20;
        let left = Purpose::PerfMap.largest().saturating_sub(self.read);
        let before = self.rest.len();
        let mut piece = (&self.file).take(left.min(PIECE));
        let piece = piece.read_to_end(&mut self.rest);
        self.read += (self.rest.len() - before) as u64; // also what came before an error
        let whole = self
            .rest
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        for line in self.rest[..whole].split(|&byte| byte == b'\n') {
            if let Some(symbol) = parse_line(line).filter(|it| self.room.take(it)) {
                insert(&mut self.code, symbol);
            }
        }
        self.rest.drain(..whole);
        self.rest.truncate(LONGEST_LINE);
        matches!(piece, Ok(1..))
    }

    /// The function at `addr`.
    pub(crate) fn find(&self, addr: u64) -> Option<&JitSymbol> {
        self.code.find(addr).map(|symbol| &**symbol)
    }
}

/// How much of a map is still kept. Each function takes some hundred bytes beside its name; the largest maps of
/// servers have a few hundred thousand.
#[derive(Debug)]
struct Room {
    functions: usize,
    names: usize, // in bytes
}

impl Default for Room {
    fn default() -> Self {
        Self {
            functions: 1 << 20,
            names: 64 << 20,
        }
    }
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.functions == 0 || self.names == 0
    }

    /// Whether there is room for a function, which it has then.
    fn take(&mut self, symbol: &JitSymbol) -> bool {
        let fits = !self.is_used_up();
        self.functions = self.functions.saturating_sub(1);
        self.names = self.names.saturating_sub(symbol.name.len());
        fits
    }
}

/// Names are cut after that.
const LONGEST_LINE: usize = 64 << 10;

/// What [`started`] may be wrong by: the kernel's boot time has whole seconds.
const ROUNDING: Duration = Duration::from_secs(2);

/// Whether the process with this pid ran at a time before and runs still: some compilers write their
/// map only when they are asked, after the recording.
pub(crate) fn is_running_since(pid: Pid, time: SystemTime) -> bool {
    started(pid).is_some_and(|started| started + ROUNDING < time)
}

/// Who a process that runs writes its files as.
pub fn writer_of(pid: Pid) -> Option<Writer> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Writer::of_status(&status)
}

fn insert(code: &mut CodeMap<Arc<JitSymbol>>, symbol: JitSymbol) {
    code.insert(symbol.start..symbol.start + symbol.size, Arc::new(symbol));
}

/// The pid in the innermost namespace, from `/proc/PID/status`: the last number of `NSpid`.
fn inner_pid(status: &str) -> Option<Pid> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok().map(Pid)
}

/// When a process that runs was started.
fn started(pid: Pid) -> Option<SystemTime> {
    const TICKS_PER_SECOND: u64 = 100; // of all times in /proc
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the name before it may be anything
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot = Duration::from_secs(boot.trim().parse().ok()?);
    SystemTime::UNIX_EPOCH
        .checked_add(boot + Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// `START SIZE name`, both numbers hexadecimal; the name may contain spaces.
fn parse_line(line: &[u8]) -> Option<JitSymbol> {
    let line = String::from_utf8_lossy(line);
    let (start, rest) = line.trim_ascii().split_once(' ')?;
    let (size, name) = rest.trim_ascii_start().split_once(' ')?;
    let number = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16).ok()
    };
    let (start, size) = (number(start)?, number(size)?);
    let name = name.trim_ascii();
    if size == 0 || name.is_empty() || start.checked_add(size).is_none() {
        return None;
    }
    Some(JitSymbol {
        name: name.into(),
        start,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_map_as_old_as_the_end_of_a_recording_may_be_newer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Ok(created) = file.as_file().metadata().unwrap().created() else {
            println!("skipped: this file system does not say when files were created");
            return;
        };
        let map = PerfMap::open_at(ForeignPath::at(file.path()), Writer::ourselves()).unwrap();
        assert!(!map.existed_before(created));
        assert!(map.existed_before(created + Duration::from_nanos(1)));
    }

    fn names(map: &CodeMap<Arc<JitSymbol>>, addrs: &[u64]) -> Vec<String> {
        let name = |&addr| {
            map.find(addr)
                .map_or("-".to_owned(), |symbol| symbol.name.to_string())
        };
        addrs.iter().map(name).collect()
    }

    fn code(lines: &[&str]) -> CodeMap<Arc<JitSymbol>> {
        let mut map = CodeMap::default();
        let symbols = lines.iter().filter_map(|line| parse_line(line.as_bytes()));
        symbols.for_each(|symbol| insert(&mut map, symbol));
        map
    }

    #[test]
    fn names_may_have_spaces_and_numbers_a_prefix() {
        let map = code(&[
            "7f00 10 LazyCompile:~add /app/a b.js:1",
            "0x8000 0x8 py::f",
            "junk",
            "9000 zz x",
        ]);
        assert_eq!(
            names(&map, &[0x7f00, 0x7f0f, 0x7f10, 0x8007, 0x8008]),
            [
                "LazyCompile:~add /app/a b.js:1",
                "LazyCompile:~add /app/a b.js:1",
                "-",
                "py::f",
                "-"
            ]
        );
    }

    #[test]
    fn later_code_keeps_the_extent_of_what_it_cuts() {
        let map = code(&["100 100 old", "1f0 20 across"]);
        assert_eq!(names(&map, &[0x1ef, 0x1f0, 0x210]), ["old", "across", "-"]);
        assert_eq!(
            map.find(0x1ef).map(|symbol| (symbol.start, symbol.size)),
            Some((0x100, 0x100))
        );
    }

    #[test]
    fn ranges_beyond_the_address_space_and_empty_ones_are_left_out() {
        let map = code(&["ffffffffffffffff 10 a", "10 0 b", "20 10 "]);
        assert_eq!(names(&map, &[u64::MAX, 0x10, 0x20]), ["-", "-", "-"]);
    }

    #[test]
    fn the_innermost_pid_is_the_last_one() {
        assert_eq!(inner_pid("Name:\tx\nNSpid:\t1234\t56\t7\n"), Some(Pid(7)));
        assert_eq!(inner_pid("NSpid:\t1234\n"), Some(Pid(1234)));
        assert_eq!(inner_pid("Name:\tx\n"), None);
    }

    #[test]
    fn a_growing_file_is_read_on_and_a_cut_line_is_replaced_by_the_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf-1.map");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"100 10 first\n200 10 sec").unwrap();
        let mut map = PerfMap::open_at(ForeignPath::at(&path), Writer::ourselves()).unwrap();
        map.refresh(None);
        assert_eq!(names(&map.code, &[0x100, 0x200]), ["first", "sec"]);
        file.write_all(b"ond\n").unwrap();
        map.refresh(None);
        assert_eq!(names(&map.code, &[0x100, 0x200]), ["first", "second"]);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "300 10 third\n").unwrap();
        map.refresh(None);
        assert_eq!(names(&map.code, &[0x100, 0x300]), ["-", "third"]);
    }

    #[test]
    fn of_a_map_with_millions_of_functions_the_first_are_kept_and_the_rest_is_known_to_be_missing()
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf-4.map");
        let lines = (0..(1 << 20) + 9).map(|at| format!("{at:x}0 10 f\n"));
        fs::write(&path, lines.collect::<String>()).unwrap();
        let mut map = PerfMap::open_at(ForeignPath::at(&path), Writer::ourselves()).unwrap();
        map.refresh(None);
        assert!(map.is_cut());
        let last = (1 << 24) - 1;
        assert!(map.find(last).is_some() && map.find(last + 0x10).is_none());
    }

    #[test]
    fn a_map_is_not_read_on_when_the_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf-5.map");
        let file = File::create(&path).unwrap();
        file.set_len(400 << 20).unwrap(); // holes
        let mut map = PerfMap::open_at(ForeignPath::at(&path), Writer::ourselves()).unwrap();
        map.refresh(Some(Instant::now()));
        assert!(map.is_cut() && map.read <= 1 << 20, "{} bytes", map.read);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("perf-2.map");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(PerfMap::open_at(ForeignPath::at(&link), Writer::ourselves()).is_none());
    }

    #[test]
    fn a_map_that_was_written_before_its_process_started_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf-3.map");
        fs::write(&path, "100 10 old\n").unwrap();
        let map = PerfMap::open_at(ForeignPath::at(&path), Writer::ourselves()).unwrap();
        let started = started(Pid(std::process::id() as i32)).unwrap();
        assert!(!map.is_left_over(Some(started)));
        assert!(started <= SystemTime::now() + Duration::from_secs(2));
        let long_after = SystemTime::now() + Duration::from_secs(60);
        assert!(map.is_left_over(Some(long_after)));
        assert!(!map.is_left_over(None));
        assert!(map.existed_before(long_after) && !map.existed_before(SystemTime::UNIX_EPOCH));
    }
}
