//! Recordings of machines that are not at hand, written record by record.

use std::fs::File;
use std::path::Path;

use prof_event::{Event, EventAttr, EventSet, RecordBuilder};
use prof_perfdata::{Features, RecordSink, Writer, WriterOptions};

/// A recording that is being written.
pub(crate) struct Handmade(Writer<File>);

impl Handmade {
    /// Starts the recording of one event, of that name.
    pub(crate) fn create(path: impl AsRef<Path>, name: &str, attr: EventAttr) -> Self {
        let mut events = EventSet::default();
        events.push(Event {
            attr,
            name: name.to_owned(),
            ids: vec![1],
        });
        let file = File::create(path).unwrap();
        Self(Writer::create(file, &events, WriterOptions::default()).unwrap())
    }

    /// Adds a record, whose body is made by `fill`.
    pub(crate) fn put(&mut self, kind: u32, misc: u16, fill: impl FnOnce(&mut RecordBuilder<'_>)) {
        let mut bytes = Vec::new();
        let mut builder = RecordBuilder::new(&mut bytes, kind, misc);
        fill(&mut builder);
        builder.finish().unwrap();
        self.0.record(&bytes).unwrap();
    }

    /// Adds a record as it is.
    pub(crate) fn put_whole(&mut self, bytes: &[u8]) {
        self.0.record(bytes).unwrap();
    }

    /// Ends it with what is known about its machine.
    pub(crate) fn finish(self, features: Features) {
        self.0.finish(features, None).unwrap();
    }
}

/// The section of a recording that has the formats of tracepoints, of one system.
pub(crate) fn tracing_data(system: &str, formats: &[String]) -> Vec<u8> {
    let mut bytes = b"\x17\x08\x44tracing0.6\0\0\x08\0\x10\0\0".to_vec();
    for empty in ["header_page", "header_event"] {
        bytes.extend(empty.as_bytes());
        bytes.extend([0; 1 + 8]);
    }
    bytes.extend([0, 1_u32].map(u32::to_le_bytes).concat()); // none of ftrace's own, one system
    bytes.extend(system.as_bytes());
    bytes.push(0);
    bytes.extend((formats.len() as u32).to_le_bytes());
    for format in formats {
        bytes.extend((format.len() as u64).to_le_bytes());
        bytes.extend(format.as_bytes());
    }
    bytes.extend([0; 4 + 4 + 8]); // kallsyms, constant strings, names of threads
    bytes
}
