use std::io;

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system could not read the file.
    #[error("could not read {what}")]
    Io {
        /// Which file or which part of it.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Something else than perf.data.
    #[error("not a perf.data file: {0}")]
    NotPerfData(&'static str),
    /// The file ends inside one of its parts.
    #[error(
        "{section} reaches behind the end of the file: {size} bytes at offset {offset:#x}, but the file has {len}"
    )]
    Truncated {
        /// Which part.
        section: &'static str,
        /// Where it starts in the file.
        offset: u64,
        /// Its bytes.
        size: u64,
        /// The bytes of the file.
        len: u64,
    },
    /// Bytes that make no sense.
    #[error("{section} at offset {offset:#x}: {what}")]
    Corrupt {
        /// Which part of the file.
        section: &'static str,
        /// Where in the file.
        offset: u64,
        /// What is wrong with them.
        what: String,
    },
    /// A pipe can be read only once.
    #[error("the records came from a pipe and were read already")]
    ReadAlready,
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn corrupt(section: &'static str, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt {
            section,
            offset,
            what: what.into(),
        }
    }
}
