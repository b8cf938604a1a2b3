//! Numbers and texts in the memory of another process, within a number of reads.

/// A process's memory as it is now.
pub trait Memory {
    /// Reads what lies at `addr`. Returns how many bytes there are, counted from the start of `into`.
    fn read(&mut self, addr: u64, into: &mut [u8]) -> usize;
}

impl<M: FnMut(u64, &mut [u8]) -> usize> Memory for M {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> usize {
        self(addr, into)
    }
}

/// Why something was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is not there, or not what it should be.
    Nothing,
    /// There were too many reads in too short a time.
    NotYet,
}

/// The memory, as long as it may be read.
pub(crate) struct Reader<'a> {
    pub(crate) memory: &'a mut dyn Memory,
    /// How many reads are left.
    pub(crate) left: &'a mut u32,
}

impl Reader<'_> {
    /// Fills `into` with what lies at `addr`.
    pub(crate) fn bytes(&mut self, addr: u64, into: &mut [u8]) -> Result<(), Unread> {
        match self.some(addr, into)? {
            count if count == into.len() => Ok(()),
            _ => Err(Unread::Nothing),
        }
    }

    /// Reads as many bytes as there are.
    pub(crate) fn some(&mut self, addr: u64, into: &mut [u8]) -> Result<usize, Unread> {
        *self.left = self.left.checked_sub(1).ok_or(Unread::NotYet)?;
        Ok(self.memory.read(addr, into).min(into.len()))
    }

    /// A number of so many bytes.
    pub(crate) fn number(&mut self, addr: u64, size: u8) -> Result<u64, Unread> {
        let mut bytes = [0; 8];
        let bytes_used = bytes.get_mut(..size.into()).ok_or(Unread::Nothing)?;
        self.bytes(addr, bytes_used)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(crate) fn word(&mut self, addr: u64) -> Result<u64, Unread> {
        self.number(addr, 8)
    }

    /// A text that ends with a zero byte, which is `most` bytes long or is cut there.
    pub(crate) fn text(&mut self, addr: u64, most: usize) -> Result<String, Unread> {
        if addr == 0 {
            return Err(Unread::Nothing);
        }
        let mut bytes = vec![0; most];
        let count = self.some(addr, &mut bytes)?;
        bytes.truncate(count);
        let end = bytes.iter().position(|&byte| byte == 0);
        bytes.truncate(end.unwrap_or(count));
        match bytes.is_empty() {
            true => Err(Unread::Nothing),
            false => Ok(printable(&bytes)),
        }
    }
}

/// A text of another process in one line.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().map(shown).collect()
}

/// A number in bytes that were read.
pub(crate) fn number_in(bytes: &[u8], at: u64, size: u8) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let found = bytes.get(at..at.checked_add(size.into())?)?;
    let mut number = [0; 8];
    number.get_mut(..found.len())?.copy_from_slice(found);
    Some(u64::from_le_bytes(number))
}
