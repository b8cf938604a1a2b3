//! Reading little-endian fields from bytes that nobody vouches for.

/// The bytes end before the field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record ends too early")]
pub struct Short;

/// Takes fields off the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Short`] if fewer are left; so for every method below.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let (field, rest) = self.rest.split_at_checked(len).ok_or(Short)?;
        self.rest = rest;
        Ok(field)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(Short)?;
        self.rest = rest;
        Ok(*field)
    }

    /// A byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Short> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_le_bytes)
    }

    /// `count` words of eight bytes. The count is checked against what is left.
    #[inline]
    pub fn words(&mut self, count: u64) -> Result<Words<'a>, Short> {
        let len = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(8))
            .ok_or(Short)?;
        self.bytes(len).map(Words)
    }

    /// Bytes up to a NUL, or all the rest where there is none.
    pub fn c_string(&mut self) -> &'a [u8] {
        let len = self.rest.iter().position(|&byte| byte == 0);
        let (text, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        text
    }
}

/// An array of 64-bit words inside a record; it need not be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// Words of `bytes`; a rest of fewer than eight is not looked at.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len() / 8
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<u64> {
        let word = self.0.as_chunks().0.get(index)?;
        Some(u64::from_le_bytes(*word))
    }

    /// All of them in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.0
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word))
    }
}
