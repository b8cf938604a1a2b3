//! Stacks that are larger than what the kernel copies of them.

use crate::support::{Place, Ran, Running, gcc, has, is_root};

/// How a recording of a program went in which who is below tells who called, far behind the copy.
#[derive(Debug, Default)]
struct Told {
    samples: usize,
    whole: usize,
    wrong: usize,
}

/// Builds a recursion of more than 300 KiB that is entered in two ways.
fn build_either(place: &Place) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets/either.c");
    let target = place.file("either").display().to_string();
    gcc(
        place,
        &[
            "-O2",
            "-fomit-frame-pointer",
            "-DFRAME=330",
            source,
            "-o",
            &target,
        ],
    );
    target
}

fn told(place: &Place, function: &str) -> Told {
    let folded = place.prof(&["report", "--folded", "-", "-q"]).ok();
    let mut told = Told::default();
    for line in folded.out.lines().filter(|line| line.contains(function)) {
        let (stack, samples) = line.rsplit_once(' ').unwrap();
        let samples: usize = samples.parse().unwrap();
        let has = |frame: &str| stack.split(';').any(|it| it == frame);
        told.samples += samples;
        if has("_start") || has("clone3") || has("__clone3") {
            told.whole += samples;
        }
        if has("bottom_of_one") && has("other") || has("bottom_of_other") && has("one") {
            told.wrong += samples;
        }
    }
    told
}

/// Whether the kernel let us load what reads such stacks. `false` where it may be forbidden.
fn is_read(ran: &Ran) -> bool {
    let is_read = ran
        .err
        .contains("prof: larger stacks are read by a BPF program");
    if !is_read {
        println!("skipped: {}", ran.err);
    }
    is_read
}

#[test]
fn stacks_of_300_kib_are_whole_and_have_their_own_callers() {
    if !(is_root() && has("gcc")) {
        return;
    }
    let place = Place::new();
    let target = build_either(&place);
    let ran = place
        .prof(&["record", "-v", "-F", "149", "--", &target, "200"])
        .ok();
    if !is_read(&ran) {
        return;
    }
    let told = told(&place, "down");
    assert!(told.samples > 50 && told.wrong == 0, "{told:?}");
    assert!(
        told.whole * 100 >= told.samples * 98,
        "{told:?}\n{}",
        ran.err
    );
}

#[test]
fn deep_stacks_of_a_process_that_runs_and_of_all_processes_are_whole() {
    if !(is_root() && has("gcc")) {
        return;
    }
    let place = Place::new();
    let target = build_either(&place);
    let running = Running::start(&target, &["100000"]);
    let pid = running.pid();
    for whom in [&["-p", &pid][..], &["-a"]] {
        let record = ["record", "-v", "-F", "149", "-d", "2s"];
        let ran = place.prof(&[&record[..], whom].concat()).ok();
        if !is_read(&ran) {
            return;
        }
        let told = told(&place, "down");
        assert!(told.samples > 50 && told.wrong == 0, "{whom:?} {told:?}");
        assert!(
            told.whole * 100 >= told.samples * 97,
            "{whom:?} {told:?}\n{}",
            ran.err
        );
    }
}

/// Of the first one the end of the stack is not known yet; the others have their stacks read from
/// their first sample on.
#[test]
fn deep_stacks_of_threads_that_start_later_are_whole() {
    if !(is_root() && has("gcc")) {
        return;
    }
    let place = Place::new();
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets");
    let source = "#include \"burn.h\"\n\
        #include <pthread.h>\n\
        NOINLINE void bottom(ns u) { while (cpu_now() < u) burn(BURN_ROUNDS); }\n\
        NOINLINE void down(int depth, ns u) {\n\
            volatile char locals[1000];\n\
            locals[0] = (char)depth;\n\
            if (depth > 1) down(depth - 1, u); else bottom(u);\n\
            locals[999] = locals[0];\n\
        }\n\
        static void *run(void *nothing) { down(300, cpu_now() + 100000000); NOT_LAST; return nothing; }\n\
        int main(void) {\n\
            for (int i = 0; i < 20; i++) {\n\
                pthread_t thread;\n\
                pthread_create(&thread, 0, run, 0);\n\
                pthread_join(thread, 0);\n\
            }\n\
            return 0;\n\
        }\n";
    std::fs::write(place.file("threads.c"), source).unwrap();
    let (source, target) = (place.file("threads.c"), place.file("threads"));
    let (source, target) = (source.display().to_string(), target.display().to_string());
    let include = format!("-I{sources}");
    gcc(
        &place,
        &[
            "-O2",
            "-fomit-frame-pointer",
            "-pthread",
            &include,
            &source,
            "-o",
            &target,
        ],
    );
    let ran = place
        .prof(&["record", "-v", "-F", "199", "--", &target])
        .ok();
    if !is_read(&ran) {
        return;
    }
    let told = told(&place, "run");
    assert!(told.samples > 100, "{told:?}");
    assert!(
        ran.err.contains("finished with what lay behind"),
        "{}",
        ran.err
    );
    let cut = cut(&ran);
    assert!(cut * 50 <= told.samples, "{cut} of {told:?}\n{}", ran.err);
}

/// How many stacks were cut where their copies ended.
fn cut(ran: &Ran) -> usize {
    let mut lines = ran.err.lines();
    let line = lines.find(|line| line.contains("deeper than the captured stack"));
    line.map_or(0, |line| {
        let count = line.split_whitespace().next().unwrap();
        count.replace(',', "").parse().unwrap()
    })
}

#[test]
fn who_may_not_load_programs_records_as_before() {
    if !(is_root() && has("gcc") && has("setpriv")) {
        return;
    }
    let place = Place::new();
    let target = build_either(&place);
    let record = ["record", "-v", "-F", "149", "-o", "-", "--", &target, "20"];
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let words = [&nobody[..], &[crate::support::PROF], &record].concat();
    let ran: Ran = place.command("setpriv", &words).output().unwrap().into();
    ran.ok()
        .says(&["larger stacks are not read by a BPF program: ", "piped"]);
}
