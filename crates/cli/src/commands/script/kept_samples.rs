//! Prints the samples that the pass for their names has kept.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Builder};

use prof_model::{Pid, Tid, VirtAddr};
use prof_profile::{LogReader, LoggedSample, ScriptExtras, ScriptSample};
use prof_report::ScriptWriter;

use super::filter::SampleFilter;
use crate::printed;

/// So many texts of the second thread may wait until they are written.
const WAITING: usize = 2;

/// Makes text of samples, block by block.
struct Printer<'a> {
    log: LogReader<'a>,
    writer: &'a ScriptWriter<'a>,
    filter: &'a SampleFilter<'a>,
    next: AtomicUsize, // the block that is not taken yet
}

/// Writes them to standard output. Two threads make text, this one writes it in order.
///
/// # Errors
/// A closed pipe, or whatever else writing ran into.
pub fn print(
    log: LogReader<'_>,
    writer: &ScriptWriter<'_>,
    filter: &SampleFilter<'_>,
) -> io::Result<()> {
    let printer = Printer {
        log,
        writer,
        filter,
        next: AtomicUsize::new(0),
    };
    thread::scope(|scope| {
        let (to_writer, texts) = sync_channel(WAITING);
        let (emptied, empty) = channel();
        let helper = &printer;
        let beside = move || helper.print_beside(&to_writer, &empty);
        // Without a second thread this one does it all.
        let _ = Builder::new()
            .name("text".to_owned())
            .spawn_scoped(scope, beside);
        printer.print(&texts, &emptied)
    })
}

impl Printer<'_> {
    fn take_block(&self) -> Option<usize> {
        let block = self.next.fetch_add(1, Ordering::Relaxed);
        (block < self.log.len()).then_some(block)
    }

    /// Makes text of blocks and hands it over, as long as somebody takes it.
    fn print_beside(&self, to_writer: &SyncSender<Vec<u8>>, empty: &Receiver<Vec<u8>>) {
        let mut sample = blank();
        while let Some(block) = self.take_block() {
            let mut text = empty.try_recv().unwrap_or_default();
            self.make_text(block, &mut text, &mut sample);
            if to_writer.send(text).is_err() {
                return;
            }
        }
    }

    /// Makes text of the other blocks and writes all of them. `texts` come in their order, too.
    fn print(&self, texts: &Receiver<Vec<u8>>, emptied: &Sender<Vec<u8>>) -> io::Result<()> {
        let mut out = printed::stdout();
        let mut sample = blank();
        let mut own = Vec::new();
        let mut written = 0;
        loop {
            let block = self.take_block();
            if let Some(block) = block {
                self.make_text(block, &mut own, &mut sample);
            }
            for text in texts.iter().take(block.unwrap_or(self.log.len()) - written) {
                out.write_all(&text)?;
                let _ = emptied.send(text); // at the end nobody takes it
            }
            let Some(block) = block else {
                return out.flush();
            };
            out.write_all(&own)?;
            written = block + 1;
        }
    }

    fn make_text(&self, block: usize, text: &mut Vec<u8>, sample: &mut ScriptSample) {
        text.clear();
        for logged in self.log.block(block) {
            fill(sample, &logged);
            let thread = (sample.pid, sample.tid);
            if self.filter.has_thread(sample.comm, thread, sample.cpu)
                && self.filter.has_stack(&sample.frames)
            {
                self.writer.write(text, sample);
            }
        }
    }
}

/// A sample whose memory is used again.
fn blank() -> ScriptSample {
    ScriptSample {
        event: 0,
        pid: Pid(0),
        tid: Tid(0),
        comm: None,
        cpu: None,
        time: None,
        period: 0,
        ip: VirtAddr(0),
        addr: None,
        data: None,
        frames: Vec::new(),
        addresses: Vec::new(),
        trace: None,
        extras: ScriptExtras::default(),
    }
}

fn fill(sample: &mut ScriptSample, logged: &LoggedSample<'_>) {
    sample.event = logged.key.event;
    sample.pid = logged.key.pid;
    sample.tid = logged.key.tid;
    sample.comm = logged.key.comm;
    sample.cpu = logged.key.cpu;
    sample.time = logged.time;
    sample.period = logged.period;
    sample.frames.clear();
    sample.frames.extend(logged.frames.clone());
    sample.addresses.clear();
    sample.addresses.extend_from_slice(logged.addresses);
    // Of a callchain it is not printed, and where there is none it is among the addresses.
    sample.ip = sample.addresses.first().copied().unwrap_or_default();
}
