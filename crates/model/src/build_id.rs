use std::fmt;

/// The identity that the linker gave a file (`NT_GNU_BUILD_ID`): up to 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId {
    bytes: [u8; 20],
    len: u8,
}

impl BuildId {
    /// Keeps the first 20 bytes, as perf does; `None` if there are none.
    pub fn new(id: &[u8]) -> Option<Self> {
        if id.is_empty() {
            return None;
        }
        let len = id.len().min(20);
        let mut bytes = [0; 20];
        bytes[..len].copy_from_slice(&id[..len]);
        Some(Self {
            bytes,
            len: len as u8,
        })
    }

    /// The bytes, as many as the id has.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_prints_as_hex_and_an_empty_one_is_none() {
        assert_eq!(BuildId::new(&[0xfb, 0x04]).unwrap().to_string(), "fb04");
        assert_eq!(BuildId::new(&[]), None);
        assert_eq!(BuildId::new(&[7; 32]).unwrap().as_bytes(), [7; 20]);
    }
}
