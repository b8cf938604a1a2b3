//! Turns a profile and its names into what people read.
//!
//! In: a [`prof_profile::Profile`] and its [`prof_profile::Names`]. Out: the table and call trees of
//! `perf report --stdio`, the lines of `perf script`, folded stacks, a flame graph, a summary.
//! Everything is written to a sink that the caller brings.
//! Elsewhere: finding names (`prof-symbolizer`), reading files (`prof-perfdata`), arguments, paging
//! and messages (`prof-cli`).
#![forbid(unsafe_code)]

mod annotate; // a function's instructions
mod boxes; // the frames of a flame graph
mod branches; // what rows of branches have
mod callgraph; // the callchains of one row as a tree
mod chains; // the callchains of all stacks, written down once
mod column; // what a report can show and sort by
mod data_source; // where data came from
mod diff; // two recordings, row by row
mod diff_json;
mod diff_text;
mod digits; // numbers as text
mod draw; // call trees as text
mod export; // files for others, of one shape
mod filter; // which samples a report is about
mod flame_graph; // SVG
mod folded; // one line per stack
mod heaviest_path; // where most of the time goes, from the root
mod hierarchy; // rows as a tree
mod hist; // samples to sorted rows
mod hot_path_text; // a heavy function and its callers on one line
mod hot_paths; // where the time goes, at first glance
mod idle; // samples of CPUs that had nothing to do
mod json; // rows for other programs
mod known_functions; // whose names tell what they are for
mod layout; // which columns, which order
mod options; // what a report can be asked
mod order; // items by several numbers
mod path_tree; // call paths, and which of their functions say most
mod place; // frames with inlined functions, symbols in the order of their names
mod rows; // which row counts a sample
mod script; // one sample at a time
mod script_extras; // what few samples have
mod script_fields; // what is printed of them
mod script_frames; // their callchains
mod statistics; // what is more than chance
mod stdio; // the whole report as text
mod summary; // the hottest functions and how far to trust them
mod text; // names from outside, made printable
mod thread_state; // what a thread does or waits for
mod wait_functions; // where a thread waited, as a person would say it
mod wait_summary; // what threads waited for, and where

pub use annotate::{
    AnnotateOptions, AnnotateValue, Annotation, PercentType, hot_functions, write_annotation,
};
pub use callgraph::{CallNode, CallTree};
pub use column::{Column, UnknownColumn, parse_fields, parse_sort};
pub use diff::{
    DiffCompute, DiffRow, DiffSide, DiffTest, EventDiff, UnnamedCode, diff, same_event,
};
pub use diff_json::write_json_diff;
pub use diff_text::{Comparison, DiffLine, DiffOptions, diff_lines, write_diff};
pub use digits::thousands;
pub use export::{
    Drawn, Export, ExportData, ExportError, FlameGraphExport, FoldedExport, JsonExport,
};
pub use filter::Filter;
pub use flame_graph::{FlameGraphOptions, write_differential, write_flame_graph};
pub use folded::{CodeKind, FoldedOptions, FoldedStacks, StackWeight, fold, in_brackets};
pub use heaviest_path::{PathStep, heaviest_path, path_lines};
pub use hist::{Counts, Member, Row, Table};
pub use hot_paths::{HotCommand, HotPath, HotPathOptions, HotPaths, Share, hot_paths};
pub use json::{SCHEMA_VERSION, write_json_report};
pub use known_functions::WorkKind;
pub use options::{
    CallGraph, CallGraphError, ChainKey, ChainMode, ChainOrder, ChainValue, EventGroup, Fields,
    Pattern, PatternError, ReportOptions,
};
pub use place::{Place, PlaceId, Places, SymbolId, SymbolInfo, SymbolKind};
pub use script::{ScriptOptions, ScriptWriter};
pub use script_fields::{ScriptField, ScriptFields, UnknownField};
pub use stdio::write_report;
pub use summary::{HotSymbol, Summary, UnnamedModule, summarize, write_summary, write_trust};
pub use thread_state::ThreadState;
pub use wait_summary::{
    WaitEnd, WaitPlace, WaitSummary, summarize_waits, tells_wakers, write_wait_places,
    write_wait_states, write_wait_summary,
};
