//! What runtimes told about the code that they generated in one process.

use std::ops::Range;
use std::sync::Arc;

use prof_model::Pid;
use rustc_hash::FxHashMap;

use crate::code_map::CodeMap;
use crate::perf_map::JitSymbol;

/// What a runtime told when a sample hit its code.
#[derive(Clone, Debug)]
pub struct ToldName {
    /// The process.
    pub pid: Pid,
    /// The address that was hit.
    pub addr: u64,
    /// The addresses of the piece of code that it was in then.
    pub code: Range<u64>,
    /// What the piece is called.
    pub name: Arc<str>,
}

/// Names by address. Memory is used again for other code: what was told together about one address and
/// does not agree is no name.
#[derive(Debug, Default)]
pub(crate) struct ToldCode {
    at: FxHashMap<u64, Option<Arc<JitSymbol>>>,
    pieces: CodeMap<Option<Arc<JitSymbol>>>,
}

impl ToldCode {
    /// Takes in what was told since the last time, in the order of time; it counts more than what was told
    /// before.
    pub(crate) fn add(&mut self, names: &[&ToldName]) {
        let mut pieces: Vec<Arc<JitSymbol>> = Vec::new();
        let mut at: FxHashMap<u64, Option<Arc<JitSymbol>>> = FxHashMap::default();
        let mut known: FxHashMap<(u64, &str), Arc<JitSymbol>> = FxHashMap::default();
        for told in names {
            let key = (told.code.start, &*told.name);
            let symbol = known.entry(key).or_insert_with(|| {
                let symbol = Arc::new(JitSymbol {
                    name: Arc::clone(&told.name),
                    start: told.code.start,
                    size: told.code.end.saturating_sub(told.code.start),
                });
                pieces.push(Arc::clone(&symbol));
                symbol
            });
            let one = at
                .entry(told.addr)
                .or_insert_with(|| Some(Arc::clone(symbol)));
            if one.as_ref().is_some_and(|one| one.name != symbol.name) {
                *one = None;
            }
        }
        for piece in &pieces {
            self.pieces.insert(piece.range(), Some(Arc::clone(piece)));
        }
        pieces.sort_by_key(|piece| (piece.start, piece.size));
        for (index, piece) in pieces.iter().enumerate() {
            let end = piece.range().end;
            let after = pieces[index + 1..].iter();
            let others = after.take_while(|other| other.start < end);
            for other in others.filter(|other| other.name != piece.name) {
                let both = other.start..other.range().end.min(end);
                self.pieces.insert(both, None);
            }
        }
        self.at.extend(at);
    }

    /// The code that was at `addr`.
    pub(crate) fn find(&self, addr: u64) -> Option<&JitSymbol> {
        let found = self.at.get(&addr).or_else(|| self.pieces.find(addr));
        found?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(addr: u64, code: Range<u64>, name: &str) -> ToldName {
        ToldName {
            pid: Pid(1),
            addr,
            code,
            name: name.into(),
        }
    }

    #[test]
    fn what_was_hit_under_one_name_has_it_although_the_memory_was_used_again() {
        let mut code = ToldCode::default();
        let names = [
            told(0x110, 0x100..0x200, "A.a"),
            told(0x120, 0x100..0x200, "A.a"),
            told(0x120, 0x100..0x140, "B.b"),
            told(0x130, 0x100..0x140, "B.b"),
        ];
        code.add(&names.each_ref());
        let names = [0x110, 0x120, 0x130, 0x138, 0x180, 0x200]
            .map(|addr| code.find(addr).map(|symbol| &*symbol.name));
        let certain = [Some("A.a"), None, Some("B.b"), None, Some("A.a"), None];
        assert_eq!(names, certain);
        // what is told later counts
        code.add(&[&told(0x120, 0x100..0x140, "C.c")]);
        let symbol = code.find(0x120).unwrap();
        assert_eq!(
            (&*symbol.name, symbol.start, symbol.size),
            ("C.c", 0x100, 0x40)
        );
    }
}
