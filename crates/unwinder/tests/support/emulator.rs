//! Programs of another architecture, in an emulator that stops them where it is told.
#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How many registers there are: x0 to x30, the stack pointer, the instruction pointer.
pub(crate) const REGISTERS: usize = 33;
const SP: usize = 31;
const PC: usize = 32;

/// Where the C library for aarch64 is.
const SYSROOT: &str = "/usr/aarch64-linux-gnu";

/// A moment of the program.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) registers: [u64; REGISTERS],
    /// The instruction that comes next.
    pub(crate) code: u32,
    /// From the stack pointer on.
    pub(crate) stack: Vec<u8>,
}

impl Moment {
    pub(crate) fn pc(&self) -> u64 {
        self.registers[PC]
    }

    pub(crate) fn sp(&self) -> u64 {
        self.registers[SP]
    }
}

/// Builds `aarch64.c` against the C library for that machine. `None`, and says so, where a tool is
/// missing; panics in CI.
pub(crate) fn build(dir: &Path, flags: &[&str]) -> Option<PathBuf> {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../unwinder/tests/support/aarch64.c"
    );
    let program = dir.join("aarch64");
    let library = |name: &str| format!("{SYSROOT}/lib/{name}");
    let tools = [
        ("clang", "--version"),
        ("ld.lld", "--version"),
        ("qemu-aarch64", "--version"),
    ];
    let runs = |(tool, flag): (&str, &str)| Command::new(tool).arg(flag).output().is_ok();
    let is_there = tools.into_iter().all(runs) && Path::new(&library("Scrt1.o")).exists();
    if !is_there {
        assert!(
            std::env::var("CI").is_err(),
            "clang, lld, qemu-user or libc6-dev-arm64-cross is missing"
        );
        println!("skipped: no clang, lld, qemu-user or libc6-dev-arm64-cross");
        return None;
    }
    let output = Command::new("clang")
        .args([
            "--target=aarch64-linux-gnu",
            "-fuse-ld=lld",
            "-nostdlib",
            "-pie",
            "-fPIE",
        ])
        .args([
            "-Wl,--build-id",
            "-Wl,-dynamic-linker,/lib/ld-linux-aarch64.so.1",
            "-o",
        ])
        .arg(&program)
        .args(flags)
        .arg(format!("-isystem{SYSROOT}/include"))
        .args([library("Scrt1.o"), library("crti.o"), source.into()])
        .args([
            library("libc.so.6"),
            library("libc_nonshared.a"),
            library("crtn.o"),
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(program)
}

/// A program that is being debugged.
pub(crate) struct Emulator {
    child: Child,
    stream: BufReader<UnixStream>,
    stack_top: u64,
}

impl Emulator {
    /// Starts a program with `dir` as its argument, and stops it at its first `brk`.
    pub(crate) fn start(program: &Path, dir: &Path) -> Self {
        let socket = dir.join("debugger");
        let child = Command::new("qemu-aarch64")
            .args(["-cpu", "max", "-L", SYSROOT, "-g"])
            .args([&socket, program, dir])
            .env_clear() // a small stack
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stream = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            UnixStream::connect(&socket).ok()
        });
        let stream = BufReader::new(stream.expect("the emulator listens"));
        let mut emulator = Self {
            child,
            stream,
            stack_top: 0,
        };
        emulator.ask("qXfer:features:read:target.xml:0,1000"); // lets registers be set one by one
        emulator.go_on(0);
        let maps = maps(dir);
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let (_, end) = stack.split_once('-').unwrap();
        let (end, _) = end.split_once(' ').unwrap();
        emulator.stack_top = u64::from_str_radix(end, 16).unwrap();
        emulator
    }

    /// Runs up to the next `brk` or signal, after giving the program a signal (0 is none). Says which
    /// signal stopped it; `None` if it has ended.
    pub(crate) fn go_on(&mut self, signal: u8) -> Option<u8> {
        let reply = match signal {
            0 => self.ask("c"),
            signal => self.ask(&format!("C{signal:02x}")),
        };
        stopped_by(&reply)
    }

    /// Runs one instruction.
    pub(crate) fn step(&mut self) {
        let reply = self.ask("s");
        assert_eq!(stopped_by(&reply), Some(SIGTRAP), "{reply}");
    }

    /// Puts the instruction pointer behind a `brk`.
    pub(crate) fn skip_stop(&mut self) {
        let pc = self.registers()[PC] + 4;
        let bytes: String = pc
            .to_le_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(self.ask(&format!("P{PC:x}={bytes}")), "OK");
    }

    /// What a sample would have of this moment, with at most `most` bytes of stack.
    pub(crate) fn moment(&mut self, most: u64) -> Moment {
        let registers = self.registers();
        let sp = registers[SP];
        let end = self.stack_top.max(sp).min(sp.saturating_add(most));
        let end = if end == sp { sp + 4096 } else { end }; // on another stack
        let code = self.memory(registers[PC], 4);
        Moment {
            registers,
            code: u32::from_le_bytes(code.try_into().unwrap()),
            stack: self.memory(sp, end - sp),
        }
    }

    fn registers(&mut self) -> [u64; REGISTERS] {
        let bytes = bytes_of(&self.ask("g"));
        let mut words = bytes.chunks_exact(8);
        std::array::from_fn(|_| u64::from_le_bytes(words.next().unwrap().try_into().unwrap()))
    }

    /// As many bytes as there are, read in pieces that the emulator grants.
    fn memory(&mut self, start: u64, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            let left = (size - bytes.len() as u64).min(1024);
            let reply = self.ask(&format!("m{:x},{left:x}", start + bytes.len() as u64));
            if reply.starts_with('E') {
                break;
            }
            bytes.extend(bytes_of(&reply));
        }
        bytes
    }

    fn ask(&mut self, request: &str) -> String {
        let sum = request.bytes().fold(0u8, u8::wrapping_add);
        let packet = format!("${request}#{sum:02x}"); // in one piece: each one costs the emulator time
        self.stream.get_mut().write_all(packet.as_bytes()).unwrap();
        let mut reply = Vec::new();
        self.stream.read_until(b'#', &mut reply).unwrap();
        self.stream.read_exact(&mut [0; 2]).unwrap(); // the sum
        self.stream.get_mut().write_all(b"+").unwrap();
        let reply = String::from_utf8(reply).unwrap();
        let start = reply.find('$').expect("a reply") + 1;
        reply[start..reply.len() - 1].to_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const SIGTRAP: u8 = 5;

fn stopped_by(reply: &str) -> Option<u8> {
    let number = reply.strip_prefix(['T', 'S'])?;
    u8::from_str_radix(number.get(..2)?, 16).ok()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map_while(byte).collect()
}

/// All moments between the first and the second `brk`.
pub(crate) fn every_instruction(emulator: &mut Emulator) -> Vec<Moment> {
    let mut moments = Vec::new();
    emulator.skip_stop();
    loop {
        let moment = emulator.moment(u64::MAX);
        let is_over = moment.code & 0xffe0_001f == 0xd420_0000; // brk
        moments.push(moment);
        if is_over {
            return moments;
        }
        emulator.step();
    }
}

/// The return addresses of the frames that were entered since the first moment, innermost first, by
/// watching calls and returns happen.
pub(crate) fn true_return_addresses(moments: &[Moment]) -> Vec<Vec<u64>> {
    let mut open = Vec::new();
    let mut all = vec![Vec::new()];
    for pair in moments.windows(2) {
        let [before, after] = pair else {
            unreachable!()
        };
        let next = before.pc() + 4;
        let is_call = before.code >> 26 == 0b10_0101 || before.code & 0xfeff_f000 == 0xd63f_0000;
        let is_return = before.code & 0xffff_f000 == 0xd65f_0000;
        if is_call {
            open.push(next);
        } else if is_return {
            assert_eq!(open.pop(), Some(after.pc()), "returns where it was called");
        }
        all.push(open.iter().rev().copied().collect());
    }
    all
}

/// What the program wrote about its mappings.
pub(crate) fn maps(dir: &Path) -> String {
    fs::read_to_string(dir.join("maps")).unwrap()
}
