//! Where perf and debuginfod keep files by build-id.

use std::env;
use std::path::{Path, PathBuf};

use prof_model::BuildId;

/// Copies of the mapped file itself.
pub(crate) fn images(build_id: BuildId) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(entry) = perf_entry(build_id) {
        paths.extend([entry.join("elf"), entry.join("vdso"), entry]);
    }
    paths.extend(debuginfod_entry(build_id).map(|entry| entry.join("executable")));
    paths
}

/// Copies of its separate debug file.
pub(crate) fn debug_files(build_id: BuildId) -> Vec<PathBuf> {
    let perf = perf_entry(build_id).map(|entry| entry.join("debug"));
    let debuginfod = debuginfod_entry(build_id).map(|entry| entry.join("debuginfo"));
    perf.into_iter().chain(debuginfod).collect()
}

/// perf's copy of the symbols of a kernel.
pub(crate) fn kallsyms(build_id: BuildId) -> Option<PathBuf> {
    let home = env::var_os("HOME")?;
    let kernels = Path::new(&home).join(".debug/[kernel.kallsyms]");
    Some(kernels.join(build_id.to_string()).join("kallsyms"))
}

/// Copies of the file of a kernel.
pub(crate) fn kernel_files(build_id: BuildId) -> Vec<PathBuf> {
    let perf = perf_entry(build_id).map(|entry| entry.join("vmlinux"));
    let mut paths: Vec<_> = perf.into_iter().chain(images(build_id)).collect();
    paths.extend(debug_files(build_id));
    paths
}

/// `xx/yyyy` for the build-id `xxyyyy`, the layout of every `.build-id` directory.
pub(crate) fn split(build_id: BuildId) -> String {
    let hex = build_id.to_string();
    format!("{}/{}", &hex[..2], &hex[2..])
}

fn perf_entry(build_id: BuildId) -> Option<PathBuf> {
    let home = env::var_os("HOME")?;
    let ids = Path::new(&home).join(".debug/.build-id");
    Some(ids.join(split(build_id)))
}

fn debuginfod_entry(build_id: BuildId) -> Option<PathBuf> {
    let cache = match (
        env::var_os("DEBUGINFOD_CACHE_PATH"),
        env::var_os("XDG_CACHE_HOME"),
    ) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(cache)) => Path::new(&cache).join("debuginfod_client"),
        (None, None) => Path::new(&env::var_os("HOME")?).join(".cache/debuginfod_client"),
    };
    Some(cache.join(build_id.to_string()))
}
