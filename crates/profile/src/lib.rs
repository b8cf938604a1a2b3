//! Aggregates samples: equal stacks of one thread become one entry with a weight.
//!
//! In: samples whose addresses already have their DSO, in any order. Out: a [`Profile`] of interned
//! stacks, the addresses whose names are wanted, and [`Names`], the answers by frame.
//! Elsewhere: records and mappings (`prof-event`, `prof-model`), finding names (`prof-symbolizer`),
//! rows, trees and text (`prof-report`).
#![forbid(unsafe_code)]

mod detail; // what samples of one entry may still differ by
mod facts; // what is known beside the samples
mod frame; // one place of one DSO
mod hits; // where names are wanted
mod interner; // values by number
mod lifetimes; // from when to when threads were there
mod names; // what each frame is called
mod profile; // samples, weights, losses
mod sample_log; // samples one by one
mod script; // one sample by itself, for `script`
mod self_samples; // a function's samples by instruction
mod stack; // stacks as paths in a tree
mod unit; // what an event's periods count

pub use detail::{Detail, DetailId};
pub use facts::RecordingFacts;
pub use frame::{FrameId, FrameKey};
pub use lifetimes::Lifetimes;
pub use names::Names;
pub use profile::{ContextId, EventInfo, Losses, PartId, Profile, Sample, SampleKey, Weight};
pub use sample_log::{LogReader, LoggedSample};
pub use script::{ScriptBranch, ScriptExtras, ScriptHead, ScriptPlace, ScriptRegs, ScriptSample};
pub use self_samples::SelfSamples;
pub use stack::{StackFrames, StackId, StackTable};
pub use unit::Unit;
