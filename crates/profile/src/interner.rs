use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;

/// Values, each once, numbered from 0 in the order in which they came.
///
/// The hash table has numbers only, so that it stays in the processor's cache for longer than one of
/// values would.
#[derive(Clone, Debug)]
pub(crate) struct Interner<T> {
    values: Vec<T>,
    numbers: HashTable<u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            numbers: HashTable::new(),
        }
    }
}

impl<T: Hash + Eq> Interner<T> {
    /// The number of a value.
    ///
    /// # Panics
    /// With 2^32 values.
    pub(crate) fn intern(&mut self, value: T) -> u32 {
        let Self { values, numbers } = self;
        let is_same = |&number: &u32| values[number as usize] == value;
        let hash = |&number: &u32| FxBuildHasher.hash_one(&values[number as usize]);
        match numbers.entry(FxBuildHasher.hash_one(&value), is_same, hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let number = u32::try_from(values.len()).expect("fewer than 2^32 values");
                vacant.insert(number);
                values.push(value);
                number
            }
        }
    }

    /// The number of a value, if it has come.
    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        let is_same = |&number: &u32| self.values[number as usize] == *value;
        let hash = FxBuildHasher.hash_one(value);
        self.numbers.find(hash, is_same).copied()
    }

    /// All values, by number.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
}
