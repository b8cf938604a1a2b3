//! The page of large programs, `tests/targets/large.txt`: which there are and what each is to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PAGE: &str = "tests/targets/large.txt";
const SOURCES: &str = "tests/targets/large";
/// Stacks that are whole at least, in percent, unless the row says otherwise.
const WHOLE: f64 = 99.0;

/// A program and its work.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// A command or a file, and the Debian package that has it.
    needs: Vec<(String, String)>,
    /// Commands for the shell that make the inputs.
    setup: Vec<String>,
    /// The command for the shell that is recorded.
    work: String,
    /// Stacks that are whole at least, in percent.
    pub(crate) whole: f64,
}

/// Reads the page.
pub(crate) fn read() -> Result<Vec<Row>, String> {
    let page = fs::read_to_string(PAGE).map_err(|error| format!("{PAGE}: {error}"))?;
    parse(&page).map_err(|line| format!("{PAGE}: `{line}` is not understood"))
}

fn parse(page: &str) -> Result<Vec<Row>, &str> {
    let mut rows: Vec<Row> = Vec::new();
    for line in page.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(entry) = line.strip_prefix("  ") else {
            rows.push(Row::new(line));
            continue;
        };
        let (Some(row), Some((key, value))) = (rows.last_mut(), entry.split_once(' ')) else {
            return Err(line);
        };
        match key {
            "needs" => {
                let (what, package) = value.split_once(' ').ok_or(line)?;
                row.needs.push((what.to_owned(), package.to_owned()));
            }
            "setup" => row.setup.push(value.to_owned()),
            "work" => row.work = value.to_owned(),
            "whole" => row.whole = value.parse().map_err(|_| line)?,
            _ => return Err(line),
        }
    }
    Ok(rows)
}

impl Row {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            needs: Vec::new(),
            setup: Vec::new(),
            work: String::new(),
            whole: WHOLE,
        }
    }

    /// The packages without which it cannot run.
    pub(crate) fn missing(&self) -> Vec<&str> {
        let needs = self.needs.iter();
        let absent = needs.filter(|(what, _)| !is_there(what));
        absent.map(|(_, package)| package.as_str()).collect()
    }

    /// Makes the inputs in a folder of its own below `root`; returns the work as one command that
    /// can be given anywhere.
    pub(crate) fn prepare(&self, root: &Path) -> Result<String, String> {
        let folder = root.join(&self.name);
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let sources = PathBuf::from(SOURCES).canonicalize().map_err(failed)?;
        for command in &self.setup {
            let output = Command::new("bash")
                .args(["-c", &format!("set -e; {command}")])
                .env("SRC", &sources)
                .current_dir(&folder)
                .stdin(Stdio::null())
                .output()
                .map_err(failed)?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("`{command}` failed: {said}"));
            }
        }
        let script = folder.join("work.sh");
        let text = format!(
            "export SRC='{}'\ncd '{}'\n{}\n",
            sources.display(),
            folder.display(),
            self.work
        );
        fs::write(&script, text).map_err(failed)?;
        Ok(format!("bash '{}'", script.display()))
    }
}

fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(what).exists())
}

#[cfg(test)]
mod tests {
    use super::{WHOLE, parse, read};

    #[test]
    fn a_row_has_a_work_and_each_line_is_understood() {
        let rows = read_from_here().unwrap();
        assert!(rows.iter().all(|row| !row.work.is_empty()), "{rows:?}");
        assert!(rows.iter().any(|row| row.whole < WHOLE), "{rows:?}");
        assert_eq!(parse("name\n  wrok x").unwrap_err(), "  wrok x");
        assert_eq!(parse("  work x").unwrap_err(), "  work x");
    }

    fn read_from_here() -> Result<Vec<super::Row>, String> {
        std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
        read()
    }
}
