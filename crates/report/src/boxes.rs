use std::io::{self, Write};

use inferno::flamegraph::color::Color;

use crate::digits::{push_decimal, push_thousands};
use crate::folded::CodeKind;
use crate::text::{push_fine_percent, push_percent};
use crate::{FlameGraphOptions, FoldedStacks};

// The measures of inferno's pages.
const IMAGE_WIDTH: f64 = 1200.0;
const BOX_HEIGHT: usize = 16;
const GAP: usize = 1; // between a box and the next one
const FONT_SIZE: f64 = 12.0;
const FONT_WIDTH: f64 = 0.59; // of a letter, in font sizes
const HEAD: usize = 60; // above the boxes: title, subtitle
const HEAD_OF_INVERTED: usize = 76; // what else stands below them, too

/// So much is written at once, in bytes.
const BLOCK: usize = 1 << 16;
/// What a box needs at most where names are not long, in bytes.
const BOX_TEXT: usize = 320;

/// The frames of a flame graph that are wide enough to be seen, with their places.
///
/// inferno would find the same boxes from a line of text for each stack.
pub(crate) struct Boxes<'a> {
    stacks: &'a FoldedStacks,
    /// The weight of all stacks.
    pub(crate) total: u64,
    /// How many frames are too narrow.
    pub(crate) narrow: usize,
    /// How many frames, at most, lie on top of each other.
    pub(crate) deepest: usize,
    boxes: Vec<FrameBox>,
}

/// Where a frame is drawn.
struct FrameBox {
    name: Option<u32>, // what stands for all stacks has none
    depth: usize,      // 0 for that
    start: u64,
    width: u64,
}

impl<'a> Boxes<'a> {
    /// Those of `stacks` with at least `min_width` percent of the whole width. A box comes after those
    /// on top of it, except for the last of these. The weights are so small that their sum fits.
    pub(crate) fn new(
        stacks: &'a FoldedStacks,
        weight: impl Fn(prof_profile::Weight) -> u64,
        min_width: f64,
    ) -> Self {
        let ends = stacks.ends.iter();
        let total = ends.map(|&(_, each)| weight(each)).sum();
        let narrow = min_width / (100.0 / total as f64);
        let mut this = Self {
            stacks,
            total,
            narrow: 0,
            deepest: 0,
            boxes: Vec::new(),
        };
        let mut open = vec![FrameBox {
            name: None,
            depth: 0,
            start: 0,
            width: total,
        }];
        open.retain(|all| all.width as f64 >= narrow);
        let widths = widths(stacks, &weight);
        let (mut start, mut ends) = (0, stacks.ends.iter().peekable());
        for ((index, frame), width) in (0..).zip(&stacks.frames).zip(widths) {
            if width == 0 {
                continue;
            }
            let depth = frame.depth as usize + 1;
            this.close(&mut open, depth);
            if (width as f64) < narrow {
                this.narrow += 1;
            } else {
                open.push(FrameBox {
                    name: Some(frame.name),
                    depth,
                    start,
                    width,
                });
            }
            while let Some((_, each)) = ends.next_if(|(end, _)| *end <= index) {
                start += weight(*each);
            }
        }
        this.close(&mut open, 0);
        this
    }

    /// Takes the boxes from a depth on: nothing more lies on them.
    fn close(&mut self, open: &mut Vec<FrameBox>, depth: usize) {
        if let Some(top) = open.last().filter(|top| top.depth >= depth) {
            self.deepest = self.deepest.max(top.depth);
            self.boxes.extend(open.drain(depth..));
        }
    }

    /// Writes the boxes as inferno does.
    pub(crate) fn write(&self, out: &mut dyn Write, options: &FlameGraphOptions) -> io::Result<()> {
        let mut text = String::with_capacity((self.boxes.len() * BOX_TEXT).min(BLOCK + BOX_TEXT));
        for frame in &self.boxes {
            self.push(&mut text, frame, options);
            if text.len() >= BLOCK {
                out.write_all(text.as_bytes())?;
                text.clear();
            }
        }
        out.write_all(text.as_bytes())
    }

    fn push(&self, text: &mut String, frame: &FrameBox, options: &FlameGraphOptions) {
        let (name, color) = match frame.name {
            Some(name) => {
                let (name, kind) = &self.stacks.names[name as usize];
                (without_kind(name), shade(name, *kind))
            }
            None => ("", shade("all", CodeKind::User)),
        };
        let percent = 100.0 / self.total as f64;
        let left = frame.start as f64 * percent;
        let width = (frame.start + frame.width) as f64 * percent - left;
        let top = match options.inverted {
            true => HEAD_OF_INVERTED + frame.depth * BOX_HEIGHT,
            false => HEAD + GAP + (self.deepest - frame.depth) * BOX_HEIGHT,
        };
        let height = BOX_HEIGHT - GAP;

        text.push_str("<g><title>");
        self.push_title(text, frame, name, &options.count_name);
        text.push_str("</title><rect x=\"");
        push_fine_percent(text, left);
        text.push_str("\" y=\"");
        push_plain(text, top as u64);
        text.push_str("\" width=\"");
        push_fine_percent(text, width);
        text.push_str("\" height=\"");
        push_plain(text, height as u64);
        text.push_str("\" fill=\"rgb(");
        push_plain(text, u64::from(color.r));
        text.push(',');
        push_plain(text, u64::from(color.g));
        text.push(',');
        push_plain(text, u64::from(color.b));
        text.push_str(")\" fg:x=\"");
        push_plain(text, frame.start);
        text.push_str("\" fg:w=\"");
        push_plain(text, frame.width);
        text.push_str("\"/><text x=\"");
        push_fine_percent(text, left + 100.0 * 3.0 / IMAGE_WIDTH);
        text.push_str("\" y=\"");
        let doubled = top + top + height + 6; // of the middle of the box, and the letters below it
        push_plain(text, doubled as u64 / 2);
        text.push_str([".00\">", ".50\">"][doubled % 2]);
        let letter = 100.0 * FONT_SIZE * FONT_WIDTH / IMAGE_WIDTH;
        push_label(text, name, (width / letter) as usize);
        text.push_str("</text></g>");
    }

    /// What is shown when the mouse is over a box.
    fn push_title(&self, text: &mut String, frame: &FrameBox, name: &str, count_name: &str) {
        let width = frame.width as f64; // as inferno counts
        push_escaped(text, if frame.name.is_some() { name } else { "all" });
        text.push_str(" (");
        push_thousands(text, width as u64);
        text.push(' ');
        push_escaped(text, count_name);
        text.push_str(", ");
        match frame.name {
            Some(_) => push_percent(text, 100.0 * width / self.total as f64, 0),
            None => text.push_str("100%"),
        }
        text.push(')');
    }
}

/// What each frame weighs with all that it calls.
fn widths(stacks: &FoldedStacks, weight: impl Fn(prof_profile::Weight) -> u64) -> Vec<u64> {
    let mut widths = vec![0; stacks.frames.len()];
    let mut ends = stacks.ends.iter().rev().peekable();
    let mut of_children: Vec<u64> = Vec::new(); // by depth, of the frames behind
    for (index, frame) in stacks.frames.iter().enumerate().rev() {
        let depth = frame.depth as usize;
        if of_children.len() < depth + 2 {
            of_children.resize(depth + 2, 0);
        }
        let mut width = std::mem::take(&mut of_children[depth + 1]);
        while let Some((_, each)) = ends.next_if(|(end, _)| *end as usize == index) {
            width += weight(*each);
        }
        of_children[depth] += width;
        widths[index] = width;
    }
    widths
}

/// A name without what tells its kind, which its colour tells.
fn without_kind(name: &str) -> &str {
    ["_[k]", "_[w]", "_[i]", "_[j]"]
        .iter()
        .find_map(|kind| name.strip_suffix(kind))
        .unwrap_or(name)
}

/// As much of a name as so many letters have room for.
fn push_label(text: &mut String, name: &str, letters: usize) {
    match letters {
        0..3 => {} // not even one and two dots
        _ if name.len() < letters => push_escaped(text, name),
        _ => {
            let end = name.char_indices().nth(letters - 2);
            push_escaped(text, &name[..end.map_or(name.len(), |(at, _)| at)]);
            text.push_str("..");
        }
    }
}

fn push_escaped(text: &mut String, name: &str) {
    let mut rest = name;
    while let Some(at) = rest
        .bytes()
        .position(|it| matches!(it, b'<' | b'>' | b'&' | b'\'' | b'"'))
    {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'\'' => "&apos;",
            _ => "&quot;",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

fn push_plain(text: &mut String, number: u64) {
    push_decimal(text, number, 0, b' ');
}

/// One of 32 shades of a kind's hue: the hue says what sort of code it is, the shade tells neighbours
/// apart and depends on nothing but the name.
pub(crate) fn shade(name: &str, kind: CodeKind) -> Color {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193) // FNV-1a
    });
    let step = ((hash >> 16) % 32) as u8;
    let (r, g, b) = match kind {
        CodeKind::User => (222 + step, 90 + step, 70 + step),
        CodeKind::Kernel => (224 + step, 150 + step, 20 + step),
        CodeKind::Jit => (90 + step, 190 + step, 80 + step),
        CodeKind::Inlined => (110 + step, 165 + step, 220 + step),
        CodeKind::Thread => (200 + step, 195 + step, 180 + step),
        CodeKind::Unknown => (170 + step, 170 + step, 170 + step),
    };
    Color { r, g, b }
}
