//! Source files, where they are still those that a program was built from.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use prof_model::{NoSource, SourceText};

use crate::files::open_regular;

/// Larger files are not sources.
const LARGEST: u64 = 64 << 20;

/// Reads a source file that debug info names, below `symfs` or else at its path. `built` is when the
/// program was written.
pub(crate) fn read(path: &Arc<str>, built: Option<SystemTime>, symfs: Option<&Path>) -> SourceText {
    let own = PathBuf::from(&**path);
    let copied = symfs.map(|symfs| symfs.join(own.strip_prefix("/").unwrap_or(&own)));
    let mut candidates = copied.into_iter().chain([own]);
    let lines = candidates.find_map(|path| read_file(&path, built));
    SourceText {
        path: Arc::clone(path),
        lines: lines.unwrap_or(Err(NoSource::Missing)),
    }
}

fn read_file(path: &Path, built: Option<SystemTime>) -> Option<Result<Vec<String>, NoSource>> {
    let file = open_regular(path)?;
    let changed = file.metadata().ok()?.modified().ok();
    if let (Some(changed), Some(built)) = (changed, built)
        && changed > built
    {
        return Some(Err(NoSource::Newer));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(Ok(text.lines().map(str::to_owned).collect()))
}
