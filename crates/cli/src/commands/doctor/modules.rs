//! The files whose code a target runs: what its stacks are unwound by, what gives names.

use std::collections::BTreeMap;
use std::sync::Arc;

use prof_model::{Dso, DsoKind, FileId, Pid, Reason};
use prof_sampler::proc;
use prof_symbolizer::FileFinder;
use prof_unwinder::means_of;
use serde::Serialize;

use super::text::wrapped;
use crate::messages::missing_names::debug_package;

/// So many are shown, the largest first.
const SHOWN: usize = 8;
/// So many are looked at.
const LOOKED_AT: usize = 64;
/// For so many it is looked up which package would bring names: each takes a second.
const REMEDIES: usize = 3;
/// Columns of a name.
const NAME: usize = 30;
const EXECUTABLE: u32 = 4;

/// All of a target.
#[derive(Debug, Default, Serialize)]
pub struct Modules {
    /// How many files with code are mapped.
    count: usize,
    /// Those that were looked at, the largest first.
    modules: Vec<Module>,
}

/// One file.
#[derive(Debug, Serialize)]
struct Module {
    path: String,
    code_bytes: u64,
    is_deleted: bool,
    /// Why it cannot be read.
    unreadable: Option<&'static str>,
    /// `eh_frame`, `debug_frame`, `go`, `frame_pointers`
    stacks: Vec<&'static str>,
    /// `symtab`, `debug_file`, `mini_debug_info`, `go`, `exported`
    names: Vec<&'static str>,
    inlined: bool,
    build_id: Option<String>,
    remedy: Option<String>,
}

/// Where a file is mapped: by the first of the processes.
struct Place {
    pid: Pid,
    start: u64,
    end: u64,
    code_bytes: u64,
}

/// Looks at the files that processes have mapped.
pub fn look(processes: &[Pid]) -> Modules {
    let mut found: BTreeMap<(FileId, Vec<u8>), Place> = BTreeMap::new();
    for &pid in processes {
        let maps = proc::maps(pid).unwrap_or_default().into_iter();
        for map in maps.filter(|map| map.prot & EXECUTABLE != 0 && map.name.starts_with(b"/")) {
            let size = map.end - map.start;
            let place = found.entry((map.file, map.name)).or_insert(Place {
                pid,
                start: map.start,
                end: map.end,
                code_bytes: 0,
            });
            if place.pid == pid {
                place.code_bytes += size;
            }
        }
    }
    let count = found.len();
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, place)| std::cmp::Reverse(place.code_bytes));
    found.truncate(LOOKED_AT);
    let mut left = REMEDIES;
    let modules = found.into_iter().map(|((file, path), place)| {
        let module = module(file, path, &place, left > 0);
        left -= usize::from(module.remedy.is_some());
        module
    });
    Modules {
        count,
        modules: modules.collect(),
    }
}

fn module(file: FileId, path: Vec<u8>, place: &Place, with_remedy: bool) -> Module {
    let finder = FileFinder::default();
    let mut dso = Dso {
        path,
        kind: DsoKind::File,
        file: Some(file),
        build_id: None,
    };
    let mut module = Module {
        is_deleted: dso.path.ends_with(b" (deleted)"),
        path: dso.long_name().into_owned(),
        code_bytes: place.code_bytes,
        unreadable: None,
        stacks: Vec::new(),
        names: Vec::new(),
        inlined: false,
        build_id: None,
        remedy: None,
    };
    let found = match finder.open_live(place.pid, place.start, place.end, &dso) {
        Ok(found) => found,
        Err(reason) => {
            module.unreadable = Some(reason.describe());
            let is_gone = matches!(reason, Reason::FileMissing | Reason::FileReplaced);
            module.remedy = (is_gone && with_remedy)
                .then(|| "restart it, so that it runs what is on disk".to_owned());
            return module;
        }
    };
    let names = finder.name_sources(&found, &dso);
    let means = means_of(found.image.clone() as Arc<_>).unwrap_or_default();
    module.stacks = chosen([
        (means.eh_frame, "eh_frame"),
        (means.debug_frame, "debug_frame"),
        (means.go_functions, "go"),
        (means.frame_pointers, "frame_pointers"),
    ]);
    module.names = chosen([
        (names.symtab, "symtab"),
        (names.debug_file.is_some(), "debug_file"),
        (names.mini_debug_info, "mini_debug_info"),
        (names.go_table, "go"),
        (names.dynsym, "exported"),
    ]);
    module.inlined = names.has_inlined();
    dso.build_id = found.build_id;
    module.build_id = found.build_id.map(|id| id.to_string());
    if !names.is_whole() && with_remedy {
        module.remedy = Some(debug_package(&dso));
    }
    module
}

fn chosen<const N: usize>(all: [(bool, &'static str); N]) -> Vec<&'static str> {
    let those = all.into_iter().filter(|(is_so, _)| *is_so);
    those.map(|(_, name)| name).collect()
}

impl Modules {
    /// As people read it: a table of the largest, the rest counted, and what to do about missing names.
    pub fn text(&self) -> String {
        if self.count == 0 {
            return String::new();
        }
        let mut text = format!(
            "\n{:NAME$} {:>8}  {:14}{:14}inlined\n",
            "code in", "KiB", "stacks by", "names by"
        );
        for module in self.modules.iter().take(SHOWN) {
            text += &module.row();
        }
        let rest = self.modules.iter().skip(SHOWN);
        let (mut without_stacks, mut without_names) = (0, 0);
        for module in rest {
            without_stacks += usize::from(module.stacks.is_empty());
            without_names += usize::from(module.names.iter().all(|&by| by == "exported"));
        }
        let more = self.count.saturating_sub(SHOWN);
        if more > 0 {
            text += &format!(
                "and {more} more: {without_stacks} without tables, {without_names} with exported \
                 names at most\n"
            );
        }
        let mut said: Vec<&str> = Vec::new();
        for module in self.modules.iter().take(SHOWN) {
            if let Some(remedy) = &module.remedy
                && !said.contains(&remedy.as_str())
            {
                said.push(remedy);
                text += &wrapped("", &format!("{}: {remedy}", module.short()), 2);
            }
        }
        text
    }
}

impl Module {
    /// The last part of its path.
    fn short(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn row(&self) -> String {
        let mut name: String = self.short().to_owned();
        if name.chars().count() > NAME {
            name = name.chars().take(NAME - 3).collect::<String>() + "...";
        }
        let start = format!("{name:NAME$} {:>8}  ", self.code_bytes >> 10);
        if let Some(why) = self.unreadable {
            return format!("{start}{why}\n");
        }
        let first = |all: &[&str], none: &str| match all.first() {
            Some(&"eh_frame") => ".eh_frame".to_owned(),
            Some(&"debug_frame") => ".debug_frame".to_owned(),
            Some(&"go") => "Go's table".to_owned(),
            Some(&"frame_pointers") => "frame pointers".to_owned(),
            Some(&"exported") => "exported only".to_owned(),
            Some(&"mini_debug_info") => "minidebuginfo".to_owned(),
            Some(name) => name.replace('_', " "),
            None => none.to_owned(),
        };
        let stacks = first(&self.stacks, "its code");
        let names = first(&self.names, "none");
        let inlined = if self.inlined { "yes" } else { "no" };
        format!("{start}{stacks:14}{names:14}{inlined}\n")
    }
}
