//! Numbers of the perf ABI. Source: `include/uapi/linux/perf_event.h`; the records from 64 on are
//! perf's own, they occur only in its files.

macro_rules! numbers {
    ($(#[$doc:meta])* $module:ident: $type:ty { $($name:ident = $value:expr),* $(,)? }) => {
        $(#[$doc])*
        #[allow(missing_docs)]
        pub mod $module {
            $(pub const $name: $type = $value;)*
        }
    };
}

numbers! {
    /// `perf_event_attr.type`.
    event_type: u32 { HARDWARE = 0, SOFTWARE = 1, TRACEPOINT = 2, HW_CACHE = 3, RAW = 4, BREAKPOINT = 5 }
}
numbers! {
    /// `PERF_SAMPLE_*`: which fields a sample has.
    sample: u64 {
        IP = 1 << 0, TID = 1 << 1, TIME = 1 << 2, ADDR = 1 << 3, READ = 1 << 4,
        CALLCHAIN = 1 << 5, ID = 1 << 6, CPU = 1 << 7, PERIOD = 1 << 8, STREAM_ID = 1 << 9,
        RAW = 1 << 10, BRANCH_STACK = 1 << 11, REGS_USER = 1 << 12, STACK_USER = 1 << 13,
        WEIGHT = 1 << 14, DATA_SRC = 1 << 15, IDENTIFIER = 1 << 16, TRANSACTION = 1 << 17,
        REGS_INTR = 1 << 18, PHYS_ADDR = 1 << 19, AUX = 1 << 20, CGROUP = 1 << 21,
        DATA_PAGE_SIZE = 1 << 22, CODE_PAGE_SIZE = 1 << 23, WEIGHT_STRUCT = 1 << 24,
    }
}
numbers! {
    /// `PERF_FORMAT_*`: which fields a read value has.
    read_format: u64 {
        TOTAL_TIME_ENABLED = 1 << 0, TOTAL_TIME_RUNNING = 1 << 1, ID = 1 << 2, GROUP = 1 << 3,
        LOST = 1 << 4,
    }
}
numbers! {
    /// `PERF_SAMPLE_BRANCH_*` bits that change the layout.
    branch: u64 { HW_INDEX = 1 << 17 }
}
numbers! {
    /// The bits of the flag word of `perf_event_attr`, at offset 40.
    flag: u64 {
        DISABLED = 1 << 0, INHERIT = 1 << 1, PINNED = 1 << 2, EXCLUSIVE = 1 << 3,
        EXCLUDE_USER = 1 << 4, EXCLUDE_KERNEL = 1 << 5, EXCLUDE_HV = 1 << 6,
        EXCLUDE_IDLE = 1 << 7, MMAP = 1 << 8, COMM = 1 << 9, FREQ = 1 << 10,
        INHERIT_STAT = 1 << 11, ENABLE_ON_EXEC = 1 << 12, TASK = 1 << 13, WATERMARK = 1 << 14,
        PRECISE_IP_1 = 1 << 15, PRECISE_IP_2 = 1 << 16, MMAP_DATA = 1 << 17,
        SAMPLE_ID_ALL = 1 << 18, EXCLUDE_HOST = 1 << 19, EXCLUDE_GUEST = 1 << 20,
        EXCLUDE_CALLCHAIN_KERNEL = 1 << 21, EXCLUDE_CALLCHAIN_USER = 1 << 22, MMAP2 = 1 << 23,
        COMM_EXEC = 1 << 24, USE_CLOCKID = 1 << 25, CONTEXT_SWITCH = 1 << 26,
        WRITE_BACKWARD = 1 << 27, NAMESPACES = 1 << 28, KSYMBOL = 1 << 29, BPF_EVENT = 1 << 30,
        AUX_OUTPUT = 1 << 31, CGROUP = 1 << 32, TEXT_POKE = 1 << 33, BUILD_ID = 1 << 34,
    }
}
numbers! {
    /// `perf_event_header.type`.
    record: u32 {
        MMAP = 1, LOST = 2, COMM = 3, EXIT = 4, THROTTLE = 5, UNTHROTTLE = 6, FORK = 7, READ = 8,
        SAMPLE = 9, MMAP2 = 10, AUX = 11, ITRACE_START = 12, LOST_SAMPLES = 13, SWITCH = 14,
        SWITCH_CPU_WIDE = 15, NAMESPACES = 16, KSYMBOL = 17, BPF_EVENT = 18, CGROUP = 19,
        TEXT_POKE = 20, AUX_OUTPUT_HW_ID = 21,
        HEADER_ATTR = 64, HEADER_EVENT_TYPE = 65, HEADER_TRACING_DATA = 66,
        HEADER_BUILD_ID = 67, FINISHED_ROUND = 68, ID_INDEX = 69, AUXTRACE_INFO = 70,
        AUXTRACE = 71, AUXTRACE_ERROR = 72, THREAD_MAP = 73, CPU_MAP = 74, STAT_CONFIG = 75,
        STAT = 76, STAT_ROUND = 77, EVENT_UPDATE = 78, TIME_CONV = 79, HEADER_FEATURE = 80,
        COMPRESSED = 81, FINISHED_INIT = 82, COMPRESSED2 = 83,
    }
}
numbers! {
    /// `perf_event_header.misc`. Bits 13 and 14 mean different things in different records.
    misc: u16 {
        CPUMODE_MASK = 7, KERNEL = 1, USER = 2, HYPERVISOR = 3, GUEST_KERNEL = 4, GUEST_USER = 5,
        MMAP_DATA = 1 << 13, COMM_EXEC = 1 << 13, FORK_EXEC = 1 << 13, SWITCH_OUT = 1 << 13,
        EXACT_IP = 1 << 14, SWITCH_OUT_PREEMPT = 1 << 14, MMAP_BUILD_ID = 1 << 14,
        BUILD_ID_SIZE = 1 << 15,
    }
}
numbers! {
    /// Entries of a callchain from [`callchain::FIRST`] on are not addresses: they say in which
    /// mode the following ones ran.
    callchain: u64 {
        HYPERVISOR = -32i64 as u64, KERNEL = -128i64 as u64, USER = -512i64 as u64,
        USER_DEFERRED = -640i64 as u64, GUEST = -2048i64 as u64,
        GUEST_KERNEL = -2176i64 as u64, GUEST_USER = -2560i64 as u64, FIRST = -4095i64 as u64,
    }
}
numbers! {
    /// x86-64 registers as `sample_regs_user` numbers them.
    x86_reg: u32 { AX = 0, BX = 1, CX = 2, DX = 3, SI = 4, DI = 5, BP = 6, SP = 7, IP = 8 }
}
numbers! {
    /// AArch64 registers as `sample_regs_user` numbers them.
    aarch64_reg: u32 { X0 = 0, FP = 29, LR = 30, SP = 31, PC = 32 }
}

/// The x86-64 user registers that the kernel can give: all but the segments that 64-bit code has
/// no use for.
pub const X86_USER_REGS: u64 = 0xff_0fff;

/// The registers of AArch64: x0 to x30, the stack pointer, the instruction pointer.
pub const AARCH64_USER_REGS: u64 = (1 << 33) - 1;

/// What newer kernels have besides on AArch64: the length of vectors.
pub const AARCH64_VG: u64 = 1 << 46;
/// The largest stack copy that `perf_event_open` accepts, in bytes.
pub const MAX_STACK_COPY: u32 = 65_528;
