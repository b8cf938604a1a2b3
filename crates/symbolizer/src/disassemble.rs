//! Machine code as text, in the form that objdump has.

use iced_x86::{
    Decoder, DecoderOptions, Formatter, GasFormatter, Instruction as X86Instruction,
    IntelFormatter, MemorySizeOptions, OpKind, Register,
};
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Opcode, Operand};

/// How x86 instructions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AsmSyntax {
    /// Source before destination, as objdump and gcc have it.
    #[default]
    Att,
    /// Destination before source, as Intel's manuals have it.
    Intel,
}

/// What the code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86 { bits: u32 },
    Aarch64,
}

/// One instruction, not yet with the names of what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disassembled {
    pub(crate) address: u64,
    pub(crate) len: usize,
    pub(crate) text: String,
    /// The address that it jumps to or calls, or that of its data, if it stands in the instruction.
    pub(crate) refers_to: Option<Reference>,
}

impl Disassembled {
    /// `1190 <hot_leaf+0x10>`, `0x2ea1(%rip),%rax        # 4028 <burnt>`
    pub(crate) fn with_name(&self, target: Option<&str>) -> String {
        let text = &self.text;
        let name = target.map_or_else(String::new, |name| format!(" <{name}>"));
        match self.refers_to {
            None => text.clone(),
            Some(Reference::Code(_)) => format!("{text}{name}"),
            Some(Reference::Data(target)) => format!("{text}        # {target:x}{name}"),
        }
    }
}

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// Code: the text ends in the address.
    Code(u64),
    /// Data, by the distance from the instruction.
    Data(u64),
}

impl Reference {
    pub(crate) fn address(self) -> u64 {
        match self {
            Self::Code(address) | Self::Data(address) => address,
        }
    }
}

/// Where operands begin.
const OPERAND_COLUMN: usize = 7;

/// Disassembles `bytes`, which are loaded at `address`. Bytes that are no instruction become
/// `(bad)`, or `.inst` on aarch64.
pub(crate) fn disassemble(
    machine: Machine,
    bytes: &[u8],
    address: u64,
    syntax: AsmSyntax,
) -> Vec<Disassembled> {
    match machine {
        Machine::X86 { bits } => x86(bits, bytes, address, syntax),
        Machine::Aarch64 => aarch64(bytes, address),
    }
}

fn x86(bits: u32, bytes: &[u8], address: u64, syntax: AsmSyntax) -> Vec<Disassembled> {
    let mut decoder = Decoder::with_ip(bits, bytes, address, DecoderOptions::NONE);
    let mut formatter = x86_formatter(syntax);
    let mut found = Vec::new();
    let mut instruction = X86Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let mut text = String::new();
        let refers_to = match (0..instruction.op_count())
            .map(|at| instruction.op_kind(at))
            .next()
        {
            Some(OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64) => {
                formatter.format_mnemonic(&instruction, &mut text);
                let target = instruction.near_branch_target();
                text = format!("{} {target:x}", pad(&text));
                Some(Reference::Code(target))
            }
            _ => {
                // a displacement of 0 is shown where it takes room, as objdump does
                let has_room = instruction.memory_displ_size() > 0;
                let has_index = instruction.memory_index() != Register::None;
                let options = formatter.options_mut();
                options.set_show_zero_displacements(has_room);
                options.set_always_show_scale(has_index);
                formatter.format(&instruction, &mut text);
                for (long, short) in [("callq  ", "call   "), ("jmpq   ", "jmp    ")] {
                    if let Some(operands) = text.strip_prefix(long) {
                        text = format!("{short}{operands}");
                    }
                }
                let is_relative = instruction.is_ip_rel_memory_operand();
                let target = instruction.ip_rel_memory_address();
                is_relative.then_some(Reference::Data(target))
            }
        };
        found.push(Disassembled {
            address: instruction.ip(),
            len: instruction.len(),
            text,
            refers_to,
        });
    }
    found
}

fn pad(mnemonic: &str) -> String {
    let width = OPERAND_COLUMN - 1;
    format!("{mnemonic:<width$}")
}

fn x86_formatter(syntax: AsmSyntax) -> Box<dyn Formatter> {
    let mut formatter: Box<dyn Formatter> = match syntax {
        AsmSyntax::Att => Box::new(GasFormatter::new()),
        AsmSyntax::Intel => Box::new(IntelFormatter::new()),
    };
    let options = formatter.options_mut();
    options.set_first_operand_char_index(OPERAND_COLUMN as u32);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_rip_relative_addresses(true);
    options.set_space_after_operand_separator(false);
    options.set_show_branch_size(false);
    options.set_gas_space_after_memory_operand_comma(false);
    if syntax == AsmSyntax::Intel {
        options.set_memory_size_options(MemorySizeOptions::Always);
        options.set_uppercase_keywords(true);
    }
    formatter
}

fn aarch64(bytes: &[u8], address: u64) -> Vec<Disassembled> {
    let decoder = InstDecoder::default();
    let words = bytes.chunks(4).zip((address..).step_by(4));
    let instructions = words.map(|(word, address)| {
        let decoded = decoder.decode(&mut U8Reader::new(word)).ok();
        let Some(instruction) = decoded else {
            let number = word
                .iter()
                .rev()
                .fold(0, |number, &byte| number << 8 | u32::from(byte));
            return Disassembled {
                address,
                len: word.len(),
                text: format!(".inst  {number:#010x}"),
                refers_to: None,
            };
        };
        let offset = instruction
            .operands
            .into_iter()
            .find_map(|operand| match operand {
                Operand::PCOffset(offset) => Some(offset),
                _ => None,
            });
        let is_page = instruction.opcode == Opcode::ADRP;
        let start = if is_page { address & !0xfff } else { address };
        let target = offset.map(|offset| start.wrapping_add_signed(offset));
        let mut text = instruction.to_string();
        if let (Some(target), Some(at)) = (target, text.rfind('$')) {
            text.replace_range(at.., &format!("{target:x}"));
        }
        if let Some((mnemonic, operands)) = text.split_once(' ') {
            text = format!("{} {operands}", pad(mnemonic));
        }
        Disassembled {
            address,
            len: word.len(),
            text,
            refers_to: target.map(Reference::Code),
        }
    });
    instructions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(machine: Machine, bytes: &[u8], syntax: AsmSyntax) -> Vec<String> {
        let found = disassemble(machine, bytes, 0x1180, syntax).into_iter();
        found
            .map(|it| format!("{:x} {}", it.address, it.text))
            .collect()
    }

    const CODE: &[u8] = &[
        0x48, 0x8b, 0x05, 0xa1, 0x2e, 0x00, 0x00, // mov
        0xba, 0x20, 0x4e, 0x00, 0x00, // mov
        0x48, 0x8d, 0x44, 0x40, 0x01, // lea
        0x83, 0xea, 0x01, // sub
        0x75, 0xf6, // jne
        0xc3, // ret
    ];

    #[test]
    fn x86_reads_as_objdump_has_it() {
        let expected = [
            "1180 mov    0x2ea1(%rip),%rax",
            "1187 mov    $0x4e20,%edx",
            "118c lea    0x1(%rax,%rax,2),%rax",
            "1191 sub    $0x1,%edx",
            "1194 jne    118c",
            "1196 ret",
        ];
        let x86 = Machine::X86 { bits: 64 };
        assert_eq!(texts(x86, CODE, AsmSyntax::Att), expected);
        let expected = [
            "1180 mov    rax,QWORD PTR [rip+0x2ea1]",
            "1187 mov    edx,0x4e20",
            "118c lea    rax,[rax+rax*2+0x1]",
            "1191 sub    edx,0x1",
            "1194 jne    118c",
            "1196 ret",
        ];
        assert_eq!(texts(x86, CODE, AsmSyntax::Intel), expected);
        let refers: Vec<_> = disassemble(x86, CODE, 0x1180, AsmSyntax::Att)
            .into_iter()
            .filter_map(|it| it.refers_to)
            .collect();
        assert_eq!(refers, [Reference::Data(0x4028), Reference::Code(0x118c)]);
    }

    #[test]
    fn aarch64_reads_as_objdump_has_it() {
        let words: [u32; 6] = [
            0xa9bf7bfd, // stp x29, x30, [sp, #-16]!
            0x910003fd, // mov x29, sp
            0xb0000000, // adrp x0, one page on
            0x54ffffe1, // b.ne -4
            0x97fffffc, // bl -16
            0xd65f03c0, // ret
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected = [
            "1180 stp    x29, x30, [sp, #-0x10]!",
            "1184 mov    x29, sp",
            "1188 adrp   x0, 2000",
            "118c b.ne   1188",
            "1190 bl     1180",
            "1194 ret",
        ];
        assert_eq!(texts(Machine::Aarch64, &bytes, AsmSyntax::Att), expected);
    }

    #[test]
    fn any_bytes_are_covered_end_to_end_without_a_panic() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for machine in [
            Machine::Aarch64,
            Machine::X86 { bits: 64 },
            Machine::X86 { bits: 32 },
        ] {
            for syntax in [AsmSyntax::Att, AsmSyntax::Intel] {
                let bytes: Vec<u8> = (0..50_000).flat_map(|_| random().to_le_bytes()).collect();
                let bytes = &bytes[..bytes.len() - 3];
                let mut at = 0x1000;
                for found in disassemble(machine, bytes, at, syntax) {
                    assert_eq!(found.address, at);
                    assert!(found.len > 0 && !found.text.is_empty());
                    at += found.len as u64;
                }
                assert_eq!(at, 0x1000 + bytes.len() as u64);
            }
        }
    }
}
