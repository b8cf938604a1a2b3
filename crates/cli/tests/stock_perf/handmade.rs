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

    /// Ends it with what is known about its machine.
    pub(crate) fn finish(self, features: Features) {
        self.0.finish(features, None).unwrap();
    }
}
