//! Files that are made of a recording for others: where they go, and what is said about them.
//!
//! In: which files are wanted, and a recording that was made or read. Out: these files. Elsewhere: what is in
//! them (`prof_report::Export`), how they are asked for (`command_line::shared::DrawingArgs`), the flame graph
//! of a window on the screens (`tui_source`).

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prof_report::{Export, ExportData, ExportError};
use prof_session::record::{try_place, write_whole};

use crate::messages::{CliError, Failure};
use crate::printed;

/// Which files are wanted.
pub struct Exports {
    wanted: Vec<(PathBuf, Box<dyn Export>)>,
    quiet: bool,
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.wanted.iter().map(|(path, _)| path);
        f.debug_list().entries(paths).finish()
    }
}

impl Exports {
    /// None yet; with `quiet`, nothing is said about those that are written.
    pub fn new(quiet: bool) -> Self {
        Self {
            wanted: Vec::new(),
            quiet,
        }
    }

    /// Adds a file, if there is a path for it. They are written in this order.
    #[must_use]
    pub fn add(mut self, path: Option<&PathBuf>, export: impl Export + 'static) -> Self {
        if let Some(path) = path {
            self.wanted.push((path.clone(), Box::new(export)));
        }
        self
    }

    /// Whether any file is wanted.
    pub fn any(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether one of them goes to stdout.
    pub fn to_stdout(&self) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|(path, _)| is_stdout(path))
    }

    /// Whether all of them can be written, as far as that can be told before there is anything to write.
    ///
    /// # Errors
    /// One cannot.
    pub fn check(&self) -> Result<(), CliError> {
        let files = self.wanted.iter().filter(|(path, _)| !is_stdout(path));
        for (path, _) in files {
            try_place(path).map_err(|error| cannot_write(path, error))?;
        }
        Ok(())
    }

    /// Writes the files that are wanted, if there is any sample.
    ///
    /// # Errors
    /// A file could not be written, or no sample passes the filter.
    pub fn write(&self, data: &ExportData<'_>) -> Result<(), Failure> {
        if data.first_event().is_none() {
            return Ok(());
        }
        for (path, export) in &self.wanted {
            if is_stdout(path) {
                write_stdout(&**export, data, printed::stdout())?;
                continue;
            }
            let remark = write_file(path, &**export, data)?;
            if let Some(title) = export.title().filter(|_| !self.quiet) {
                let remark = remark.map_or_else(String::new, |remark| format!("; {remark}"));
                eprintln!("{title}: {}{remark}", path.display());
            }
        }
        Ok(())
    }
}

/// Whether a path means stdout, whatever that is.
pub fn is_stdout(path: &Path) -> bool {
    let names = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    names.iter().any(|name| path.as_os_str() == *name)
}

/// Writes to stdout, which is opened for what the export makes.
///
/// # Errors
/// There is nothing to write, or nobody reads it.
pub fn write_stdout(
    export: &dyn Export,
    data: &ExportData<'_>,
    stdout: impl Write,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(stdout);
    match export.write(data, &mut out) {
        Ok(_) => Ok(out.flush()?),
        Err(error @ ExportError::Nothing) => {
            out.flush()?;
            Err(CliError::from_error(&error).into())
        }
        Err(ExportError::Io(error)) => Err(error.into()),
    }
}

fn write_file(
    path: &Path,
    export: &dyn Export,
    data: &ExportData<'_>,
) -> Result<Option<String>, CliError> {
    let mut remark = Ok(None);
    let written = write_whole(path, |out| {
        remark = export.write(data, out);
        match &remark {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::Other.into()), // nothing is left of the file
        }
    });
    match (remark, written) {
        (Err(error @ ExportError::Nothing), _) => {
            Err(CliError::new(format!("{error}: nothing to draw")))
        }
        (Err(ExportError::Io(error)), _) | (Ok(_), Err(error)) => Err(cannot_write(path, error)),
        (Ok(remark), Ok(())) => Ok(remark),
    }
}

/// Writes a file as a whole, or to stdout. Returns whether it is a file.
///
/// # Errors
/// It could not be written.
pub fn write_to(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<bool, Failure> {
    if is_stdout(path) {
        let mut out = BufWriter::new(printed::stdout());
        write(&mut out)?;
        out.flush()?;
        return Ok(false);
    }
    write_whole(path, |out| write(out)).map_err(|error| cannot_write(path, error))?;
    Ok(true)
}

fn cannot_write(path: &Path, error: io::Error) -> CliError {
    CliError::new(format!("could not write `{}`", path.display())).cause(error)
}
