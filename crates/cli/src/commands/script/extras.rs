//! The fields of `prof script` that few samples have.

use std::iter::repeat;

use prof_event::abi::{misc, record, sample};
use prof_event::{Event, EventAttr, RawRecord, Sample, UserRegs};
use prof_model::CpuMode;
use prof_profile::{FrameKey, Profile, ScriptBranch, ScriptExtras, ScriptPlace, ScriptRegs};
use prof_session::{Machine, TakenSample, offset_in_file};

use crate::messages::CliError;

/// What a sample has of them, but for its branches.
pub fn extras(
    sample: &Sample<'_>,
    attr: &EventAttr,
    raw: &RawRecord<'_>,
    machine: &Machine,
) -> ScriptExtras {
    let behind = sample.extras(attr).unwrap_or_default();
    ScriptExtras {
        misc: letters(raw),
        weight: behind.weight,
        latency: behind.latency,
        intr_regs: behind.intr_regs.map(|regs| registers(&regs, machine)),
        user_regs: sample.user_regs.map(|regs| registers(&regs, machine)),
        branches: Vec::new(),
        data_src: behind.data_src,
        phys_addr: behind.phys_addr,
        data_page_size: behind.data_page_size,
        code_page_size: behind.code_page_size,
    }
}

/// The branches of a sample; with their places where these were found.
pub fn branches(taken: &TakenSample<'_>, profile: &Profile) -> Vec<ScriptBranch> {
    let (sample, tracker) = (taken.sample, taken.tracker);
    let place = |addr, key: Option<&FrameKey>| ScriptPlace {
        addr,
        offset: offset_in_file(tracker, sample.pid, addr),
        frame: key.and_then(|key| profile.frame_id(key)),
    };
    let placed = taken.branches.iter().map(Some);
    let branches = sample.branches().zip(placed.chain(repeat(None)));
    branches
        .map(|(branch, placed)| ScriptBranch {
            from: place(branch.from, placed.map(|placed| &placed.from)),
            to: place(branch.to, placed.map(|placed| &placed.to)),
            flags: branch.flags,
        })
        .collect()
}

fn registers(regs: &UserRegs<'_>, machine: &Machine) -> ScriptRegs {
    let numbers = (0..64).filter(|number| regs.mask >> number & 1 != 0);
    ScriptRegs {
        abi: regs.abi,
        values: numbers
            .map(|number| machine.register_name(number))
            .zip(regs.values.iter())
            .collect(),
    }
}

/// perf's letters for the mode of the CPU and for what else a record's header says.
pub fn letters(raw: &RawRecord<'_>) -> &'static str {
    let has = |bit: u16| raw.misc & bit != 0;
    match (raw.kind, raw.cpu_mode()) {
        (record::COMM, _) if has(misc::COMM_EXEC) => "E",
        (record::SWITCH | record::SWITCH_CPU_WIDE, _) if has(misc::SWITCH_OUT) => {
            if has(misc::SWITCH_OUT_PREEMPT) {
                "Sp"
            } else {
                "S"
            }
        }
        (record::MMAP | record::MMAP2, CpuMode::User) if has(misc::MMAP_DATA) => "UM",
        (record::MMAP | record::MMAP2, CpuMode::Kernel) if has(misc::MMAP_DATA) => "KM",
        (_, CpuMode::Kernel) => "K",
        (_, CpuMode::User) => "U",
        (_, CpuMode::Hypervisor) => "H",
        (_, CpuMode::GuestKernel) => "G",
        (_, CpuMode::GuestUser) => "g",
        (_, CpuMode::Unknown) => "",
    }
}

/// Refuses a field that no event of the recording has.
///
/// # Errors
/// A message that says how to record it.
pub fn check_recorded(fields: &str, events: &[Event]) -> Result<(), CliError> {
    const FIELDS: [(&str, u64, &str); 13] = [
        ("iregs", sample::REGS_INTR, "--intr-regs"),
        ("uregs", sample::REGS_USER, "--user-regs"),
        ("brstack", sample::BRANCH_STACK, "-b"),
        ("brstacksym", sample::BRANCH_STACK, "-b"),
        ("brstackoff", sample::BRANCH_STACK, "-b"),
        ("data_src", sample::DATA_SRC, "-d"),
        ("phys_addr", sample::PHYS_ADDR, "--phys-data"),
        ("data_page_size", sample::DATA_PAGE_SIZE, "--data-page-size"),
        ("code_page_size", sample::CODE_PAGE_SIZE, "--code-page-size"),
        ("weight", sample::WEIGHT | sample::WEIGHT_STRUCT, "-W"),
        ("ins_lat", sample::WEIGHT_STRUCT, "-W"),
        ("addr", sample::ADDR, "-d"),
        ("cpu", sample::CPU, "--sample-cpu"),
    ];
    for word in fields.split(',').filter(|word| !word.starts_with('-')) {
        let word = word.trim_start_matches('+');
        let Some((field, bits, option)) = FIELDS.iter().find(|(field, ..)| *field == word) else {
            continue;
        };
        let mut types = events.iter().map(|event| event.attr.sample_type);
        if !types.any(|it| it & bits != 0) {
            let what = format!("no event of the recording has the field `{field}`");
            let hint = format!("`perf record {option}` records it; prof reads such files");
            return Err(CliError::new(what).hint(hint));
        }
    }
    Ok(())
}
