//! Fields of feature sections, written and read. Strings have a length and are padded with NULs.

use prof_event::{Reader, Short};

/// perf pads strings to a multiple of this.
const STRING_ALIGN: usize = 64;

/// Appends fields to the payload of a feature.
pub(crate) trait Put {
    fn put_u32(&mut self, field: u32);
    fn put_u64(&mut self, field: u64);
    fn put_string(&mut self, text: &[u8]);
    fn put_list<T: AsRef<[u8]>>(&mut self, texts: &[T]);
}

impl Put for Vec<u8> {
    fn put_u32(&mut self, field: u32) {
        self.extend(field.to_le_bytes());
    }

    fn put_u64(&mut self, field: u64) {
        self.extend(field.to_le_bytes());
    }

    fn put_string(&mut self, text: &[u8]) {
        let len = (text.len() + 1).next_multiple_of(STRING_ALIGN);
        self.put_u32(len as u32);
        let end = self.len() + len;
        self.extend_from_slice(text);
        self.resize(end, 0);
    }

    fn put_list<T: AsRef<[u8]>>(&mut self, texts: &[T]) {
        self.put_u32(texts.len() as u32);
        for text in texts {
            self.put_string(text.as_ref());
        }
    }
}

/// Reads what [`Put::put_string`] wrote, up to the first NUL.
pub(crate) fn string(reader: &mut Reader<'_>) -> Result<String, Short> {
    let len = reader.u32()? as usize;
    let text = Reader::new(reader.bytes(len)?).c_string();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Reads what [`Put::put_list`] wrote.
pub(crate) fn list(reader: &mut Reader<'_>) -> Result<Vec<String>, Short> {
    let count = reader.u32()?;
    (0..count).map(|_| string(reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_padded_to_64_bytes_and_read_up_to_their_nul() {
        let mut bytes = Vec::new();
        bytes.put_list(&[&b"one"[..], &[b'x'; 64]]);
        assert_eq!(bytes.len(), 4 + (4 + 64) + (4 + 128));
        let mut reader = Reader::new(&bytes);
        assert_eq!(list(&mut reader).unwrap(), ["one".into(), "x".repeat(64)]);
        assert!(reader.rest().is_empty());
        assert_eq!(list(&mut Reader::new(&bytes[..80])), Err(Short));
        assert_eq!(list(&mut Reader::new(&[0xff; 4])), Err(Short));
    }
}
