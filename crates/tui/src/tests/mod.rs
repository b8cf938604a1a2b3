//! The screens on a profile that is known to the last sample.

mod pictures; // what pictures count
mod press; // every key
mod screens; // every screen, as text
mod world; // the profile, the source, the terminal
