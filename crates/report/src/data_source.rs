//! Where the data of a memory access came from, in perf's words.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::text::push_blanks;

/// perf cuts the text there.
const MOST: usize = 82;
/// What a field says if its lowest bit is set, or none of the others that have a word.
const UNKNOWN: &str = "N/A";

/// A field of the kernel's `perf_mem_data_src`.
#[derive(Clone, Copy)]
struct Field {
    at: u32,
    bits: u32,
}

const OP: Field = Field { at: 0, bits: 5 };
const LEVEL: Field = Field { at: 5, bits: 14 };
const SNOOP: Field = Field { at: 19, bits: 5 };
const LOCK: Field = Field { at: 24, bits: 2 };
const TLB: Field = Field { at: 26, bits: 7 };
const LEVEL_NUMBER: Field = Field { at: 33, bits: 4 };
const REMOTE: Field = Field { at: 37, bits: 1 };
const SNOOP_MORE: Field = Field { at: 38, bits: 2 };
const BLOCKED: Field = Field { at: 40, bits: 3 };
const HOPS: Field = Field { at: 43, bits: 3 };

/// Bits of levels and TLBs beside those that say which one.
const HIT: u64 = 1 << 1;
const MISS: u64 = 1 << 2;

/// The words of a field's bits, from the lowest on; empty for those that have none.
const OPS: [&str; 5] = [UNKNOWN, "LOAD", "STORE", "PFETCH", "EXEC"];
const LEVELS: [&str; 14] = [
    UNKNOWN,
    "",
    "",
    "L1",
    "LFB/MAB",
    "L2",
    "L3",
    "Local RAM",
    "Remote RAM (1 hop)",
    "Remote RAM (2 hops)",
    "Remote Cache (1 hop)",
    "Remote Cache (2 hops)",
    "I/O",
    "Uncached",
];
const SNOOPS: [&str; 5] = [UNKNOWN, "None", "Hit", "Miss", "HitM"];
const MORE_SNOOPS: [&str; 2] = ["Fwd", "Peer"];
const TLBS: [&str; 7] = [UNKNOWN, "", "", "L1", "L2", "Walker", "Fault"];

impl Field {
    fn of(self, source: u64) -> u64 {
        source >> self.at & ((1 << self.bits) - 1)
    }

    /// The words of the bits that are set.
    fn words<const N: usize>(self, source: u64, words: [&str; N]) -> Vec<&str> {
        let value = self.of(source);
        let words = words.into_iter().enumerate();
        let set = words.filter(|(bit, word)| value >> bit & 1 != 0 && !word.is_empty());
        set.map(|(_, word)| word).collect()
    }
}

/// Appends the number and what it means, as wide as the widest that was appended so far, which `width` is
/// for.
pub(crate) fn push(text: &mut Vec<u8>, source: u64, width: &AtomicUsize) {
    let mut meaning = meaning(source);
    let widest = width.fetch_max(meaning.len(), Ordering::Relaxed);
    let missing = widest.saturating_sub(meaning.len());
    push_blanks(&mut meaning, missing);
    let _ = write!(text, "{source:>16x} {meaning}");
}

/// `|OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A`
fn meaning(source: u64) -> String {
    let mut text = format!(
        "|OP {}|LVL {}|SNP {}|TLB {}|LCK {}|BLK {}",
        OP.words(source, OPS).first().unwrap_or(&"No"),
        level(source),
        snoop(source),
        tlb(source),
        lock(source),
        blocked(source),
    );
    text.truncate(MOST);
    text
}

/// The part of the memory that had the data, and how far that is.
fn level(source: u64) -> String {
    let mut text = String::new();
    if REMOTE.of(source) != 0 {
        text.push_str("Remote ");
    }
    let distance = match HOPS.of(source) {
        0 => None,
        1 => Some("core, same node "),
        2 => Some("node, same socket "),
        3 => Some("socket, same board "),
        4 => Some("board "),
        _ => Some("N/A "),
    };
    text.push_str(distance.unwrap_or_default());
    // With a distance it is only the number that tells the level.
    let mut levels: Vec<String> = match distance {
        Some(_) => Vec::new(),
        None => {
            let levels = LEVEL.words(source, LEVELS).into_iter();
            levels.map(str::to_owned).collect()
        }
    };
    match LEVEL_NUMBER.of(source) {
        0 => {}
        9 => levels.push("CXL".to_owned()),
        10 => levels.push("I/O".to_owned()),
        11 => levels.push("Any cache".to_owned()),
        12 => levels.push("LFB/MAB".to_owned()),
        13 => levels.push("RAM".to_owned()),
        14 => levels.push("PMEM".to_owned()),
        15 => levels.push(UNKNOWN.to_owned()),
        cache => levels.push(format!("L{cache}")),
    }
    text.push_str(&levels.join(" or "));
    if text.is_empty() {
        text.push_str(UNKNOWN);
    }
    push_outcome(&mut text, LEVEL.of(source));
    text
}

fn snoop(source: u64) -> String {
    let mut words = SNOOP.words(source, SNOOPS);
    words.extend(SNOOP_MORE.words(source, MORE_SNOOPS));
    any(&words)
}

fn tlb(source: u64) -> String {
    let mut text = any(&TLB.words(source, TLBS));
    push_outcome(&mut text, TLB.of(source));
    text
}

fn any(words: &[&str]) -> String {
    match words {
        [] => UNKNOWN.to_owned(),
        words => words.join(" or "),
    }
}

fn push_outcome(text: &mut String, bits: u64) {
    for (bit, word) in [(HIT, " hit"), (MISS, " miss")] {
        if bits & bit != 0 {
            text.push_str(word);
        }
    }
}

fn lock(source: u64) -> &'static str {
    match LOCK.of(source) {
        0 => "No",
        2 => "Yes",
        _ => UNKNOWN,
    }
}

/// Why the access had to wait; each word with a blank in front.
fn blocked(source: u64) -> &'static str {
    match BLOCKED.of(source) {
        2 => " Data",
        4 => " Addr",
        6 => " Data Addr",
        _ => " N/A",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_number_has_its_words() {
        let texts = [
            (
                0x6810_0142,
                "|OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A",
            ),
            (0, "|OP No|LVL N/A|SNP N/A|TLB N/A|LCK No|BLK  N/A"),
            (
                0x1a_0508_2141,
                "|OP N/A|LVL L1 or Remote RAM (1 hop) or RAM hit|SNP N/A|TLB N/A|LCK N/A|BLK  N/A",
            ),
            (
                0x103a_0508_0021,
                "|OP N/A|LVL Remote node, same socket RAM|SNP N/A|TLB N/A|LCK N/A|BLK  N/A",
            ),
        ];
        for (source, text) in texts {
            assert_eq!(meaning(source), text, "{source:#x}");
        }
    }

    #[test]
    fn no_number_is_too_much_and_none_is_wider_than_the_column() {
        let mut source = 1_u64;
        for _ in 0..10_000 {
            source = source
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            assert!(meaning(source).len() <= MOST, "{source:#x}");
        }
    }

    #[test]
    fn a_column_keeps_the_width_of_what_stood_in_it_before() {
        let (mut text, width) = (Vec::new(), AtomicUsize::new(0));
        for source in [0x6810_0142, 0] {
            push(&mut text, source, &width);
            text.push(b'|');
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("|BLK  N/A               |"), "{text}");
    }
}
