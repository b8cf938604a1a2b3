//! What to do about frames without names, one line for each module that has many, and about stacks
//! that could not be followed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use prof_foreign_files::{ForeignFile, ForeignPath, Purpose};
use prof_model::{AddressSpace, Dso, DsoKind, Pid, ProcessTable, Reason};
use prof_report::Summary;
use prof_symbolizer::{FileFinder, PerfMap, debug_file_path, writer_of};

use crate::messages::debian;
use crate::messages::present::{Capability, Present};
use crate::units::thousands;

/// A module with fewer of the frames, in percent, gets no hint.
const WORTH_A_HINT: f64 = 1.0;
const MOST_HINTS: usize = 3;

/// What Debian's packages have installed.
const DPKG: &str = "/var/lib/dpkg/info";

/// The remedy for whatever else lies in the place of a mapped file.
const THE_FILE_AS_IT_WAS: &str = "`--symfs DIR`, with the file as it was at the same path below it";

/// Whose perf maps and jitdumps name code.
const BELIEVED: &str = "a perf map or jitdump that belongs to the process's user or root, and that others may not write to";

/// Part of the name of the file of a Java virtual machine, whose methods are named from its memory.
pub const JVM: &str = "libjvm.so";

/// Runtimes that generate code: a part of the name of a file that their processes map, and how they
/// tell the names of that code.
const RUNTIMES: [(&str, &str); 9] = [
    (
        JVM,
        "`jcmd PID Compiler.perfmap`, and start it with `-XX:+PreserveFramePointer`",
    ),
    ("libnode.so", "start it with `node --perf-basic-prof`"),
    ("/node", "start it with `node --perf-basic-prof`"),
    ("libcoreclr.so", "start it with `DOTNET_PerfMapEnabled=1`"),
    ("python", "start it with `python3 -X perf` (3.12 or later)"),
    ("libruby", "start it with `ruby --yjit-perf`"),
    ("/ruby", "start it with `ruby --yjit-perf`"),
    ("beam.smp", "start it with `erl +JPperf true`"),
    ("libjulia", "start it with `ENABLE_JITPROFILING=1`"),
];

/// What to do about the modules of a summary that have most of the frames without names.
pub fn remedies(summary: &Summary, processes: &ProcessTable) -> Vec<String> {
    let modules = summary.unnamed.iter().filter(|module| {
        let percent = module.frames as f64 * 100.0 / summary.frames.max(1) as f64;
        percent >= WORTH_A_HINT
    });
    let hints = modules.filter_map(|module| {
        let &(reason, _) = module.reasons.first()?;
        let dso = processes.dsos.get(module.dso?);
        Some(format!(
            "{}: {}",
            module.module,
            remedy(reason, dso, processes)?
        ))
    });
    hints.take(MOST_HINTS).collect()
}

fn remedy(reason: Reason, dso: &Dso, processes: &ProcessTable) -> Option<String> {
    Some(match reason {
        Reason::NoSymbolTable if dso.kind.is_kernel() => match Present::look().blind() {
            Some((why, remedy)) => format!("{why}; {remedy}"),
            None => "the kernel has no table of its symbols (CONFIG_KALLSYMS)".to_owned(),
        },
        Reason::NoSymbolTable => debug_package(dso),
        Reason::NoPerfMap => generated_code(dso, processes),
        Reason::FileReplaced | Reason::FileMissing if dso.kind == DsoKind::File => {
            THE_FILE_AS_IT_WAS.to_owned()
        }
        Reason::NotRegular | Reason::FileTooLarge => {
            format!("{}{THE_FILE_AS_IT_WAS}", refusal(dso).unwrap_or_default())
        }
        Reason::FileUnreadable => {
            "permission to read it, or as much memory as it is long (`ulimit -v`)".to_owned()
        }
        Reason::NotBelieved => why_not_believed(dso),
        Reason::KernelRestricted => {
            let present = Present::look();
            let mut ways = present.kernel_addresses();
            ways.extend(present.as_root().map(str::to_owned));
            match ways.as_slice() {
                [] => "record it as you are now: they are shown to you".to_owned(),
                ways => ways.join(", or "),
            }
        }
        Reason::OtherKernel => {
            "`--kallsyms FILE`, a copy of /proc/kallsyms that root made where it was recorded"
                .to_owned()
        }
        _ => return None,
    })
}

/// What lies at the path of a file that is not opened.
fn refusal(dso: &Dso) -> Option<String> {
    let path = ForeignPath::at(Path::new(OsStr::from_bytes(&dso.path)));
    let refused = ForeignFile::open(&path, Purpose::Program).err()?;
    Some(format!("{refused}; "))
}

/// Why what tells the names of a process's code is not believed, as far as that process still runs.
fn why_not_believed(dso: &Dso) -> String {
    let doubt = || {
        let DsoKind::Jit(pid) = dso.kind else {
            return None;
        };
        let doubt = PerfMap::open(pid, writer_of(pid)?)?.doubt()?;
        Some(format!("/tmp/perf-{pid}.map is not believed: {doubt}"))
    };
    doubt().unwrap_or_else(|| BELIEVED.to_owned())
}

/// What to do about stacks that go on in the target's memory, which may not be read.
pub fn unread_memory(stacks: u64, present: &Present) -> String {
    let capability = present.capabilities(&[Capability::SYS_PTRACE]);
    let root = present.as_root().map(str::to_owned);
    let scope = present.ptrace_scope.unwrap_or(0);
    let setting = (scope == 1).then(|| present.sysctl("kernel.yama.ptrace_scope=0"));
    let ways: Vec<_> = [setting, capability, root].into_iter().flatten().collect();
    let remedy = match (scope, ways.as_slice()) {
        (3.., _) => "nobody may, until the next boot".to_owned(),
        (_, []) => "run prof on the host".to_owned(),
        (_, ways) => ways.join(", or "),
    };
    let why = match scope {
        0 => String::new(),
        scope => format!("kernel.yama.ptrace_scope is {scope}: "),
    };
    let stacks = thousands(stacks);
    format!("{stacks} stacks go on in the target's memory, which may not be read; {why}{remedy}")
}

/// Where the symbols of a stripped file come from.
pub fn debug_package(dso: &Dso) -> String {
    let path = dso.long_name();
    let finder = FileFinder::default();
    let found = finder.open_stored(dso).ok();
    let refused = found
        .as_ref()
        .and_then(|file| finder.refused_debug(file, dso));
    if let Some((debug, why)) = refused {
        let debug = debug.display();
        return format!("its debug file {debug} is not read: {why}");
    }
    if let Some(package) = debian_package(Path::new(DPKG), &path) {
        return debian::install(&package, Path::new(DPKG));
    }
    if Path::new("/usr/bin/rpm").exists() && path.starts_with("/usr/") {
        return format!("`dnf debuginfo-install $(rpm -qf {path})`");
    }
    match dso.build_id.or_else(|| found?.build_id) {
        Some(build_id) => format!(
            "put its unstripped file at {}, or `debuginfod-find debuginfo {build_id}`",
            debug_file_path(build_id)
        ),
        None => "build it without -s, do not strip it".to_owned(),
    }
}

/// The Debian package that installed a file.
fn debian_package(info: &Path, path: &str) -> Option<String> {
    // Where /lib is a link to /usr/lib, packages use either name.
    let other = match path.strip_prefix("/usr") {
        Some(without) => without.to_owned(),
        None => format!("/usr{path}"),
    };
    for entry in std::fs::read_dir(info).ok()?.flatten() {
        let name = entry.file_name();
        let Some(package) = name.to_str().and_then(|name| name.strip_suffix(".list")) else {
            continue;
        };
        let list = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if list.lines().any(|line| line == path || line == other) {
            let package = package.split(':').next().unwrap_or(package);
            return Some(package.to_owned());
        }
    }
    None
}

/// How the runtime of a process tells the names of its code.
fn generated_code(dso: &Dso, processes: &ProcessTable) -> String {
    let pid = match dso.kind {
        DsoKind::Jit(pid) => Some(pid),
        _ => dso.jitdump().or_else(|| {
            let maps_it = |space: &AddressSpace| {
                let mut mapped = space.iter();
                mapped.any(|mapping| processes.dsos.get(mapping.dso) == dso)
            };
            let mut spaces = processes.spaces();
            spaces.find_map(|(pid, space)| maps_it(space).then_some(pid))
        }),
    };
    let known = pid.and_then(|pid| runtime(pid, processes));
    match (known, pid) {
        (Some(how), Some(pid)) => how.replace("PID", &pid.to_string()),
        _ => "its runtime's option for a perf map or a jitdump, see docs/guide.md".to_owned(),
    }
}

fn runtime(pid: Pid, processes: &ProcessTable) -> Option<&'static str> {
    let mappings = processes.space(pid)?.iter();
    let files = mappings
        .map(|mapping| processes.dsos.get(mapping.dso))
        .filter(|dso| dso.kind == DsoKind::File);
    let paths: Vec<_> = files.map(|dso| dso.long_name().into_owned()).collect();
    runtime_of(&paths).map(|(_, how)| how)
}

/// The runtime that generates code in a process which has mapped these files, by a part of a name of one of them,
/// and how it tells the names of that code; `PID` stands for the process.
pub fn runtime_of(paths: &[String]) -> Option<(&'static str, &'static str)> {
    let runs = |part: &str| match part.strip_prefix('/') {
        Some(_) => paths.iter().any(|path| path.ends_with(part)),
        None => paths.iter().any(|path| path.contains(part)),
    };
    let mut known = RUNTIMES.iter().filter(|(part, _)| runs(part));
    known.next().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::present::tests::user;
    use prof_model::{DsoId, FileId, Mapping};
    use prof_report::UnnamedModule;

    fn summary(module: &str, dso: DsoId, reason: Reason) -> Summary {
        Summary {
            frames: 100,
            unnamed: vec![UnnamedModule {
                module: module.to_owned(),
                dso: Some(dso),
                frames: 50,
                reasons: vec![(reason, 50)],
            }],
            ..Summary::default()
        }
    }

    fn dso(path: &str, kind: DsoKind) -> Dso {
        Dso {
            path: path.as_bytes().to_vec(),
            kind,
            file: None::<FileId>,
            build_id: prof_model::BuildId::new(&[0xab; 20]),
        }
    }

    #[test]
    fn memory_that_may_not_be_read_has_the_remedy_for_the_setting() {
        let says = |ptrace_scope, words: &str| {
            let hint = unread_memory(
                1234,
                &Present {
                    ptrace_scope,
                    ..user()
                },
            );
            assert!(
                hint.starts_with("1,234 stacks ") && hint.contains(words),
                "{hint}"
            );
        };
        says(None, "; CAP_SYS_PTRACE for prof: `sudo setcap");
        says(Some(0), "; CAP_SYS_PTRACE for prof");
        says(
            Some(1),
            "scope is 1: `sudo sysctl kernel.yama.ptrace_scope=0`, or CAP_SYS_PTRACE",
        );
        says(Some(2), "ptrace_scope is 2: CAP_SYS_PTRACE for prof");
        says(Some(3), "until the next boot");
    }

    #[test]
    fn generated_code_gets_the_option_of_the_runtime_that_its_process_has_mapped() {
        for (file, option) in [
            ("/opt/node-20/bin/node", "--perf-basic-prof"),
            (
                "/usr/lib/jvm/lib/server/libjvm.so",
                "jcmd 7 Compiler.perfmap",
            ),
            ("/usr/bin/python3.12", "-X perf"),
            ("/opt/own/bin/luajit", "docs/guide.md"),
        ] {
            let mut processes = ProcessTable::default();
            let generated = processes.dsos.intern(Dso::generated(Pid(7)));
            let id = processes.dsos.intern(dso(file, DsoKind::File));
            let mapping = Mapping {
                start: 0x1000,
                end: 0x2000,
                dso_start: 0,
                dso: id,
                executable: true,
            };
            processes.map(Pid(7), mapping);
            let summary = summary("[JIT]", generated, Reason::NoPerfMap);
            let hints = remedies(&summary, &processes);
            assert_eq!(hints.len(), 1);
            assert!(hints[0].contains(option), "{file}: {hints:?}");
        }
    }

    #[test]
    fn a_stripped_file_gets_its_debug_package_or_the_place_for_its_debug_file() {
        let info = tempfile::tempdir().unwrap();
        let list = info.path().join("libssl3:amd64.list");
        std::fs::write(list, "/.\n/usr/lib/libssl.so.3\n").unwrap();
        let package = |path| debian_package(info.path(), path);
        assert_eq!(package("/usr/lib/libssl.so.3").as_deref(), Some("libssl3"));
        assert_eq!(package("/lib/libssl.so.3").as_deref(), Some("libssl3"));
        assert_eq!(package("/lib/libssl.so"), None);

        let mut processes = ProcessTable::default();
        let server = dso("/opt/own/server", DsoKind::File);
        let server = processes.dsos.intern(server);
        let hints = remedies(
            &summary("server", server, Reason::NoSymbolTable),
            &processes,
        );
        let place = format!("/usr/lib/debug/.build-id/ab/{}.debug", "ab".repeat(19));
        assert!(hints[0].contains(&place), "{hints:?}");
    }

    #[test]
    fn a_module_with_few_of_the_frames_and_one_that_cannot_be_helped_get_no_hint() {
        let mut processes = ProcessTable::default();
        let server = dso("/opt/own/server", DsoKind::File);
        let server = processes.dsos.intern(server);
        let few = Summary {
            frames: 10_000,
            ..summary("server", server, Reason::NoSymbolTable)
        };
        assert!(remedies(&few, &processes).is_empty());
        assert!(remedies(&summary("server", server, Reason::NoSymbol), &processes).is_empty());
    }
}
