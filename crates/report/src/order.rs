/// A number of an item.
pub(crate) type Value<'a, T> = Box<dyn Fn(&T) -> u64 + 'a>;

/// Puts items, of which `order` has the indices, into the order of their values: those with the
/// smaller first value come first, of equal ones those with the smaller second value, and so on.
///
/// Values are packed into as few words as their ranges need, so that one comparison of integers
/// decides by several of them.
pub(crate) fn sort_by_values<T>(order: &mut [u32], items: &[T], values: &[Value<'_, T>]) {
    let item = |index: u32| &items[index as usize];
    let packing = Packing::new(values, || order.iter().map(|&index| item(index)));
    let each = packing.words().saturating_sub(1); // besides the first word
    let mut rest: Vec<u64> = Vec::with_capacity(order.len() * each);
    let mut words = vec![0; each + 1];
    let mut leads: Vec<u128> = Vec::with_capacity(order.len()); // the first word and the place
    for (at, &index) in (0_u32..).zip(&*order) {
        packing.pack(item(index), &mut words);
        leads.push(u128::from(words[0]) << 64 | u128::from(at) << 32 | u128::from(index));
        rest.extend_from_slice(&words[1..]);
    }
    leads.sort_unstable();
    let rest_of = |lead: u128| &rest[(lead as u64 >> 32) as usize * each..][..each];
    for equal in leads.chunk_by_mut(|left, right| left >> 64 == right >> 64) {
        if each > 0 && equal.len() > 1 {
            equal.sort_unstable_by(|&left, &right| rest_of(left).cmp(rest_of(right)));
        }
    }
    for (place, lead) in order.iter_mut().zip(leads) {
        *place = lead as u32;
    }
}

/// Which bits of which word hold a value: words compare as the values in them, one after the other.
struct Packing<'v, 'a, T> {
    fields: Vec<Field<'v, 'a, T>>,
}

struct Field<'v, 'a, T> {
    value: &'v Value<'a, T>,
    least: u64, // what 0 stands for
    word: usize,
    shift: u32,    // to the left in that word
    overflow: u32, // so many of its lowest bits lie in the next one
}

impl<'v, 'a, T> Packing<'v, 'a, T> {
    fn new<'t, I: Iterator<Item = &'t T>>(values: &'v [Value<'a, T>], items: impl Fn() -> I) -> Self
    where
        T: 't,
    {
        let mut fields = Vec::new();
        let (mut word, mut free) = (0, u64::BITS);
        for value in values {
            let range = |(least, most): (u64, u64), it| (least.min(it), most.max(it));
            let (least, most) = items().map(value).fold((u64::MAX, 0), range);
            let bits = u64::BITS - most.saturating_sub(least).leading_zeros();
            if bits == 0 {
                continue; // all the same
            }
            let overflow = bits.saturating_sub(free);
            fields.push(Field {
                value,
                least,
                word,
                shift: free.saturating_sub(bits),
                overflow,
            });
            if bits < free {
                free -= bits;
            } else {
                (word, free) = (word + 1, u64::BITS - overflow);
            }
        }
        Self { fields }
    }

    fn words(&self) -> usize {
        let last = self.fields.last();
        last.map_or(0, |last| last.word + 1 + usize::from(last.overflow > 0))
    }

    fn pack(&self, item: &T, words: &mut [u64]) {
        words.fill(0);
        for field in &self.fields {
            let value = (field.value)(item) - field.least;
            words[field.word] |= value << field.shift >> field.overflow;
            if field.overflow > 0 {
                words[field.word + 1] |= value << (u64::BITS - field.overflow);
            }
        }
    }
}

/// Puts items in order: `order[i]` is where the one is now that belongs to place `i`.
pub(crate) fn arrange<T>(items: &mut [T], mut order: Vec<u32>) {
    for first in 0..order.len() {
        let mut at = first;
        while order[at] as usize != first {
            let from = std::mem::replace(&mut order[at], at as u32) as usize;
            items.swap(at, from);
            at = from;
        }
        order[at] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(items: &[[u64; 4]]) -> Vec<[u64; 4]> {
        let mut order: Vec<u32> = (0..items.len() as u32).collect();
        let value = |at: usize| -> Value<'static, [u64; 4]> { Box::new(move |item| item[at]) };
        sort_by_values(&mut order, items, &[0, 1, 2, 3].map(value));
        order.iter().map(|&index| items[index as usize]).collect()
    }

    #[test]
    fn values_of_any_range_decide_one_after_the_other() {
        let numbers = [0, 1, 7, 1 << 40, u64::MAX - 3, u64::MAX];
        for ranges in [[1, 2, 3, 3], [6, 2, 1, 6], [3, 6, 6, 3], [4, 4, 4, 4]] {
            let mut seed = 1_u64;
            let mut any = |range: usize| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                numbers[(seed >> 33) as usize % range]
            };
            let items: Vec<_> = (0..200).map(|_| ranges.map(&mut any)).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            assert_eq!(sorted(&items), expected);
        }
    }

    #[test]
    fn equal_items_and_none_have_an_order_too() {
        assert_eq!(sorted(&[]), [[0; 4]; 0]);
        assert_eq!(sorted(&[[5; 4], [5; 4]]), [[5; 4]; 2]);
    }

    #[test]
    fn items_go_where_the_order_says() {
        let mut items = ['a', 'b', 'c', 'd', 'e'];
        arrange(&mut items, vec![2, 0, 1, 3, 4]);
        assert_eq!(items, ['c', 'a', 'b', 'd', 'e']);
        arrange(&mut items, vec![4, 3, 2, 1, 0]);
        assert_eq!(items, ['e', 'd', 'b', 'a', 'c']);
    }
}
