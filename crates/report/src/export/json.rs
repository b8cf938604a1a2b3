//! The rows of a report's table as JSON.

use std::io::Write;

use super::{Export, ExportData, ExportError};
use crate::{ReportOptions, write_json_report};

/// The rows of the table that these options describe. The filter of the options is the one that counts.
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
        match write_json_report(&mut out, data.profile, data.names, &self.options)? {
            true => Ok(None),
            false => Err(ExportError::Nothing),
        }
    }
}
