//! Numbers as text, without the machinery of `format!`.

/// Where digits are appended to.
pub(crate) trait Text {
    /// Appends the first `len` of these letters, which are ASCII.
    fn push_letters(&mut self, letters: &[u8; MOST], len: usize);
}

impl Text for Vec<u8> {
    #[inline]
    fn push_letters(&mut self, letters: &[u8; MOST], len: usize) {
        let end = self.len() + len;
        self.extend_from_slice(letters); // of fixed size, which is copied in place
        self.truncate(end);
    }
}

impl Text for String {
    #[inline]
    fn push_letters(&mut self, letters: &[u8; MOST], len: usize) {
        self.push_str(std::str::from_utf8(&letters[..len]).unwrap_or_default());
    }
}

/// 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Of the longest number: 2^64 - 1.
const MOST: usize = 20;

/// Appends a number, behind so many of `padding`, which is ASCII, that it is `width` wide.
pub(crate) fn push_decimal(text: &mut impl Text, mut number: u64, width: usize, padding: u8) {
    let len = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let len = len.max(push_beyond(text, width, padding));
    let mut digits = [padding; MOST];
    let mut at = len;
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    let pair = PAIRS[number as usize];
    digits[at - 1] = pair[1];
    if number >= 10 {
        digits[at - 2] = pair[0];
    }
    text.push_letters(&digits, len);
}

/// As [`push_decimal`], in hexadecimal digits.
pub(crate) fn push_hex(text: &mut impl Text, number: u64, width: usize, padding: u8) {
    let count = (16 - number.leading_zeros() as usize / 4).max(1);
    let len = count.max(push_beyond(text, width, padding));
    let mut digits = [padding; MOST];
    for (place, digit) in digits[len - count..len].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
    }
    text.push_letters(&digits, len);
}

/// Appends the padding of what is wider than any number; returns the width that is left.
fn push_beyond(text: &mut impl Text, mut width: usize, padding: u8) -> usize {
    while width > MOST {
        text.push_letters(&[padding; MOST], (width - MOST).min(MOST));
        width = MOST.max(width - MOST);
    }
    width
}

/// A number with a comma before every three digits: `1,234,567`.
pub fn thousands(number: u64) -> String {
    let mut text = String::new();
    push_thousands(&mut text, number);
    text
}

/// Appends a number with a comma before every three digits.
pub(crate) fn push_thousands(text: &mut String, number: u64) {
    if number < 1000 {
        return push_decimal(text, number, 0, b' ');
    }
    push_thousands(text, number / 1000);
    text.push(',');
    push_decimal(text, number % 1000, 3, b'0');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_standard_library_writes_it() {
        let edges = (0..20).map(|power| 10_u64.pow(power));
        let edges = edges.flat_map(|edge| [edge - 1, edge, edge + 1]);
        let bits = (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1]);
        for number in edges.chain(bits).chain([0, 7, u64::MAX]) {
            for width in [0, 1, 5, 10, 16, 20, 21, 32, 40, 61] {
                let (mut bytes, mut text) = (Vec::new(), String::new());
                for padding in [b' ', b'0'] {
                    push_decimal(&mut bytes, number, width, padding);
                    push_hex(&mut bytes, number, width, padding);
                    push_decimal(&mut text, number, width, padding);
                    push_hex(&mut text, number, width, padding);
                }
                let blanks = format!("{number:width$}{number:width$x}");
                let expected = format!("{blanks}{number:0width$}{number:0width$x}");
                assert_eq!(text, expected);
                assert_eq!(String::from_utf8(bytes).unwrap(), expected);
            }
        }
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000_007), "1,000,007");
    }
}
