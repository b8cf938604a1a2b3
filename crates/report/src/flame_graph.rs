use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::AddAssign;

use inferno::flamegraph::{Direction, Options, TextTruncateDirection, from_lines};
use prof_model::printable;

use crate::boxes::Boxes;
use crate::statistics::{Proportion, fisher};
use crate::{FoldedStacks, StackWeight};

/// How a flame graph looks.
#[derive(Clone, Debug, PartialEq)]
pub struct FlameGraphOptions {
    /// What stands above it.
    pub title: String,
    /// What stands below the title; the legend of colours follows it.
    pub subtitle: String,
    /// Stacks are read from the innermost frame, which shows who calls a function.
    pub reverse: bool,
    /// The root is at the top.
    pub inverted: bool,
    /// Narrower frames are left out, in percent of the whole width.
    pub min_width: f64,
    /// What the widths count: `samples`, `ns`.
    pub count_name: String,
    /// Which weight the widths have.
    pub weight: StackWeight,
}

impl Default for FlameGraphOptions {
    fn default() -> Self {
        Self {
            title: "Flame Graph".to_owned(),
            subtitle: String::new(),
            reverse: false,
            inverted: false,
            min_width: 0.01,
            count_name: "samples".to_owned(),
            weight: StackWeight::Samples,
        }
    }
}

const LEGEND: &str = "user: red, kernel: orange, generated: green, inlined: blue, unknown: grey";

/// Draws stacks that were folded with annotations as an SVG, and returns how many frames are too
/// narrow to be in it.
///
/// The same stacks give the same bytes.
///
/// # Errors
/// Those of `out`, and [`io::ErrorKind::InvalidInput`] if the stacks weigh nothing.
pub fn write_flame_graph(
    out: &mut dyn Write,
    stacks: &FoldedStacks,
    options: &FlameGraphOptions,
) -> io::Result<usize> {
    let reversed = options.reverse.then(|| stacks.reversed());
    let stacks = reversed.as_ref().unwrap_or(stacks);
    let shift = shift(stacks, options);
    let graph = Boxes::new(
        stacks,
        |weight| options.weight.of(weight) >> shift,
        options.min_width,
    );
    if graph.total == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there are no samples to draw",
        ));
    }
    let subtitle = match options.subtitle.as_str() {
        "" => LEGEND.to_owned(),
        subtitle => format!("{subtitle} ({LEGEND})"),
    };
    let (before, after) = page(drawing(options, subtitle), &graph)?;
    out.write_all(before.as_bytes())?;
    graph.write(out, options)?;
    out.write_all(after.as_bytes())?;
    Ok(graph.narrow)
}

/// What stands before and behind the boxes of a page: inferno draws one with a box of the whole width at
/// every depth, for the height.
fn page(mut drawing: Options<'_>, graph: &Boxes<'_>) -> io::Result<(String, String)> {
    let frames = vec!["frame"; graph.deepest.max(1)].join(";");
    let line = format!("{frames} {}", graph.total);
    drawing.min_width = match graph.deepest {
        0 => f64::INFINITY, // there is no frame
        _ => 0.0,
    };
    let mut page = Vec::new();
    from_lines(&mut drawing, [line.as_str()], &mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    let parts = || {
        let tag = page.find("<svg id=\"frames\"")?;
        let start = tag + page[tag..].find('>')? + 1;
        let end = page.rfind("</svg></svg>")?;
        Some((page[..start].to_owned(), page[end..].to_owned()))
    };
    parts().ok_or_else(|| io::Error::other("inferno's page has no place for frames"))
}

/// How inferno is to draw.
fn drawing(options: &FlameGraphOptions, subtitle: String) -> Options<'static> {
    let mut drawing = Options::default();
    drawing.title = printable(&options.title).into_owned();
    drawing.subtitle = Some(printable(&subtitle).into_owned());
    drawing.count_name = printable(&options.count_name).into_owned();
    drawing.min_width = options.min_width;
    drawing.direction = match options.inverted {
        true => Direction::Inverted,
        false => Direction::Straight,
    };
    drawing.text_truncate_direction = TextTruncateDirection::Left; // functions end in their own name
    drawing.deterministic = true;
    // Our order is by frame, in which equal frames are neighbours. An order by line is not: in it
    // `a b;x` stands between `a 1` and `a;x`. Only a chart takes lines as they come, last one first.
    drawing.flame_chart = true;
    drawing
}

/// What has no samples now and would have some more often than so is gone.
const UNLIKELY: f64 = 0.01;

const DIFFERENTIAL_LEGEND: &str = "width: now, red: grew, blue: shrank";

/// Draws how stacks changed, as an SVG: the widths are those of `after`. A frame that takes a larger
/// share than in `before`, with all that it calls, is red, a smaller one blue, the others are white.
/// What is only in `before` has no width; its share stands in the subtitle, without what chance may have
/// left out. `options.reverse` and `options.weight` hold for both.
///
/// # Errors
/// Those of `out`, and [`io::ErrorKind::InvalidInput`] if one of both weighs nothing.
pub fn write_differential(
    out: &mut dyn Write,
    before: &FoldedStacks,
    after: &FoldedStacks,
    options: &FlameGraphOptions,
) -> io::Result<()> {
    let (before, after) = (Drawn::new(before, options), Drawn::new(after, options));
    if before.total == 0 || after.total == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there are no samples to compare",
        ));
    }
    let mut weights: BTreeMap<Vec<&str>, (Weighed, Weighed)> = BTreeMap::new();
    for (stack, weight) in &before.stacks {
        weights.entry(before.names(stack)).or_default().0 += *weight;
    }
    for (stack, weight) in &after.stacks {
        weights.entry(after.names(stack)).or_default().1 += *weight;
    }
    let tree = Changes::new(&weights);
    let gone = tree.gone(before.samples, after.samples);
    let gone = 100.0 * gone as f64 / before.total as f64;
    // Differences are told to inferno in samples, widths in such small parts of one that a frame with
    // a difference of its own but without samples of its own has no width to speak of.
    let parts = 1 << (after.total.leading_zeros().saturating_sub(4)).min(40);
    let lines = tree.lines(parts, (before.total, after.total));
    let subtitle = format!("{DIFFERENTIAL_LEGEND}; gone and not drawn: {gone:.2}%");
    let subtitle = match options.subtitle.as_str() {
        "" => subtitle,
        own => format!("{own} ({subtitle})"),
    };
    let mut drawing = drawing(options, subtitle);
    drawing.factor = 1.0 / parts as f64;
    from_lines(&mut drawing, lines.iter().rev().map(String::as_str), out)
}

/// By how many bits weights are shortened: inferno adds up in 64 bits, signed ones in places.
fn shift(stacks: &FoldedStacks, options: &FlameGraphOptions) -> u32 {
    let weights = stacks.ends.iter();
    let sum: u128 = weights
        .map(|(_, weight)| u128::from(options.weight.of(*weight)))
        .sum();
    (u128::BITS - sum.leading_zeros()).saturating_sub(62)
}

/// The stacks of one side of a comparison, in the order of their frames, from the bottom up.
struct Drawn<'a> {
    folded: &'a FoldedStacks,
    stacks: Vec<(Vec<u32>, Weighed)>,
    total: u64,
    samples: u64,
}

/// Samples, and what is drawn of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weighed {
    samples: u64,
    weight: u64,
}

impl AddAssign for Weighed {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.weight += other.weight;
    }
}

impl<'a> Drawn<'a> {
    fn new(folded: &'a FoldedStacks, options: &FlameGraphOptions) -> Self {
        let shift = shift(folded, options);
        let mut stacks: Vec<(Vec<u32>, Weighed)> = Vec::with_capacity(folded.len());
        folded.for_each(|stack, weight| {
            let weighed = Weighed {
                samples: weight.samples,
                weight: options.weight.of(weight) >> shift,
            };
            stacks.push((stack.to_vec(), weighed));
        });
        stacks.retain(|(_, weighed)| weighed.weight > 0);
        if options.reverse {
            stacks.iter_mut().for_each(|(stack, _)| stack.reverse());
        }
        Self {
            folded,
            total: stacks.iter().map(|(_, weighed)| weighed.weight).sum(),
            samples: stacks.iter().map(|(_, weighed)| weighed.samples).sum(),
            stacks,
        }
    }

    fn names(&self, stack: &[u32]) -> Vec<&str> {
        let names = stack.iter();
        names
            .map(|&name| self.folded.names[name as usize].0.as_str())
            .collect()
    }
}

/// The frames of two sets of stacks, each before those that it calls.
struct Changes<'a> {
    stacks: Vec<&'a [&'a str]>,
    frames: Vec<Change>,
}

/// What a frame weighed and weighs with all that it calls.
struct Change {
    stack: usize, // the first one with this frame
    depth: usize, // of the frame in it
    then: Weighed,
    now: Weighed,
    own_now: u64, // without what it calls
}

impl<'a> Changes<'a> {
    fn new(weights: &'a BTreeMap<Vec<&'a str>, (Weighed, Weighed)>) -> Self {
        let mut this = Self {
            stacks: weights.keys().map(Vec::as_slice).collect(),
            frames: Vec::new(),
        };
        let mut open: Vec<usize> = Vec::new(); // the frames of the last stack
        for (index, (stack, &(then, now))) in weights.iter().enumerate() {
            let last = index
                .checked_sub(1)
                .map_or(&[][..], |last| this.stacks[last]);
            let common = last.iter().zip(stack).take_while(|(a, b)| a == b).count();
            open.truncate(common);
            for depth in common..stack.len() {
                open.push(this.frames.len());
                this.frames.push(Change {
                    stack: index,
                    depth,
                    then: Weighed::default(),
                    now: Weighed::default(),
                    own_now: 0,
                });
            }
            for &frame in &open {
                this.frames[frame].then += then;
                this.frames[frame].now += now;
            }
            if let Some(&innermost) = open.last() {
                this.frames[innermost].own_now += now.weight;
            }
        }
        this
    }

    /// What those calls weighed that are not there any more, of so many samples then and now, where that
    /// is more than chance. A call that is gone is counted with all that it called.
    fn gone(&self, then: u64, now: u64) -> u64 {
        let mut gone = 0;
        let mut below = usize::MAX; // the depth of the last call that is gone, while its callees come
        for frame in &self.frames {
            if frame.depth > below {
                continue;
            }
            below = usize::MAX;
            if frame.now.samples == 0 {
                below = frame.depth;
                let before = Proportion {
                    hits: frame.then.samples,
                    of: then,
                };
                if fisher(before, Proportion { hits: 0, of: now }) < UNLIKELY {
                    gone += frame.then.weight;
                }
            }
        }
        gone
    }

    /// A line for each frame: what it weighed and weighs, of which inferno takes the difference for
    /// its colour and the latter for its width.
    fn lines(&self, parts: u64, (total_then, total_now): (u64, u64)) -> Vec<String> {
        let drawn = self.frames.iter().filter(|frame| frame.now.weight > 0);
        let drawn = drawn.map(|frame| {
            // as many as if there had been equally many in both
            let then =
                u128::from(frame.then.weight) * u128::from(total_now) * 2 / u128::from(total_then);
            let grown = i128::from(frame.now.weight) - then.div_ceil(2) as i128;
            let now = (i128::from(frame.own_now) * i128::from(parts)).max(grown);
            let names = &self.stacks[frame.stack][..=frame.depth];
            format!("{} {} {now}", line(names), now - grown)
        });
        drawn.collect()
    }
}

/// A stack as inferno reads it.
fn line(names: &[&str]) -> String {
    let mut line = crate::folded::line(names);
    if line.starts_with("# ") {
        line.replace_range(1..2, "\u{a0}"); // else it would be a comment
    }
    line
}

#[cfg(test)]
mod tests {
    use inferno::flamegraph::color::{Color, PaletteMap};
    use prof_profile::Weight;

    use super::*;
    use crate::CodeKind;
    use crate::boxes::shade;

    fn folded(lines: &[(&[u32], Weight)]) -> FoldedStacks {
        let name = |name: &str, kind| (name.to_owned(), kind);
        let names = vec![
            name("a", CodeKind::Thread),
            name("a b", CodeKind::Thread),
            name("f", CodeKind::User),
            name("g_[k]", CodeKind::Kernel),
        ];
        let lines = lines.iter();
        FoldedStacks::of_named(
            names,
            lines.map(|&(stack, weight)| (stack.to_vec(), weight)),
        )
    }

    fn stacks(lines: &[(&[u32], u64)]) -> FoldedStacks {
        let weight = |samples| Weight { samples, period: 0 };
        let lines = lines.iter();
        folded(
            &lines
                .map(|&(stack, samples)| (stack, weight(samples)))
                .collect::<Vec<_>>(),
        )
    }

    fn draw(stacks: &FoldedStacks, options: &FlameGraphOptions) -> (String, usize) {
        let mut svg = Vec::new();
        let narrow = write_flame_graph(&mut svg, stacks, options).unwrap();
        (String::from_utf8(svg).unwrap(), narrow)
    }

    fn titles(svg: &str) -> Vec<&str> {
        svg.split("<title>")
            .skip(1)
            .map(|rest| rest.split("</title>").next().unwrap())
            .collect()
    }

    #[test]
    fn equal_frames_are_one_box_though_another_name_sorts_between_them() {
        let stacks = stacks(&[(&[0], 5), (&[0, 2], 2), (&[1, 2], 3)]);
        let (svg, narrow) = draw(&stacks, &FlameGraphOptions::default());
        let mut titles = titles(&svg);
        titles.sort_unstable();
        let expected = [
            "a (7 samples, 70.00%)",
            "a b (3 samples, 30.00%)",
            "all (10 samples, 100%)",
            "f (2 samples, 20.00%)",
            "f (3 samples, 30.00%)",
        ];
        assert_eq!(titles, expected);
        assert_eq!(narrow, 0);
    }

    /// The whole picture as inferno makes it of lines.
    fn drawn_by_inferno(stacks: &FoldedStacks, options: &FlameGraphOptions) -> String {
        let mut palette = PaletteMap::default();
        palette.insert("", shade("all", CodeKind::User));
        for (name, kind) in &stacks.names {
            palette.insert(name, shade(name, *kind));
        }
        let mut lines = Vec::new();
        stacks.for_each(|stack, weight| {
            if weight.samples == 0 {
                return;
            }
            let names = stack.iter().map(|&name| &*stacks.names[name as usize].0);
            lines.push(format!(
                "{} {}",
                names.collect::<Vec<_>>().join(";"),
                weight.samples
            ));
        });
        let mut drawing = drawing(options, LEGEND.to_owned());
        drawing.palette_map = Some(&mut palette);
        let mut svg = Vec::new();
        from_lines(
            &mut drawing,
            lines.iter().rev().map(String::as_str),
            &mut svg,
        )
        .unwrap();
        String::from_utf8(svg).unwrap()
    }

    #[test]
    fn boxes_are_drawn_as_inferno_draws_them() {
        let frame = |name: &str| (name.to_owned(), CodeKind::User);
        let stack = |names: &str, samples| {
            let weight = Weight { samples, period: 0 };
            (names.split(' ').map(frame).collect::<Vec<_>>(), weight)
        };
        let stacks = FoldedStacks::new([
            stack("a", 1_234_567),
            stack("a b<c&'d'> \"e\"", 70_000),
            stack("a b c_[k] d_[i]", 7_919),
            stack(
                "a b c_[k] größer_als_der_Platz_reicht_für_Buchstaben",
                31_337,
            ),
            stack("a z", 3),
            stack("b gone", 0),
            stack("c x y z", 17),
            stack("d a_name_that_is_far_too_long_for_its_box a b", 65_432),
        ]);
        for min_width in [0.0, 0.01, 3.0, 99.0, 101.0] {
            for inverted in [false, true] {
                let options = FlameGraphOptions {
                    min_width,
                    inverted,
                    count_name: "<samples>".to_owned(),
                    ..FlameGraphOptions::default()
                };
                let (svg, _) = draw(&stacks, &options);
                assert_eq!(svg, drawn_by_inferno(&stacks, &options));
            }
        }
    }

    #[test]
    fn frames_that_are_too_narrow_are_counted() {
        let stacks = stacks(&[(&[0, 2], 990), (&[0, 3, 2], 9), (&[1, 2], 1)]);
        let options = FlameGraphOptions {
            min_width: 1.0,
            ..FlameGraphOptions::default()
        };
        let (svg, narrow) = draw(&stacks, &options);
        assert_eq!(narrow, 4); // a;g, a;g;f, `a b`, `a b;f`
        assert_eq!(titles(&svg).len(), 3); // all, a, a;f
    }

    #[test]
    fn reversed_stacks_meet_at_their_leaves() {
        let stacks = stacks(&[(&[0, 2], 1), (&[1, 2], 1)]);
        let options = FlameGraphOptions {
            reverse: true,
            ..FlameGraphOptions::default()
        };
        let (svg, _) = draw(&stacks, &options);
        assert!(titles(&svg).contains(&"f (2 samples, 100.00%)"));
    }

    #[test]
    fn the_same_stacks_give_the_same_picture_and_kinds_differ_in_colour() {
        let stacks = stacks(&[(&[0, 2], 1), (&[0, 3], 1)]);
        let (svg, _) = draw(&stacks, &FlameGraphOptions::default());
        assert_eq!(draw(&stacks, &FlameGraphOptions::default()).0, svg);
        let Color { r, g, b } = shade("g_[k]", CodeKind::Kernel);
        assert!(svg.contains(&format!("rgb({r},{g},{b})")));
        assert_ne!(
            shade("same", CodeKind::Kernel),
            shade("same", CodeKind::User)
        );
    }

    #[test]
    fn sums_that_64_bits_do_not_hold_are_drawn_to_scale() {
        let most = Weight {
            samples: 0,
            period: u64::MAX,
        };
        let stacks = folded(&[(&[0, 2], most), (&[1, 2], most)]);
        let options = FlameGraphOptions {
            weight: StackWeight::Period,
            ..FlameGraphOptions::default()
        };
        let (svg, _) = draw(&stacks, &options);
        assert_eq!(svg.matches("50.00%)").count(), 4);
    }

    #[test]
    fn a_comparison_is_red_where_a_share_grew_and_blue_where_it_shrank() {
        // shares of a;f, a;g_[k], b: 50, 40, 10 before; 20, 80, 0 after
        let before = stacks(&[(&[0, 2], 50), (&[0, 3], 40), (&[1], 10)]);
        let after = stacks(&[(&[0, 2], 40), (&[0, 3], 160)]);
        let mut svg = Vec::new();
        let options = FlameGraphOptions::default();
        write_differential(&mut svg, &before, &after, &options).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        let mut titles = titles(&svg);
        titles.sort_unstable();
        let expected = [
            "a (200 samples, 100.00%; +10.00%)",
            "all (200 samples, 100%)",
            "f (40 samples, 20.00%; -30.00%)",
            "g (160 samples, 80.00%; +40.00%)",
        ];
        assert_eq!(titles, expected);
        let color_of = |name: &str| {
            let rest = &svg[svg.find(&format!("<title>{name} (")).unwrap()..];
            let rest = &rest[rest.find("rgb(").unwrap() + 4..];
            let numbers = rest[..rest.find(')').unwrap()].split(',');
            numbers
                .map(|number| number.parse::<u32>().unwrap())
                .collect::<Vec<_>>()
        };
        let (grew, shrank) = (color_of("g"), color_of("f"));
        assert!(grew[0] == 255 && grew[2] < 255, "{grew:?}");
        assert!(shrank[2] == 255 && shrank[0] < 255, "{shrank:?}");
        assert!(svg.contains("gone and not drawn: 10.00%"), "{svg}"); // 0 of 200 is no chance
        let nothing = stacks(&[]);
        let error = write_differential(&mut Vec::new(), &nothing, &after, &options).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_chance_left_out_is_not_gone() {
        // fifty rare calls before, fifty others now: none of them is known to be gone
        let rare = |from: u32| {
            let frame = |name: String| (name, CodeKind::User);
            let weight = Weight {
                samples: 1,
                period: 10,
            };
            let stacks = (from..from + 50).map(|n| (vec![frame(format!("rare {n}"))], weight));
            let often = Weight {
                samples: 50,
                period: 500,
            };
            FoldedStacks::new(stacks.chain([(vec![frame("often".to_owned())], often)]))
        };
        let mut svg = Vec::new();
        write_differential(&mut svg, &rare(0), &rare(50), &FlameGraphOptions::default()).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.contains("gone and not drawn: 0.00%"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_error_and_writes_nothing() {
        let mut svg = Vec::new();
        let error =
            write_flame_graph(&mut svg, &stacks(&[]), &FlameGraphOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(svg.is_empty());
    }
}
