//! Resident memory over time.

use std::time::{Duration, Instant};

use prof_sampler::page_size;

use crate::smaps::{bytes, read_text};

/// Resident memory of a process in bytes, exactly; `None` if it is gone or does not tell. Takes the kernel a walk over
/// its pages.
fn exactly(pid: i32) -> Option<u64> {
    let text = read_text(&format!("/proc/{pid}/smaps_rollup")).ok()?;
    bytes(text.lines().find_map(|line| line.strip_prefix("Rss:"))?)
}

/// The same as the kernel's counters have it, which are a few pages off for each CPU.
fn counted(pid: i32) -> Option<u64> {
    let text = read_text(&format!("/proc/{pid}/statm")).ok()?;
    let pages = text.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * page_size() as u64)
}

/// Resident memory of these processes at this moment, in bytes: exact (`exact`), or as cheap as it can be.
pub fn resident_now(pids: &[i32], exact: bool) -> Option<u64> {
    let one = |pid: &i32| match exact {
        true => exactly(*pid).or_else(|| counted(*pid)),
        false => counted(*pid),
    };
    pids.iter().filter_map(one).reduce(|sum, one| sum + one)
}

/// Readings of resident memory, and what they say about its growth.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    readings: Vec<(Instant, u64)>,
}

impl Growth {
    /// Takes in a reading, in bytes.
    pub fn add(&mut self, at: Instant, resident: u64) {
        self.readings.push((at, resident));
    }

    /// How many readings.
    pub fn readings(&self) -> usize {
        self.readings.len()
    }

    /// From the first to the last reading.
    pub fn elapsed(&self) -> Duration {
        match self.readings.as_slice() {
            [first, .., last] => last.0.duration_since(first.0),
            _ => Duration::ZERO,
        }
    }

    /// Bytes that were added in this time.
    pub fn bytes(&self) -> Option<i64> {
        match self.readings.as_slice() {
            [first, .., last] => Some(last.1 as i64 - first.1 as i64),
            _ => None,
        }
    }

    /// Bytes per second, and half of the interval that holds the mean of such readings 19 times of 20. The steps from
    /// reading to reading count, not a line through all readings: memory that goes up and down by chance has
    /// readings near a line, and no growth. `None` with fewer than four readings.
    pub fn per_second(&self) -> Option<(f64, f64)> {
        const T: f64 = 2.1; // Student's for about twenty steps
        let seconds = self.elapsed().as_secs_f64();
        let steps = self.readings.windows(2);
        let steps: Vec<f64> = steps.map(|it| it[1].1 as f64 - it[0].1 as f64).collect();
        if steps.len() < 3 || seconds <= 0.0 {
            return None;
        }
        let count = steps.len() as f64;
        let mean = steps.iter().sum::<f64>() / count;
        let variance = steps.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = T * (variance * count).sqrt();
        Some((mean * count / seconds, error / seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(readings: &[u64]) -> (f64, f64) {
        let (start, mut growth) = (Instant::now(), Growth::default());
        for (second, &reading) in readings.iter().enumerate() {
            growth.add(start + Duration::from_secs(second as u64), reading);
        }
        growth.per_second().unwrap()
    }

    #[test]
    fn steady_growth_has_no_error_and_a_single_step_is_no_growth() {
        assert_eq!(growth(&[100, 200, 300, 400, 500]), (100.0, 0.0));
        let (mean, error) = growth(&[100, 100, 100, 100, 500, 500, 500, 500]);
        assert!(error > mean, "{mean} ±{error}");
    }

    #[test]
    fn two_readings_say_nothing_about_growth() {
        let mut growth = Growth::default();
        growth.add(Instant::now(), 5);
        growth.add(Instant::now() + Duration::from_secs(1), 9);
        assert_eq!(growth.per_second(), None);
        assert_eq!(growth.bytes(), Some(4));
    }

    #[test]
    fn the_memory_of_this_process_is_known_both_ways() {
        let us = [std::process::id() as i32];
        let (exact, counted) = (resident_now(&us, true), resident_now(&us, false));
        assert!(exact.unwrap() > 100_000 && counted.unwrap() > 100_000);
        assert_eq!(resident_now(&[], true), None);
    }
}
