//! Opens a recording: a file, a folder of files, or a pipe.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use prof_event::abi::record;
use prof_event::{EventSet, HEADER_SIZE, RawRecord, derive_name};
use prof_foreign_files::{ForeignFile, ForeignPath, Purpose, Refused};

use crate::big_endian::{self, BigEndianReader, Layouts};
use crate::feature::{Features, bit, parse_event_names};
use crate::header::{self, FILE_SIZE, FileHeader, Form, PIPE_SIZE, Section};
use crate::names::StoredNames;
use crate::pass::{Context, Item, Pass};
use crate::source::{Feed, MapPart, Source};
use crate::trailer::Trailer;
use crate::{Error, attr_section, pipe};

/// A recording that is open for reading.
pub struct Recording {
    input: Input,
    events: EventSet,
    features: Features,
    /// Numbers of the feature sections.
    feature_bits: Vec<u32>,
    names: Option<StoredNames>,
    warnings: Vec<String>,
    /// Whether the recorder died before it wrote the header.
    unfinished: bool,
    /// Whether the records have told what they know about events and facts.
    told: bool,
    /// Whether a big-endian machine recorded it.
    big_endian: bool,
}

enum Input {
    /// The records of a file, and the files beside it that hold more.
    Files {
        main: Source,
        data: Section,
        parts: Vec<Source>,
    },
    /// A file in the form of a pipe.
    PipeFile(Source, Prelude),
    /// What was read of a pipe, and the pipe until it was read.
    Pipe(Prelude, Option<Box<dyn Read + Send>>),
}

/// The first records of a pipe, without its header.
struct Prelude(Vec<u8>);

/// Events are told within so many bytes.
const PRELUDE_LIMIT: usize = 16 << 20;

impl Recording {
    /// Opens what lies at `path`: a file, a folder that perf wrote, or a named pipe.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let named = |source| Error::io(path.display().to_string(), source);
        let metadata = std::fs::metadata(path).map_err(named)?;
        if metadata.is_dir() {
            return Self::from_folder(path);
        }
        let file = File::open(path).map_err(named)?;
        if !metadata.is_file() {
            return Self::from_stream(file);
        }
        Self::from_source(Source::File {
            file,
            len: metadata.len(),
            map: None,
        })
    }

    /// Maps the parts that are read in order, rather than copying them.
    pub fn map_with(&mut self, map_part: MapPart) {
        if let Input::Files { main, parts, .. } = &mut self.input {
            for source in std::iter::once(main).chain(parts) {
                if let Source::File { map, .. } = source {
                    *map = Some(map_part);
                }
            }
        }
    }

    /// Reads a recording from memory.
    ///
    /// # Errors
    /// [`Error`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::from_source(Source::Bytes(bytes))
    }

    /// Reads a recording from something that cannot seek: standard input, a socket. Its records
    /// can be read once. Anything but the form of a pipe is read into memory.
    ///
    /// # Errors
    /// [`Error`].
    pub fn from_stream(mut stream: impl Read + Send + 'static) -> Result<Self, Error> {
        let pipe = |source| Error::io("the pipe", source);
        let mut bytes = Vec::new();
        let mut first = stream.by_ref().take(PIPE_SIZE);
        first.read_to_end(&mut bytes).map_err(pipe)?;
        let big_endian = big_endian::is_big_endian(&bytes);
        let mut start = bytes.clone();
        if big_endian {
            big_endian::turn_header(&mut start);
        }
        let is_pipe =
            start.len() as u64 == PIPE_SIZE && matches!(header::parse(&start), Ok(Form::Pipe));
        if !is_pipe {
            stream.read_to_end(&mut bytes).map_err(pipe)?;
            return Self::from_bytes(bytes);
        }
        let mut stream: Box<dyn Read + Send> = match big_endian {
            true => Box::new(BigEndianReader::new(stream, Layouts::default())),
            false => Box::new(stream),
        };
        let prelude = Prelude::read(&mut stream)?;
        let input = |prelude| Input::Pipe(prelude, Some(stream));
        Self::from_prelude(prelude, big_endian, input)
    }

    fn from_source(source: Source) -> Result<Self, Error> {
        let start = Section {
            offset: 0,
            size: source.len().min(FILE_SIZE),
        };
        let mut start = source.section("the file header", start)?;
        let big_endian = big_endian::is_big_endian(&start);
        if big_endian {
            big_endian::turn_header(&mut start);
        }
        match header::parse(&start)? {
            Form::Pipe => {
                let rest = source.reader_from(PIPE_SIZE);
                let prelude = match big_endian {
                    true => Prelude::read(&mut BigEndianReader::new(rest, Layouts::default())),
                    false => Prelude::read(&mut { rest }),
                };
                let input = |prelude| Input::PipeFile(source, prelude);
                Self::from_prelude(prelude?, big_endian, input)
            }
            Form::File(header) => Self::from_file(source, &header, big_endian),
        }
    }

    fn from_prelude(
        prelude: Prelude,
        big_endian: bool,
        input: impl FnOnce(Prelude) -> Input,
    ) -> Result<Self, Error> {
        let (events, features, warnings) = prelude.learn();
        let this = Self {
            input: input(prelude),
            events,
            features,
            feature_bits: Vec::new(),
            names: None,
            warnings,
            unfinished: false,
            told: false,
            big_endian,
        };
        this.with_events(PIPE_SIZE)
    }

    fn from_file(source: Source, header: &FileHeader, big_endian: bool) -> Result<Self, Error> {
        let mut events = EventSet::default();
        for mut event in attr_section::parse(&source, header, big_endian)? {
            event.name = derive_name(&event.attr);
            events.push(event);
        }
        let mut data = header.data;
        let left = source.len().saturating_sub(data.offset);
        let unfinished = data.size == 0 && !has_feature_table(&source, header, big_endian);
        let mut warnings = Vec::new();
        if unfinished {
            warnings.push(format!(
                "the recorder did not finish the file; the {left} bytes of records that it has are read"
            ));
            data.size = left;
        } else if data.size > left {
            warnings.push(format!(
                "the file is cut: it should have {} bytes of records, but has {left}",
                data.size
            ));
            data.size = left;
        }
        let mut this = Self {
            input: Input::Files {
                main: source,
                data,
                parts: Vec::new(),
            },
            events,
            features: Features::default(),
            feature_bits: header.feature_bits().filter(|_| !unfinished).collect(),
            names: None,
            warnings,
            unfinished,
            told: false,
            big_endian,
        };
        let end = this.read_features(header);
        this.read_names(end);
        this.with_events(header.attrs.offset)
    }

    /// A folder has a file with everything but most of the records, which lie in files beside it.
    fn from_folder(folder: &Path) -> Result<Self, Error> {
        let mut this = Self::open_file(&folder.join("data"))?;
        let Input::Files { parts, .. } = &mut this.input else {
            return Ok(this);
        };
        for number in 0.. {
            let path = folder.join(format!("data.{number}"));
            match ForeignFile::open(&ForeignPath::at(&path), Purpose::Recording) {
                Ok(ForeignFile { file, len }) => parts.push(Source::File {
                    file,
                    len,
                    map: None,
                }),
                Err(Refused::Absent) => break,
                Err(refused) => return Err(Error::io(path.display().to_string(), refused.into())),
            }
        }
        Ok(this)
    }

    fn open_file(path: &Path) -> Result<Self, Error> {
        let named = |source| Error::io(path.display().to_string(), source);
        let opened = ForeignFile::open(&ForeignPath::at(path), Purpose::Recording);
        let ForeignFile { file, len } = opened.map_err(|refused| named(refused.into()))?;
        Self::from_source(Source::File {
            file,
            len,
            map: None,
        })
    }

    /// Without an event no record can be read.
    fn with_events(self, offset: u64) -> Result<Self, Error> {
        if self.events.events().is_empty() {
            return Err(Error::corrupt("the attrs", offset, "there is no event"));
        }
        Ok(self)
    }

    /// Returns where the last of them ends.
    fn read_features(&mut self, header: &FileHeader) -> u64 {
        let mut end = header.data.end();
        let Input::Files { main, .. } = &self.input else {
            return end;
        };
        let bits = self.feature_bits.clone();
        let table = Section {
            offset: header.data.end(),
            size: bits.len() as u64 * 16,
        };
        let table = match main.section("the feature table", table) {
            Ok(mut table) => {
                if self.big_endian {
                    big_endian::turn_words(&mut table);
                }
                table
            }
            Err(error) => {
                self.warnings.push(error.to_string());
                return end;
            }
        };
        for (&bit, entry) in bits.iter().zip(table.chunks_exact(16)) {
            let section = Section::read(&mut prof_event::Reader::new(entry)).unwrap_or_default();
            end = end.max(section.end());
            if bit >= bit::PIPE_END {
                continue;
            }
            let mut payload = match main.section("a feature", section) {
                Ok(payload) => payload,
                Err(error) => {
                    self.warnings.push(format!("feature {bit}: {error}"));
                    continue;
                }
            };
            if self.big_endian {
                // What ends too early is found to do so below.
                let _ = big_endian::turn_feature(bit, &mut payload);
            }
            let result = if bit == bit::EVENT_DESC {
                parse_event_names(&payload).map(|names| {
                    for (index, name) in names.into_iter().enumerate() {
                        self.events.rename(index, name);
                    }
                })
            } else {
                self.features.parse(bit, &payload)
            };
            if result.is_err() {
                let what = format!(
                    "feature {bit} at offset {:#x} ends too early",
                    section.offset
                );
                self.warnings.push(what);
            }
        }
        end
    }

    /// `features_end`: nothing of perf's lies behind.
    fn read_names(&mut self, features_end: u64) {
        let Input::Files { main, .. } = &self.input else {
            return;
        };
        let names = Trailer::find(main)
            .and_then(|trailer| trailer.as_ref().map(StoredNames::from_trailer).transpose());
        match names {
            Ok(None) if !self.unfinished && main.len() > features_end => self.warnings.push(
                "the file is cut off behind its last feature: the names found while recording are lost"
                    .to_owned(),
            ),
            Ok(names) => self.names = names,
            Err(error) => self.warnings.push(error.to_string()),
        }
    }

    /// The events. Those of a pipe can get further ones while its records are read.
    pub fn events(&self) -> &EventSet {
        &self.events
    }

    /// Facts about the recording. Those of a pipe can get further ones while its records are read.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Whether the file has a feature section of that number. A pipe has none: its facts are records.
    pub fn has_feature(&self, bit: u32) -> bool {
        self.feature_bits.contains(&bit)
    }

    /// Offset and size of the records in the file; `None` in a pipe.
    pub fn records(&self) -> Option<(u64, u64)> {
        match &self.input {
            Input::Files { data, .. } => Some((data.offset, data.size)),
            _ => None,
        }
    }

    /// The names that the recorder stored, if it was `prof`.
    pub fn stored_names(&self) -> Option<&StoredNames> {
        self.names.as_ref()
    }

    /// What is wrong with the file although it could be read, a line each. Reading the records may
    /// add to it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Calls `visit` with every record in time order; records without a time come at once, those
    /// with equal times in the order of the file.
    ///
    /// Records that describe the file itself are not shown. Records that cannot be decoded are
    /// counted in a warning.
    ///
    /// # Errors
    /// What `visit` returns, or [`Error`] where the file is damaged; what precedes the damage may
    /// have been shown by then.
    pub fn for_each<E: From<Error>>(
        &mut self,
        visit: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let known_until = match &self.input {
            Input::Files { .. } if self.told => u64::MAX,
            Input::Files { .. } => 0,
            Input::PipeFile(_, prelude) if self.told => {
                // What came late comes late again: a record is read by the events in front of it.
                (self.events, self.features, _) = prelude.learn();
                prelude.end()
            }
            Input::PipeFile(_, prelude) | Input::Pipe(prelude, _) => prelude.end(),
        };
        self.told = true;
        let context = Context {
            events: &mut self.events,
            features: &mut self.features,
            ends: self
                .names
                .as_ref()
                .map(|names| &names.ends)
                .filter(|ends| ends.samples() > 0),
            is_pipe: !matches!(self.input, Input::Files { .. }),
            known_until,
            unfinished: self.unfinished,
        };
        let layouts = self.big_endian.then(|| layouts(&context));
        let mut pass = Pass::new(context, visit);
        match (&mut self.input, layouts) {
            (Input::Files { main, data, parts }, Some(layouts)) => {
                let all = parts.iter().map(|part| (part, part.all_from(0)));
                for (source, section) in std::iter::once((&*main, *data)).chain(all) {
                    let bytes = source.reader_from(section.offset).take(section.size);
                    let mut bytes = BigEndianReader::new(bytes, layouts.clone());
                    pass.run(Feed::pipe(section.offset, &[], &mut bytes))?;
                }
            }
            (Input::PipeFile(source, _), Some(_)) => {
                let bytes = source.reader_from(PIPE_SIZE);
                let mut bytes = BigEndianReader::new(bytes, Layouts::default());
                pass.run(Feed::pipe(PIPE_SIZE, &[], &mut bytes))?;
            }
            (Input::Files { main, data, parts }, None) => {
                pass.run(Feed::of(main, *data))?;
                for part in parts {
                    pass.run(Feed::of(part, part.all_from(0)))?;
                }
            }
            (Input::PipeFile(source, _), None) => {
                pass.run(Feed::of(source, source.all_from(PIPE_SIZE)))?;
            }
            (Input::Pipe(prelude, stream), _) => {
                let mut stream = stream.take().ok_or(Error::ReadAlready)?;
                pass.run(Feed::pipe(PIPE_SIZE, &prelude.0, &mut *stream))?;
            }
        }
        for warning in pass.finish()? {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        Ok(())
    }
}

impl Prelude {
    /// Reads up to the first record that can only follow the events.
    fn read(stream: &mut dyn Read) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        while bytes.len() < PRELUDE_LIMIT {
            let Some(raw) = read_record(stream, &mut bytes)? else {
                break;
            };
            let ends_here = matches!(
                raw.kind,
                record::SAMPLE
                    | record::FINISHED_ROUND
                    | record::FINISHED_INIT
                    | record::COMPRESSED
                    | record::COMPRESSED2
            );
            let Ok(behind) = pipe::bytes_behind(raw) else {
                break;
            };
            if ends_here || behind > PRELUDE_LIMIT as u64 {
                break;
            }
            let read = stream.take(behind).read_to_end(&mut bytes);
            read.map_err(|source| Error::io("the pipe", source))?;
        }
        Ok(Self(bytes))
    }

    /// The offset behind it.
    fn end(&self) -> u64 {
        PIPE_SIZE + self.0.len() as u64
    }

    /// What it tells of the recording, and what of that could not be read.
    fn learn(&self) -> (EventSet, Features, Vec<String>) {
        let (mut events, mut features) = (EventSet::default(), Features::default());
        let mut warnings = Vec::new();
        let mut rest = &self.0[..];
        while let Ok(raw) = RawRecord::parse(rest) {
            if let Err(error) = pipe::apply(raw, &mut events, &mut features) {
                warnings.push(format!("a record of type {}: {error}", raw.kind));
            }
            rest = &rest[raw.bytes.len()..];
            let behind = pipe::bytes_behind(raw).unwrap_or(0);
            let behind = usize::try_from(behind)
                .unwrap_or(rest.len())
                .min(rest.len());
            if raw.kind == record::HEADER_TRACING_DATA {
                features.tracing_data = Some(rest[..behind].to_vec());
            }
            rest = &rest[behind..];
        }
        (events, features, warnings)
    }
}

/// Whether a feature table lies where the records end. perf writes the numbers of the features before
/// the records, and the table when it ends: then a size of 0 means that there is no record.
fn has_feature_table(source: &Source, header: &FileHeader, big_endian: bool) -> bool {
    let entries = header.feature_bits().count() as u64;
    let table = Section {
        offset: header.data.end(),
        size: entries * 16,
    };
    let Ok(mut bytes) = source.section("the feature table", table) else {
        return false;
    };
    if big_endian {
        big_endian::turn_words(&mut bytes);
    }
    let first = Section::read(&mut prof_event::Reader::new(&bytes));
    first.is_ok_and(|first| first.offset >= table.end() && first.end() <= source.len())
}

/// Where the numbers in the records of a big-endian file are.
fn layouts(context: &Context<'_>) -> Layouts {
    let formats = context.features.tracing_data.as_deref();
    Layouts {
        events: context.events.clone(),
        tracepoints: formats.map_or_else(Vec::new, big_endian::tracepoints),
    }
}

/// Appends the next record of a stream; `None` where it ends or has no size.
fn read_record<'b>(
    stream: &mut dyn Read,
    bytes: &'b mut Vec<u8>,
) -> Result<Option<RawRecord<'b>>, Error> {
    let start = bytes.len();
    let mut more = |count: usize, bytes: &mut Vec<u8>| {
        let read = (&mut *stream).take(count as u64).read_to_end(bytes);
        read.map_err(|source| Error::io("the pipe", source))
    };
    more(HEADER_SIZE, bytes)?;
    let Some(size) = bytes.get(start + 6..start + 8) else {
        return Ok(None);
    };
    let size = usize::from(u16::from_le_bytes([size[0], size[1]]));
    more(size.saturating_sub(HEADER_SIZE), bytes)?;
    Ok(RawRecord::parse(&bytes[start..]).ok())
}
