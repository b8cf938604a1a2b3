//! Times, sizes, counts and lists as the lines have them.

use std::time::Duration;

/// At most so many items behind a start, as many as fit; of the others it is said that they are there.
pub fn list(start: &str, items: impl Iterator<Item = String>, most: usize) -> String {
    const COLUMNS: usize = 80 - ", ...".len();
    let (mut line, mut told, mut left_out) = (start.to_owned(), 0, false);
    for item in items {
        let is_first = told == 0;
        let columns = line.chars().count() + item.chars().count() + 2;
        left_out = !is_first && columns > COLUMNS || told >= most;
        if left_out {
            break;
        }
        line += if is_first { "" } else { ", " };
        line += &item;
        told += 1;
    }
    line + if left_out { ", ..." } else { "" }
}

/// `10 s`, `1.9 s`, `0.02 s`, `12 min`
pub fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        600.0.. => format!("{:.0} min", seconds / 60.0),
        9.95.. => format!("{seconds:.0} s"),
        0.095.. => format!("{seconds:.1} s").replace(".0 s", " s"),
        _ => format!("{seconds:.2} s"),
    }
}

/// `1.4 GB`, `34 MB`
pub fn bytes(bytes: f64) -> String {
    match bytes {
        1e9.. => format!("{:.1} GB", bytes / 1e9),
        1e7.. => format!("{:.0} MB", bytes / 1e6),
        1e5.. => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.0} kB", bytes / 1e3),
    }
}

/// `1 CPU`, `2 CPUs`
pub fn plural(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_the_digits_that_say_something() {
        let times = [0.004, 0.02, 1.9, 3.0, 10.2, 3000.0];
        let times = times.map(|time| seconds(Duration::from_secs_f64(time)));
        assert_eq!(
            times,
            ["0.00 s", "0.02 s", "1.9 s", "3 s", "10 s", "50 min"]
        );
        let sizes = [12_000.0, 1_800_000.0, 34_000_000.0, 1_440_000_000.0];
        assert_eq!(sizes.map(bytes), ["12 kB", "1.8 MB", "34 MB", "1.4 GB"]);
        assert_eq!(
            [plural(1, "CPU", "CPUs"), plural(2, "CPU", "CPUs")],
            ["1 CPU", "2 CPUs"]
        );
    }

    #[test]
    fn a_list_has_what_fits_and_says_that_there_is_more() {
        let items = |count| (0..count).map(|n| format!("item {n}"));
        assert_eq!(list("all: ", items(2), 3), "all: item 0, item 1");
        assert_eq!(list("all: ", items(9), 2), "all: item 0, item 1, ...");
        let long = list("all: ", items(99), 99);
        assert!(
            long.ends_with(", ...") && long.chars().count() <= 80,
            "{long}"
        );
    }
}
