//! What a JIT compiler tells about its code in `jit-PID.dump`.

use std::path::Path;

/// A dump that is being written.
pub(crate) struct JitDump(Vec<u8>);

impl JitDump {
    /// With nothing but its header.
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::new();
        for word in [0x4a69_5444_u32, 1, 40, 62, 0, 7] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend([0_u8; 16]); // when, and flags
        Self(bytes)
    }

    /// Announces code at a time. Returns its offset in the dump.
    pub(crate) fn load(&mut self, time: u64, address: u64, size: usize, name: &str) -> u64 {
        let total = 16 + 40 + name.len() + 1 + size;
        self.0.extend(0_u32.to_ne_bytes());
        self.0.extend((total as u32).to_ne_bytes());
        let index = self.0.len() as u64;
        for word in [time, 7, address, address, size as u64, index] {
            self.0.extend(word.to_ne_bytes());
        }
        self.0.extend(name.as_bytes());
        self.0.push(0);
        let offset = self.0.len() as u64;
        self.0.resize(self.0.len() + size, 0x90);
        offset
    }

    pub(crate) fn save(&self, path: &Path) {
        std::fs::write(path, &self.0).expect("a file");
    }
}
