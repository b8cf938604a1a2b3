//! The fields of `script` that few samples have: registers, branches, memory accesses.

use std::io::Write as _;

use prof_profile::{ScriptBranch, ScriptExtras, ScriptRegs};

use crate::{ScriptField, ScriptFields};

/// Appends what stands in front of the instruction or the callchain.
pub(crate) fn before_code(text: &mut Vec<u8>, extras: &ScriptExtras, fields: ScriptFields) {
    if fields.has(ScriptField::Weight)
        && let Some(weight) = extras.weight
    {
        let _ = write!(text, "{weight:>16}");
    }
    if fields.has(ScriptField::Latency)
        && let Some(latency) = extras.latency
    {
        let _ = write!(text, "{latency:>16}");
    }
}

/// Appends what stands behind it.
pub(crate) fn behind_code(text: &mut Vec<u8>, extras: &ScriptExtras, fields: ScriptFields) {
    if fields.has(ScriptField::IntrRegs) {
        registers(text, extras.intr_regs.as_ref());
    }
    if fields.has(ScriptField::UserRegs) {
        registers(text, extras.user_regs.as_ref());
    }
    if fields.has(ScriptField::Branches) {
        extras.branches.iter().for_each(|it| branch(text, it));
    }
    if fields.has(ScriptField::PhysAddr)
        && let Some(addr) = extras.phys_addr
    {
        let _ = write!(text, "{addr:>16x}");
    }
    let pages = [
        (ScriptField::DataPageSize, extras.data_page_size),
        (ScriptField::CodePageSize, extras.code_page_size),
    ];
    for (field, size) in pages {
        if fields.has(field)
            && let Some(size) = size
        {
            let _ = write!(text, " {}", page_size(size));
        }
    }
}

/// ` ABI:2    AX:0x1 `; nothing where there was no user code.
fn registers(text: &mut Vec<u8>, regs: Option<&ScriptRegs>) {
    let Some(regs) = regs else { return };
    let _ = write!(text, " ABI:{} ", regs.abi);
    for (name, value) in &regs.values {
        let _ = write!(text, "{name:>5}:{value:#x} ");
    }
}

/// ` FROM/TO/HOW/IN A TRANSACTION/ABORT/CYCLES/KIND`, a dash for what is unknown or not so.
fn branch(text: &mut Vec<u8>, branch: &ScriptBranch) {
    let has = |bit: u32| branch.flags >> bit & 1 != 0;
    let prediction = match (has(0), has(1)) {
        (_, true) => 'P',
        (true, false) => 'M',
        (false, false) => '-',
    };
    let _ = write!(
        text,
        " {:#x}/{:#x}/{prediction}/{}/{}/{}/{} ",
        branch.from,
        branch.to,
        if has(2) { 'X' } else { '-' },
        if has(3) { 'A' } else { '-' },
        branch.flags >> 4 & 0xffff,
        kind_of_branch(branch.flags >> 20 & 0xf),
    );
}

/// The kernel's `PERF_BR_*` as perf calls them.
fn kind_of_branch(kind: u64) -> &'static str {
    const KINDS: [&str; 15] = [
        "",
        "COND",
        "UNCOND",
        "IND",
        "CALL",
        "IND_CALL",
        "RET",
        "SYSCALL",
        "SYSRET",
        "COND_CALL",
        "COND_RET",
        "ERET",
        "IRQ",
        "SERROR",
        "NO_TX",
    ];
    KINDS.get(kind as usize).copied().unwrap_or("-")
}

/// `4K`, and `N/A` for 0. As in perf, 1 GiB is `1024M`.
fn page_size(bytes: u64) -> String {
    if bytes == 0 {
        return "N/A".to_owned();
    }
    let units = ['B', 'K', 'M', 'G'];
    let mut left = bytes;
    let mut unit = 0;
    while left / 1024 > 1 && unit + 1 < units.len() {
        left /= 1024;
        unit += 1;
    }
    format!("{left}{}", units[unit])
}
