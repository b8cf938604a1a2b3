//! What the demo records: threads that spend 60% of their time in [`checksum`], 30% in
//! [`sort_keys`] and 10% in [`write_log`], at the end of a deep chain of calls.
//!
//! The shares hold by construction on any machine: each function runs until its thread has used up
//! its part of the CPU time.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::thread::Builder;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::messages::{Outcome, open_errors};

const THREADS: [&str; 2] = ["parser", "indexer"];
const DEPTH: u32 = 16;
const PART: Duration = Duration::from_millis(1);

/// Runs for so many seconds.
///
/// # Errors
/// There can be no further thread.
pub fn run(seconds: f64) -> Outcome {
    let end = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let mut threads = Vec::new();
    for name in THREADS {
        let thread = Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || serve(end));
        threads.push(thread.map_err(open_errors::no_thread)?);
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(0)
}

fn serve(end: Instant) {
    while Instant::now() < end {
        black_box(handle_request(DEPTH));
    }
}

/// One request after another object: a chain of calls as deep as frameworks make them.
#[inline(never)]
fn handle_request(depth: u32) -> u64 {
    if depth > 0 {
        return black_box(handle_request(depth - 1)) + 1;
    }
    checksum(6) ^ sort_keys(3) ^ write_log(1)
}

/// CPU time of this thread until which `parts` parts are used up.
fn budget(parts: u32) -> Duration {
    cpu_time() + PART * parts
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from)
}

#[inline(never)]
fn checksum(parts: u32) -> u64 {
    let end = budget(parts);
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    while cpu_time() < end {
        for byte in 0..200_000_u64 {
            sum = (sum ^ byte).wrapping_mul(0x100_0000_01b3);
        }
    }
    black_box(sum)
}

#[inline(never)]
fn sort_keys(parts: u32) -> u64 {
    let end = budget(parts);
    let mut keys = [0_u32; 512]; // so many that asking for the time costs little beside them
    while cpu_time() < end {
        for (index, key) in (0_u32..).zip(&mut keys) {
            *key = index.wrapping_mul(2_654_435_761) >> 3;
        }
        // Insertion sort: all of the time is in this function, not in a library's.
        for sorted in 1..keys.len() {
            let mut at = sorted;
            while at > 0 && keys[at - 1] > keys[at] {
                keys.swap(at - 1, at);
                at -= 1;
            }
        }
    }
    u64::from(black_box(keys[0]))
}

#[inline(never)]
fn write_log(parts: u32) -> u64 {
    let end = budget(parts);
    let Ok(mut log) = File::options().write(true).open("/dev/null") else {
        return 0;
    };
    let mut lines = 0;
    while cpu_time() < end {
        lines += (0..64)
            .filter(|_| log.write_all(b"GET /index.html 200\n").is_ok())
            .count();
    }
    black_box(lines as u64)
}
