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

/// Appends a number, behind so many of `padding` that it is `width` wide, which is at most 20.
pub(crate) fn push_decimal(text: &mut Vec<u8>, mut number: u64, width: usize, padding: u8) {
    let len = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let len = len.max(width);
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
    let end = text.len() + len;
    text.extend_from_slice(&digits); // of fixed size, which is copied in place
    text.truncate(end);
}

/// As [`push_decimal`], in hexadecimal digits behind blanks; `width` is at most 16.
pub(crate) fn push_hex(text: &mut Vec<u8>, number: u64, width: usize) {
    let len = (16 - number.leading_zeros() as usize / 4).max(1);
    let mut digits = [b' '; 16];
    for (place, digit) in digits[16 - len..].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
    }
    text.extend_from_slice(&digits[16 - len.max(width)..]);
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
            for width in [0, 1, 5, 10, 16] {
                let mut text = Vec::new();
                push_decimal(&mut text, number, width, b' ');
                push_decimal(&mut text, number, width, b'0');
                push_hex(&mut text, number, width);
                let expected = format!("{number:width$}{number:0width$}{number:width$x}");
                assert_eq!(String::from_utf8(text).unwrap(), expected);
            }
        }
    }
}
