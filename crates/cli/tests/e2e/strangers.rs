//! Files that others made: names that lead to what is no file of a disk, and roots whose links lead out.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use crate::containers::wait_for;
use crate::support::{PROF, Place, Ran, Running, gcc, has, is_root};

const APP: &str = "volatile unsigned long x;\n\
    __attribute__((noinline)) void hot(long n) { for (; n; n--) x += n * n; }\n\
    int main(void) { for (int i = 0; i < 5000; i++) hot(100000); }\n";

/// What a name can lead to that must not be read.
const LURES: [&str; 4] = ["pagemap", "fifo", "zero", "sparse"];

/// What is said about each of them.
const REFUSED: [&str; 4] = [
    "it is no regular file but one of the kernel's",
    "it is no regular file but a FIFO",
    "it is no regular file but a device",
    "it is 42.9 GB long",
];

/// Whole, it would take longer to read than [`bounded`] allows.
const SPARSE: u64 = 40 << 30;

/// A program, and what may lie in its files' places.
fn build(args: &[&str]) -> Option<Place> {
    if !(has("gcc") && has("objcopy") && has("mkfifo")) {
        return None;
    }
    let place = Place::new();
    std::fs::write(place.file("app.c"), APP).unwrap();
    gcc(&place, &[&["-O2", "app.c", "-o", "app"], args].concat());
    symlink("/proc/self/pagemap", place.file("pagemap")).unwrap();
    symlink("/dev/zero", place.file("zero")).unwrap();
    run(&place, "mkfifo", &["fifo"]);
    let sparse = std::fs::File::create(place.file("sparse")).unwrap();
    sparse.set_len(SPARSE).unwrap();
    Some(place)
}

fn run(place: &Place, program: &str, args: &[&str]) {
    let ran: Ran = place.command(program, args).output().unwrap().into();
    ran.ok();
}

/// Runs `prof` with what is enough for a small program: memory, CPU time, and a minute.
fn bounded(place: &Place, args: &[&str]) -> Ran {
    let script = "ulimit -v 6000000; ulimit -t 10; exec timeout -s KILL 60 \"$@\"";
    let shell = ["-c", script, "sh", PROF];
    let ran = place.command("sh", &[&shell[..], args].concat()).output();
    ran.unwrap().into()
}

/// A recording of `app` without the names that were found meanwhile.
fn record(place: &Place) {
    place
        .prof(&["record", "-q", "-F", "499", "--", "./app"])
        .ok();
    let mut data = std::fs::File::options();
    let data = data.write(true).open(place.file("perf.data")).unwrap();
    let len = data.metadata().unwrap().len();
    data.set_len(len - 8).unwrap();
}

/// Puts something else in the place of a file.
fn lure(place: &Place, lure: &str, to: &str) {
    let to = place.file(to);
    let _ = std::fs::remove_file(&to);
    symlink(place.file(lure), to).unwrap();
}

/// Adds a section to `app` that names another file, as the linker's and `dwz`'s do.
fn add_link(place: &Place, section: &str, name: &Path, rest: &[u8]) {
    let mut bytes = name.as_os_str().as_encoded_bytes().to_vec();
    bytes.push(0);
    if section == ".gnu_debuglink" {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend(rest);
    std::fs::write(place.file("link"), bytes).unwrap();
    let _ = place.command("objcopy", &["-R", section, "app"]).output();
    let added = format!("{section}=link");
    run(place, "objcopy", &["--add-section", &added, "app"]);
}

const REPORT: [&str; 4] = ["report", "--stdio", "--inline", "-v"];

#[test]
fn a_recorded_path_that_leads_to_no_file_is_unnamed_and_costs_nothing() {
    let Some(place) = build(&["-Wl,--build-id=sha1"]) else {
        return;
    };
    record(&place);
    for (name, why) in LURES.into_iter().zip(REFUSED) {
        lure(&place, name, "app");
        let report = bounded(&place, &REPORT).ok();
        assert!(
            report.out.contains(" 0x") && !report.out.contains("hot"),
            "{name}: {}",
            report.out
        );
        report.says(&[&format!("app: {why}; `--symfs DIR`")]);
    }
}

#[test]
fn debug_info_that_a_program_says_is_elsewhere_is_read_of_files_only() {
    let Some(place) = build(&["-Wl,--build-id=none", "-s"]) else {
        return;
    };
    for (name, why) in LURES.into_iter().zip(REFUSED) {
        let debug = place.file(name);
        add_link(&place, ".gnu_debuglink", &debug, &[1, 2, 3, 4]);
        let recorded = bounded(&place, &["record", "-F", "499", "--", "./app"]).ok();
        let hint = format!("app: its debug file {} is not read: {why}", debug.display());
        recorded.says(&["no debug file was found", &hint]);
    }
}

#[test]
fn the_checksum_of_a_long_debug_file_is_not_computed() {
    let Some(place) = build(&["-Wl,--build-id=none"]) else {
        return;
    };
    let long = place.file("long");
    std::fs::rename(place.file("app"), &long).unwrap();
    run(&place, "objcopy", &["--strip-all", "long", "app"]);
    let file = std::fs::File::options().write(true).open(&long).unwrap();
    file.set_len(12 << 30).unwrap();
    add_link(&place, ".gnu_debuglink", &long, &[1, 2, 3, 4]);
    let script = "ulimit -t 4; exec \"$@\"";
    let args = [
        "-c", script, "sh", PROF, "record", "-F", "499", "--", "./app",
    ];
    let recorded: Ran = place.command("sh", &args).output().unwrap().into();
    recorded.ok().says(&[
        "no debug file was found",
        "/long is not read: it is 12.9 GB long",
    ]);
}

#[test]
fn split_and_shared_debug_info_is_read_of_files_only() {
    let Some(place) = build(&["-g", "-gsplit-dwarf", "-Wl,--build-id=none"]) else {
        return;
    };
    record(&place);
    let mut objects = place.files().into_iter();
    let object = objects.find(|name| name.ends_with(".dwo")).unwrap();
    for name in LURES {
        for path in [object.as_str(), "app.dwp"] {
            lure(&place, name, path);
        }
        add_link(&place, ".gnu_debugaltlink", &place.file(name), &[7; 20]);
        let report = bounded(&place, &REPORT).ok();
        assert!(report.out.contains("[.] hot"), "{name}: {}", report.out);
    }
}

/// A program that runs in a root of its own, `root`, and code that it makes at [`GENERATED`].
const JAILED: &str = "#include <string.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
    volatile unsigned long x;\n\
    __attribute__((noinline)) void hot(long n) { for (; n; n--) x += n * n; }\n\
    int main(int argc, char **argv) {\n\
        static const unsigned char loop[] = { 0xb9, 0, 0, 16, 0, 0xff, 0xc9, 0x75, 0xfc, 0xc3 };\n\
        if (argc > 1 && (chroot(argv[1]) || chdir(\"/\"))) return 1;\n\
        if (argc > 2) { execl(argv[2], argv[2], (char *)0); return 1; }\n\
        void *code = mmap((void *)0x7e0000000000, 4096, 7, 0x100022, -1, 0);\n\
        memcpy(code, loop, sizeof loop);\n\
        for (;;) { hot(1000000); ((void (*)(void))code)(); }\n\
    }\n";
const GENERATED: &str = "7e0000000000 1000";

/// `root/app`, stripped, `root/start` that enters that root, and the debug file of `app`.
fn build_root() -> Option<Place> {
    if !(is_root() && has("gcc") && has("objcopy") && cfg!(target_arch = "x86_64")) {
        return None;
    }
    let place = Place::new();
    std::fs::write(place.file("app.c"), JAILED).unwrap();
    std::fs::create_dir_all(place.file("root/usr/lib/debug")).unwrap();
    let id = "-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567";
    gcc(&place, &["-O2", "-static", id, "app.c", "-o", "start"]);
    run(
        &place,
        "objcopy",
        &["--only-keep-debug", "start", "app.debug"],
    );
    run(&place, "objcopy", &["--strip-all", "start", "root/app"]);
    Some(place)
}

/// Samples the program in its root for a while.
fn sample_root(place: &Place, prepare: impl FnOnce(&str)) -> Ran {
    let mut start = place.command("./start", &["root", "/app"]);
    let running = Running(start.stdout(Stdio::null()).spawn().unwrap());
    wait_for(&running.0, "/app");
    prepare(&running.pid());
    let pid = running.pid();
    place
        .prof(&["record", "-F", "499", "-d", "1", "-p", &pid])
        .ok()
}

/// Puts the debug file below a directory of build-ids.
fn save_debug_file(place: &Place, directory: &str) {
    let directory = place.file(directory).join("01");
    std::fs::create_dir_all(&directory).unwrap();
    let name = "23456789abcdef0123456789abcdef01234567.debug";
    std::fs::copy(place.file("app.debug"), directory.join(name)).unwrap();
}

fn has_row(ran: &Ran, name: &str) -> bool {
    let is_row = |line: &str| line.split_whitespace().any(|word| word == name);
    ran.err.lines().any(is_row)
}

#[test]
fn links_below_the_root_of_a_target_lead_to_what_they_mean_there() {
    let Some(place) = build_root() else {
        return;
    };
    let link = place.file("root/usr/lib/debug/.build-id");
    // There is a debug file for us, whom the link was made for.
    save_debug_file(&place, "secret");
    symlink(place.file("secret"), &link).unwrap();
    symlink(place.file("secret"), place.file("root/tmp")).unwrap();
    let outside = sample_root(&place, |pid| {
        let map = place.file("secret").join(format!("perf-{pid}.map"));
        std::fs::write(map, format!("{GENERATED} of_the_host\n")).unwrap();
    });
    for name in ["hot", "of_the_host"] {
        assert!(!has_row(&outside, name), "{}", outside.err);
    }
    // And one that is there for the target.
    std::fs::remove_file(&link).unwrap();
    save_debug_file(&place, "root/ids");
    symlink("/ids", &link).unwrap();
    std::fs::remove_file(place.file("root/tmp")).unwrap();
    symlink("var/../maps", place.file("root/tmp")).unwrap();
    for folder in ["root/maps", "root/var"] {
        std::fs::create_dir_all(place.file(folder)).unwrap();
    }
    let inside = sample_root(&place, |pid| {
        let map = place.file("root/maps").join(format!("perf-{pid}.map"));
        std::fs::write(map, format!("{GENERATED} of_the_target\n")).unwrap();
    });
    for name in ["hot", "of_the_target"] {
        assert!(has_row(&inside, name), "{}", inside.err);
    }
}

#[test]
fn links_in_a_copied_tree_stay_in_it() {
    let Some(place) = build(&["-Wl,--build-id=none"]) else {
        return;
    };
    record(&place);
    std::fs::rename(place.file("app"), place.file("moved")).unwrap();
    let inside = place.path().strip_prefix("/").unwrap();
    let at_path = place.file("tree").join(inside);
    std::fs::create_dir_all(&at_path).unwrap();
    let report = |to: &Path| {
        let link = at_path.join("app");
        let _ = std::fs::remove_file(&link);
        symlink(to, link).unwrap();
        place
            .prof(&["report", "--stdio", "--symfs", "tree"])
            .ok()
            .out
    };
    let out = report(&place.file("moved"));
    assert!(!out.contains("hot"), "{out}");
    std::fs::copy(place.file("moved"), place.file("tree/copy")).unwrap();
    let out = report(Path::new("/copy"));
    assert!(out.contains("[.] hot"), "{out}");
}

/// A perf map in `/tmp`, which goes away with the test.
struct PerfMap(String);

impl PerfMap {
    fn of(pid: &str) -> Self {
        let map = Self(format!("/tmp/perf-{pid}.map"));
        std::fs::write(&map.0, format!("{GENERATED} as_it_is_told\n")).unwrap();
        map
    }

    fn belongs_to(&self, user: u32, mode: u32) {
        std::os::unix::fs::chown(&self.0, Some(user), Some(user)).unwrap();
        std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for PerfMap {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_perf_map_is_believed_only_if_nobody_but_the_process_and_root_may_have_written_it() {
    let Some(place) = build_root() else {
        return;
    };
    if !has("setpriv") {
        return;
    }
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), all).unwrap();
    let record = |pid: &str| {
        let args = ["record", "-F", "499", "-d", "500ms", "-p", pid];
        place.prof(&args).ok()
    };
    for user in [0, 1234] {
        let id = user.to_string();
        let args = ["--reuid", &id, "--regid", &id, "--clear-groups", "./start"];
        let start = place
            .command("setpriv", &args)
            .stdout(Stdio::null())
            .spawn();
        let running = Running(start.unwrap());
        wait_for(&running.0, "/start");
        let map = PerfMap::of(&running.pid());
        for (owner, mode) in [(user, 0o600), (user, 0o664), (0, 0o644)] {
            map.belongs_to(owner, mode);
            let ran = record(&running.pid());
            assert!(
                has_row(&ran, "as_it_is_told"),
                "{user} {owner} {mode:o}: {}",
                ran.err
            );
        }
        for (owner, mode, why) in [
            (65534, 0o644, "it belongs to user 65534, not to "),
            (user, 0o666, "others may write to it"),
        ] {
            map.belongs_to(owner, mode);
            let ran = record(&running.pid());
            assert!(
                !has_row(&ran, "as_it_is_told"),
                "{user} {owner} {mode:o}: {}",
                ran.err
            );
            ran.says(&[
                "whose perf map another user may have written",
                ".map is not believed: ",
                why,
            ]);
        }
    }
}
