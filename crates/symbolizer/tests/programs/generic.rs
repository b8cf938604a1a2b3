use std::fmt::Debug;

trait Area {
    fn area(&self) -> u64;
}

struct Square<T>(T);

impl<T: Copy + Into<u64>> Area for Square<T> {
    #[inline(never)]
    fn area(&self) -> u64 {
        let side: u64 = self.0.into();
        side.wrapping_mul(side)
    }
}

#[inline(always)]
fn doubled(value: u64) -> u64 {
    value.rotate_left(7) ^ value
}

#[inline(never)]
fn show<T: Debug>(items: &[T]) -> usize {
    items.iter().map(|item| format!("{item:?}").len()).sum()
}

#[inline(never)]
fn churn(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, round| doubled(sum.wrapping_add(round)))
}

fn main() {
    let rounds = std::env::args().count() as u64;
    println!("{} {} {}", Square(std::hint::black_box(3_u32)).area(), show(&["a", "b"]), churn(rounds));
}
