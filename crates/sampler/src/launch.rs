//! A command that waits to be sampled from its first instruction.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::pipe2;
use prof_model::Pid;

use crate::sys;

/// A forked child that has not run its program yet. Dropped unreleased, it ends.
#[derive(Debug)]
pub struct HeldCommand {
    pid: nix::unistd::Pid,
    gate: OwnedFd,
    report: OwnedFd,
}

/// A command that runs.
#[derive(Debug)]
pub struct RunningCommand {
    pid: nix::unistd::Pid,
    status: Option<ExitStatus>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
}

impl ExitStatus {
    /// The status that a shell would show: 128 + the signal's number for a killed command.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

impl HeldCommand {
    /// Forks; call it before the program has other threads.
    ///
    /// # Errors
    /// No process could be made, or an argument contains a NUL.
    pub fn fork(argv: &[OsString]) -> io::Result<Self> {
        let argv = argv
            .iter()
            .map(|argument| CString::new(argument.clone().into_vec()))
            .collect::<Result<Vec<_>, _>>()?;
        let (wait, gate) = pipe2(OFlag::O_CLOEXEC)?;
        let (report, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let pid = sys::fork_and_wait(&argv, &wait, &tell, &gate)?;
        Ok(Self { pid, gate, report })
    }

    /// Its process id, also after the release.
    pub fn pid(&self) -> Pid {
        Pid(self.pid.as_raw())
    }

    /// Lets it run its program; returns when the program has begun.
    ///
    /// # Errors
    /// The program was not found (`ENOENT`) or could not be run.
    pub fn release(self) -> io::Result<RunningCommand> {
        File::from(self.gate).write_all(&[1])?;
        // Only the child holds the other end now, until its program begins or fails to.
        let mut error = Vec::new();
        File::from(self.report).read_to_end(&mut error)?;
        let mut command = RunningCommand {
            pid: self.pid,
            status: None,
        };
        if let Ok(number) = <[u8; 4]>::try_from(&error[..]) {
            command.wait()?;
            return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number)));
        }
        Ok(command)
    }
}

impl RunningCommand {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid(self.pid.as_raw())
    }

    /// A descriptor that becomes readable when it has ended.
    ///
    /// # Errors
    /// The kernel's.
    pub fn exit_fd(&self) -> io::Result<OwnedFd> {
        sys::pidfd_open(self.pid.as_raw())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Somebody else waited for it.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_with(Some(WaitPidFlag::WNOHANG))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Somebody else waited for it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_with(None)? {
                return Ok(status);
            }
        }
    }

    fn wait_with(&mut self, flags: Option<WaitPidFlag>) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = match waitpid(self.pid, flags) {
                Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::Exited(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::Signaled(signal as i32)),
                Ok(_) | Err(nix::Error::EINTR) => None,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(self.status)
    }

    /// Sends it a signal; that it has ended already is no error.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if self.status.is_none() {
            let _ = nix::sys::signal::kill(self.pid, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> io::Result<ExitStatus> {
        let argv: Vec<_> = words.iter().map(OsString::from).collect();
        HeldCommand::fork(&argv)?.release()?.wait()
    }

    #[test]
    fn a_command_runs_only_once_released_and_its_status_comes_through() {
        let file = std::env::temp_dir().join(format!("prof-launch-{}", std::process::id()));
        let script = format!("touch {}; exit 7", file.display());
        let argv: Vec<_> = ["sh", "-c", &script].iter().map(OsString::from).collect();
        let held = HeldCommand::fork(&argv).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!file.exists());
        let mut command = held.release().unwrap();
        assert_eq!(command.wait().unwrap(), ExitStatus::Exited(7));
        assert!(file.exists());
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error_and_a_killed_one_says_its_signal() {
        let error = run(&["/nonexistent/program"]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let killed = run(&["sh", "-c", "kill -9 $$"]).unwrap();
        assert_eq!((killed, killed.code()), (ExitStatus::Signaled(9), 137));
    }
}
