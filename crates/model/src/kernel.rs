/// Where the kernel's own text lies in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelText {
    /// First address: that of [`KernelText::reference`].
    pub start: u64,
    /// First address behind it: `_etext`.
    pub end: u64,
    /// The symbol at `start`, `_text` or `_stext`. A reader that knows where the kernel's file has it
    /// can tell by how much the kernel was moved.
    pub reference: String,
}

/// A BPF program, or other code that the kernel has generated, and lists in `[bpf]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelProgram {
    /// `bpf_prog_TAG_NAME`.
    pub name: String,
    /// Its first address.
    pub start: u64,
    /// How far it reaches at most, in bytes.
    pub len: u32,
}

/// Where the code of the running kernel lies, without its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLayout {
    /// Its own text.
    pub text: KernelText,
    /// The programs that are loaded.
    pub programs: Vec<KernelProgram>,
}
