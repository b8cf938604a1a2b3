//! Writing while recording: a thread of its own, and a file that appears only when it is whole.
//!
//! In: whole records, in pieces. Out: a file under its name, or the pipe form on stdout. Elsewhere: the
//! format (`prof-perfdata`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prof_event::{EventSet, RawRecord};
use prof_perfdata::{
    Features, PipeWriter, RecordSink, StoredNames, Summary, Writer, WriterOptions,
};

use crate::error::OutputError;

/// Records are handed over in pieces of about this many bytes.
const PIECE: usize = 128 << 10;
/// So many pieces may wait: the disk may stall for seconds before the rings feel it.
const WAITING: usize = 256;
/// Records wait so long at most to be handed over. Waking the writer costs more than writing some samples.
const HAND_OVER_EVERY: Duration = Duration::from_millis(100);
/// What the writer has taken is in the file so soon. With the time that records wait in the rings and here,
/// a recorder that is killed loses less than its last second.
const FLUSH_EVERY: Duration = Duration::from_millis(400);

/// The writing end of a recording.
pub struct Output {
    to_writer: SyncSender<Message>,
    writer: JoinHandle<io::Result<Summary>>,
    piece: Vec<u8>,
    rounds: Rounds,
    place: Place,
}

/// Which rounds the file has the ends of. Not all of them: what lies between two may come in any order.
#[derive(Default)]
struct Rounds {
    has_begun: bool, // records were handed over since the last end
    ended: Option<Instant>,
}

enum Message {
    /// Whole records.
    Records(Vec<u8>),
    /// The same, the last ones of a round.
    Round(Vec<u8>),
    End(Box<(Features, StoredNames)>),
}

enum Place {
    File { path: PathBuf, temporary: Temporary },
    Direct(PathBuf),
    Stdout,
}

/// A file that is being written, and may be read as far as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    file: PathBuf,
    to_be: PathBuf,
}

impl Unfinished {
    /// Gives it the name that it would have got, with `.part` behind, and returns that.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep(&self) -> io::Result<PathBuf> {
        let mut part = self.to_be.as_os_str().to_owned();
        part.push(".part");
        fs::rename(&self.file, &part)?;
        Ok(part.into())
    }
}

/// What the writer has taken and not yet put into the file.
#[derive(Default)]
struct Waiting {
    since: Option<Instant>,
}

/// Nobody is left to hand anything over.
struct GivenUp;

impl Waiting {
    /// The next message; `None` where it is time to look again.
    fn next(&mut self, messages: &Receiver<Message>) -> Result<Option<Message>, GivenUp> {
        let message = match self.since {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since) => messages.recv_timeout(FLUSH_EVERY.saturating_sub(since.elapsed())),
        };
        match message {
            Ok(message) => {
                self.since.get_or_insert_with(Instant::now);
                Ok(Some(message))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(GivenUp),
        }
    }

    fn is_due(&self) -> bool {
        self.since
            .is_some_and(|since| since.elapsed() >= FLUSH_EVERY)
    }
}

/// A file that is removed again unless it is finished.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl Output {
    /// Prepares a file. It is written beside its final place.
    ///
    /// # Errors
    /// The directory cannot be written to, or there can be no further thread.
    pub fn file(
        path: &Path,
        events: &EventSet,
        compression: Option<u32>,
    ) -> Result<Self, OutputError> {
        let failed = |source: io::Error| OutputError::Create {
            path: path.to_owned(),
            source,
        };
        let special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let (file, place) = if special {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map_err(failed)?;
            (file, Place::Direct(path.to_owned()))
        } else {
            let (file, temporary) = create_temporary(path).map_err(failed)?;
            let _ = file.try_lock(); // see `leftovers`
            let place = Place::File {
                path: path.to_owned(),
                temporary: Temporary(Some(temporary)),
            };
            (file, place)
        };
        let writer = Writer::create(file, events, WriterOptions { compression }).map_err(failed)?;
        Self::start(writer, place)
    }

    /// Writes the pipe form to stdout.
    ///
    /// # Errors
    /// Nobody reads it, or there can be no further thread.
    pub fn stdout(events: &EventSet, features: &Features) -> Result<Self, OutputError> {
        let writer = PipeWriter::create(io::stdout(), events, features);
        let writer = writer.map_err(OutputError::Stdout)?;
        Self::start(writer, Place::Stdout)
    }

    fn start(mut writer: impl Finish, place: Place) -> Result<Self, OutputError> {
        let (to_writer, messages) = sync_channel(WAITING);
        let write = move || {
            let mut waiting = Waiting::default();
            loop {
                match waiting.next(&messages) {
                    Ok(Some(Message::Records(bytes))) => put_records(&mut writer, &bytes)?,
                    Ok(Some(Message::Round(bytes))) => {
                        put_records(&mut writer, &bytes)?;
                        writer.finish_round()?;
                    }
                    Ok(Some(Message::End(facts))) => return writer.finish(facts.0, &facts.1),
                    Ok(None) => {}
                    Err(GivenUp) => return Err(io::Error::other("the recording was given up")),
                }
                if waiting.is_due() {
                    writer.flush()?;
                    waiting.since = None;
                }
            }
        };
        let thread = std::thread::Builder::new().name("prof-writer".to_owned());
        Ok(Self {
            to_writer,
            writer: thread.spawn(write).map_err(OutputError::NoThread)?,
            piece: Vec::with_capacity(PIECE),
            rounds: Rounds::default(),
            place,
        })
    }

    /// The file while it is written, if it has a name of its own meanwhile.
    pub fn unfinished(&self) -> Option<Unfinished> {
        match &self.place {
            Place::File { path, temporary } => Some(Unfinished {
                file: temporary.0.clone()?,
                to_be: path.clone(),
            }),
            _ => None,
        }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        match &self.place {
            Place::File { path, .. } | Place::Direct(path) => path.display().to_string(),
            Place::Stdout => "-".to_owned(),
        }
    }

    /// The buffer to append whole records to, before [`Self::pass_on`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.piece
    }

    /// Hands the buffer to the writer when it is large enough.
    ///
    /// # Errors
    /// The writer has failed; [`Self::finish`] says why.
    pub fn pass_on(&mut self) -> io::Result<()> {
        if self.piece.len() >= PIECE {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.rounds.has_begun = true;
        let full = self.take_piece();
        self.send(Message::Records(full))
    }

    fn take_piece(&mut self) -> Vec<u8> {
        std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE))
    }

    fn send(&self, message: Message) -> io::Result<()> {
        let closed = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the writer has stopped");
        self.to_writer.send(message).map_err(closed)
    }

    /// A round ended, see [`RecordSink::finish_round`]. Where the last one that was told of is not long ago,
    /// the writer is not told.
    ///
    /// # Errors
    /// As [`Self::pass_on`].
    pub fn finish_round(&mut self) -> io::Result<()> {
        let is_new = self.rounds.has_begun || !self.piece.is_empty();
        let mut ended = self.rounds.ended.iter();
        if !is_new || ended.any(|ended| ended.elapsed() < HAND_OVER_EVERY) {
            return Ok(());
        }
        self.rounds = Rounds {
            has_begun: false,
            ended: Some(Instant::now()),
        };
        let piece = self.take_piece();
        self.send(Message::Round(piece))
    }

    /// Writes the rest and puts the file in its place; an older one is kept as `FILE.old`. Returns the
    /// sizes of its parts; a pipe has none.
    ///
    /// # Errors
    /// Whatever kept the writer from writing.
    pub fn finish(
        mut self,
        features: Features,
        names: StoredNames,
    ) -> Result<Summary, OutputError> {
        let name = self.name();
        let unfinished = self.unfinished();
        // If the writer is gone, its own error says more than the closed channel.
        let _ = self.flush();
        let _ = self.send(Message::End(Box::new((features, names))));
        drop(self.to_writer);
        let result = self
            .writer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("writer died")));
        let mut place = self.place;
        let finished = result.and_then(|written| match &place {
            Place::File { path, temporary } => match &temporary.0 {
                Some(from) => put_in_place(from, path).map(|()| written),
                None => Ok(written),
            },
            Place::Direct(_) | Place::Stdout => Ok(written),
        });
        if let Place::File { temporary, .. } = &mut place {
            temporary.0 = None; // it has its name, or is to be kept
        }
        finished.map_err(|source| OutputError::Write {
            name,
            source,
            kept: unfinished.and_then(|unfinished| unfinished.keep().ok()),
        })
    }
}

fn put_records(sink: &mut impl RecordSink, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let raw = RawRecord::parse(bytes).map_err(io::Error::other)?;
        sink.record(raw.bytes)?;
        bytes = &bytes[raw.bytes.len()..];
    }
    Ok(())
}

/// A new file beside `path`. A recorder that was killed may have left one of the name that this process would
/// choose: in a container all have the same number.
fn create_temporary(path: &Path) -> io::Result<(File, PathBuf)> {
    const MOST: u32 = 100;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut attempt = 0;
    loop {
        let name = temporary_name(path, attempt);
        match options.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < MOST => {
                attempt += 1;
            }
            opened => return opened.map(|file| (file, name)),
        }
    }
}

/// `.perf.data.4121.tmp`, and further ones `.perf.data.1.4121.tmp`.
fn temporary_name(path: &Path, attempt: u32) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    if attempt > 0 {
        name.push(format!(".{attempt}"));
    }
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        let mut old = to.as_os_str().to_owned();
        old.push(".old");
        fs::rename(to, old)?;
    }
    fs::rename(from, to)
}

/// A writer that can be finished.
trait Finish: RecordSink + Send + 'static {
    /// Leaves nothing in memory.
    fn flush(&mut self) -> io::Result<()>;

    fn finish(self, features: Features, names: &StoredNames) -> io::Result<Summary>;
}

impl Finish for Writer<File> {
    fn flush(&mut self) -> io::Result<()> {
        Writer::flush(self)
    }

    fn finish(self, features: Features, names: &StoredNames) -> io::Result<Summary> {
        Writer::finish(self, features, Some(names))
    }
}

impl Finish for PipeWriter<io::Stdout> {
    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // each round's end does
    }

    fn finish(self, features: Features, _names: &StoredNames) -> io::Result<Summary> {
        PipeWriter::finish(self, &features.build_ids)?;
        Ok(Summary::default())
    }
}

/// Writes a small file as a whole: under another name first.
///
/// # Errors
/// The file system's.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if special {
        let mut out = BufWriter::new(OpenOptions::new().write(true).open(path)?);
        write(&mut out)?;
        return out.flush();
    }
    let mut temporary = Temporary(Some(temporary_name(path, 0)));
    let name = temporary.0.clone().expect("just made");
    let mut out = BufWriter::new(File::create(&name)?);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    fs::rename(&name, path)?;
    temporary.0 = None;
    Ok(())
}
