use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use prof_model::SymbolSource;

use crate::mapped_file::MappedFile;

/// Symbols by address. Names stay in the files that they came from until they are asked for.
#[derive(Debug, Default)]
pub(crate) struct SymbolTable {
    images: Vec<Arc<MappedFile>>,
    entries: Vec<Entry>,
    stretches: Vec<Stretch>, // by start; each reaches to the next
}

/// What a symbol table says about one symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    pub(crate) size: u64, // 0 if the table does not say
    pub(crate) name: NameRef,
    pub(crate) binding: Binding,
    pub(crate) source: SymbolSource,
}

const _: () = assert!(size_of::<Entry>() == 40); // large programs have millions

/// Where the bytes of a name lie: in which image, from which offset. Nowhere, if the name cannot be
/// read; which symbols lie next to an address is decided before names are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameRef {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) image: u16,
}

/// Who may use a symbol, from the least to the most preferred for printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Binding {
    Weak,
    Local,
    Global,
}

/// From `start` on, this entry is the one; `None` for a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    start: u64,
    entry: Option<u32>,
}

impl SymbolTable {
    /// Keeps an image that names point into. Returns its number for [`NameRef::image`].
    pub(crate) fn add_image(&mut self, image: &Arc<MappedFile>) -> Option<u16> {
        let number = u16::try_from(self.images.len()).ok()?;
        self.images.push(Arc::clone(image));
        Some(number)
    }

    /// Adds a symbol. [`SymbolTable::finish`] must follow.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Decides which of the added symbols stands for which address.
    ///
    /// `end` tells where a symbol without a size ends that starts at its first argument; the second one
    /// is where the next of the added symbols starts.
    pub(crate) fn finish(&mut self, end: impl Fn(u64, Option<u64>) -> Option<u64>) {
        let mut entries = std::mem::take(&mut self.entries);
        // Stable: of equals the one that was added first stays.
        entries.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| self.preference(a, b)));
        // Of several at one start the less preferred stand for what only they reach, around the others.
        entries.dedup_by(|other, kept| other.start == kept.start && other.size <= kept.size);
        entries.sort_by_key(|entry| (entry.start, Reverse(entry.size)));
        self.stretches = stretches(&mut entries, end);
        self.entries = entries;
    }

    /// The symbol that covers `addr`: of nested ones the innermost.
    pub(crate) fn find(&self, addr: u64) -> Option<&Entry> {
        let after = self
            .stretches
            .partition_point(|stretch| stretch.start <= addr);
        let stretch = self.stretches.get(after.checked_sub(1)?)?;
        self.entries.get(stretch.entry? as usize)
    }

    /// The bytes of a name.
    pub(crate) fn name(&self, name: NameRef) -> &[u8] {
        let bytes = || {
            let image: &[u8] = (**self.images.get(usize::from(name.image))?).as_ref();
            let start = usize::try_from(name.offset).ok()?;
            image.get(start..start.checked_add(name.len as usize)?)
        };
        bytes().unwrap_or_default()
    }

    /// Of several names for one address the one that perf prints comes first: one with a size, one
    /// that is not weak, a global one, the one with fewer leading underscores, the longer one.
    fn preference(&self, a: &Entry, b: &Entry) -> Ordering {
        let facts = |entry: &Entry| {
            let name = self.name(entry.name);
            let underscores = name.iter().take_while(|&&byte| byte == b'_').count();
            (
                name.is_empty(),
                entry.size == 0,
                Reverse(entry.binding),
                underscores,
                Reverse(name.len()),
            )
        };
        facts(a).cmp(&facts(b))
    }
}

/// Lays the symbols, which are sorted by start, end to end.
///
/// A symbol without a size reaches to what `end` says, or to the end of the next page and a page on. It
/// says nothing about the inside of a symbol with a size, where it is just a label.
fn stretches(entries: &mut [Entry], end: impl Fn(u64, Option<u64>) -> Option<u64>) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::with_capacity(entries.len() * 2);
    let mut open: Vec<(u64, u32)> = Vec::new(); // (end, entry), innermost last
    for index in 0..entries.len() {
        let following = entries.get(index + 1).map(|following| following.start);
        let entry = &mut entries[index];
        close(&mut open, entry.start, &mut stretches);
        if entry.size == 0 {
            if !open.is_empty() {
                continue;
            }
            let page_on = (entry.start | 0xfff).saturating_add(1 + 0x1000);
            let end = end(entry.start, following).unwrap_or(page_on);
            entry.size = end.saturating_sub(entry.start);
        }
        let number = index as u32;
        push(&mut stretches, entry.start, Some(number));
        open.push((entry.start.saturating_add(entry.size), number));
    }
    close(&mut open, u64::MAX, &mut stretches);
    stretches
}

/// Ends the open symbols that end at or before `position`, each in favour of the one around it.
fn close(open: &mut Vec<(u64, u32)>, position: u64, stretches: &mut Vec<Stretch>) {
    while let Some(&(end, _)) = open.last() {
        if end > position {
            return;
        }
        while open.last().is_some_and(|&(outer, _)| outer <= end) {
            open.pop();
        }
        push(stretches, end, open.last().map(|&(_, entry)| entry));
    }
}

fn push(stretches: &mut Vec<Stretch>, start: u64, entry: Option<u32>) {
    match stretches.last_mut() {
        Some(last) if last.start == start => last.entry = entry,
        _ => stretches.push(Stretch { start, entry }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of (start, size, name, binding).
    fn table(symbols: &[(u64, u64, &str, Binding)]) -> SymbolTable {
        let names: String = symbols.iter().map(|symbol| symbol.2).collect();
        let mut table = SymbolTable::default();
        let image = Arc::new(MappedFile::from_bytes(names.into_bytes()));
        let image = table.add_image(&image).unwrap();
        let mut offset = 0;
        for &(start, size, name, binding) in symbols {
            let len = name.len() as u32;
            table.add(Entry {
                start,
                size,
                name: NameRef { offset, len, image },
                binding,
                source: SymbolSource::Symtab,
            });
            offset += u64::from(len);
        }
        table.finish(|_, next| next);
        table
    }

    fn name(table: &SymbolTable, addr: u64) -> &str {
        table.find(addr).map_or("-", |entry| {
            std::str::from_utf8(table.name(entry.name)).unwrap()
        })
    }

    #[test]
    fn an_address_has_the_innermost_symbol_around_it_and_gaps_have_none() {
        use Binding::Global;
        let table = table(&[
            (10, 90, "outer", Global),
            (20, 10, "inner", Global),
            (25, 15, "overlapping", Global),
            (200, 10, "far", Global),
        ]);
        let at = [9, 10, 19, 20, 24, 25, 39, 40, 99, 100, 199, 200, 209, 210];
        let names = at.map(|addr| name(&table, addr));
        assert_eq!(
            names,
            [
                "-",
                "outer",
                "outer",
                "inner",
                "inner",
                "overlapping",
                "overlapping",
                "outer",
                "outer",
                "-",
                "-",
                "far",
                "far",
                "-"
            ]
        );
    }

    #[test]
    fn a_symbol_without_size_reaches_to_the_next_and_the_last_one_a_page_on() {
        use Binding::Global;
        let table = table(&[(0x10, 0, "a", Global), (0x1020, 0, "b", Global)]);
        assert_eq!(name(&table, 0x101f), "a");
        assert_eq!(name(&table, 0x2fff), "b");
        assert_eq!(name(&table, 0x3000), "-");
    }

    #[test]
    fn what_only_a_less_preferred_symbol_reaches_is_its_own() {
        use Binding::{Global, Local, Weak};
        let table = table(&[
            (10, 4, "short", Global),
            (10, 20, "long", Local),
            (10, 8, "never", Weak),
            (22, 2, "inside", Global),
        ]);
        let names = [10, 13, 14, 21, 22, 24, 29, 30].map(|addr| name(&table, addr));
        assert_eq!(
            names,
            [
                "short", "short", "long", "long", "inside", "long", "long", "-"
            ]
        );
    }

    #[test]
    fn a_label_inside_a_function_does_not_hide_it() {
        use Binding::{Global, Local};
        let table = table(&[(10, 20, "function", Global), (15, 0, "label", Local)]);
        assert_eq!(name(&table, 16), "function");
    }

    #[test]
    fn of_names_for_one_address_the_one_that_perf_prints_wins() {
        use Binding::{Global, Local, Weak};
        let pick = |symbols: &[(u64, u64, &str, Binding)]| {
            let forwards = table(symbols);
            let mut reversed = symbols.to_vec();
            reversed.reverse();
            let backwards = table(&reversed);
            assert_eq!(name(&forwards, 10), name(&backwards, 10));
            name(&forwards, 10).to_owned()
        };
        assert_eq!(
            pick(&[(10, 0, "longer_name", Global), (10, 4, "sized", Weak)]),
            "sized"
        );
        assert_eq!(
            pick(&[(10, 4, "weak_name", Weak), (10, 4, "local", Local)]),
            "local"
        );
        assert_eq!(
            pick(&[(10, 4, "local_name", Local), (10, 4, "global", Global)]),
            "global"
        );
        assert_eq!(
            pick(&[(10, 4, "__write", Global), (10, 4, "write", Global)]),
            "write"
        );
        assert_eq!(
            pick(&[(10, 4, "abc", Global), (10, 4, "abcd", Global)]),
            "abcd"
        );
    }

    #[test]
    fn symbols_at_the_end_of_the_address_space_do_no_harm() {
        use Binding::Global;
        let table = table(&[(u64::MAX - 5, 100, "a", Global), (u64::MAX, 0, "b", Global)]);
        assert_eq!(name(&table, u64::MAX - 5), "a");
    }
}
