//! The rows of a report's table as JSON.

use std::io::Write;

use super::{Export, ExportData, ExportError};
use crate::{ReportOptions, write_json_report};

/// The rows of the table that these options describe, of the samples that the filter of the data lets
/// through.
#[derive(Clone, Debug)]
pub struct JsonExport {
    /// Which rows.
    pub options: ReportOptions,
}

impl Export for JsonExport {
    fn title(&self) -> Option<&'static str> {
        None
    }

    fn write(
        &self,
        data: &ExportData<'_>,
        mut out: &mut dyn Write,
    ) -> Result<Option<String>, ExportError> {
        let options = ReportOptions {
            filter: data.filter.clone(),
            inline: data.inline,
            ..self.options.clone()
        };
        match write_json_report(&mut out, data.profile, data.names, &options)? {
            true => Ok(None),
            false => Err(ExportError::Nothing),
        }
    }
}
