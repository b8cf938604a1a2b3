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

/// `PERF_REG_X86_SP` and `PERF_REG_X86_IP`.
const X86_SP: u32 = 7;
const X86_IP: u32 = 8;

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

    /// This machine, and perf's mask of its stack and instruction pointer, in this order.
    pub(crate) fn here() -> Option<(Arch, u64)> {
        match std::env::consts::ARCH {
            "x86_64" => Some((Arch::X86_64, 1 << X86_SP | 1 << X86_IP)),
            "aarch64" => Some((Arch::Aarch64, 1 << aarch64_reg::SP | 1 << aarch64_reg::PC)),
            _ => None,
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

#[cfg(test)]
mod tests {
    use prof_event::Words;

    use super::*;

    fn machine(arch: Option<&str>) -> Machine {
        Machine::of(&Features {
            arch: arch.map(str::to_owned),
            ..Features::default()
        })
    }

    /// All registers of a mask, each with its place among them as its value.
    fn with_regs<T>(mask: u64, look: impl FnOnce(&UserRegs<'_>) -> T) -> T {
        let values = 0..u64::from(mask.count_ones());
        let bytes: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
        look(&UserRegs {
            abi: 2,
            mask,
            values: Words::new(&bytes),
        })
    }

    #[test]
    fn a_machine_that_is_known_by_name_is_not_judged_by_its_registers() {
        for (arch, unwound) in [
            ("x86_64", Some(Arch::X86_64)),
            ("aarch64", Some(Arch::Aarch64)),
            ("aarch64_be", None),
            ("i686", None),
            ("riscv64", None),
        ] {
            for mask in [X86_USER_REGS, AARCH64_USER_REGS] {
                let found = with_regs(mask, |regs| machine(Some(arch)).unwinds(regs));
                assert_eq!(found, unwound, "{arch}");
            }
        }
    }

    #[test]
    fn a_machine_without_a_name_has_the_registers_of_one_that_is_known_or_is_not_unwound() {
        for (mask, unwound) in [
            (X86_USER_REGS, Some(Arch::X86_64)),
            (1 << 6 | 1 << 7 | 1 << 8, Some(Arch::X86_64)), // a part of them
            (AARCH64_USER_REGS, Some(Arch::Aarch64)),
            (AARCH64_USER_REGS | AARCH64_VG, Some(Arch::Aarch64)),
            (AARCH64_USER_REGS & !(1 << 30), None),
            (u64::MAX, None),
        ] {
            let found = with_regs(mask, |regs| machine(None).unwinds(regs));
            assert_eq!(found, unwound, "{mask:x}");
        }
    }

    #[test]
    fn only_a_machine_that_tells_another_architecture_is_foreign() {
        assert!(!machine(None).is_foreign());
        assert!(!machine(Some(std::env::consts::ARCH)).is_foreign());
        assert!(machine(Some("riscv64")).is_foreign());
        assert_eq!(machine(None).name(), "another machine");
        assert_eq!(machine(Some("riscv64")).name(), "riscv64");
    }

    #[test]
    fn registers_have_the_names_that_perf_gives_those_of_their_machine() {
        for (arch, names) in [
            (
                None,
                [
                    (0, "AX"),
                    (7, "SP"),
                    (8, "IP"),
                    (15, "GS"),
                    (16, "R8"),
                    (23, "R15"),
                ],
            ),
            (
                Some("x86_64"),
                [
                    (5, "DI"),
                    (9, "FLAGS"),
                    (24, "unknown"),
                    (32, "XMM0"),
                    (35, "XMM1"),
                    (64, "unknown"),
                ],
            ),
            (
                Some("aarch64"),
                [
                    (0, "x0"),
                    (29, "x29"),
                    (30, "lr"),
                    (31, "sp"),
                    (32, "pc"),
                    (46, "vg"),
                ],
            ),
            (
                Some("riscv64"),
                [
                    (0, "r0"),
                    (1, "r1"),
                    (7, "r7"),
                    (8, "r8"),
                    (46, "r46"),
                    (64, "r64"),
                ],
            ),
        ] {
            for (number, name) in names {
                assert_eq!(
                    machine(arch).register_name(number),
                    name,
                    "{arch:?} {number}"
                );
            }
        }
        assert_eq!(machine(Some("aarch64")).register_name(47), "unknown");
    }

    #[test]
    fn the_instruction_of_another_machine_is_where_that_has_it() {
        let instruction = |arch| with_regs(AARCH64_USER_REGS, |it| machine(arch).instruction(it));
        assert_eq!(instruction(Some("aarch64_be")), Some(VirtAddr(32)));
        assert_eq!(instruction(Some("riscv64")), Some(VirtAddr(0)));
        assert_eq!(instruction(Some("s390x")), None);
        assert_eq!(instruction(None), None);
    }
}
