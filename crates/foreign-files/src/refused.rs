//! Why a file is not opened.

use std::io;

/// Why there is no file to read.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nothing lies there.
    #[error("there is no such file")]
    Absent,
    /// The file system does not let us.
    #[error(transparent)]
    Unreadable(io::Error),
    /// It is a directory, a FIFO, a device or a socket, or a link where none may be.
    #[error("it is no regular file but {0}")]
    NotRegular(&'static str),
    /// Its file system shows what is in the kernel.
    #[error("it is no regular file but one of the kernel's")]
    OfTheKernel,
    /// It has more bytes than any file of its kind.
    #[error("it is {} long", size(*.0))]
    TooLarge(u64),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Absent,
            _ => Self::Unreadable(error),
        }
    }
}

impl From<nix::Error> for Refused {
    fn from(error: nix::Error) -> Self {
        io::Error::from(error).into()
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Absent => io::ErrorKind::NotFound.into(),
            Refused::Unreadable(error) => error,
            refused => Self::other(refused),
        }
    }
}

/// `23.9 GB` of a number of bytes.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_says_how_large() {
        assert_eq!(
            Refused::TooLarge(23_900_000_000).to_string(),
            "it is 23.9 GB long"
        );
        assert_eq!(
            Refused::TooLarge(70_000_000).to_string(),
            "it is 70.0 MB long"
        );
    }
}
