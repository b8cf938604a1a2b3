//! Source files, where they are still those that a program was built from.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use prof_foreign_files::{ForeignFile, ForeignPath, Purpose};
use prof_model::{NoSource, SourceText};

/// Reads a source file that debug info names, below `symfs` or else at its path. `built` is when the
/// program was written.
pub(crate) fn read(path: &Arc<str>, built: Option<SystemTime>, symfs: Option<&Path>) -> SourceText {
    let own = Path::new(&**path);
    let copied = symfs.map(|symfs| ForeignPath::below(symfs, own));
    let mut candidates = copied.into_iter().chain([ForeignPath::at(own)]);
    let lines = candidates.find_map(|place| read_file(&place, built));
    SourceText {
        path: Arc::clone(path),
        lines: lines.unwrap_or(Err(NoSource::Missing)),
    }
}

fn read_file(
    place: &ForeignPath,
    built: Option<SystemTime>,
) -> Option<Result<Vec<String>, NoSource>> {
    let source = ForeignFile::open(place, Purpose::Source).ok()?;
    let changed = source.file.metadata().ok()?.modified().ok();
    if let (Some(changed), Some(built)) = (changed, built)
        && changed > built
    {
        return Some(Err(NoSource::Newer));
    }
    let bytes = source.read_whole(Purpose::Source).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(Ok(text.lines().map(str::to_owned).collect()))
}
