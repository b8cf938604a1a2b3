//! Packages of Debian with debug symbols: only such as the lists of this machine have.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What tells whether there is a package.
const APT_CACHE: &str = "/usr/bin/apt-cache";
/// It takes about a second; a machine in trouble may take longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How to install the debug symbols of a package, where none that fit are found; `info` is the folder of what is
/// installed.
pub fn install(package: &str, info: &Path) -> String {
    let debug = match package {
        "libc6" => "libc6-dbg".to_owned(),
        package => format!("{package}-dbgsym"),
    };
    let lists = [format!("{debug}.list"), format!("{debug}:amd64.list")];
    if lists.iter().any(|list| info.join(list).exists()) {
        return format!(
            "{debug} is installed, of another version: `apt install {package} {debug}`"
        );
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    remedy(&debug, is_listed(Path::new(APT_CACHE), &debug), &release)
}

fn remedy(debug: &str, is_listed: Option<bool>, release: &str) -> String {
    match is_listed {
        Some(true) => format!("`apt install {debug}`"),
        Some(false) => format!(
            "{debug} is not in the package lists here; it is in {}, or use debuginfod",
            archive(release)
        ),
        None => format!("{debug}, if the package lists have it"),
    }
}

/// The archive of debug symbols, as `/etc/os-release` names the release.
fn archive(release: &str) -> String {
    let value = |key: &str| {
        let mut lines = release.lines();
        lines.find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim_matches('"')))
    };
    let codename = value("VERSION_CODENAME").unwrap_or("CODENAME");
    match value("ID") {
        Some("ubuntu") => {
            format!("`deb http://ddebs.ubuntu.com {codename} main restricted universe multiverse`")
        }
        Some("debian") => {
            format!("`deb http://deb.debian.org/debian-debug {codename}-debug main`")
        }
        _ => "the distribution's archive of debug symbols".to_owned(),
    }
}

/// Whether the package lists of this machine have a package; `None` where that cannot be told in time.
fn is_listed(apt_cache: &Path, package: &str) -> Option<bool> {
    let mut command = Command::new(apt_cache);
    command.args(["--quiet", "show", "--no-all-versions", package]);
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    succeeds(command.spawn().ok()?)
}

/// Whether a program succeeds in time.
fn succeeds(mut child: Child) -> Option<bool> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Err(_) => break,
        }
    }
    let _ = child.kill(); // it reads lists, and writes nothing
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_the_lists_do_not_have_is_not_to_be_installed() {
        let release = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(
            remedy("x-dbgsym", Some(true), release),
            "`apt install x-dbgsym`"
        );
        let archive = "`deb http://deb.debian.org/debian-debug bookworm-debug main`";
        let missing = remedy("x-dbgsym", Some(false), release);
        assert!(
            missing.contains(archive) && !missing.contains("apt install"),
            "{missing}"
        );
        let ubuntu = remedy(
            "x-dbgsym",
            Some(false),
            "ID=ubuntu\nVERSION_CODENAME=\"noble\"\n",
        );
        assert!(ubuntu.contains("ddebs.ubuntu.com noble main"), "{ubuntu}");
        assert!(!remedy("x-dbgsym", None, "").contains('`'));
    }

    #[test]
    fn what_tells_of_packages_is_waited_for_for_a_bounded_time() {
        let tell = |program: &str| is_listed(Path::new(program), "x");
        assert_eq!(tell("/bin/true"), Some(true));
        assert_eq!(tell("/bin/false"), Some(false));
        assert_eq!(tell("/not/there"), None);
        let endless = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(succeeds(endless), None);
    }
}
