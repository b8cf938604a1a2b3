//! Generics and closures that the compiler copies into their callers, all but two functions:
//! main -> serve -> repeat -> closure -> Worker<Hot>::work (3/4) and <Cold> (1/4) -> burn.

use std::hint::black_box;
use std::marker::PhantomData;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

/// The thread's CPU time.
fn cpu_now() -> i64 {
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    unsafe { clock_gettime(3, &mut time) };
    time.seconds * 1_000_000_000 + time.nanoseconds
}

#[inline(always)]
fn burn(rounds: u32) {
    let mut x = black_box(1_u64);
    for _ in 0..rounds {
        x = black_box(x.wrapping_mul(3).wrapping_add(1));
    }
}

struct Hot;
struct Cold;
struct Worker<Kind>(PhantomData<Kind>);

trait Work {
    fn work(&self);
}

impl<Kind> Work for Worker<Kind> {
    #[inline(always)]
    fn work(&self) {
        burn(100_000);
    }
}

#[inline(always)]
fn repeat(until: i64, work: impl Fn()) {
    while cpu_now() < until {
        work();
    }
}

#[inline(never)]
fn serve(start: i64, part: i64) {
    let (hot, cold) = (Worker::<Hot>(PhantomData), Worker::<Cold>(PhantomData));
    repeat(start + 3 * part, || hot.work());
    repeat(start + 4 * part, || cold.work());
    black_box(start);
}

fn main() {
    let cycles = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let mut start = cpu_now();
    for i in 0..cycles.unwrap_or(100) {
        let quarter = 1_500_000 + i * 7919 % 20 * 100_000;
        serve(start, quarter);
        start += 4 * quarter;
    }
}
