use std::fmt;

/// An address in the sampled process, or in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtAddr(pub u64);

/// The same place as its DSO numbers it, independent of where the DSO is mapped.
///
/// For an ELF file this is the offset in the file, `ip - mapping.start + mapping.pgoff`, which is
/// what perf prints. Kernel text, modules, BPF programs and JIT memory have no file: for them it is
/// the virtual address itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DsoAddr(pub u64);

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtAddr({:#x})", self.0)
    }
}

impl fmt::Debug for DsoAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DsoAddr({:#x})", self.0)
    }
}
