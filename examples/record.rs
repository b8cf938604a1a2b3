//! Samples a process for a second into a file that `prof report` and `perf report` read.
//!
//!     cargo run -p prof-examples --bin record -- PID perf.data

use std::error::Error;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use prof_event::RawRecord;
use prof_model::Pid;
use prof_perfdata::{Features, RecordSink, Writer, WriterOptions};
use prof_sampler::{Options, Rate, Sampler, Sink, StackCapture, Target, online_cpus};

/// What the kernel sends goes into the file as it is.
struct ToFile(Writer<File>);

impl Sink for ToFile {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        self.0.record(raw.bytes)
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.0.finish_round()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [pid, file] = args.as_slice() else {
        return Err("which process, and into which file?".into());
    };
    let target = Target::Processes(vec![Pid(pid.parse()?)]);
    let mut sampler = Sampler::open(Options {
        stacks: StackCapture::FramePointers,
        ..Options::new(target, Rate::Frequency(999))
    })?;
    let options = WriterOptions::default();
    let file = File::create(file)?;
    let mut sink = ToFile(Writer::create(file, sampler.events(), options)?);

    sampler.start(None, Duration::ZERO, &mut sink)?; // first what is there already
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end && !sampler.target_exited() {
        sampler.wait(Duration::from_millis(100), &[])?;
        sampler.round(&mut sink)?;
    }
    sampler.finish(&mut sink)?;
    let written = sink
        .0
        .finish(Features::of_this_host(&online_cpus()), None)?;
    println!(
        "{} records, {} of them samples",
        written.records, written.samples
    );
    Ok(())
}
