//! What was looked for in vain.

use std::io;
use std::path::PathBuf;

use prof_model::Pid;

/// Nobody is meant.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// A number is of no process and no thread.
    #[error("there is no process or thread {0}")]
    Number(i32),
    /// A word is nothing that could be looked for.
    #[error("`{0}` is no process")]
    Word(String),
    /// Nobody is called so.
    #[error("no process is called `{name}`")]
    Name {
        /// The name.
        name: String,
        /// Who is called nearly so.
        near: Vec<(Pid, String)>,
    },
    /// A port is none.
    #[error("`{0}` is no port")]
    Port(String),
    /// Nobody listens on a port.
    #[error("nobody listens on `{port}`")]
    Listener {
        /// As it was typed.
        port: String,
        /// On which somebody does.
        others: Vec<u16>,
    },
    /// Somebody listens on a port, and we may not see who.
    #[error("who listens on `{port}` may not be seen")]
    HiddenListener {
        /// As it was typed.
        port: String,
    },
    /// There is no such container with processes.
    #[error("no container that runs has the id or name `{text}`")]
    Container {
        /// As it was typed.
        text: String,
        /// Those that run, with what they are called.
        known: Vec<String>,
    },
    /// There is no such unit with processes.
    #[error("no unit `{name}` has processes")]
    Unit {
        /// With its suffix.
        name: String,
        /// Those that are called nearly so.
        near: Vec<String>,
    },
    /// There is no such cgroup.
    #[error("there is no cgroup `{path}`")]
    Cgroup {
        /// As it was typed.
        path: String,
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// A cgroup cannot be read.
    #[error("could not read the cgroup {}", path.display())]
    Unreadable {
        /// Its folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}
