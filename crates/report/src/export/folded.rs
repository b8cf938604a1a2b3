//! Folded stacks: a line a stack, for other drawers of flame graphs.

use std::io::Write;

use super::{Export, ExportData, ExportError};
use crate::StackWeight;

/// Folded stacks of what pictures show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldedExport;

impl Export for FoldedExport {
    fn title(&self) -> Option<&'static str> {
        None
    }

    fn write(
        &self,
        data: &ExportData<'_>,
        out: &mut dyn Write,
    ) -> Result<Option<String>, ExportError> {
        if let Some(drawn) = data.drawn(false) {
            drawn.stacks.write(out, StackWeight::usual(&drawn.event))?;
        }
        Ok(None)
    }
}
