//! The fields of `script` that few samples have: registers, branches, memory accesses.

use std::io::Write as _;

use prof_model::BranchFlags;
use prof_profile::{ScriptBranch, ScriptExtras, ScriptRegs};

use crate::script_frames::FrameText;
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
pub(crate) fn behind_code(
    text: &mut Vec<u8>,
    extras: &ScriptExtras,
    fields: ScriptFields,
    frames: &FrameText<'_>,
) {
    if fields.has(ScriptField::IntrRegs) {
        registers(text, extras.intr_regs.as_ref());
    }
    if fields.has(ScriptField::UserRegs) {
        registers(text, extras.user_regs.as_ref());
    }
    let forms = [
        ScriptField::Branches,
        ScriptField::BranchSymbols,
        ScriptField::BranchOffsets,
    ];
    if let Some(form) = forms.into_iter().find(|&form| fields.has(form)) {
        let branches = extras.branches.iter();
        branches.for_each(|it| branch(text, it, form, frames));
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

/// ` FROM/TO/HOW/IN A TRANSACTION/ABORT/CYCLES/KIND`, a dash for what is unknown or not so. As in perf
/// no blank stands before a function.
fn branch(text: &mut Vec<u8>, branch: &ScriptBranch, form: ScriptField, frames: &FrameText<'_>) {
    if form != ScriptField::BranchSymbols {
        text.push(b' ');
    }
    for place in [&branch.from, &branch.to] {
        let _ = match form {
            ScriptField::Branches => write!(text, "{:#x}", place.addr.0),
            ScriptField::BranchOffsets => write!(text, "{:#x}", place.offset),
            _ => {
                frames.push_symbol_of(text, place.frame);
                Ok(())
            }
        };
        frames.push_module_of(text, place.frame);
        text.push(b'/');
    }
    let flags = branch.flags;
    let prediction = match (flags.is_mispredicted(), flags.is_predicted()) {
        (_, true) => 'P',
        (true, false) => 'M',
        (false, false) => '-',
    };
    let _ = write!(
        text,
        "{prediction}/{}/{}/{}/{} ",
        if flags.in_transaction() { 'X' } else { '-' },
        if flags.is_abort() { 'A' } else { '-' },
        flags.cycles(),
        kind_of_branch(flags),
    );
}

/// The kernel's `PERF_BR_*` and `PERF_BR_NEW_*` as perf calls them.
fn kind_of_branch(flags: BranchFlags) -> &'static str {
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
    const NEW_KINDS: [&str; 8] = [
        "FAULT_ALGN",
        "FAULT_DATA",
        "FAULT_INST",
        "ARCH_1",
        "ARCH_2",
        "ARCH_3",
        "ARCH_4",
        "ARCH_5",
    ];
    let (kind, new_kind) = (flags.kind(), flags.new_kind());
    let known = KINDS.get(usize::from(kind));
    let known = known.or_else(|| NEW_KINDS.get(usize::from(new_kind)));
    known.copied().unwrap_or("-")
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
