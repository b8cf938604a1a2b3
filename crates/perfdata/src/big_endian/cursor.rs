use prof_event::Short;

/// Walks over big-endian numbers and turns each into a little-endian one.
pub(crate) struct Cursor<'a> {
    rest: &'a mut [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next bytes, which are left as they are.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a mut [u8], Short> {
        if len > self.rest.len() {
            return Err(Short);
        }
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(len);
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let bytes = self.bytes(N)?;
        bytes.reverse();
        Ok(std::array::from_fn(|at| bytes[at]))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Short> {
        self.number().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        self.number().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Short> {
        self.number().map(u64::from_le_bytes)
    }

    /// So many 32-bit numbers.
    pub(crate) fn u32s(&mut self, count: u32) -> Result<(), Short> {
        (0..count).try_for_each(|_| self.u32().map(drop))
    }

    /// So many 64-bit numbers.
    pub(crate) fn u64s(&mut self, count: u64) -> Result<(), Short> {
        (0..count).try_for_each(|_| self.u64().map(drop))
    }

    /// 64-bit numbers to the end.
    pub(crate) fn words(&mut self) -> Result<(), Short> {
        let count = self.rest.len() / 8;
        self.u64s(count as u64)
    }

    /// A string with its length in front.
    pub(crate) fn string(&mut self) -> Result<(), Short> {
        let len = self.u32()? as usize;
        self.bytes(len).map(drop)
    }

    /// Bytes up to a NUL.
    pub(crate) fn c_string(&mut self) -> Result<(), Short> {
        let len = self.rest.iter().position(|&byte| byte == 0).ok_or(Short)?;
        self.bytes(len + 1).map(drop)
    }

    /// A text with its length in 64 bits in front.
    pub(crate) fn long_text(&mut self) -> Result<(), Short> {
        let len = usize::try_from(self.u64()?).map_err(|_| Short)?;
        self.bytes(len).map(drop)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not walked over yet.
    pub(crate) fn rest(self) -> &'a mut [u8] {
        self.rest
    }
}
