//! What stdout can show: colours, and screens.

use std::io::{IsTerminal, stdout};

/// Whether printed text is coloured: as `asked` by `--stdio-color`, else on a terminal that does not
/// object.
pub fn has_colored_text(asked: Option<&str>) -> bool {
    match asked {
        Some("always") => return true,
        Some("never") => return false,
        _ => {}
    }
    is_set("CLICOLOR_FORCE") || stdout().is_terminal() && !is_set("NO_COLOR")
}

/// Whether screens are coloured.
pub fn has_colored_screens() -> bool {
    !is_set("NO_COLOR")
}

/// Whether screens can be shown: stdout is a terminal, and one that can move its cursor.
pub fn can_show_screens() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    !dumb && stdout().is_terminal()
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
