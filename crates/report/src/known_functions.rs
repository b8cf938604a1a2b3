//! Functions whose names tell what they are for, whosever program they are in.

/// What a frame that begins a thread or passes a call on is called: it stands on every path and says nothing.
const PASSING: [&str; 52] = [
    // the C library
    "_start",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "__libc_start_main@@GLIBC_2.34",
    "start_thread",
    "clone",
    "__clone",
    "clone3",
    "__clone3",
    "execute_native_thread_routine",
    // Go
    "runtime.goexit",
    "runtime.goexit.abi0",
    "runtime.main",
    "runtime.mcall",
    "runtime.mcall.abi0",
    "runtime.systemstack",
    "runtime.systemstack.abi0",
    "runtime.mstart",
    "runtime.mstart.abi0",
    "runtime.mstart0",
    "runtime.mstart1",
    "net/http.(*Server).Serve.gowrap3",
    "net/http.(*conn).serve",
    "net/http.serverHandler.ServeHTTP",
    "net/http.(*ServeMux).ServeHTTP",
    "net/http.HandlerFunc.ServeHTTP",
    // Rust
    "std::panicking::try",
    // Java
    "Interpreter",
    "StubRoutines (initial stubs)",
    "StubRoutines (1)",
    "call_stub",
    "java.lang.Thread.run",
    "java.lang.Thread.runWith",
    "thread_native_entry",
    "thread_entry",
    "Thread::call_run",
    "JavaThread::run",
    "JavaThread::thread_main_inner",
    "JavaCalls::call_helper",
    "JavaCalls::call_virtual",
    "ThreadJavaMain",
    "JavaMain",
    // the kernel
    "entry_SYSCALL_64_after_hwframe",
    "do_syscall_64",
    "x64_sys_call",
    "asm_sysvec_apic_timer_interrupt",
    "ret_from_fork",
    "ret_from_fork_asm",
    "el0t_64_sync",
    "el0t_64_sync_handler",
    "el0_svc",
];

/// What stands for all that a Rust thread goes through before its own code, with whatever type parameters.
const RUST_PASSING: [&str; 7] = [
    "lang_start",
    "thread_start",
    "spawn_unchecked",
    "catch_unwind",
    "do_call<",
    "call_once",
    "__rust_begin_short_backtrace",
];

/// Whether a frame stands on every path and says nothing.
pub(crate) fn is_passing(name: &str) -> bool {
    let is_of_rust = || {
        let starts = [
            "std::", "<std::", "core::", "<core::", "<alloc::", "{closure", "do_call<",
        ];
        let has = |words: &[&str], test: fn(&str, &str) -> bool| {
            words.iter().any(|word| test(name, word))
        };
        let parameters = ["call_once<", "catch_unwind<"];
        has(&parameters, |name, word| name.starts_with(word))
            || has(&starts, |name, word| name.starts_with(word))
                && has(&RUST_PASSING, |name, word| name.contains(word))
            || name.starts_with("{closure#") && name.contains(", ()>")
    };
    PASSING.contains(&name) || name.starts_with("net/http.(*Server).Serve.") || is_of_rust()
}

/// The first parts of the paths of packages that come with Go.
const OF_GO: [&str; 46] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "vendor",
];

/// Whether a package, or a module for want of one, is not of the program itself but comes with its language or
/// system: then the line that calls it says more than one in it.
pub(crate) fn is_library(package: &str, module: &str) -> bool {
    const OF_RUST: [&str; 6] = [
        "std",
        "core",
        "alloc",
        "hashbrown",
        "__rustc",
        "compiler_builtins",
    ];
    const OF_JAVA: [&str; 4] = ["java.", "jdk.", "sun.", "javax."];
    if package != module {
        let first = package.split('/').next().unwrap_or_default();
        return OF_RUST.contains(&package)
            || OF_GO.contains(&first)
            || OF_JAVA.iter().any(|start| package.starts_with(start));
    }
    let is_generated = module == "[JIT]";
    module.starts_with("lib")
        || module.starts_with("ld-")
        || module.starts_with('[') && !is_generated
}

/// Work that people know by another word than the functions that do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKind {
    /// A runtime looks for memory that is not used any more.
    GarbageCollection,
    /// Memory is given out or taken back.
    Allocation,
    /// Memory is touched for the first time, or is not there.
    PageFaults,
    /// CPUs wait for each other's locks in the kernel.
    KernelLocks,
    /// The kernel looks for memory that it can take away.
    Reclaim,
    /// What interrupts left to do later, such as packets.
    SoftIrq,
    /// A runtime compiles.
    JitCompilation,
}

impl WorkKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::GarbageCollection,
        Self::Allocation,
        Self::PageFaults,
        Self::KernelLocks,
        Self::Reclaim,
        Self::SoftIrq,
        Self::JitCompilation,
    ];

    /// What people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::GarbageCollection => "garbage collection",
            Self::Allocation => "memory allocation",
            Self::PageFaults => "page faults",
            Self::KernelLocks => "kernel spin locks",
            Self::Reclaim => "memory reclaim",
            Self::SoftIrq => "softirq",
            Self::JitCompilation => "JIT compilation",
        }
    }

    /// A key for programs.
    pub fn key(self) -> &'static str {
        match self {
            Self::GarbageCollection => "garbage_collection",
            Self::Allocation => "allocation",
            Self::PageFaults => "page_faults",
            Self::KernelLocks => "kernel_locks",
            Self::Reclaim => "reclaim",
            Self::SoftIrq => "softirq",
            Self::JitCompilation => "jit_compilation",
        }
    }

    /// What a function is for, with all that it calls.
    pub(crate) fn of_function(name: &str) -> Option<Self> {
        const STARTS: [(&str, WorkKind); 12] = [
            ("runtime.gcBgMarkWorker", WorkKind::GarbageCollection),
            ("runtime.gcAssistAlloc", WorkKind::GarbageCollection),
            ("runtime.gcStart", WorkKind::GarbageCollection),
            ("runtime.bgsweep", WorkKind::GarbageCollection),
            ("runtime.mallocgc", WorkKind::Allocation),
            ("_int_malloc", WorkKind::Allocation),
            ("_int_free", WorkKind::Allocation),
            ("operator new", WorkKind::Allocation),
            ("operator delete", WorkKind::Allocation),
            ("je_", WorkKind::Allocation),
            ("mi_", WorkKind::Allocation),
            ("__rust_alloc", WorkKind::Allocation),
        ];
        Some(match name {
            "malloc" | "free" | "calloc" | "realloc" | "__libc_malloc" | "__libc_free"
            | "cfree" | "__libc_calloc" | "__libc_realloc" | "posix_memalign"
            | "malloc_consolidate" | "unlink_chunk" | "tcache_free" => Self::Allocation,
            "asm_exc_page_fault" | "exc_page_fault" | "do_user_addr_fault" | "el0_da"
            | "el0_ia" | "do_page_fault" | "handle_mm_fault" => Self::PageFaults,
            "native_queued_spin_lock_slowpath"
            | "queued_spin_lock_slowpath"
            | "queued_write_lock_slowpath"
            | "queued_read_lock_slowpath"
            | "osq_lock"
            | "rwsem_spin_on_owner"
            | "mutex_spin_on_owner"
            | "__pv_queued_spin_lock_slowpath" => Self::KernelLocks,
            "try_to_free_pages"
            | "try_to_free_mem_cgroup_pages"
            | "shrink_node"
            | "kswapd"
            | "balance_pgdat" => Self::Reclaim,
            "handle_softirqs" | "__do_softirq" | "do_softirq" | "run_ksoftirqd" => Self::SoftIrq,
            _ => STARTS.iter().find(|(start, _)| name.starts_with(start))?.1,
        })
    }

    /// What a thread of a runtime is for.
    pub(crate) fn of_thread(comm: &str) -> Option<Self> {
        const STARTS: [(&str, WorkKind); 9] = [
            ("GC Thread#", WorkKind::GarbageCollection),
            ("G1 ", WorkKind::GarbageCollection),
            ("Shenandoah GC", WorkKind::GarbageCollection),
            ("ZWorker", WorkKind::GarbageCollection),
            ("ZDriver", WorkKind::GarbageCollection),
            (".NET Server GC", WorkKind::GarbageCollection),
            ("C2 CompilerThre", WorkKind::JitCompilation),
            ("C1 CompilerThre", WorkKind::JitCompilation),
            ("kswapd", WorkKind::Reclaim),
        ];
        STARTS
            .iter()
            .find(|(start, _)| comm.starts_with(start))
            .map(|it| it.1)
    }
}

/// To what library, package or program a function belongs, by its name, or else by its module. `is_generated` for code
/// of a Java virtual machine, whose names end in a class and a method.
pub(crate) fn package<'a>(name: &'a str, module: &'a str, is_generated: bool) -> &'a str {
    let plain = name.trim_start_matches(['<', '&', '*', '(']);
    let plain = plain.strip_prefix("dyn ").unwrap_or(plain);
    if let Some((first, _)) = plain.split_once("::")
        && first.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !first.is_empty()
    {
        return first;
    }
    if is_generated {
        let package = name.rsplitn(3, '.').nth(2);
        return package.unwrap_or(module);
    }
    // Go: `net/http.(*conn).serve`; of C only what the compiler made of a function has a dot
    let last = name.rfind('/').map_or(0, |at| at + 1);
    const OF_COMPILERS: [&str; 6] = ["isra", "constprop", "part", "cold", "llvm", "lto_priv"];
    if let Some((package, rest)) = name[last..].split_once('.')
        && !package.is_empty()
        && !rest.starts_with(|c: char| c.is_ascii_digit())
        && !OF_COMPILERS.iter().any(|word| rest.starts_with(word))
    {
        return &name[..last + package.len()];
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_package_in_its_name_or_to_its_module() {
        let cases = [
            ("regexp.MustCompile", "regexp"),
            ("net/http.(*conn).serve", "net/http"),
            ("main.order", "main"),
            (
                "<alloc::vec::Vec<T> as core::iter::Extend>::extend",
                "alloc",
            ),
            ("serde_json::de::from_str", "serde_json"),
            ("parse_number.isra.0", "[module]"),
            ("helper.llvm.12345", "[module]"),
            ("vfs_read", "[module]"),
            ("operator new", "[module]"),
        ];
        for (name, expected) in cases {
            assert_eq!(package(name, "[module]", false), expected, "{name}");
        }
        assert_eq!(
            package("java.util.HashMap.resize", "[JIT]", true),
            "java.util"
        );
        assert_eq!(package("Main.run", "[JIT]", true), "[JIT]");
    }

    #[test]
    fn what_comes_with_a_language_or_system_is_not_the_program() {
        let of_system = [
            ("regexp", "shop"),
            ("net/http", "shop"),
            ("std", "shop"),
            ("java.util", "[JIT]"),
            ("libc.so.6", "libc.so.6"),
            ("[kernel.kallsyms]", "[kernel.kallsyms]"),
        ];
        assert!(
            of_system
                .into_iter()
                .all(|(package, module)| is_library(package, module))
        );
        let own = [
            ("main", "shop"),
            ("shop/catalog", "shop"),
            ("shop", "shop"),
            ("com.shop", "[JIT]"),
        ];
        assert!(
            !own.into_iter()
                .any(|(package, module)| is_library(package, module))
        );
    }

    #[test]
    fn well_known_work_has_its_plain_name() {
        let kinds = [
            "runtime.gcBgMarkWorker.func2",
            "malloc",
            "asm_exc_page_fault",
            "order",
        ];
        let kinds = kinds.map(WorkKind::of_function);
        let expected = [
            Some(WorkKind::GarbageCollection),
            Some(WorkKind::Allocation),
            Some(WorkKind::PageFaults),
            None,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(
            WorkKind::of_thread("G1 Conc#0"),
            Some(WorkKind::GarbageCollection)
        );
        let passing = [
            "runtime.goexit",
            "<std::sys::thread::unix::Thread>::new::thread_start",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "{closure#0}<server::run::{closure_env#0}, ()>",
        ];
        assert!(passing.into_iter().all(is_passing));
        let told = [
            "main",
            "server::call_once",
            "std::collections::HashMap::insert",
        ];
        assert!(!told.into_iter().any(is_passing));
    }
}
