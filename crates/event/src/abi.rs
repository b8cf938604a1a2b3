//! Numbers of the perf ABI, by the names that the kernel's header has for them.
//!
//! Those of `include/uapi/linux/perf_event.h` come from `perf-event-open-sys`, which generates them from
//! it. What that header has no constant for is `own`, with its source: bits of fields, records that perf
//! writes only into its files, and registers, whose numbers the header has only for the CPU that it was
//! compiled for; a file may be of another one.

/// Makes a module of constants of one type. `kernel` are those of the header, the only place where its
/// types, which differ, become ours.
macro_rules! numbers {
    (
        $(#[$doc:meta])*
        $module:ident: $type:ty;
        $(kernel { $($name:ident = $kernel:ident),* $(,)? })?
        $(own { $($own:ident = $value:expr),* $(,)? })?
    ) => {
        $(#[$doc])*
        pub mod $module {
            $($(
                #[doc = concat!("`", stringify!($kernel), "`.")]
                pub const $name: $type = perf_event_open_sys::bindings::$kernel as $type;
                const _: () = assert!($name as u64 == perf_event_open_sys::bindings::$kernel as u64);
            )*)?
            $($(
                #[allow(missing_docs)] // the module says what they are
                pub const $own: $type = $value;
            )*)?
        }
    };
}

numbers! {
    /// `perf_event_attr.type`.
    event_type: u32;
    kernel {
        HARDWARE = PERF_TYPE_HARDWARE, SOFTWARE = PERF_TYPE_SOFTWARE,
        TRACEPOINT = PERF_TYPE_TRACEPOINT, HW_CACHE = PERF_TYPE_HW_CACHE, RAW = PERF_TYPE_RAW,
        BREAKPOINT = PERF_TYPE_BREAKPOINT,
    }
}
numbers! {
    /// `perf_event_attr.config` of hardware events.
    hardware: u64;
    kernel {
        CPU_CYCLES = PERF_COUNT_HW_CPU_CYCLES, INSTRUCTIONS = PERF_COUNT_HW_INSTRUCTIONS,
        CACHE_REFERENCES = PERF_COUNT_HW_CACHE_REFERENCES,
        CACHE_MISSES = PERF_COUNT_HW_CACHE_MISSES,
        BRANCH_INSTRUCTIONS = PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
        BRANCH_MISSES = PERF_COUNT_HW_BRANCH_MISSES, BUS_CYCLES = PERF_COUNT_HW_BUS_CYCLES,
        STALLED_CYCLES_FRONTEND = PERF_COUNT_HW_STALLED_CYCLES_FRONTEND,
        STALLED_CYCLES_BACKEND = PERF_COUNT_HW_STALLED_CYCLES_BACKEND,
        REF_CPU_CYCLES = PERF_COUNT_HW_REF_CPU_CYCLES,
    }
}
numbers! {
    /// `perf_event_attr.config` of software events.
    software: u64;
    kernel {
        CPU_CLOCK = PERF_COUNT_SW_CPU_CLOCK, TASK_CLOCK = PERF_COUNT_SW_TASK_CLOCK,
        PAGE_FAULTS = PERF_COUNT_SW_PAGE_FAULTS, CONTEXT_SWITCHES = PERF_COUNT_SW_CONTEXT_SWITCHES,
        CPU_MIGRATIONS = PERF_COUNT_SW_CPU_MIGRATIONS,
        PAGE_FAULTS_MIN = PERF_COUNT_SW_PAGE_FAULTS_MIN,
        PAGE_FAULTS_MAJ = PERF_COUNT_SW_PAGE_FAULTS_MAJ,
        ALIGNMENT_FAULTS = PERF_COUNT_SW_ALIGNMENT_FAULTS,
        EMULATION_FAULTS = PERF_COUNT_SW_EMULATION_FAULTS, DUMMY = PERF_COUNT_SW_DUMMY,
        BPF_OUTPUT = PERF_COUNT_SW_BPF_OUTPUT, CGROUP_SWITCHES = PERF_COUNT_SW_CGROUP_SWITCHES,
    }
}
numbers! {
    /// `perf_event_attr.config` of cache events: a cache, an operation << 8, a result << 16.
    cache: u64;
    kernel {
        L1D = PERF_COUNT_HW_CACHE_L1D, L1I = PERF_COUNT_HW_CACHE_L1I, LL = PERF_COUNT_HW_CACHE_LL,
        DTLB = PERF_COUNT_HW_CACHE_DTLB, ITLB = PERF_COUNT_HW_CACHE_ITLB,
        BPU = PERF_COUNT_HW_CACHE_BPU, NODE = PERF_COUNT_HW_CACHE_NODE,
        OP_READ = PERF_COUNT_HW_CACHE_OP_READ, OP_WRITE = PERF_COUNT_HW_CACHE_OP_WRITE,
        OP_PREFETCH = PERF_COUNT_HW_CACHE_OP_PREFETCH,
        RESULT_ACCESS = PERF_COUNT_HW_CACHE_RESULT_ACCESS,
        RESULT_MISS = PERF_COUNT_HW_CACHE_RESULT_MISS,
    }
}
numbers! {
    /// Which fields a sample has: `perf_event_attr.sample_type`.
    sample: u64;
    kernel {
        IP = PERF_SAMPLE_IP, TID = PERF_SAMPLE_TID, TIME = PERF_SAMPLE_TIME,
        ADDR = PERF_SAMPLE_ADDR, READ = PERF_SAMPLE_READ, CALLCHAIN = PERF_SAMPLE_CALLCHAIN,
        ID = PERF_SAMPLE_ID, CPU = PERF_SAMPLE_CPU, PERIOD = PERF_SAMPLE_PERIOD,
        STREAM_ID = PERF_SAMPLE_STREAM_ID, RAW = PERF_SAMPLE_RAW,
        BRANCH_STACK = PERF_SAMPLE_BRANCH_STACK, REGS_USER = PERF_SAMPLE_REGS_USER,
        STACK_USER = PERF_SAMPLE_STACK_USER, WEIGHT = PERF_SAMPLE_WEIGHT,
        DATA_SRC = PERF_SAMPLE_DATA_SRC, IDENTIFIER = PERF_SAMPLE_IDENTIFIER,
        TRANSACTION = PERF_SAMPLE_TRANSACTION, REGS_INTR = PERF_SAMPLE_REGS_INTR,
        PHYS_ADDR = PERF_SAMPLE_PHYS_ADDR, AUX = PERF_SAMPLE_AUX, CGROUP = PERF_SAMPLE_CGROUP,
        DATA_PAGE_SIZE = PERF_SAMPLE_DATA_PAGE_SIZE, CODE_PAGE_SIZE = PERF_SAMPLE_CODE_PAGE_SIZE,
        WEIGHT_STRUCT = PERF_SAMPLE_WEIGHT_STRUCT,
    }
}
numbers! {
    /// Which program the registers of a sample are of.
    registers_abi: u64;
    kernel {
        NONE = PERF_SAMPLE_REGS_ABI_NONE, BITS_32 = PERF_SAMPLE_REGS_ABI_32,
        BITS_64 = PERF_SAMPLE_REGS_ABI_64,
    }
}
numbers! {
    /// Which fields a read value has: `perf_event_attr.read_format`.
    read_format: u64;
    kernel {
        TOTAL_TIME_ENABLED = PERF_FORMAT_TOTAL_TIME_ENABLED,
        TOTAL_TIME_RUNNING = PERF_FORMAT_TOTAL_TIME_RUNNING, ID = PERF_FORMAT_ID,
        GROUP = PERF_FORMAT_GROUP, LOST = PERF_FORMAT_LOST,
    }
}
numbers! {
    /// The bits of `perf_event_attr.branch_sample_type` that change the layout.
    branch: u64;
    kernel {
        HW_INDEX = PERF_SAMPLE_BRANCH_HW_INDEX, COUNTERS = PERF_SAMPLE_BRANCH_COUNTERS,
    }
}
numbers! {
    /// The bits of the flag word of `perf_event_attr`, at offset 40, which are fields of one bit in the
    /// header. `precise_ip` is a field of two.
    flag: u64;
    own {
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
    /// `perf_event_header.type`. From 64 on they are perf's own and occur only in its files; source:
    /// `tools/perf/Documentation/perf.data-file-format.txt`.
    record: u32;
    kernel {
        MMAP = PERF_RECORD_MMAP, LOST = PERF_RECORD_LOST, COMM = PERF_RECORD_COMM,
        EXIT = PERF_RECORD_EXIT, THROTTLE = PERF_RECORD_THROTTLE,
        UNTHROTTLE = PERF_RECORD_UNTHROTTLE, FORK = PERF_RECORD_FORK, READ = PERF_RECORD_READ,
        SAMPLE = PERF_RECORD_SAMPLE, MMAP2 = PERF_RECORD_MMAP2, AUX = PERF_RECORD_AUX,
        ITRACE_START = PERF_RECORD_ITRACE_START, LOST_SAMPLES = PERF_RECORD_LOST_SAMPLES,
        SWITCH = PERF_RECORD_SWITCH, SWITCH_CPU_WIDE = PERF_RECORD_SWITCH_CPU_WIDE,
        NAMESPACES = PERF_RECORD_NAMESPACES, KSYMBOL = PERF_RECORD_KSYMBOL,
        BPF_EVENT = PERF_RECORD_BPF_EVENT, CGROUP = PERF_RECORD_CGROUP,
        TEXT_POKE = PERF_RECORD_TEXT_POKE, AUX_OUTPUT_HW_ID = PERF_RECORD_AUX_OUTPUT_HW_ID,
    }
    own {
        HEADER_ATTR = 64, HEADER_EVENT_TYPE = 65, HEADER_TRACING_DATA = 66,
        HEADER_BUILD_ID = 67, FINISHED_ROUND = 68, ID_INDEX = 69, AUXTRACE_INFO = 70,
        AUXTRACE = 71, AUXTRACE_ERROR = 72, THREAD_MAP = 73, CPU_MAP = 74, STAT_CONFIG = 75,
        STAT = 76, STAT_ROUND = 77, EVENT_UPDATE = 78, TIME_CONV = 79, HEADER_FEATURE = 80,
        COMPRESSED = 81, FINISHED_INIT = 82, COMPRESSED2 = 83,
    }
}
numbers! {
    /// `perf_event_header.misc`. Bits 13 and 14 mean different things in different records.
    /// `BUILD_ID_SIZE` is perf's own, of the build-ids in its files: a size stands beside the id.
    misc: u16;
    kernel {
        CPUMODE_MASK = PERF_RECORD_MISC_CPUMODE_MASK, KERNEL = PERF_RECORD_MISC_KERNEL,
        USER = PERF_RECORD_MISC_USER, HYPERVISOR = PERF_RECORD_MISC_HYPERVISOR,
        GUEST_KERNEL = PERF_RECORD_MISC_GUEST_KERNEL, GUEST_USER = PERF_RECORD_MISC_GUEST_USER,
        MMAP_DATA = PERF_RECORD_MISC_MMAP_DATA, COMM_EXEC = PERF_RECORD_MISC_COMM_EXEC,
        FORK_EXEC = PERF_RECORD_MISC_FORK_EXEC, SWITCH_OUT = PERF_RECORD_MISC_SWITCH_OUT,
        EXACT_IP = PERF_RECORD_MISC_EXACT_IP,
        SWITCH_OUT_PREEMPT = PERF_RECORD_MISC_SWITCH_OUT_PREEMPT,
        MMAP_BUILD_ID = PERF_RECORD_MISC_MMAP_BUILD_ID,
    }
    own { BUILD_ID_SIZE = 1 << 15 }
}
numbers! {
    /// What code a KSYMBOL record is about.
    ksymbol: u16;
    kernel { BPF = PERF_RECORD_KSYMBOL_TYPE_BPF }
}
numbers! {
    /// Entries of a callchain from [`callchain::FIRST`] on are not addresses: they say in which
    /// mode the following ones ran.
    callchain: u64;
    kernel {
        HYPERVISOR = PERF_CONTEXT_HV, KERNEL = PERF_CONTEXT_KERNEL, USER = PERF_CONTEXT_USER,
        USER_DEFERRED = PERF_CONTEXT_USER_DEFERRED, GUEST = PERF_CONTEXT_GUEST,
        GUEST_KERNEL = PERF_CONTEXT_GUEST_KERNEL, GUEST_USER = PERF_CONTEXT_GUEST_USER,
        FIRST = PERF_CONTEXT_MAX,
    }
}
numbers! {
    /// x86-64 registers as `sample_regs_user` numbers them; source:
    /// `arch/x86/include/uapi/asm/perf_regs.h`.
    x86_reg: u32;
    own { AX = 0, BX = 1, CX = 2, DX = 3, SI = 4, DI = 5, BP = 6, SP = 7, IP = 8 }
}
numbers! {
    /// AArch64 registers as `sample_regs_user` numbers them; source:
    /// `arch/arm64/include/uapi/asm/perf_regs.h`.
    aarch64_reg: u32;
    own { X0 = 0, FP = 29, LR = 30, SP = 31, PC = 32 }
}

/// The x86-64 user registers that the kernel can give: all but the segments that 64-bit code has
/// no use for.
pub const X86_USER_REGS: u64 = 0xff_0fff;

/// The registers of AArch64: x0 to x30, the stack pointer, the instruction pointer.
pub const AARCH64_USER_REGS: u64 = (1 << 33) - 1;

/// What newer kernels have besides on AArch64: the length of vectors.
pub const AARCH64_VG: u64 = 1 << 46;
/// The largest stack copy that `perf_event_open` accepts, in bytes: what fits into a record's 16-bit
/// size, in steps of eight. The header does not say it.
pub const MAX_STACK_COPY: u32 = 65_528;

#[cfg(test)]
mod tests {
    use perf_event_open_sys::bindings::{self, perf_event_attr};

    use super::*;

    #[test]
    fn every_flag_is_the_headers_field_of_one_bit() {
        macro_rules! check {
            ($($set:ident = $flag:ident),* $(,)?) => {
                $(
                    let mut attr = perf_event_attr::default();
                    attr.$set(1);
                    let word = attr._bitfield_1.get(0, 64);
                    assert_eq!(word, flag::$flag, stringify!($flag));
                )*
            };
        }
        check! {
            set_disabled = DISABLED, set_inherit = INHERIT, set_pinned = PINNED,
            set_exclusive = EXCLUSIVE, set_exclude_user = EXCLUDE_USER,
            set_exclude_kernel = EXCLUDE_KERNEL, set_exclude_hv = EXCLUDE_HV,
            set_exclude_idle = EXCLUDE_IDLE, set_mmap = MMAP, set_comm = COMM, set_freq = FREQ,
            set_inherit_stat = INHERIT_STAT, set_enable_on_exec = ENABLE_ON_EXEC,
            set_task = TASK, set_watermark = WATERMARK, set_precise_ip = PRECISE_IP_1,
            set_mmap_data = MMAP_DATA, set_sample_id_all = SAMPLE_ID_ALL,
            set_exclude_host = EXCLUDE_HOST, set_exclude_guest = EXCLUDE_GUEST,
            set_exclude_callchain_kernel = EXCLUDE_CALLCHAIN_KERNEL,
            set_exclude_callchain_user = EXCLUDE_CALLCHAIN_USER, set_mmap2 = MMAP2,
            set_comm_exec = COMM_EXEC, set_use_clockid = USE_CLOCKID,
            set_context_switch = CONTEXT_SWITCH, set_write_backward = WRITE_BACKWARD,
            set_namespaces = NAMESPACES, set_ksymbol = KSYMBOL, set_bpf_event = BPF_EVENT,
            set_aux_output = AUX_OUTPUT, set_cgroup = CGROUP, set_text_poke = TEXT_POKE,
            set_build_id = BUILD_ID,
        }
        let mut attr = perf_event_attr::default();
        attr.set_precise_ip(2);
        assert_eq!(attr._bitfield_1.get(0, 64), flag::PRECISE_IP_2);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn registers_have_the_numbers_of_this_cpus_header() {
        use bindings::*;
        use x86_reg::*;
        let ours = [AX, BX, CX, DX, SI, DI, BP, SP, IP];
        let theirs = [
            PERF_REG_X86_AX,
            PERF_REG_X86_BX,
            PERF_REG_X86_CX,
            PERF_REG_X86_DX,
            PERF_REG_X86_SI,
            PERF_REG_X86_DI,
            PERF_REG_X86_BP,
            PERF_REG_X86_SP,
            PERF_REG_X86_IP,
        ];
        assert_eq!(ours, theirs);
        let segments = [
            PERF_REG_X86_DS,
            PERF_REG_X86_ES,
            PERF_REG_X86_FS,
            PERF_REG_X86_GS,
        ];
        let all = (1 << PERF_REG_X86_64_MAX) - 1;
        let left_out = segments.iter().fold(0, |mask, number| mask | 1 << number);
        assert_eq!(X86_USER_REGS, all & !left_out);
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn registers_have_the_numbers_of_this_cpus_header() {
        use aarch64_reg::*;
        use bindings::*;
        let theirs = [
            PERF_REG_ARM64_X0,
            PERF_REG_ARM64_X29,
            PERF_REG_ARM64_LR,
            PERF_REG_ARM64_SP,
            PERF_REG_ARM64_PC,
        ];
        assert_eq!([X0, FP, LR, SP, PC], theirs);
        assert_eq!(AARCH64_USER_REGS, (1 << PERF_REG_ARM64_MAX) - 1);
        assert_eq!(AARCH64_VG, 1 << PERF_REG_ARM64_VG);
    }
}
