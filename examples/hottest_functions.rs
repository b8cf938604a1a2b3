//! Samples a process for two seconds and prints its hottest functions: the profiler as a library.
//!
//!     cargo run -p prof-examples --bin hottest-functions -- PID

use std::error::Error;
use std::time::Duration;

use prof_model::Pid;
use prof_report::summarize;
use prof_sampler::{Options, Rate, Sampler, Target};
use prof_session::DEFAULT_MAX_STACK;
use prof_session::record::{Recorder, RunFor, drive};
use prof_symbolizer::RunningKernel;

fn main() -> Result<(), Box<dyn Error>> {
    let pid = std::env::args().nth(1).ok_or("which process?")?;
    let kernel = RunningKernel::read();
    let target = Target::Processes(vec![Pid(pid.parse()?)]);
    let mut sampler = Sampler::open(Options::new(target, Rate::Frequency(999)))?;
    // `()` is where records go: nowhere, only the profile is wanted.
    let mut recorder = Recorder::new(&sampler, DEFAULT_MAX_STACK, ());

    let layout = kernel.layout().ok(); // where the kernel's code lies, if we may know
    sampler.start(layout.as_ref(), Duration::ZERO, &mut recorder)?;
    let mut two_seconds = RunFor::new(Duration::from_secs(2));
    drive(&mut sampler, &mut recorder, None, &mut two_seconds)?;
    sampler.finish(&mut recorder)?;

    let names = recorder.find_names(kernel).names;
    let summary = summarize(&recorder.pipeline.profile, &names, 0, 10);
    for function in &summary.hottest {
        let (percent, error) = (function.percent, function.error);
        println!(
            "{percent:>5.1}% ±{error:<4.1} {}  {}",
            function.name, function.module
        );
    }
    Ok(())
}
