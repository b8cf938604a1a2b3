//! Writing while recording: a thread of its own, and a file that appears only when it is whole.
//!
//! In: whole records, in pieces. Out: a file under its name, or the pipe form on stdout, into a FIFO or a device.
//! Elsewhere: the format (`prof-perfdata`), where files may be made and how (`new_file.rs`).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use prof_event::{EventSet, RawRecord};
use prof_perfdata::{
    Features, PipeWriter, RecordSink, StoredNames, Summary, Writer, WriterOptions,
};

use super::new_file::{NewFile, Unfinished};
use super::new_place::{self, Found};
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
    File {
        path: PathBuf,
        new: NewFile,
    },
    /// A device that takes whatever is written.
    Null(PathBuf),
    /// What lies there takes bytes in their order.
    Sink(PathBuf),
    Stdout,
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

impl Output {
    /// Prepares a file, which is written beside its final place, or opens what is there to take bytes. Only
    /// then `features` are asked for, which the pipe form begins with.
    ///
    /// # Errors
    /// No file can be made there, nobody reads the FIFO ([`OutputError::has_no_reader`]), or there can be no
    /// further thread.
    pub fn file(
        path: &Path,
        events: &EventSet,
        compression: Option<u32>,
        features: impl FnOnce() -> Result<Features, OutputError>,
    ) -> Result<Self, OutputError> {
        let failed = |source: io::Error| OutputError::Create {
            path: path.to_owned(),
            source,
        };
        let place = match new_place::find(path).map_err(failed)? {
            Found::Place(place) => place,
            Found::Null => {
                let file = new_place::open_sink(path, OFlag::O_RDWR).map_err(failed)?;
                let options = WriterOptions { compression };
                let writer = Writer::create(file, events, options).map_err(failed)?;
                return Self::start(writer, Place::Null(path.to_owned()));
            }
            Found::Sink | Found::Fifo => {
                let file = new_place::open_sink(path, OFlag::O_WRONLY).map_err(failed)?;
                let writer = PipeWriter::create(file, events, &features()?).map_err(failed)?;
                return Self::start(writer, Place::Sink(path.to_owned()));
            }
        };
        place.check_old().map_err(failed)?;
        let (new, file) = NewFile::create(&place).map_err(failed)?;
        let _ = file.try_lock(); // see `leftovers`
        let writer = Writer::create(file, events, WriterOptions { compression }).map_err(failed)?;
        let path = path.to_owned();
        Self::start(writer, Place::File { path, new })
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
            Place::File { new, .. } => new.unfinished(),
            _ => None,
        }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        match &self.place {
            Place::File { path, .. } | Place::Null(path) | Place::Sink(path) => {
                path.display().to_string()
            }
            Place::Stdout => "-".to_owned(),
        }
    }

    /// Whether somebody else gets the records as they come, in the pipe form.
    pub fn is_stream(&self) -> bool {
        matches!(self.place, Place::Sink(_) | Place::Stdout)
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

    /// Hands over all that there is, so that the file has it soon, whatever happens next.
    ///
    /// # Errors
    /// As [`Self::pass_on`].
    pub fn flush(&mut self) -> io::Result<()> {
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
        // If the writer is gone, its own error says more than the closed channel.
        let _ = self.flush();
        let _ = self.send(Message::End(Box::new((features, names))));
        drop(self.to_writer);
        let result = self
            .writer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("writer died")));
        let Place::File { mut new, .. } = self.place else {
            let kept = None;
            return result.map_err(|source| OutputError::Write { name, source, kept });
        };
        let finished = result.and_then(|written| new.finish(true).map(|()| written));
        finished.map_err(|source| OutputError::Write {
            name,
            source,
            kept: new.keep().ok().flatten(),
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

impl<W: Write + Send + 'static> Finish for PipeWriter<W> {
    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // each round's end does
    }

    fn finish(self, features: Features, _names: &StoredNames) -> io::Result<Summary> {
        PipeWriter::finish(self, &features.build_ids)?;
        Ok(Summary::default())
    }
}
