//! `prof top`, and `prof report` with its screens, end to end: the real program on a real process, in
//! a real terminal.

mod batch; // without a terminal
mod report; // over a file
mod screens; // in tmux
#[path = "../e2e/support.rs"]
#[allow(dead_code)] // the other tests' needs
mod support;
mod target;
mod tmux;
