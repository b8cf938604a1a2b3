//! Facts about this machine, from `/proc` and `/sys`.

use std::collections::BTreeSet;
use std::fs;

use prof_model::Cpu;

use crate::feature::{CpuTopology, Features, NumaNode};

impl Features {
    /// What can be said of the machine that runs this, whose CPUs `online` are on; the fields about a recording
    /// stay empty.
    pub fn of_this_host(online: &[Cpu]) -> Self {
        let cpus = available_cpus(online);
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            hostname: line("/proc/sys/kernel/hostname"),
            os_release: line("/proc/sys/kernel/osrelease"),
            arch: Some(std::env::consts::ARCH.to_owned()),
            nr_cpus_available: Some(cpus),
            nr_cpus_online: Some(online.len() as u32),
            cpu_desc: field(&cpuinfo, "model name").map(squeeze),
            cpu_id: cpu_id(&cpuinfo),
            total_mem_kb: memory("/proc/meminfo", "MemTotal"),
            cpu_topology: topology(cpus),
            numa: numa_nodes(),
            pmu_mappings: pmus(),
            ..Self::default()
        }
    }
}

/// The text of a file without the line end; `None` if there is none.
fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The first `name : value` of `/proc/cpuinfo`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cpu_id(cpuinfo: &str) -> Option<String> {
    let x86 = ["vendor_id", "cpu family", "model", "stepping"].map(|name| field(cpuinfo, name));
    match x86.into_iter().collect::<Option<Vec<_>>>() {
        Some(parts) => Some(parts.join(",")),
        None => line("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1"),
    }
}

/// Members of a list such as `0-3,8`.
fn members(list: &str) -> impl Iterator<Item = u32> {
    list.split(',').flat_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) => first..=last,
            #[allow(clippy::reversed_empty_ranges)] // no member
            _ => 1..=0,
        }
    })
}

/// How many numbers of CPUs there are.
fn available_cpus(online: &[Cpu]) -> u32 {
    let present = line("/sys/devices/system/cpu/present").unwrap_or_default();
    let known = members(&present).chain(online.iter().map(|cpu| cpu.0));
    known.max().map_or(1, |last| last + 1)
}

/// Which CPUs are one core and one package. `None` without `/sys`.
fn topology(cpus: u32) -> Option<CpuTopology> {
    let of_cpu =
        |cpu: u32, name: &str| line(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/{name}"));
    let number = |cpu, name| of_cpu(cpu, name).and_then(|text| text.parse::<i32>().ok());
    let siblings = |name: &str| {
        let lists: BTreeSet<_> = (0..cpus).filter_map(|cpu| of_cpu(cpu, name)).collect();
        lists.into_iter().collect()
    };
    // A CPU that is off says nothing; perf writes -1 for it.
    let id = |cpu, name| number(cpu, name).unwrap_or(-1) as u32;
    let core_siblings: Vec<_> = siblings("core_siblings_list");
    (!core_siblings.is_empty()).then(|| CpuTopology {
        core_siblings,
        thread_siblings: siblings("thread_siblings_list"),
        cpus: (0..cpus)
            .map(|cpu| (id(cpu, "core_id"), id(cpu, "physical_package_id")))
            .collect(),
    })
}

/// A line of a `meminfo` file, in KiB. The files of the nodes begin each line with `Node N`.
fn memory(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text
        .lines()
        .find(|line| line.contains(&format!("{name}:")))?;
    let (_, value) = line.split_once(':')?;
    value.split_whitespace().next()?.parse().ok()
}

fn numa_nodes() -> Vec<NumaNode> {
    let Some(online) = line("/sys/devices/system/node/online") else {
        return Vec::new();
    };
    let node = |node: u32| {
        let folder = format!("/sys/devices/system/node/node{node}");
        Some(NumaNode {
            node,
            total_kb: memory(&format!("{folder}/meminfo"), "MemTotal")?,
            free_kb: memory(&format!("{folder}/meminfo"), "MemFree")?,
            cpus: line(&format!("{folder}/cpulist")).unwrap_or_default(),
        })
    };
    members(&online).filter_map(node).collect()
}

fn pmus() -> Vec<(u32, String)> {
    let Ok(folder) = fs::read_dir("/sys/bus/event_source/devices") else {
        return Vec::new();
    };
    let mut pmus: Vec<_> = folder
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kind = line(entry.path().join("type").to_str()?)?;
            Some((kind.parse().ok()?, name))
        })
        .collect();
    pmus.sort();
    pmus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_has_the_members_of_its_ranges() {
        assert_eq!(members("0-3,8").collect::<Vec<_>>(), [0, 1, 2, 3, 8]);
        assert_eq!(members("").count(), 0);
    }

    #[test]
    fn cpuinfo_gives_name_and_id() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 167\n\
                       model name\t: Intel  CPU   @ 3GHz\nstepping\t: 1\n";
        assert_eq!(cpu_id(cpuinfo).unwrap(), "GenuineIntel,6,167,1");
        let name = field(cpuinfo, "model name").map(squeeze);
        assert_eq!(name.unwrap(), "Intel CPU @ 3GHz");
    }

    #[test]
    fn this_host_says_what_every_linux_says() {
        let host = Features::of_this_host(&[Cpu(0), Cpu(300)]);
        assert!(host.hostname.is_some() && host.os_release.is_some());
        assert!(host.total_mem_kb > Some(0));
        assert!(host.pmu_mappings.contains(&(1, "software".to_owned())));
        let cpus = host.cpu_topology.unwrap().cpus.len() as u32;
        assert_eq!((host.nr_cpus_available, cpus), (Some(301), 301));
        assert_eq!(host.nr_cpus_online, Some(2));
    }
}
