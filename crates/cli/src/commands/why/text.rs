//! All lines, and what is left out if there are too many.

use super::answer::Answer;
use super::{counters, next, samples};

const MOST_LINES: usize = 15;
const COLUMNS: usize = 80;

/// The lines for a terminal.
pub fn plain(answer: &Answer) -> String {
    lines(answer)
        .iter()
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The same as a block for a ticket.
pub fn markdown(answer: &Answer) -> String {
    format!("```text\n{}```\n", plain(answer))
}

/// At most fifteen lines of at most 80 columns; only a command may be longer, for one that is cut is none.
pub fn lines(answer: &Answer) -> Vec<String> {
    let mut before = counters::lines(answer);
    before.extend(samples::commands(answer).map(|line| (false, line)));
    let mut after = samples::waits(answer, COLUMNS);
    after.extend(samples::remarks(answer));
    after.extend(counters::last_lines(answer));
    let next = next::lines(answer, COLUMNS);
    let left = |before: usize| MOST_LINES.saturating_sub(before + after.len() + next.len());
    if left(before.len()) < 2 {
        before.retain(|(is_spare, _)| !is_spare);
    }
    let left = left(before.len());
    let before = before.into_iter().map(|(_, line)| line);
    let paths = samples::paths(answer, COLUMNS);
    let paths = paths.into_iter().take(left.max(1));
    let lines = before.chain(paths).chain(after);
    lines.map(|line| fit(&line)).chain(next).collect()
}

/// The first letters of a name.
pub fn start_of(name: &str, letters: usize) -> String {
    match name.chars().count() <= letters {
        true => name.to_owned(),
        false => name.chars().take(letters - 1).chain(['…']).collect(),
    }
}

/// The last letters of a name.
pub fn end_of(name: &str, letters: usize) -> String {
    let len = name.chars().count();
    match len <= letters {
        true => name.to_owned(),
        false => std::iter::once('…')
            .chain(name.chars().skip(len - letters + 1))
            .collect(),
    }
}

/// What a line says about itself comes behind this.
const MARK: &str = "  <- ";

fn fit(line: &str) -> String {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if line.chars().count() <= COLUMNS {
        return line;
    }
    let (line, mark) = line.split_at(line.rfind(MARK).unwrap_or(line.len()));
    let kept: String = line
        .chars()
        .take(COLUMNS - 1 - mark.chars().count())
        .collect();
    format!("{kept}…{mark}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prof_report::{HotPath, HotPaths, Share, ThreadState, WaitPlace, WaitSummary, WorkKind};
    use prof_session::record::Started;
    use prof_vitals::{
        CpuUse, Growth, MachineTime, Memory, Quota, Stalls, ThreadUse, Vitals, Wait, Waits,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer() -> Answer {
        Answer {
            target: "storefront 1529".to_owned(),
            typed: "-p 1529".to_owned(),
            vitals: Vitals {
                elapsed: 10 * SECOND,
                ..Vitals::default()
            },
            ..Answer::default()
        }
    }

    #[test]
    fn what_was_not_measured_is_not_shown_as_nothing() {
        let lines = lines(&answer());
        let expected = [
            "storefront 1529, 10 s",
            "CPU time used: not measured, it could not be read",
        ];
        assert_eq!(lines, expected);
    }

    /// Everything at once.
    fn worst() -> Answer {
        let mut answer = answer();
        answer.container = Some("3f2a91c04d5e".to_owned());
        answer.lost = 7;
        answer.started = vec![Started {
            parent: "sh".to_owned(),
            program: "cc1".to_owned(),
            count: 842,
            ended: 840,
        }];
        let path = |name: &str, percent, kind| HotPath {
            share: Share {
                percent,
                error: 4.2,
            },
            names: vec!["main.order".to_owned(), name.to_owned()],
            told: vec![0, 1],
            function: name.to_owned(),
            line: Some("catalog.go:26".to_owned()),
            kind,
            ..HotPath::default()
        };
        let collection = Some(WorkKind::GarbageCollection);
        answer.hot = Some(HotPaths {
            samples: 900,
            paths: vec![
                path("regexp.MustCompile", 38.0, None),
                path("runtime.gcBgMarkWorker", 12.0, collection),
                path("list", 10.0, None),
                path("flush", 6.0, None),
            ],
            kinds: vec![(
                WorkKind::Allocation,
                Share {
                    percent: 20.0,
                    error: 3.0,
                },
            )],
            whole_percent: Some(50.0),
            ..HotPaths::default()
        });
        let thread = |tid, ran, waited| ThreadUse {
            pid: 1529,
            tid,
            comm: "worker".to_owned(),
            ran,
            waited,
        };
        let wait = |state, place: &str| Wait {
            state,
            place: Some(place.to_owned()),
            seen: 50,
            example: (1529, 1530, "worker".to_owned()),
            threads: 1,
        };
        answer.vitals = Vitals {
            elapsed: 10 * SECOND,
            cpus: Some(2),
            cpu: Some(CpuUse {
                user: SECOND * 3 / 2,
                system: SECOND / 5,
            }),
            quota: Some(Quota {
                cpus: 0.2,
                periods: Some(150),
                throttled_periods: Some(142),
                throttled: Some(Duration::from_millis(1900)),
                ..Quota::default()
            }),
            machine: Some(MachineTime {
                user: 10 * SECOND,
                steal: 10 * SECOND,
                ..MachineTime::default()
            }),
            stalls: Stalls {
                cpu: Some(0.5),
                io: None,
                memory: Some(0.0),
            },
            threads: vec![
                thread(1530, SECOND, 9 * SECOND),
                thread(1531, SECOND / 2, SECOND),
            ],
            thread_count: 2,
            processes: Some(3),
            waits: Waits {
                looks: 40,
                looks_with_blocked: 38,
                seen: 100,
                running: 0,
                places: vec![
                    wait('D', "folio_wait_bit_common < vfs_read"),
                    wait('S', "futex"),
                ],
            },
            memory: Some(Growth {
                before: Memory {
                    anonymous: 1_200_000_000,
                    shared: 0,
                },
                after: Memory {
                    anonymous: 1_234_000_000,
                    shared: 0,
                },
            }),
            ..Vitals::default()
        };
        answer
    }

    #[test]
    fn everything_at_once_is_fifteen_lines_with_the_heaviest_functions() {
        let expected = "\
storefront 1529 + 2 children in container 3f2a91c04d5e, 10 s, 2 CPUs, 2 threads
used 0.17 of 2 CPUs, 12% of it in the kernel
quota 0.20: throttled in 142 of 150 periods, 1.9 s  <- the limit, not the code
waited 10 s for a CPU, all threads; the quota may be a part of it
machine: idle 0%, steal 50%  <- the host
1 of 2 threads uses or waits for a CPU all the time: worker 1530
D state in 38 of 40 looks: worker 1530 of 1529: folio_wait_bit_common < vfs_read
CPU: 38% ±4    main.order > regexp.MustCompile                 catalog.go:26
of it: memory allocation 20% ±3
only 50% of the stacks are whole: callers may be missing
7 samples were lost; try a lower -F
started 842 processes (84/s), 840 ended: sh > cc1 842
memory 1.2 GB, +34 MB in 10 s
next: prof record -p 1529 -d 10s
      prof report -p regexp.MustCompile -x --no-children -s sym
";
        let text = plain(&worst());
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&text), words(expected), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= COLUMNS),
            "{text}"
        );
    }

    #[test]
    fn a_container_is_not_said_to_be_in_itself() {
        let mut answer = worst();
        answer.target = "container 3f2a91c04d5e".to_owned();
        let text = plain(&answer);
        assert_eq!(text.matches("3f2a91c04d5e").count(), 1, "{text}");
    }

    #[test]
    fn an_idle_target_has_no_profile_but_what_it_waits_in() {
        let mut answer = worst();
        answer.vitals.cpu = Some(CpuUse::default());
        answer.vitals.threads.clear();
        let text = plain(&answer);
        assert!(text.contains("used 0.00 of 2 CPUs: idle\n"), "{text}");
        assert!(
            text.contains("its threads wait in: futex 50% (of 40 looks)\n"),
            "{text}"
        );
        assert!(!text.contains("CPU: 38%"), "{text}");
        assert!(
            text.ends_with("next: cat /proc/1529/task/1530/stack\n"),
            "{text}"
        );
    }

    #[test]
    fn processes_that_are_named_are_nobodys_children_here() {
        let mut answer = answer();
        answer.target = "nginx, 4 processes".to_owned();
        answer.named = 4;
        for (processes, head) in [
            (4, "nginx, 4 processes, 10 s"),
            (5, "nginx, 4 processes + 1 child, 10 s"),
        ] {
            answer.vitals.processes = Some(processes);
            assert_eq!(lines(&answer)[0], head);
        }
    }

    #[test]
    fn where_threads_wait_is_told_but_not_what_waits_for_anything() {
        let place = |state, function: &str, waited| WaitPlace {
            state,
            functions: vec![function.to_owned(), "main".to_owned()],
            waited,
            waker: None,
        };
        let mut answer = answer();
        answer.waited = Some(WaitSummary {
            states: vec![(ThreadState::Lock, 75), (ThreadState::Poll, 25)],
            places: vec![
                place(ThreadState::Lock, "Cache::get", 68),
                place(ThreadState::Poll, "loop", 25),
                place(ThreadState::Lock, "[stack not known]", 13),
                place(ThreadState::Lock, "seldom", 7),
            ],
            ..WaitSummary::default()
        });
        let waits: Vec<_> = lines(&answer).into_iter().skip(2).collect();
        assert_eq!(waits, ["waits: 68% lock  Cache::get < main"]);
    }

    #[test]
    fn a_quota_that_is_not_felt_is_not_the_limit() {
        let mut answer = worst();
        if let Some(quota) = &mut answer.vitals.quota {
            quota.throttled_periods = Some(0);
        }
        let text = plain(&answer);
        assert!(text.contains("quota 0.20: not throttled\n"), "{text}");
        if let Some(quota) = &mut answer.vitals.quota {
            quota.throttled_periods = None;
        }
        let text = plain(&answer);
        assert!(
            text.contains("quota 0.20: how often it was throttled could not be read\n"),
            "{text}"
        );
    }

    #[test]
    fn a_mark_survives_a_line_that_is_too_long() {
        let line = format!("{}  <- full", "x".repeat(90));
        let fitted = fit(&line);
        assert_eq!(fitted.chars().count(), COLUMNS);
        assert!(fitted.ends_with("…  <- full"));
    }
}
