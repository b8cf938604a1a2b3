//! What `prof doctor` says is what `prof record` does, and the remedy that it names is tried.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{PROF, Place, Ran, Running, Setting, build, has, is_root, workload};

const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";

/// What doctor said.
struct Said {
    status: Option<i32>,
    value: Value,
}

impl Said {
    fn of(ran: Ran) -> Self {
        assert!(ran.err.is_empty(), "{}", ran.err);
        let value: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        assert_eq!(value["schema_version"], 1);
        let works = value["works"].as_bool().unwrap();
        assert_eq!(ran.status, Some(i32::from(!works)), "{}", ran.out);
        Self {
            status: ran.status,
            value,
        }
    }

    fn check(&self, key: &str) -> &Value {
        let checks = self.value["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["key"] == key);
        found.unwrap_or_else(|| panic!("no {key}: {checks:?}"))
    }

    fn state(&self, key: &str) -> &str {
        self.check(key)["state"].as_str().unwrap()
    }

    fn reason(&self, key: &str) -> &str {
        self.check(key)["reason"].as_str().unwrap_or_default()
    }

    fn remedies(&self, key: &str) -> String {
        let remedies = self.check(key)["remedies"].as_array().unwrap();
        let remedies: Vec<_> = remedies.iter().map(|it| it.as_str().unwrap()).collect();
        remedies.join("; ")
    }

    /// All that it says, for words that must not be in it.
    fn all(&self) -> String {
        self.value.to_string()
    }
}

/// A place that others may use, with a copy of the program: the build's directory may be closed to others.
fn open_place() -> Place {
    let place = Place::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(PROF, place.file("prof")).unwrap();
    place
}

fn shell(place: &Place, script: &str) -> Ran {
    place
        .command("sh", &["-c", script])
        .output()
        .unwrap()
        .into()
}

fn nobody(place: &Place, args: &str) -> Said {
    Said::of(shell(
        place,
        &format!("exec {NOBODY} ./prof doctor --json {args}"),
    ))
}

#[test]
fn root_has_all_that_record_needs_and_is_told_no_remedy_for_it() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let said = Said::of(place.prof(&["doctor", "--json"]));
    for key in [
        "cpu_events",
        "own_processes",
        "kernel_frames",
        "whole_machine",
    ] {
        assert_eq!(said.state(key), "yes", "{}", said.check(key));
        assert_eq!(said.remedies(key), "");
    }
    for word in ["sudo", "as root", "setcap"] {
        assert!(!said.all().contains(word), "{word}: {}", said.all());
    }
    place
        .prof(&["record", "-a", "-d", "300ms", "-o", "a.data"])
        .ok();
}

#[test]
fn at_each_level_the_setting_that_is_named_is_another_one_and_helps() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let place = open_place();
    for level in ["2", "3", "4"] {
        let _level = Setting::set(PARANOID, level).unwrap();
        let before = nobody(&place, "");
        assert!(
            before
                .reason("whole_machine")
                .contains(&format!("paranoid is {level}"))
        );
        let present = format!("perf_event_paranoid={level}");
        assert!(!before.all().contains(&present), "{}", before.all());
        for (key, helps) in [
            ("kernel_frames", "1"),
            ("whole_machine", "0"),
            ("waiting_time", "1"),
        ] {
            assert_ne!(before.state(key), "yes", "{key} at {level}");
            let remedy = format!("sysctl kernel.perf_event_paranoid={helps}`");
            assert!(
                before.remedies(key).contains(&remedy),
                "{}",
                before.check(key)
            );
            let _level = Setting::set(PARANOID, helps).unwrap();
            let after = nobody(&place, "");
            assert_eq!(after.state(key), "yes", "{}", after.check(key));
        }
    }
    // what is open already is not asked for
    let _level = Setting::set(PARANOID, "-1").unwrap();
    let open = nobody(&place, "");
    assert!(
        !open.all().contains("perf_event_paranoid="),
        "{}",
        open.all()
    );
}

#[test]
fn the_capabilities_that_are_named_help() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let place = open_place();
    let _others = workload(); // of root
    let _level = Setting::set(PARANOID, "2").unwrap();
    let before = nobody(&place, "");
    let with = |caps: &str| {
        let options = format!("--inh-caps {caps} --ambient-caps {caps}");
        let script = format!("exec {NOBODY} {options} ./prof doctor --json");
        Said::of(shell(&place, &script))
    };
    for (key, named, caps) in [
        ("kernel_frames", "CAP_PERFMON", "+perfmon"),
        ("whole_machine", "CAP_PERFMON", "+perfmon"),
        ("kernel_names", "CAP_SYSLOG", "+syslog"),
        ("other_users", "CAP_SYS_PTRACE", "+perfmon,+sys_ptrace"),
    ] {
        assert_eq!(before.state(key), "no", "{}", before.check(key));
        assert!(
            before.remedies(key).contains(named),
            "{}",
            before.check(key)
        );
        let after = with(caps);
        assert_eq!(after.state(key), "yes", "{}", after.check(key));
        assert_eq!(after.remedies(key), "");
    }
}

#[test]
fn kernel_addresses_are_opened_by_the_setting_that_is_named() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let place = open_place();
    let names = "kernel_names";
    let _level = Setting::set(PARANOID, "1").unwrap();
    {
        let _restrict = Setting::set(RESTRICT, "1").unwrap();
        let said = nobody(&place, "");
        assert_eq!(said.state(names), "no");
        assert!(
            said.remedies(names)
                .contains("sysctl kernel.kptr_restrict=0`")
        );
        assert_eq!(
            Said::of(place.prof(&["doctor", "--json"])).state(names),
            "yes"
        );
    }
    {
        let _restrict = Setting::set(RESTRICT, "2").unwrap();
        let said = Said::of(place.prof(&["doctor", "--json"]));
        assert_eq!(said.state(names), "no");
        assert_eq!(said.remedies(names), "`sysctl kernel.kptr_restrict=1`");
        let _restrict = Setting::set(RESTRICT, "1").unwrap();
        assert_eq!(
            Said::of(place.prof(&["doctor", "--json"])).state(names),
            "yes"
        );
    }
    let _restrict = Setting::set(RESTRICT, "0").unwrap();
    assert_eq!(nobody(&place, "").state(names), "yes");
    let _level = Setting::set(PARANOID, "2").unwrap();
    let said = nobody(&place, "");
    assert_eq!(said.state(names), "no");
    assert!(!said.all().contains("kptr_restrict=0"), "{}", said.all());
    assert!(said.remedies(names).contains("perf_event_paranoid=1"));
}

#[test]
fn without_proc_or_sys_that_is_what_is_said() {
    if !(is_root() && has("unshare")) {
        return;
    }
    let place = Place::new();
    let without = |mount: &str, args: &str| {
        let script = format!("umount -l {mount} && exec {PROF} {args}");
        let ran = place
            .command("unshare", &["-m", "sh", "-c", &script])
            .output();
        Ran::from(ran.unwrap())
    };
    let said = Said::of(without("/proc", "doctor --json"));
    assert_eq!(said.state("proc"), "no");
    assert_eq!(said.state("own_processes"), "no");
    assert!(
        said.remedies("own_processes")
            .contains("mount -t proc proc /proc")
    );
    for args in ["doctor -p 1", "record -d 1 -p 1", "record -d 1 -p sh"] {
        let ran = without("/proc", args).failed(1);
        ran.says(&["/proc is not mounted here", "mount -t proc proc /proc"]);
    }
    // the remedy helps
    let script =
        format!("umount -l /proc && mount -t proc proc /proc && exec {PROF} doctor --json");
    let ran = place
        .command("unshare", &["-m", "sh", "-c", &script])
        .output();
    assert_eq!(Said::of(ran.unwrap().into()).state("own_processes"), "yes");

    let said = Said::of(without("/sys", "doctor --json"));
    assert_eq!((said.state("sys"), said.status), ("no", Some(0)));
    assert!(said.remedies("sys").contains("mount -t sysfs sysfs /sys"));
    without("/sys", "record -e sched:sched_switch -- true")
        .failed(125)
        .says(&["tracefs is not mounted", "mount -t tracefs"]);
}

#[test]
fn a_proc_of_another_namespace_is_not_taken_for_ones_own() {
    if !(is_root() && has("unshare")) {
        return;
    }
    let place = Place::new();
    let foreign = place
        .command("unshare", &["-pf", PROF, "doctor", "--json"])
        .output();
    let said = Said::of(foreign.unwrap().into());
    assert_eq!(said.state("proc"), "no");
    assert!(
        said.reason("own_processes")
            .contains("another process namespace")
    );
    let own = ["-pf", "--mount-proc", PROF, "doctor", "--json"];
    let said = Said::of(place.command("unshare", &own).output().unwrap().into());
    assert_eq!(said.state("own_processes"), "yes");
    assert_eq!(said.state("namespaces"), "partly");
}

#[test]
fn root_of_a_user_namespace_is_sent_to_the_host() {
    if !(is_root() && has("unshare") && has("setpriv")) {
        return;
    }
    let place = open_place();
    let _level = Setting::set(PARANOID, "2").unwrap();
    let script = format!("exec {NOBODY} unshare -rUpf --mount-proc ./prof doctor --json");
    let ran = shell(&place, &script);
    if ran.err.contains("unshare") {
        println!("skipped: {}", ran.err);
        return;
    }
    let said = Said::of(ran);
    assert_eq!(said.state("kernel_frames"), "no");
    assert!(said.remedies("kernel_frames").contains("on the host"));
    for word in ["sudo", "setcap", "as root", "cap-add"] {
        assert!(!said.all().contains(word), "{word}: {}", said.all());
    }
}

#[test]
fn a_filter_is_told_from_a_missing_permission() {
    if !(is_root() && has("gcc") && has("setpriv")) {
        return;
    }
    let place = open_place();
    build(&place, "deny.c", &["-o", "deny"]);
    let without = "setpriv --bounding-set -perfmon,-sys_admin --inh-caps -all";
    for errno in [libc::EPERM, libc::ENOSYS] {
        let run = |before: &str, args: &str| {
            shell(
                &place,
                &format!("exec {before} ./deny {errno} ./prof {args}"),
            )
        };
        for (before, words) in [
            ("", &["seccomp=FILE", "on the host"][..]),
            (without, &["--cap-add PERFMON", "on the host"]),
            (NOBODY, &["seccomp=FILE", "on the host"]),
        ] {
            let said = Said::of(run(before, "doctor --json"));
            assert_eq!(said.status, Some(1));
            for key in ["cpu_events", "own_processes", "whole_machine", "seccomp"] {
                assert_eq!(said.state(key), "no", "{errno} {before}");
                assert!(
                    said.reason(key).contains("seccomp filter"),
                    "{}",
                    said.check(key)
                );
                for word in words {
                    assert!(said.remedies(key).contains(word), "{}", said.check(key));
                }
                assert!(
                    !said.remedies(key).contains("paranoid"),
                    "{}",
                    said.check(key)
                );
            }
            let record = run(before, "record -- true").failed(125);
            record.says(&["seccomp filter"]).says(words);
        }
    }
}

#[test]
fn few_open_files_are_told_with_a_limit_that_is_enough() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let place = open_place();
    let _level = Setting::set(PARANOID, "2").unwrap();
    let doctor = |limit: &str| {
        Said::of(shell(
            &place,
            &format!("ulimit -n {limit} && exec {NOBODY} ./prof doctor --json"),
        ))
    };
    let said = doctor("20");
    assert_eq!(said.status, Some(1), "{}", said.all());
    assert_eq!(said.state("open_files"), "partly");
    shell(
        &place,
        &format!("ulimit -n 20 && exec {NOBODY} ./prof record -- true"),
    )
    .failed(125);
    let remedy = said.remedies("open_files");
    let named = remedy.split("`ulimit -n ").nth(1).unwrap();
    let named = named.split('`').next().unwrap().to_owned();
    let said = doctor(&named);
    assert_eq!((said.state("open_files"), said.status), ("yes", Some(0)));
}

#[test]
fn a_target_is_told_with_its_modules_its_cost_and_whether_it_can_be_recorded() {
    let place = Place::new();
    let target = workload();
    std::thread::sleep(std::time::Duration::from_millis(300)); // its threads start
    let said = Said::of(place.prof(&["doctor", "--json", "-p", &target.pid()]));
    let told = &said.value["target"];
    assert_eq!(told["recording"]["state"], "yes");
    let tasks = format!("/proc/{}/task", target.pid());
    let threads = fs::read_dir(tasks).unwrap().count() as u64;
    assert_eq!(
        (&told["processes"], &told["threads"]),
        (&1.into(), &threads.into())
    );
    let cost = &told["cost"];
    let cpus = cost["cpus"].as_u64().unwrap();
    assert_eq!(cost["events"].as_u64(), Some(threads * cpus));
    assert_eq!(cost["strategy"], "threads");
    let modules = told["modules"]["modules"].as_array().unwrap();
    let own = modules
        .iter()
        .find(|it| it["path"] == PROF)
        .expect("its program");
    let has = |list: &str, word: &str| own[list].as_array().unwrap().contains(&word.into());
    assert!(has("stacks", "eh_frame") && has("names", "symtab"), "{own}");
    assert_eq!(
        (&own["inlined"], &own["remedy"]),
        (&true.into(), &Value::Null)
    );

    let text = place.prof(&["doctor", "-p", &target.pid()]).ok().out;
    assert!(text.contains("can be recorded"), "{text}");
    // but for commands, which are not broken
    let is_long = |line: &&str| line.chars().count() > 80 && !line.contains('`');
    assert_eq!(text.lines().find(is_long), None, "{text}");
}

#[test]
fn what_doctor_says_of_anothers_process_record_does() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let place = open_place();
    let target = workload();
    let _level = Setting::set(PARANOID, "0").unwrap();
    let args = format!("-p {}", target.pid());
    let said = nobody(&place, &args);
    let recording = &said.value["target"]["recording"];
    assert_eq!((said.status, &recording["state"]), (Some(1), &"no".into()));
    assert!(
        recording["reason"]
            .as_str()
            .unwrap()
            .contains("belongs to user 0")
    );
    let remedies = recording["remedies"].to_string();
    assert!(remedies.contains("CAP_SYS_PTRACE"), "{remedies}");
    assert!(!remedies.contains("paranoid="), "{remedies}"); // it is low enough
    let record = format!("exec {NOBODY} ./prof record -d 1 {args}");
    let record = shell(&place, &record).failed(1);
    assert!(!record.err.contains("paranoid="), "{}", record.err);
    // the remedy helps
    let caps = "--inh-caps +perfmon,+sys_ptrace --ambient-caps +perfmon,+sys_ptrace";
    let doctor = format!("exec {NOBODY} {caps} ./prof doctor --json {args}");
    assert_eq!(Said::of(shell(&place, &doctor)).status, Some(0));
}

#[test]
fn a_stripped_program_and_one_that_was_deleted_are_told() {
    if !has("strip") {
        return;
    }
    let place = Place::new();
    let program = place.file("gone");
    fs::copy(PROF, &program).unwrap();
    let stripped: Ran = place.command("strip", &["gone"]).output().unwrap().into();
    stripped.ok();
    let target = Running::start(&program, &["workload", "60"]);
    fs::remove_file(&program).unwrap();
    let said = Said::of(place.prof(&["doctor", "--json", "-p", &target.pid()]));
    let modules = said.value["target"]["modules"]["modules"]
        .as_array()
        .unwrap();
    let is_own = |it: &&Value| it["path"].as_str().unwrap().contains("/gone (deleted)");
    let own = modules.iter().find(is_own).expect("its program");
    assert_eq!(
        (&own["is_deleted"], &own["inlined"]),
        (&true.into(), &false.into())
    );
    assert!(
        !own["names"].as_array().unwrap().contains(&"symtab".into()),
        "{own}"
    );
    assert!(own["remedy"].is_string(), "{own}");
}

#[test]
fn whoever_is_not_there_is_an_error_as_for_record() {
    let place = Place::new();
    let args = ["doctor", "-p", "999999999"];
    place
        .prof(&args)
        .failed(1)
        .says(&["no process or thread 999999999"]);
    let args = ["doctor", "--", "true"];
    place
        .prof(&args)
        .failed(2)
        .says(&["runs no command", "-p PID"]);
}
