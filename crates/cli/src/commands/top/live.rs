//! What the screens see of a live target, and what they ask for.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use prof_model::DsoId;
use prof_tui::{Facts, History, Options, Request, Source, Window};

use super::Watch;
use super::collect::{CodeAnswer, Message};
use super::namer::Shared;
use crate::messages::{Failure, failed};
use crate::signals::EndRequests;
use crate::terminal;
use crate::tui_source::{self, Signals};

/// How long a key may wait for code to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// A target that is being sampled.
pub struct Live<'a> {
    shared: Arc<Shared>,
    to_namer: SyncSender<Message>,
    title: String,
    signals: Signals<'a>,
}

impl<'a> Live<'a> {
    /// What `watch` gathers.
    pub fn new(watch: &Watch, requests: &'a EndRequests, stops: Option<SignalFd>) -> Self {
        Self {
            shared: Arc::clone(&watch.shared),
            to_namer: watch.to_namer.clone(),
            title: watch.title.clone(),
            signals: Signals::new(requests, stops),
        }
    }
}

/// Shows the screens, anew after every `refresh`, until somebody quits.
///
/// # Errors
/// The terminal is gone.
pub fn show(mut live: Live<'_>, refresh: Duration) -> Result<(), Failure> {
    let options = Options {
        color: terminal::has_colored_screens(),
        refresh,
    };
    let shown = prof_tui::run(&mut live, &options);
    Ok(shown.map_err(failed("could not use the terminal"))?)
}

impl Source for Live<'_> {
    fn is_live(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts {
        self.shared.lock().facts.clone()
    }

    fn version(&self) -> u64 {
        self.shared.lock().version
    }

    fn look(&self, see: &mut dyn FnMut(&History)) {
        see(&self.shared.lock().history);
    }

    fn reset(&mut self) {
        self.shared.lock().history.clear();
    }

    fn suggested_file(&self) -> String {
        tui_source::suggested_file("prof-top")
    }

    fn write(&mut self, path: &Path, window: &Window<'_>) -> Result<String, String> {
        if tui_source::is_picture(path) {
            return tui_source::draw(path, window, &self.title, &self.facts());
        }
        let remark = tui_source::without_filters(window);
        let message = Message::Write(path.to_owned(), window.span.clone(), remark);
        match self.to_namer.try_send(message) {
            Ok(()) => Ok(format!("writing {} ...", path.display())),
            Err(TrySendError::Full(_)) => Err("busy finding names: try again".to_owned()),
            Err(TrySendError::Disconnected(_)) => Err("the records are gone".to_owned()),
        }
    }

    fn code(&mut self, dso: DsoId, address: u64) -> CodeAnswer {
        let (answer, answered) = sync_channel(1);
        match self.to_namer.try_send(Message::Code(dso, address, answer)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err("busy finding names: try again".to_owned()),
            Err(TrySendError::Disconnected(_)) => return Err("nobody finds names".to_owned()),
        }
        let answer = answered.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| Err("busy finding names: try again".to_owned()))
    }

    fn news(&mut self) -> Option<Result<String, String>> {
        self.shared.lock().news.pop_front()
    }

    fn request(&mut self) -> Option<Request> {
        self.signals.request()
    }

    fn stop(&mut self) {
        self.signals.stop();
    }
}
