//! The tracepoints of a recording.

use prof_perfdata::{Error, Recording, TracingData};
use prof_tracepoint::{TracepointFormat, Tracepoints};

/// Parses the formats that a recording brings; there are none where it has no section for them.
///
/// # Errors
/// The section is damaged.
pub fn read(recording: &Recording) -> Result<Tracepoints, Error> {
    let Some(section) = &recording.features().tracing_data else {
        return Ok(Tracepoints::default());
    };
    let data = TracingData::parse(section)?;
    let formats = data.formats.iter();
    let formats = formats.map(|format| TracepointFormat::parse(&format.system, &format.text));
    Ok(Tracepoints::new(formats, &data.printk_formats))
}
