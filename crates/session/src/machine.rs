//! The machine of a recording: whether its user stacks can be unwound here.

use std::borrow::Cow;

use prof_event::UserRegs;
use prof_event::abi::{AARCH64_USER_REGS, AARCH64_VG, X86_USER_REGS, aarch64_reg};
use prof_model::VirtAddr;
use prof_perfdata::Features;
use prof_unwinder::Arch;

/// The first of `PERF_REG_X86_*`.
const X86_NAMES: [&str; 16] = [
    "AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP", "IP", "FLAGS", "CS", "SS", "DS", "ES", "FS",
    "GS",
];

/// Where samples were taken, as far as it matters for their registers.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `uname -m`, where the recording tells it.
    arch: Option<String>,
}

impl Machine {
    /// The machine of a recording.
    pub fn of(features: &Features) -> Self {
        Self {
            arch: features.arch.clone(),
        }
    }

    /// Whether it has another architecture than this one, as far as the recording tells.
    pub fn is_foreign(&self) -> bool {
        let arch = self.arch.as_deref();
        arch.is_some_and(|arch| arch != std::env::consts::ARCH)
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        self.arch.as_deref().unwrap_or("another machine")
    }

    /// Whose registers these are, if the unwinder knows them. A recording without the machine's name is
    /// judged by what was asked for: each kind of machine has registers that others do not have.
    pub fn unwinds(&self, regs: &UserRegs<'_>) -> Option<Arch> {
        match self.arch.as_deref() {
            Some("x86_64") => Some(Arch::X86_64),
            Some("aarch64") => Some(Arch::Aarch64),
            Some(_) => None,
            None if regs.mask & !X86_USER_REGS == 0 => Some(Arch::X86_64),
            None if regs.mask & !AARCH64_VG == AARCH64_USER_REGS => Some(Arch::Aarch64),
            None => None,
        }
    }

    /// What perf calls a register.
    pub fn register_name(&self, number: u32) -> Cow<'static, str> {
        let name = match self.arch.as_deref() {
            Some("aarch64" | "aarch64_be") => match number {
                0..=29 => return format!("x{number}").into(),
                aarch64_reg::LR => "lr",
                aarch64_reg::SP => "sp",
                aarch64_reg::PC => "pc",
                46 => "vg",
                _ => "unknown",
            },
            Some("x86_64" | "i686" | "i386") | None => match number {
                0..16 => X86_NAMES[number as usize],
                16..24 => return format!("R{}", number - 8).into(),
                32..64 => return format!("XMM{}", (number - 32) / 2).into(),
                _ => "unknown",
            },
            Some(_) => return format!("r{number}").into(),
        };
        name.into()
    }

    /// The instruction that ran, or that entered the kernel, on a machine that cannot be unwound.
    pub fn instruction(&self, regs: &UserRegs<'_>) -> Option<VirtAddr> {
        let number = match self.arch.as_deref()? {
            "aarch64" | "aarch64_be" => aarch64_reg::PC,
            "riscv64" => 0,
            _ => return None,
        };
        regs.get(number).map(VirtAddr)
    }
}
