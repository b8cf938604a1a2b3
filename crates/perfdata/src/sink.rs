use std::io;

use prof_event::RawRecord;

/// Takes records: a file, a pipe, or whoever wants to see them.
pub trait RecordSink {
    /// Takes one record, header included.
    ///
    /// # Errors
    /// What the output says, or [`io::ErrorKind::InvalidInput`] if `record` is not exactly one.
    fn record(&mut self, record: &[u8]) -> io::Result<()>;

    /// Every ring was drained once: records that follow may only precede those of this round.
    ///
    /// # Errors
    /// What the output says.
    fn finish_round(&mut self) -> io::Result<()>;
}

/// A record that fills `bytes`.
pub(crate) fn whole_record(bytes: &[u8]) -> io::Result<RawRecord<'_>> {
    match RawRecord::parse(bytes) {
        Ok(raw) if raw.bytes.len() == bytes.len() => Ok(raw),
        _ => {
            let what = "the size in a record's header is not its size";
            Err(io::Error::new(io::ErrorKind::InvalidInput, what))
        }
    }
}
