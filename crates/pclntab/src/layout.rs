//! Where the parts of a table lie, which the header tells, in a layout of each release.

use crate::machine::Machine;

/// Which release's layout a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Of releases 1.2 to 1.15.
    Go1_2,
    /// Of releases 1.16 and 1.17.
    Go1_16,
    /// Of releases 1.18 and 1.19.
    Go1_18,
    /// Of releases since 1.20.
    Go1_20,
}

impl Version {
    /// All that are known.
    pub const ALL: [Self; 4] = [Self::Go1_2, Self::Go1_16, Self::Go1_18, Self::Go1_20];

    /// The number that such a table starts with.
    pub fn magic(self) -> u32 {
        match self {
            Self::Go1_2 => 0xffff_fffb,
            Self::Go1_16 => 0xffff_fffa,
            Self::Go1_18 => 0xffff_fff0,
            Self::Go1_20 => 0xffff_fff1,
        }
    }

    /// Whether entries count from the start of the text; in older releases they are whole addresses.
    pub(crate) fn has_text_start(self) -> bool {
        self >= Self::Go1_18
    }
}

/// Where the parts of a table lie, as offsets in it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub(crate) version: Version,
    pub(crate) machine: Machine,
    /// What the steps of the pc tables are multiplied with.
    pub(crate) quantum: u32,
    /// How many functions there are.
    pub(crate) functions: usize,
    pub(crate) names: usize,
    /// The offset in `files`, by compilation unit and number of the file.
    pub(crate) units: usize,
    pub(crate) files: usize,
    pub(crate) pc_tables: usize,
    /// Pairs of a function's entry and the offset of its record, and the end of the text.
    pub(crate) list: usize,
    /// What the offsets of records count from.
    pub(crate) records: usize,
}

impl Layout {
    /// The layout of the table that some bytes begin with; `None` if it is none for this machine, or of an
    /// unknown release, or if the list of functions does not fit into the bytes.
    pub fn read(table: &[u8], machine: Machine) -> Option<Self> {
        let magic = machine.u32(table, 0)?;
        let mut versions = Version::ALL.into_iter();
        let version = versions.find(|version| version.magic() == magic)?;
        let &[0, 0, quantum @ (1 | 2 | 4), address_size] = table.get(4..8)? else {
            return None;
        };
        if address_size != machine.address_size {
            return None;
        }
        let word = usize::from(address_size);
        let header = |index: usize| usize::try_from(machine.address(table, 8 + word * index)?).ok();
        let functions = header(0)?;
        let [names, units, files, pc_tables, list] = match version {
            Version::Go1_2 => {
                // The list follows, and behind it the place of the list of files. All offsets count from
                // the start of the table.
                let after = functions.checked_mul(2)?.checked_add(2)?;
                let at = after.checked_mul(word)?.checked_add(8)?;
                let files = usize::try_from(machine.u32(table, at)?).ok()?;
                [0, 0, files, 0, 8 + word]
            }
            Version::Go1_16 => [header(2)?, header(3)?, header(4)?, header(5)?, header(6)?],
            _ => [header(3)?, header(4)?, header(5)?, header(6)?, header(7)?],
        };
        let records = match version {
            Version::Go1_2 => 0,
            _ => list,
        };
        let layout = Self {
            version,
            machine,
            quantum: quantum.into(),
            functions,
            names,
            units,
            files,
            pc_tables,
            list,
            records,
        };
        let room = table.len().checked_sub(list)? / layout.entry_size();
        let is_inside = functions > 0 && functions < room / 2 && names.max(pc_tables) < table.len();
        is_inside.then_some(layout)
    }

    /// Which release's it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes of an entry address, in the list and at the start of a record.
    pub(crate) fn entry_size(&self) -> usize {
        match self.version.has_text_start() {
            true => 4,
            false => self.machine.address_size.into(),
        }
    }
}
