//! Programs below another root, on an overlay: what they run is nowhere in our own file system at its
//! path.

use std::process::Stdio;

use crate::containers::wait_for;
use crate::support::{PROF, Place, Ran, Running, gcc, has, is_root};

/// Two roots, `one` and `two`. In each `/app` comes from the overlay's upper layer (the lower one has
/// another program there), and `/lib/libwork.so`, libc and the loader from the lower one.
struct Overlays {
    place: Place,
}

/// Enters one, as a container's runtime does.
const ENTER: &str = "mount -t tmpfs tmpfs top && mkdir top/upper top/work && cp new top/upper/app && \
    mount -t overlay overlay -o lowerdir=lower,upperdir=top/upper,workdir=top/work merged && \
    cd merged && pivot_root . old && exec /start";

impl Overlays {
    fn build() -> Option<Self> {
        if !(is_root() && has("gcc") && has("unshare") && has("pivot_root")) {
            return None;
        }
        let place = Place::new();
        let app = "volatile unsigned long x; void work(long);\n\
             __attribute__((noinline)) void FN(long n) { for (; n; n--) x += n * n; }\n\
             int main(void) { for (;;) { FN(100000); work(100000); } }\n";
        let work = "static volatile unsigned long x;\n\
             __attribute__((noinline)) void FN(long n) { for (; n; n--) x += n * n; }\n\
             void work(long n) { FN(n); __asm__ volatile(\"\"); }\n";
        let start = "#define _GNU_SOURCE\n#include <sys/mount.h>\n#include <unistd.h>\n\
             int main(void) { return umount2(\"/old\", MNT_DETACH) || chdir(\"/\")\n\
                 || execl(\"/app\", \"/app\", (char *)0); }\n";
        for (name, text) in [("app.c", app), ("work.c", work), ("start.c", start)] {
            std::fs::write(place.file(name), text).unwrap();
        }
        for root in ["one", "two"] {
            for folder in ["lower/lib64", "lower/lib", "lower/old", "top", "merged"] {
                std::fs::create_dir_all(place.file(root).join(folder)).unwrap();
            }
            let in_root = |path: &str| format!("{root}/{path}");
            let function = |name: &str| format!("-DFN={name}_{root}");
            let (library, lib) = (in_root("lower/lib/libwork.so"), in_root("lower/lib"));
            let args = ["-O2", "-shared", "-fPIC", "work.c", "-o", &library];
            gcc(&place, &[&args[..], &[&function("in_lib")]].concat());
            for (name, path) in [("in_app", "new"), ("hidden", "lower/app")] {
                let (name, path) = (function(name), in_root(path));
                let args = ["-O2", &name, "app.c", "-o", &path, "-L", &lib];
                gcc(
                    &place,
                    &[&args[..], &["-lwork", "-Wl,-rpath,/lib"]].concat(),
                );
            }
            let start = in_root("lower/start");
            gcc(&place, &["-O2", "-static", "start.c", "-o", &start]);
            let copy = format!(
                "set -e; for it in $(ldd {root}/new | grep -o '/[^ ]*libc.so[^ ]*'); do \
                     cp -L $it {root}/lower/lib; done; \
                 cp -L /lib64/ld-linux-x86-64.so.2 {root}/lower/lib64"
            );
            run(&place, "sh", &["-c", &copy]);
        }
        let mounts = format!("cd one && {}", ENTER.replace("exec /start", "true"));
        let tried = place
            .command("unshare", &["-m", "sh", "-c", &mounts])
            .output();
        if !tried.unwrap().status.success() {
            println!("skipped: overlays cannot be mounted here");
            return None;
        }
        Some(Self { place })
    }

    /// A program below one of the roots.
    fn start(&self, root: &str) -> Running {
        let mut unshare = self.place.command("unshare", &["-m", "sh", "-c", ENTER]);
        unshare.current_dir(self.place.file(root));
        let running = Running(unshare.stdout(Stdio::null()).spawn().unwrap());
        wait_for(&running.0, " /lib/libwork.so");
        running
    }

    /// What the report says about the program of one process, but for the shell that it was before and
    /// the loader that started it: both are stripped.
    fn functions(&self, file: &str, pid: &str) -> String {
        let args = ["report", "-i", file, "-q", "--no-children", "-g", "caller"];
        let only = ["--pid", pid, "--comms", "app", "--sort", "dso,sym"];
        let report = self.place.prof(&[&args[..], &only].concat()).ok().out;
        let mut is_loader = false;
        let lines = report.lines().filter(|line| {
            if line.contains("[.]") || line.contains("[k]") {
                is_loader = line.contains("ld-linux");
            }
            !is_loader
        });
        lines.map(|line| format!("{line}\n")).collect()
    }
}

fn run(place: &Place, program: &str, args: &[&str]) {
    let ran: Ran = place.command(program, args).output().unwrap().into();
    ran.ok();
}

fn assert_names_of(root: &str, report: &str) {
    let other = if root == "one" { "two" } else { "one" };
    for name in ["in_app", "in_lib"] {
        let name = format!("[.] {name}_{root}");
        assert!(report.contains(&name), "{name}:\n{report}");
    }
    for wrong in [format!("_{other}"), "hidden".to_owned(), " 0x".to_owned()] {
        assert!(!report.contains(&wrong), "{wrong}:\n{report}");
    }
    assert!(report.contains("__libc_start_main"), "{report}");
}

#[test]
fn programs_on_overlays_below_other_roots_have_each_its_own_names() {
    let Some(overlays) = Overlays::build() else {
        return;
    };
    let running = ["one", "two"].map(|root| (root, overlays.start(root)));
    let pids = running.each_ref().map(|(_, running)| running.pid());
    let args = ["record", "-q", "-F", "499", "-d", "1", "-p"];
    let record = |more: &[&str]| overlays.place.prof(&[&args[..], more].concat()).ok();
    record(&[&pids.join(",")]);
    record(&[&pids.join(","), "--call-graph", "fp", "-o", "fp.data"]);
    drop(running.map(|(_, running)| running)); // names are in the file
    for (root, pid) in ["one", "two"].iter().zip(&pids) {
        assert_names_of(root, &overlays.functions("perf.data", pid));
        let report = overlays.functions("fp.data", pid);
        assert!(report.contains(&format!("in_lib_{root}")), "{report}");
    }
}

#[test]
fn a_container_that_starts_while_it_is_recorded_has_its_names() {
    let Some(overlays) = Overlays::build() else {
        return;
    };
    let args = ["record", "-q", "-F", "499", "-d", "2", "--"];
    let mut record = overlays.place.command(PROF, &args);
    record.args(["unshare", "-m", "sh", "-c", ENTER]);
    record.current_dir(overlays.place.file("one"));
    let ran: Ran = record.output().unwrap().into();
    let record = ran.ok();
    let file = "one/perf.data";
    let script = overlays
        .place
        .prof(&["script", "-i", file, "-F", "pid,comm"]);
    let last = script.ok().out;
    let last = last
        .lines()
        .rev()
        .find(|line| line.contains("app"))
        .expect("a sample of it");
    let pid: i32 = last.split_whitespace().last().unwrap().parse().unwrap();
    let report = overlays.functions(file, &pid.to_string());
    // it was left running, as any command that `-d` ends the recording of
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).ok();
    assert_names_of("one", &report);
    assert!(record.err.is_empty(), "{}", record.err);
}

#[test]
fn a_file_of_perf_is_named_from_the_containers_that_still_run() {
    if !has("perf") {
        return;
    }
    let Some(overlays) = Overlays::build() else {
        return;
    };
    let running = ["one", "two"].map(|root| (root, overlays.start(root)));
    let pids = running.each_ref().map(|(_, running)| running.pid());
    let record = |file: &str, pids: &str, more: &[&str]| {
        let args = ["record", "-q", "-N", "-F", "499", "-p", pids, "-o", file];
        let args = [&args[..], more, &["sleep", "1"]].concat();
        overlays.place.perf(&args).ok();
    };
    let dwarf = ["--call-graph", "dwarf,4096"];
    record("both.data", &pids.join(","), &dwarf);
    record("fp.data", &pids[0], &["--call-graph", "fp"]);
    record("one.data", &pids[0], &dwarf);
    for (root, pid) in ["one", "two"].iter().zip(&pids) {
        assert_names_of(root, &overlays.functions("both.data", pid));
    }
    assert_names_of("one", &overlays.functions("one.data", &pids[0]));
    let report = overlays.functions("fp.data", &pids[0]);
    assert!(report.contains("[.] in_app_one"), "{report}");
    drop(running.map(|(_, running)| running));
    // Nothing at their paths here is what ran.
    let report = overlays.functions("both.data", &pids[0]);
    assert!(
        report.contains("[.] 0x") && !report.contains("in_app"),
        "{report}"
    );
}
