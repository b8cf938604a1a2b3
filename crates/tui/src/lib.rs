//! Screens over a profile, live or loaded.
//!
//! In: samples with their names, which become a [`History`]; facts for the header; keys. Out: cells
//! on a terminal, and [`Picture`]s of a window of time for whoever prints them otherwise.
//! Elsewhere: sampling and reading files (`prof-cli` joins them through [`Source`]), finding names
//! (`prof-symbolizer`), reports on paper (`prof-report`).
#![forbid(unsafe_code)]

mod app; // what is on the screen, and what keys make of it
mod callers; // the way by which a function is reached most
mod draw; // as cells
mod facts; // what the header says
mod format; // numbers and names in few columns
mod function; // what rows are about: functions, threads, processes, modules
mod history; // samples by time, the older the coarser
mod intake; // from a profile into the history
mod keys; // which key does what
mod picture; // one window of the history as rows
mod run; // draw, wait, press
mod source; // where the profile comes from
mod tables; // names and stacks, each once
mod terminal; // taken and given back
mod theme; // colours
mod tree; // call trees

#[cfg(test)]
mod tests;

pub use facts::{Cost, CpuUse, Facts};
pub use function::{Function, Key, Kind, Line, Process, Thread};
pub use history::History;
pub use intake::{Intake, Samples};
pub use picture::{Detail, Filter, Group, Neighbour, Paths, Picture, Query, Row};
pub use run::{Options, run};
pub use source::{Request, Source, Window};
pub use terminal::restore;
