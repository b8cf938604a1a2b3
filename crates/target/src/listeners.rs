//! Who listens on a port, in whatever network namespace.
//!
//! In: a port. Out: processes that hold a socket on which one listens. Elsewhere: other ways to say who is meant
//! (`find.rs`).

use std::fs;
use std::path::PathBuf;

use prof_model::Pid;
use prof_sampler::proc;
use rustc_hash::{FxHashMap, FxHashSet};

/// What is asked for: `:8080`, `:53/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) is_udp: bool,
}

impl Port {
    /// Reads what follows the colon.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, is_udp) = match text.split_once('/') {
            None => (text, false),
            Some((number, "tcp")) => (number, false),
            Some((number, "udp")) => (number, true),
            Some(_) => return None,
        };
        let number = number.parse().ok().filter(|&number| number > 0)?;
        Some(Self { number, is_udp })
    }

    /// The tables of a network namespace that tell of it.
    fn tables(self) -> [&'static str; 2] {
        if self.is_udp {
            ["udp", "udp6"]
        } else {
            ["tcp", "tcp6"]
        }
    }
}

/// Who listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listeners {
    /// The processes.
    pub(crate) processes: Vec<Pid>,
    /// Whether somebody listens whose process is not among them: it may not be looked into.
    pub(crate) are_hidden: bool,
    /// On which ports somebody listens.
    pub(crate) ports: Vec<u16>,
}

/// Looks at the tables of every network namespace that a process is in, and for whom their sockets are.
pub(crate) fn listeners(port: Port) -> Listeners {
    let all = proc::processes().unwrap_or_default();
    let mut found = Listeners::default();
    let mut sockets = FxHashSet::default();
    for task in namespaces(&all).into_values() {
        for table in port.tables() {
            let text = fs::read_to_string(format!("/proc/{task}/net/{table}"));
            for (number, socket) in listening(&text.unwrap_or_default(), port.is_udp) {
                found.ports.push(number);
                if number == port.number {
                    sockets.insert(socket);
                }
            }
        }
    }
    found.ports.sort_unstable();
    found.ports.dedup();
    if sockets.is_empty() {
        return found;
    }
    let mut held = FxHashSet::default();
    for pid in all {
        let own = sockets_of(pid).filter(|socket| sockets.contains(socket));
        let own: Vec<_> = own.collect();
        if !own.is_empty() {
            found.processes.push(pid);
        }
        held.extend(own);
    }
    // The first process may listen for services that it starts, and hold their sockets for them.
    if found.processes.len() > 1 {
        found.processes.retain(|&pid| pid != Pid(1));
    }
    found.are_hidden = held.len() < sockets.len();
    found
}

/// One process of each network namespace. Those that may not be told apart count as ours.
fn namespaces(all: &[Pid]) -> FxHashMap<PathBuf, Pid> {
    let mut found = FxHashMap::default();
    let ourselves = Pid(std::process::id() as i32);
    for &pid in std::iter::once(&ourselves).chain(all) {
        if let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/net")) {
            found.entry(namespace).or_insert(pid);
        }
    }
    found
}

/// The ports and sockets of a table on which one listens.
///
/// ```text
///   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
///    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5341 1 ...
/// ```
fn listening(table: &str, is_udp: bool) -> impl Iterator<Item = (u16, u64)> {
    const TCP_LISTEN: &str = "0A";
    const UDP_UNCONNECTED: &str = "07";
    let state = if is_udp { UDP_UNCONNECTED } else { TCP_LISTEN };
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, its_state) = (words.next()?, words.nth(1)?);
        let socket = words.nth(5)?.parse().ok().filter(|&it| it != 0)?;
        let (_, port) = local.rsplit_once(':')?;
        (its_state == state).then_some((u16::from_str_radix(port, 16).ok()?, socket))
    })
}

/// The sockets that a process has open.
fn sockets_of(pid: Pid) -> impl Iterator<Item = u64> {
    let files = fs::read_dir(format!("/proc/{}/fd", proc::living_task(pid)));
    files.into_iter().flatten().filter_map(|file| {
        let target = fs::read_link(file.ok()?.path()).ok()?;
        let number = target.to_str()?.strip_prefix("socket:[")?;
        number.strip_suffix(']')?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_port_may_have_its_protocol() {
        let port = |number, is_udp| Some(Port { number, is_udp });
        assert_eq!(Port::parse("8080"), port(8080, false));
        assert_eq!(Port::parse("8080/tcp"), port(8080, false));
        assert_eq!(Port::parse("53/udp"), port(53, true));
        for wrong in ["", "0", "65536", "http", "80/sctp", "80/"] {
            assert_eq!(Port::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_sockets_that_listen_are_found_in_a_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5341 1 f\n\
             1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 5342 1 f\n\
             2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 77 1\n";
        let found: Vec<_> = listening(table, false).collect();
        assert_eq!(found, [(8080, 5341), (80, 77)]);
    }

    #[test]
    fn who_listens_is_found_by_the_number_of_the_port() {
        let ourselves = Pid(std::process::id() as i32);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (number, is_udp) in [
            (tcp.local_addr().unwrap().port(), false),
            (udp.local_addr().unwrap().port(), true),
        ] {
            let found = listeners(Port { number, is_udp });
            assert!(found.processes.contains(&ourselves), "{found:?}");
            assert!(!found.are_hidden && found.ports.contains(&number));
        }
        let number = tcp.local_addr().unwrap().port();
        drop(tcp);
        let found = listeners(Port {
            number,
            is_udp: false,
        });
        assert!(!found.processes.contains(&ourselves));
    }
}
