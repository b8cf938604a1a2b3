//! Files that are made of a recording for others: which are asked for, and where they go.
//!
//! In: arguments, and a recording that was made or read. Out: files, and a line about each. Elsewhere: what is
//! in them (`prof_report::Export`). A new format is an option of [`DrawingArgs`] and a line in
//! [`DrawingArgs::exports`].

use std::io::{self, BufWriter, Write};
use std::path::Path;

use prof_report::{Export, ExportData, ExportError, FlameGraphExport, FoldedExport};
use prof_session::record::write_whole;

use crate::args::DrawingArgs;
use crate::error::{CliError, Failure};

/// What is asked for: a file, or stdout, and what writes it.
type Wanted<'a> = (&'a Path, Box<dyn Export>);

impl DrawingArgs {
    /// The files that are asked for, in the order in which they are written.
    fn exports(&self) -> Vec<Wanted<'_>> {
        let wanted = [
            export(&self.folded, || FoldedExport),
            export(&self.svg, || FlameGraphExport {
                title: self.title.clone(),
                reverse: self.reverse,
                inverted: self.inverted,
                min_width: self.min_width,
            }),
        ];
        wanted.into_iter().flatten().collect()
    }

    /// Whether any file is asked for.
    pub fn any(&self) -> bool {
        !self.exports().is_empty()
    }

    /// Whether one of them goes to stdout.
    pub fn to_stdout(&self) -> bool {
        let mut exports = self.exports().into_iter();
        exports.any(|(path, export)| is_stdout(path, &*export))
    }
}

fn export<E: Export + 'static>(
    path: &Option<std::path::PathBuf>,
    export: impl FnOnce() -> E,
) -> Option<Wanted<'_>> {
    let path = path.as_deref()?;
    Some((path, Box::new(export())))
}

/// `-` is stdout for what other programs read; a picture of this name is a file.
fn is_stdout(path: &Path, export: &dyn Export) -> bool {
    path.as_os_str() == "-" && export.title().is_none()
}

/// Writes what `args` ask for.
///
/// # Errors
/// A file could not be written, or there is nothing to write.
pub fn export_all(args: &DrawingArgs, data: &ExportData<'_>, quiet: bool) -> Result<(), Failure> {
    if data.first_event().is_none() {
        return Ok(());
    }
    for (path, export) in args.exports() {
        let remark = if is_stdout(path, &*export) {
            let mut out = BufWriter::new(io::stdout().lock());
            let remark = export.write(data, &mut out).map_err(failure)?;
            out.flush()?;
            remark
        } else {
            write_file(path, &*export, data)?
        };
        if let Some(title) = export.title().filter(|_| !quiet) {
            let remark = remark.map_or_else(String::new, |remark| format!("; {remark}"));
            eprintln!("{title}: {}{remark}", path.display());
        }
    }
    Ok(())
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
        (Err(ExportError::Io(error)), _) | (Ok(_), Err(error)) => {
            Err(CliError::new(format!("could not write `{}`", path.display())).cause(error))
        }
        (Ok(remark), Ok(())) => Ok(remark),
    }
}

/// The message where writing to stdout failed, or there was nothing to write.
pub fn failure(error: ExportError) -> Failure {
    match error {
        ExportError::Nothing => CliError::from_error(&error).into(),
        ExportError::Io(error) => error.into(),
    }
}
