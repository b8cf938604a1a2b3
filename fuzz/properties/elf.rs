//! ELF programs with given sections, for those who read only one of them, or with nothing but segments.

/// Where the text is loaded, and where it lies in the file.
pub(crate) const TEXT: u64 = 0x1000;

/// ELF's numbers of machines.
pub(crate) const X86_64: u16 = 62;
pub(crate) const AARCH64: u16 = 183;

/// A program: text that may be executed, and sections of other names.
pub(crate) fn program(machine: u16, text: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut headers = vec![[0_u64; 7]]; // name, type, flags, address, offset, size, alignment
    let mut file = vec![0; TEXT as usize];
    file.extend(text);
    let all = std::iter::once((".text", text)).chain(sections.iter().copied());
    for (index, (name, bytes)) in all.enumerate() {
        let is_text = index == 0;
        file.resize(file.len().next_multiple_of(8), 0);
        let offset = if is_text { TEXT } else { file.len() as u64 };
        if !is_text {
            file.extend(bytes);
        }
        let flags = if is_text { 6 } else { 2 }; // allocated, executable
        let size = bytes.len() as u64;
        headers.push([names.len() as u64, 1, flags, offset, offset, size, 8]);
        names.extend(name.as_bytes());
        names.push(0);
    }
    headers.push([names.len() as u64, 3, 0, 0, file.len() as u64, 0, 1]);
    names.extend(b".shstrtab\0");
    let last = headers.last_mut().expect("pushed");
    last[5] = names.len() as u64;
    file.extend(&names);
    let loaded = file.len() as u64;
    let table = file.len().next_multiple_of(8);
    file.resize(table, 0);
    for [name, kind, flags, address, offset, size, alignment] in &headers {
        file.extend((*name as u32).to_le_bytes());
        file.extend((*kind as u32).to_le_bytes());
        for word in [flags, address, offset, size, &0, alignment, &0] {
            file.extend(word.to_le_bytes());
        }
    }
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([3_u16, machine].map(u16::to_le_bytes).concat()); // a shared object
    header.extend(1_u32.to_le_bytes());
    header.extend([0, 64, table as u64].map(u64::to_le_bytes).concat());
    header.extend(0_u32.to_le_bytes());
    let counts = [
        64,
        56,
        1,
        64,
        headers.len() as u16,
        headers.len() as u16 - 1,
    ];
    header.extend(counts.map(u16::to_le_bytes).concat());
    header.extend([1_u32, 5].map(u32::to_le_bytes).concat()); // loaded, to be read and executed
    header.extend(
        [0, 0, 0, loaded, loaded, 0x1000]
            .map(u64::to_le_bytes)
            .concat(),
    );
    file[..header.len()].copy_from_slice(&header);
    file
}

/// What a segment is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Constants,
    Data,
    Dynamic,
}

/// A program with these segments at these virtual addresses, whose first instruction is at `entry`. It has no
/// section headers. The first segment lies at [`TEXT`] in the file.
pub(crate) fn segments(machine: u16, entry: u64, segments: &[(Kind, u64, &[u8])]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([3_u16, machine].map(u16::to_le_bytes).concat()); // a shared object
    file.extend(1_u32.to_le_bytes());
    file.extend([entry, 64, 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    let counts = [64, 56, segments.len() as u16, 64, 0, 0];
    file.extend(counts.map(u16::to_le_bytes).concat());
    let mut offset = TEXT;
    for &(kind, vaddr, content) in segments {
        let (part, flags) = match kind {
            Kind::Code => (1_u32, 5_u32), // loaded, to be read and executed
            Kind::Constants => (1, 4),
            Kind::Data => (1, 6), // to be read and written
            Kind::Dynamic => (2, 6),
        };
        let size = content.len() as u64;
        file.extend([part, flags].map(u32::to_le_bytes).concat());
        let words = [offset, vaddr, vaddr, size, size, 8];
        file.extend(words.map(u64::to_le_bytes).concat());
        offset += size;
    }
    file.resize(TEXT as usize, 0);
    for (_, _, content) in segments {
        file.extend_from_slice(content);
    }
    file
}
