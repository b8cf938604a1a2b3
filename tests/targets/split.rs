//! outer -> middle -> hot (3/4) and cold (1/4), through a closure, a generic function and a trait
//! object.
use std::hint::black_box;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

fn cpu_now() -> i64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    unsafe { clock_gettime(3, &mut time) };
    time.seconds * 1_000_000_000 + time.nanoseconds
}

fn burn(rounds: u32) {
    let mut x = black_box(1u64);
    for _ in 0..rounds {
        x = black_box(x.wrapping_mul(3) + 1);
    }
}

trait Work {
    fn work(&self, until: i64);
}

struct Hot;
struct Cold;

impl Work for Hot {
    #[inline(never)]
    fn work(&self, until: i64) {
        while cpu_now() < until {
            burn(20_000);
        }
    }
}

impl Work for Cold {
    #[inline(never)]
    fn work(&self, until: i64) {
        while cpu_now() < until {
            burn(20_001);
        }
    }
}

#[inline(never)]
fn middle(run: &dyn Fn(&dyn Work, i64), start: i64, part: i64) {
    run(black_box(&Hot), start + 3 * part);
    run(black_box(&Cold), start + 4 * part);
    black_box(());
}

#[inline(never)]
fn outer<N: IntoIterator<Item = i64>>(cycles: N) {
    let mut start = cpu_now();
    for cycle in cycles {
        let part = 1_500_000 + cycle * 7919 % 20 * 100_000;
        middle(&|work, until| work.work(until), start, part);
        start += 4 * part;
    }
}

fn main() {
    let cycles = std::env::args().nth(1).map_or(100, |text| text.parse().unwrap());
    outer(0..cycles);
    black_box(());
}
