//! Whether two counts differ by more than chance.

/// The share of false alarms among the differences that are called real.
pub(crate) const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// So many of a number of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proportion {
    pub(crate) hits: u64,
    pub(crate) of: u64,
}

/// Fisher's exact test, two-sided: how likely counts at least as uneven are if both sides have the
/// same true share.
pub(crate) fn fisher(a: Proportion, b: Proportion) -> f64 {
    let (hits, of) = (a.hits + b.hits, a.of);
    let lowest = hits.saturating_sub(b.of);
    let highest = hits.min(of);
    // The likelihood of `k` hits on the first side relative to that of `k + 1`, by the
    // hypergeometric distribution.
    let step_up = |k: u64| {
        let (up, down) = ((of - k) * (hits - k), (k + 1) * (b.of + k + 1 - hits));
        up as f64 / down as f64
    };
    // As unlikely as what was seen, but for rounding.
    let limit = 1.0 + 1e-9;
    let (mut tail, mut all) = (1.0, 1.0);
    let mut add = |likelihood: f64, ratio: f64| {
        all += likelihood;
        if likelihood <= limit {
            tail += likelihood;
        }
        // past the peak the rest is a geometric series or less
        ratio >= 1.0 || likelihood > all * 1e-17
    };
    let mut likelihood = 1.0;
    for k in a.hits..highest {
        let ratio = step_up(k);
        likelihood *= ratio;
        if !add(likelihood, ratio) {
            break;
        }
    }
    likelihood = 1.0;
    for k in (lowest..a.hits).rev() {
        let ratio = 1.0 / step_up(k);
        likelihood *= ratio;
        if !add(likelihood, ratio) {
            break;
        }
    }
    match all.is_finite() {
        true => tail / all,
        false => 0.0, // what was seen is 10^300 times less likely than what was to be expected
    }
}

/// The smallest value that the test can have with so many hits in all.
pub(crate) fn smallest_possible(a: Proportion, b: Proportion) -> f64 {
    let hits = a.hits + b.hits;
    let split = |first: u64| {
        let a = Proportion { hits: first, ..a };
        let second = hits - first;
        fisher(a, Proportion { hits: second, ..b })
    };
    split(hits.saturating_sub(b.of)).min(split(hits.min(a.of)))
}

/// How far the difference of two shares may be off, as a share: half of the 95% interval of Agresti
/// and Caffo, which also holds for few hits.
pub(crate) fn error(a: Proportion, b: Proportion) -> f64 {
    let variance = |side: Proportion| {
        let of = side.of as f64 + 2.0;
        let share = (side.hits as f64 + 1.0) / of;
        share * (1.0 - share) / of
    };
    1.96 * (variance(a) + variance(b)).sqrt()
}

/// For each of several tests the false discovery rate at which it would just be called real, by
/// Benjamini and Hochberg: among many rows some differ by chance alone.
pub(crate) fn false_discovery_rates(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let count = p_values.len() as f64;
    let mut rates = vec![1.0; p_values.len()];
    let mut smallest: f64 = 1.0;
    for (rank, &index) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[index] * count / (rank as f64 + 1.0));
        rates[index] = smallest;
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(hits: u64, of: u64) -> Proportion {
        Proportion { hits, of }
    }

    fn is_near(value: f64, expected: f64) {
        let distance = (value - expected).abs();
        assert!(distance < 1e-6 * expected, "{value} is not {expected}");
    }

    #[test]
    fn the_exact_test_agrees_with_sums_done_by_hand() {
        // Fisher's lady: all four cups right. 2 of the C(8,4) = 70 ways are as uneven.
        is_near(fisher(side(4, 4), side(0, 4)), 2.0 / 70.0);
        // three of four: 16 + 1 ways, on both ends
        is_near(fisher(side(3, 4), side(1, 4)), 34.0 / 70.0);
        assert_eq!(fisher(side(2, 4), side(2, 4)), 1.0);
        // one hit tells nothing: it had to be on one of two equal sides
        is_near(fisher(side(1, 1000), side(0, 1000)), 1.0);
        // five of five on one of two equal sides: about 2 * (1/2)^5
        let five = fisher(side(5, 1_000_000), side(0, 1_000_000));
        assert!((five - 0.0625).abs() < 1e-4, "{five}");
    }

    #[test]
    fn the_exact_test_is_symmetric_and_survives_large_and_empty_counts() {
        let (a, b) = (side(40, 900), side(70, 1100));
        is_near(fisher(a, b), fisher(b, a));
        assert_eq!(fisher(side(0, 10), side(0, 10)), 1.0);
        assert_eq!(fisher(side(0, 0), side(3, 9)), 1.0);
        assert_eq!(fisher(side(900_000, 1_000_000), side(10, 1_000_000)), 0.0);
        let same = fisher(side(500_000, 1_000_000), side(500_100, 1_000_000));
        assert!(same > 0.5, "{same}");
    }

    #[test]
    fn few_hits_can_never_be_told_from_chance() {
        assert!(smallest_possible(side(3, 1000), side(1, 1000)) > FALSE_DISCOVERY_RATE);
        assert!(smallest_possible(side(3, 1000), side(3, 1000)) < FALSE_DISCOVERY_RATE);
    }

    #[test]
    fn tests_of_equal_shares_are_seldom_called_real() {
        // Every split of 30 hits over equal sides, weighted by its likelihood: the chance of a
        // value below 5% is below 5%.
        let chance = |k: u64| {
            let ways = (0..k).fold(1.0, |ways, i| ways * (30 - i) as f64 / (i + 1) as f64);
            ways * 0.5_f64.powi(30)
        };
        let alarms = (0..=30).filter(|&k| fisher(side(k, 100_000), side(30 - k, 100_000)) <= 0.05);
        let alarms: f64 = alarms.map(chance).sum();
        assert!(alarms <= 0.05 && alarms > 0.01, "{alarms}");
    }

    #[test]
    fn rates_grow_with_the_number_of_rows() {
        assert_eq!(false_discovery_rates(&[0.01]), [0.01]);
        let rates = false_discovery_rates(&[0.04, 0.01, 0.5]);
        let expected = [0.06, 0.03, 0.5];
        for (rate, expected) in rates.iter().zip(expected) {
            is_near(*rate, expected);
        }
        // a later one pulls an earlier one down
        is_near(false_discovery_rates(&[0.03, 0.031])[0], 0.031);
        assert!(false_discovery_rates(&[]).is_empty());
    }

    #[test]
    fn the_error_shrinks_with_the_root_of_the_samples() {
        let small = error(side(500, 1000), side(500, 1000));
        let large = error(side(50_000, 100_000), side(50_000, 100_000));
        assert!((small / large - 10.0).abs() < 0.05);
        assert!(error(side(0, 1000), side(0, 1000)) > 0.0);
    }
}
