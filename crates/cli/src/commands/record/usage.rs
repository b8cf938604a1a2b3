//! How much of the CPUs a target used while it was recorded, and what it was allowed, in one line.

use std::time::Duration;

use prof_vitals::Vitals;

/// `used 0.17 of 2 CPUs; quota 0.20, throttled in 95% of periods`. `cpu_time` is what the target used, where that is
/// known; what else is not known is left out. `None` if nothing is.
pub fn line(vitals: &Vitals, cpu_time: Option<Duration>, elapsed: Duration) -> Option<String> {
    let counted = vitals.cpu.map(|cpu| (cpu.total(), vitals.elapsed));
    let (time, elapsed) = cpu_time.map(|time| (time, elapsed)).or(counted)?;
    let used = time.as_secs_f64() / elapsed.as_secs_f64().max(1e-3);
    let mut line = format!("used {used:.2}");
    if let Some(cpus) = vitals.cpus {
        line += &format!(" of {cpus} CPU{}", if cpus == 1 { "" } else { "s" });
    }
    let Some(quota) = &vitals.quota else {
        return Some(line);
    };
    line += &format!("; quota {:.2}", quota.cpus);
    match (quota.periods, quota.throttled_periods) {
        (Some(_), Some(0)) => line += ", not throttled",
        (Some(periods), Some(throttled)) => {
            let percent = 100.0 * throttled as f64 / periods.max(1) as f64;
            line += &format!(", throttled in {percent:.0}% of periods");
        }
        _ => {}
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use prof_vitals::{CpuUse, Quota};

    use super::*;

    #[test]
    fn the_line_says_what_is_known_and_nothing_else() {
        let seconds = Duration::from_secs;
        let mut vitals = Vitals {
            elapsed: seconds(10),
            ..Vitals::default()
        };
        assert_eq!(line(&vitals, None, seconds(10)), None);
        let used = Some(Duration::from_millis(1700));
        assert_eq!(line(&vitals, used, seconds(10)).unwrap(), "used 0.17");
        vitals.cpus = Some(2);
        vitals.cpu = Some(CpuUse {
            user: seconds(5),
            system: seconds(5),
        });
        assert_eq!(
            line(&vitals, None, seconds(1)).unwrap(),
            "used 1.00 of 2 CPUs"
        );
        vitals.quota = Some(Quota {
            cpus: 0.2,
            periods: Some(150),
            throttled_periods: Some(142),
            ..Quota::default()
        });
        let expected = "used 0.17 of 2 CPUs; quota 0.20, throttled in 95% of periods";
        assert_eq!(line(&vitals, used, seconds(10)).unwrap(), expected);
        vitals.quota.as_mut().unwrap().throttled_periods = None;
        let expected = "used 0.17 of 2 CPUs; quota 0.20";
        assert_eq!(line(&vitals, used, seconds(10)).unwrap(), expected);
    }
}
