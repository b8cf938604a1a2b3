//! Programs that see other files than we do: names come from the files that ran.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Place, Ran, Running, gcc, has, is_root};

/// A library that is another one in each mount namespace, at the same path.
struct Containers {
    place: Place,
    running: Vec<Running>,
}

impl Containers {
    /// Runs one program twice: it loads `lib/libwork.so`, which is `one/libwork.so` for the first one,
    /// with a function `in_one`, and `two/libwork.so` for the second one. For us it has `in_neither`.
    fn start() -> Option<Self> {
        if !(is_root() && has("gcc") && has("unshare")) {
            return None;
        }
        let place = Place::new();
        let source = "volatile unsigned long x;\n\
             __attribute__((noinline)) void FN(long n) { for (; n; n--) x += n * n; }\n\
             void work(void) { FN(100000); __asm__ volatile(\"\"); }\n";
        std::fs::write(place.file("work.c"), source).unwrap();
        let user = "void work(void); int main(void) { for (;;) work(); }\n";
        std::fs::write(place.file("user.c"), user).unwrap();
        let folders = [("lib", "in_neither"), ("one", "in_one"), ("two", "in_two")];
        for (folder, function) in folders {
            std::fs::create_dir(place.file(folder)).unwrap();
            let library = format!("{folder}/libwork.so");
            let name = format!("-DFN={function}");
            gcc(
                &place,
                &["-O2", "-shared", "-fPIC", &name, "work.c", "-o", &library],
            );
        }
        let path = format!("-Wl,-rpath,{}", place.file("lib").display());
        gcc(
            &place,
            &["-O2", "user.c", "-o", "user", "-Llib", "-lwork", &path],
        );
        let running = ["one", "two"].map(|folder| {
            let script = format!("mount --bind {folder} lib && exec ./user");
            let mut unshare = place.command("unshare", &["-m", "sh", "-c", &script]);
            Running(unshare.stdout(Stdio::null()).spawn().unwrap())
        });
        running.iter().for_each(|it| wait_for(&it.0, "/libwork.so"));
        Some(Self {
            place,
            running: running.into(),
        })
    }

    fn pids(&self) -> String {
        let pids: Vec<_> = self.running.iter().map(Running::pid).collect();
        pids.join(",")
    }

    /// The functions of a recording, one process each.
    fn functions(&self, file: &str) -> [Ran; 2] {
        [0, 1].map(|index| {
            let pid = self.running[index].pid();
            let args = ["report", "-i", file, "-q", "--no-children", "-g", "none"];
            let only = ["--pid", &pid, "--sort", "sym"];
            self.place.prof(&[&args[..], &only].concat()).ok()
        })
    }
}

/// Until a process has mapped a file.
pub(crate) fn wait_for(child: &Child, file: &str) {
    let maps = format!("/proc/{}/maps", child.id());
    for _ in 0..500 {
        let text = std::fs::read_to_string(&maps).unwrap_or_default();
        if text
            .lines()
            .any(|line| line.contains("r-xp") && line.ends_with(file))
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{maps} never had {file}");
}

fn assert_own_names(functions: &[Ran; 2]) {
    for (ran, own, other) in [
        (&functions[0], "in_one", "in_two"),
        (&functions[1], "in_two", "in_one"),
    ] {
        assert!(ran.out.contains(own), "{}", ran.out);
        assert!(!ran.out.contains(other), "{}", ran.out);
        assert!(!ran.out.contains("in_neither"), "{}", ran.out);
    }
}

#[test]
fn two_containers_with_different_libraries_at_one_path_have_each_its_own_names() {
    let Some(containers) = Containers::start() else {
        return;
    };
    let (place, pids) = (&containers.place, containers.pids());
    let args = ["record", "-q", "-F", "499", "-p", &pids, "-d", "1"];
    place.prof(&args).ok();
    assert_own_names(&containers.functions("perf.data"));
}

#[test]
fn a_library_that_perf_knows_by_its_path_only_is_not_taken_for_another_at_that_path() {
    if !has("perf") {
        return;
    }
    let Some(containers) = Containers::start() else {
        return;
    };
    let (place, pids) = (&containers.place, containers.pids());
    let args = ["record", "-q", "-o", "perf.data", "-F", "499", "-p", &pids];
    place.perf(&[&args[..], &["sleep", "1"]].concat()).ok();
    let wrong = [["in_two", "in_neither"], ["in_one", "in_neither"]];
    for (ran, wrong) in containers.functions("perf.data").iter().zip(wrong) {
        assert!(ran.out.contains('%'), "{}", ran.out);
        for name in wrong {
            assert!(!ran.out.contains(name), "{}", ran.out);
        }
    }
}

/// A program with one function, in a file of its own.
fn program(place: &Place, function: &str, name: &str) {
    let source = "volatile unsigned long x;\n\
         __attribute__((noinline)) void FN(long n) { for (; n; n--) x += n * n; }\n\
         int main(void) { for (;;) FN(100000); }\n";
    std::fs::write(place.file("program.c"), source).unwrap();
    let define = format!("-DFN={function}");
    gcc(place, &["-O2", &define, "program.c", "-o", name]);
}

fn function_of(place: &Place, file: &str) -> String {
    let functions = place.functions(file);
    functions
        .first()
        .map_or(String::new(), |(name, _)| name.clone())
}

#[test]
fn a_program_that_is_replaced_while_it_is_recorded_keeps_its_names() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    program(&place, "before", "target");
    program(&place, "after", "other");
    let running = Running::start(place.file("target"), &[]);
    let mut record = place.command(
        crate::support::PROF,
        &["record", "-q", "-F", "499", "-p", &running.pid(), "-d", "1"],
    );
    let recording = record.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    std::fs::rename(place.file("other"), place.file("target")).unwrap();
    let ended = recording.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(function_of(&place, "perf.data"), "before");
    drop(running);
    assert_eq!(function_of(&place, "perf.data"), "before");
}

#[test]
fn a_program_that_was_replaced_after_perf_recorded_it_has_no_name_of_the_new_one() {
    if !(has("gcc") && has("perf")) {
        return;
    }
    let place = Place::new();
    program(&place, "before", "target");
    let running = Running::start(place.file("target"), &[]);
    // without build-ids only the inode tells
    let args = [
        "record",
        "-q",
        "-o",
        "perf.data",
        "-B",
        "-N",
        "-F",
        "499",
        "-p",
        &running.pid(),
    ];
    place.perf(&[&args[..], &["sleep", "0.5"]].concat()).ok();
    std::fs::rename(place.file("target"), place.file("kept")).unwrap(); // its inode stays in use
    program(&place, "after", "target");
    assert!(function_of(&place, "perf.data").starts_with("0x"));
    let report = place.prof(&["report", "-v", "-i", "perf.data"]).ok();
    report.says(&["the file on disk is not the one that ran"]);
}

#[test]
fn a_program_in_memory_only_is_named() {
    if !(has("gcc") && has("python3")) {
        return;
    }
    let place = Place::new();
    program(&place, "hidden", "target");
    let script = "import os\n\
        fd = os.memfd_create('nameless')\n\
        os.write(fd, open('target', 'rb').read())\n\
        os.execve(fd, ['target'], {})\n";
    let mut python = Command::new("python3");
    python.current_dir(place.path()).args(["-c", script]);
    let running = Running(python.spawn().unwrap());
    wait_for(&running.0, "/memfd:nameless (deleted)");
    std::fs::remove_file(Path::new(&place.file("target"))).unwrap();
    let args = [
        "record",
        "-q",
        "-F",
        "499",
        "-p",
        &running.pid(),
        "-d",
        "0.5",
    ];
    place.prof(&args).ok();
    assert_eq!(function_of(&place, "perf.data"), "hidden");
}
