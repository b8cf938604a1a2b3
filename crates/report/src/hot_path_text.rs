//! A heavy function and the way to it, on one line.

use crate::hot_paths::HotPath;
use crate::text::{cut_left, width};

const LONGEST_NAME: usize = 40;
const BETWEEN: usize = 2;

impl HotPath {
    /// The way to the function, the source line and what else is known, in at most `columns` columns: `main.order >
    /// catalog.belongs > regexp.MustCompile  catalog.go:26`. Between functions that do not call each other directly
    /// stands ` … ` instead of ` > `. What is too long loses its outer end.
    pub fn text(&self, columns: usize) -> String {
        let kind = self.kind.map(|kind| format!("({})", kind.label()));
        let mostly = self.hottest.as_ref();
        let mostly = mostly.map(|(name, percent)| {
            format!(
                "({percent:.0}% in {})",
                cut_left(&short(name), LONGEST_NAME / 2)
            )
        });
        let mut remarks: Vec<String> = Vec::new();
        // The way comes first: it gets at least half of the columns.
        for remark in [&self.line, &kind, &mostly].into_iter().flatten() {
            let taken: usize = remarks.iter().map(|it| width(it) + BETWEEN).sum();
            if taken + width(remark) + BETWEEN <= columns / 2 {
                remarks.push(remark.clone());
            }
        }
        let remarks = remarks.join("  ");
        let left = match remarks.is_empty() {
            true => columns,
            false => columns - width(&remarks) - BETWEEN,
        };
        let way = self.way(left);
        match remarks.is_empty() {
            true => way,
            false => format!(
                "{way}{}{remarks}",
                " ".repeat(columns - width(&way) - width(&remarks))
            ),
        }
    }

    /// The functions of the way that say most, in at most `columns` columns.
    pub fn way(&self, columns: usize) -> String {
        const NOTHING_MORE: &str = "many functions";
        let command = self.command.as_ref().map(|name| format!("{name}: "));
        let command = command.unwrap_or_default();
        let columns = columns.saturating_sub(width(&command)).max(8);
        if self.names.is_empty() {
            return command + NOTHING_MORE;
        }
        let mut first = 0;
        loop {
            let way = self.from(first);
            if width(&way) <= columns || first + 1 >= self.told.len() {
                return command + &cut_left(&way, columns);
            }
            first += 1;
        }
    }

    /// From the caller on that is the `first` of those to tell.
    fn from(&self, first: usize) -> String {
        let mut way = String::new();
        let mut before = None;
        for &at in &self.told[first.min(self.told.len())..] {
            match before {
                Some(before) if before + 1 == at => way.push_str(" > "),
                Some(_) => way.push_str(" … "),
                None => {}
            }
            way.push_str(&cut_left(&short(&self.names[at]), LONGEST_NAME));
            before = Some(at);
        }
        way
    }
}

/// A long name without what its generic or template parameters are, and if it is still long, its last two parts:
/// the type or module, and the function.
fn short(name: &str) -> String {
    const LONG: usize = 24;
    if name.starts_with("operator") {
        return name.to_owned();
    }
    let name = match (name.rfind('/'), name.contains([' ', '<'])) {
        (Some(folder), false) => &name[folder + 1..], // Go
        _ => name,
    };
    if width(name) <= LONG {
        return name.to_owned();
    }
    let name = without_parameters(&of_type(name));
    match name.matches('.').count() {
        _ if width(&name) <= LONG => name,
        _ if name.contains("::") => last_two(&name, "::"),
        3.. if !name.contains('(') => last_two(&name, "."), // Java
        _ => name,
    }
}

/// `<Type as Trait>::function` as `Type::function`.
fn of_type(name: &str) -> String {
    let Some(rest) = name.strip_prefix('<') else {
        return name.to_owned();
    };
    let mut depth = 1;
    let end = rest.char_indices().find(|&(at, letter)| {
        match letter {
            '<' => depth += 1,
            '>' if !rest[..at].ends_with('-') => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some((end, _)) = end else {
        return name.to_owned();
    };
    let inside = without_parameters(&rest[..end]);
    let of_type = inside.split(" as ").next().unwrap_or_default();
    format!("{of_type}{}", &rest[end + 1..])
}

fn without_parameters(name: &str) -> String {
    let (mut kept, mut depth) = (String::new(), 0_u32);
    for letter in name.chars() {
        match letter {
            '<' => {
                if depth == 0 && kept.ends_with("::") {
                    kept.truncate(kept.len() - 2);
                }
                depth += 1;
            }
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

fn last_two(name: &str, separator: &str) -> String {
    match name.rmatch_indices(separator).nth(1) {
        Some((at, _)) => name[at + separator.len()..].to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Share, WorkKind};

    fn path(names: &[&str], told: &[usize]) -> HotPath {
        HotPath {
            share: Share::default(),
            samples: 1,
            command: None,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            told: told.to_vec(),
            function: names.last().copied().unwrap_or_default().to_owned(),
            is_innermost: false,
            line: None,
            kind: None,
            hottest: None,
        }
    }

    #[test]
    fn the_line_stands_on_the_right_and_gaps_are_seen() {
        let mut order = path(
            &["main.order", "catalog.belongs", "regexp.MustCompile"],
            &[0, 1, 2],
        );
        order.line = Some("catalog.go:26".to_owned());
        let expected = "main.order > catalog.belongs > regexp.MustCompile    catalog.go:26";
        assert_eq!(order.text(66), expected);
        order.told = vec![0, 2];
        assert_eq!(order.way(60), "main.order … regexp.MustCompile");
        assert_eq!(path(&[], &[]).way(60), "many functions");
        order.command = Some("shop".to_owned());
        assert_eq!(order.way(26), "shop: regexp.MustCompile");
    }

    #[test]
    fn what_is_known_is_said_as_long_as_the_way_has_half_of_the_line() {
        let mut mark = path(&["runtime.gcBgMarkWorker"], &[0]);
        mark.kind = Some(WorkKind::GarbageCollection);
        mark.hottest = Some(("runtime.scanobject".to_owned(), 9.0));
        let text = mark.text(66);
        assert!(text.starts_with("runtime.gcBgMarkWorker  "), "{text}");
        assert!(text.ends_with("  (garbage collection)"), "{text}");
        assert_eq!(width(&text), 66);
        assert!(
            mark.text(120)
                .ends_with("(garbage collection)  (9% in runtime.scanobject)")
        );
    }

    #[test]
    fn a_long_name_keeps_its_end_and_loses_its_parameters() {
        let names = [
            ("std::map<std::string, Order>::find", "std::map::find"),
            (
                "<alloc::vec::Vec<T> as core::iter::Extend<T>>::extend",
                "alloc::vec::Vec::extend",
            ),
            (
                "rustc_interface::passes::run_compiler::<(), T>::{closure#1}",
                "run_compiler::{closure#1}",
            ),
            (
                "<rustc_borrowck::type_check::TypeChecker as Visitor>::visit_body",
                "TypeChecker::visit_body",
            ),
            (
                "github.com/shop/storefront/catalog.(*Index).Belongs",
                "catalog.(*Index).Belongs",
            ),
            (
                "com.example.shop.storefront.Catalog.belongs",
                "Catalog.belongs",
            ),
            (
                "an_ordinary_function_of_a_C_program",
                "an_ordinary_function_of_a_C_program",
            ),
        ];
        for (name, expected) in names {
            assert_eq!(short(name), expected);
        }
        let long = "a".repeat(100);
        assert_eq!(width(&path(&[&long], &[0]).text(40)), 40);
    }
}
