//! Every kind of file that stock perf writes is read as perf reads it.

use crate::lab::Lab;
use crate::rules::Rule;
use crate::script;
use crate::table::Subject;

/// How perf's own report with callers can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Children {
    /// Row by row and graph by graph.
    Same,
    /// The recording has no callchains.
    NoChains,
    /// perf has no such table of a pipe, and its dwarf stacks are shorter.
    NotPerfs,
}

/// A file, how perf records it, and what else runs into it.
struct Kind {
    file: &'static str,
    options: &'static str,
    children: Children,
}

const fn kind(file: &'static str, options: &'static str, children: Children) -> Kind {
    Kind {
        file,
        options,
        children,
    }
}

use Children::{NoChains, NotPerfs, Same};

const KINDS: &[Kind] = &[
    kind("fp.data", "-F 2999 -g", Same),
    kind("flat.data", "-F 2999", NoChains),
    kind("pipe.pipe", "-F 2999 -g", NotPerfs),
    kind(
        "two.pipe",
        "-F 999 -g -e cpu-clock -e page-faults",
        NotPerfs,
    ),
    kind("trace.pipe", "-e sched:sched_switch -g", NotPerfs),
    kind("threads.data", "-F 2999 -g -a --threads", Same),
    kind("zstd.data", "-F 2999 -g -z", Same),
    kind("zstd-threads.data", "-F 2999 -g -a -z --threads", Same),
    kind("two.data", "-F 999 -g -e cpu-clock:u -e page-faults", Same),
    kind("group.data", "-F 999 -g -e {cpu-clock,page-faults}", Same),
    kind(
        "sampling-group.data",
        "-c 1000000 -e {cpu-clock,task-clock}:S",
        NoChains,
    ),
    kind(
        "sampling-group-of-cpus.data",
        "-F 999 -a -e {cpu-clock,page-faults}:S",
        NoChains,
    ),
    kind(
        "sampling-group-graph.data",
        "-F 999 -g -e {cpu-clock,page-faults}:S",
        Same,
    ),
    kind(
        "many-traces.data",
        "-e signal:signal_deliver,raw_syscalls:sys_enter,sched:sched_process_exec",
        NoChains,
    ),
    kind(
        "mixed.data",
        "-F 999 -e cpu-clock -e sched:sched_switch",
        NoChains,
    ),
    kind("all.data", "-F 999 -g -a", Same),
    kind("per-thread.data", "-F 999 -g --per-thread", Same),
    kind("switch.data", "-F 999 -g --switch-events", Same),
    kind("namespaces.data", "-F 999 -g --namespaces", Same),
    kind("buildid-mmap.data", "-F 999 -g --buildid-mmap", Same),
    kind(
        "trace.data",
        "-e sched:sched_switch,sched:sched_process_fork -a",
        NoChains,
    ),
    kind("trace-graph.data", "-g -e sched:sched_switch", Same),
    kind("intr-regs.data", "-F 999 -g --intr-regs=ax,ip,sp", Same),
    kind("user-regs.data", "-F 999 -g --user-regs=ax,ip,sp,bp", Same),
    kind("faults.data", "-g -e page-faults -c 7", Same),
    kind("addresses.data", "-e page-faults -d", NoChains),
    kind(
        "physical.data",
        "-F 999 -g -e page-faults --phys-data",
        Same,
    ),
    kind(
        "page-sizes.data",
        "-F 999 -g --data-page-size --code-page-size",
        Same,
    ),
    kind("weights.data", "-F 999 -g -W", Same),
    kind("monotonic.data", "-F 999 -g -k mono", Same),
    kind("dwarf.data", "-F 999 --call-graph dwarf", NotPerfs),
    kind(
        "dwarf-zstd.data",
        "-F 999 --call-graph dwarf,16384 -z",
        NotPerfs,
    ),
    kind("cgroups.data", "-F 999 -g --all-cgroups", Same),
    kind("counters.data", "-F 999 -g -s", Same),
    kind("delay.data", "-F 999 -g -D 20", Same),
    kind("period.data", "-c 500000 -g -e cpu-clock", Same),
    kind("switches.data", "-e cs -g -c 1", Same),
    kind("data-maps.data", "-F 999 -g -d", Same),
    kind("tail.data", "-F 999 -g --tail-synthesize", Same),
    kind("overwrite.data", "-F 999 -g --overwrite", Same),
    kind("user.data", "-F 999 -g --all-user", Same),
    kind("kernel.data", "-F 999 -g --all-kernel", Same),
    kind("no-inherit.data", "-F 4999 -g -i", Same),
    kind("raw.data", "-F 999 -R", NoChains),
];

#[test]
fn what_stock_perf_records_is_reported_as_perf_reports_it() {
    let Some(lab) = Lab::new() else { return };
    for Kind {
        file,
        options,
        children,
    } in KINDS
    {
        assert!(lab.record(file, options), "perf record {options}");
        if lab.perf("report --stdio", file).err.contains("no samples") {
            lab.prof("report", file).failed(1).says(&["has no samples"]);
            continue;
        }
        let explained = script::compare(&lab, file);
        println!("{file}: {:?}", explained.rules);
        let subject = Subject {
            lab: &lab,
            file,
            is_alone: !options.split(' ').any(|option| option == "-a"),
            explained: &explained,
        };
        subject.compare_rows();
        let spoilt = [
            Rule::MarkerOnStack,
            Rule::NamelessThread,
            Rule::KernelToldLast,
        ];
        let is_spoilt = spoilt.iter().any(|rule| explained.rules.contains(rule));
        if *children == Same && !is_spoilt {
            subject.compare_children();
        }
    }
}
