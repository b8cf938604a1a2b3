//! A flame graph of a recording, as SVG.

use std::io::Write;

use prof_profile::{EventInfo, RecordingFacts};

use super::{Export, ExportData, ExportError};
use crate::digits::thousands;
use crate::{FlameGraphOptions, StackWeight, write_flame_graph};

/// A flame graph of the first event that was sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct FlameGraphExport {
    /// What stands above it; the target, if nothing was chosen.
    pub title: Option<String>,
    /// Stacks are read from the innermost frame, which shows who calls a function.
    pub reverse: bool,
    /// The root is at the top.
    pub inverted: bool,
    /// Narrower frames are left out, in percent of the whole width.
    pub min_width: f64,
}

impl Default for FlameGraphExport {
    fn default() -> Self {
        Self {
            title: None,
            reverse: false,
            inverted: false,
            min_width: FlameGraphOptions::default().min_width,
        }
    }
}

impl FlameGraphExport {
    /// How a flame graph of `event` looks. `title` is for where none was chosen.
    pub fn options(&self, event: &EventInfo, title: &str, subtitle: String) -> FlameGraphOptions {
        FlameGraphOptions {
            title: self.title.as_deref().unwrap_or(title).to_owned(),
            subtitle,
            reverse: self.reverse,
            inverted: self.inverted,
            min_width: self.min_width,
            count_name: event.weight_label().to_owned(),
            weight: StackWeight::usual(event),
        }
    }
}

impl Export for FlameGraphExport {
    fn title(&self) -> Option<&'static str> {
        Some("flame graph")
    }

    fn write(
        &self,
        data: &ExportData<'_>,
        mut out: &mut dyn Write,
    ) -> Result<Option<String>, ExportError> {
        let Some(drawn) = data.drawn(true) else {
            return Err(ExportError::Nothing);
        };
        let (info, stacks) = (&drawn.event, drawn.stacks);
        if stacks.is_empty() {
            return Err(ExportError::Nothing);
        }
        let subtitle = subtitle(info, stacks.total().samples, data.facts);
        let options = self.options(info, &data.facts.target, subtitle);
        let narrow = write_flame_graph(&mut out, &stacks, &options)?;
        let mut remarks = Vec::new();
        if drawn.idle_threads > 0 {
            let count = drawn.idle_threads;
            remarks.push(format!(
                "{count} idle threads are left out (--idle draws them)"
            ));
        }
        if narrow > 0 {
            let (count, percent) = (thousands(narrow as u64), self.min_width);
            remarks.push(format!(
                "{count} frames narrower than {percent}% are left out (--min-width 0 draws all)"
            ));
        }
        Ok((!remarks.is_empty()).then(|| remarks.join("; ")))
    }
}

fn subtitle(event: &EventInfo, samples: u64, facts: &RecordingFacts) -> String {
    let rate = match event.sample_freq {
        Some(hz) => format!(" at {hz} Hz"),
        None => String::new(),
    };
    let samples = thousands(samples);
    let (event, seconds) = (&event.name, facts.seconds());
    format!("{event}{rate}, {samples} samples, {seconds:.1} s")
}
