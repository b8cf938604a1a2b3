//! Recordings: read twice they say the same, and what is written anew reads the same.

use std::io::Cursor;

use prof_event::abi::record;
use prof_perfdata::{Error, Features, RecordSink, Recording, Writer, WriterOptions};

/// A record: its time, and its bytes.
type Told = (Option<u64>, Vec<u8>);

/// The kernel's records; `None` where the recording is damaged.
fn records(recording: &mut Recording) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    let result = recording.for_each(|item| -> Result<(), Error> {
        if item.raw.kind < record::HEADER_ATTR {
            told.push((item.decoded.id.time, item.raw.bytes.to_vec()));
        }
        Ok(())
    });
    result.ok().map(|()| told)
}

/// Any bytes as a file.
pub(crate) fn perf_data(bytes: &[u8]) {
    let Ok(mut recording) = Recording::from_bytes(bytes.to_vec()) else {
        return;
    };
    let known = recording.events().events().len();
    let Some(first) = records(&mut recording) else {
        return;
    };
    assert_eq!(records(&mut recording).as_ref(), Some(&first), "read twice");
    // A record is read by the events in front of it: those that come late are written in front of all.
    if recording.events().events().len() != known {
        return;
    }

    let mut out = Cursor::new(Vec::new());
    let options = WriterOptions::default();
    let mut writer = Writer::create(&mut out, recording.events(), options).expect("in memory");
    for (_, bytes) in &first {
        writer.record(bytes).expect("a whole record");
    }
    writer.finish(Features::default(), None).expect("in memory");
    let mut again = Recording::from_bytes(out.into_inner()).expect("what was written is read");
    let again = records(&mut again).expect("whole records");
    let times = again.iter().filter_map(|(time, _)| *time);
    assert!(
        times.filter(|time| *time != 0).is_sorted(),
        "the order of times"
    );
    let sorted = |mut told: Vec<Told>| {
        told.sort();
        told
    };
    assert!(
        sorted(again) == sorted(first),
        "what is written reads the same"
    );
}

/// Any bytes as a stream that cannot seek, beside the same bytes as a file.
pub(crate) fn pipe(bytes: &[u8]) {
    let file = Recording::from_bytes(bytes.to_vec());
    let stream = Recording::from_stream(Cursor::new(bytes.to_vec()));
    let (Ok(mut file), Ok(mut stream)) = (file, stream) else {
        return;
    };
    if let (Some(file), Some(stream)) = (records(&mut file), records(&mut stream)) {
        assert!(file == stream, "a stream and a file of the same bytes");
    }
}
