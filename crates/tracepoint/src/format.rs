//! The text of a `format` file of tracefs: which fields a tracepoint has and where they lie.

/// The format of one tracepoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracepointFormat {
    /// The folder of the tracepoint in tracefs, such as `sched`.
    pub system: String,
    /// The name of the tracepoint within its system, such as `sched_switch`.
    pub name: String,
    /// The number that an attr has as its config.
    pub id: u64,
    /// All fields in the order of the data. The first few are the same for every tracepoint, and
    /// their names begin with `common_`.
    pub fields: Vec<TracepointField>,
    /// The text behind `print fmt:`, a C format string in quotes and its arguments.
    pub print: String,
}

/// A field in the raw data of a tracepoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracepointField {
    /// The name, such as `prev_comm`.
    pub name: String,
    /// The C type, with `[]` and a length for arrays: `char[16]`.
    pub kind: String,
    /// The distance from the start of the raw data, in bytes.
    pub offset: usize,
    /// The size in bytes; of a field whose bytes lie at the end of the data, the size of the
    /// reference to them.
    pub size: usize,
    /// Whether a number in the field has a sign.
    pub signed: bool,
}

impl TracepointFormat {
    /// Parses the text of a `format` file. Lines that make no sense are left out.
    pub fn parse(system: &str, text: &str) -> Self {
        let mut this = Self {
            system: system.to_owned(),
            ..Self::default()
        };
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once(':') else {
                continue;
            };
            match key {
                "name" => this.name = value.trim().to_owned(),
                "ID" => this.id = value.trim().parse().unwrap_or(0),
                "print fmt" => this.print = value.trim().to_owned(),
                "field" => this.fields.extend(TracepointField::parse(value)),
                _ => {}
            }
        }
        this
    }

    /// The fields that not every tracepoint has.
    pub fn own_fields(&self) -> impl Iterator<Item = &TracepointField> {
        let fields = self.fields.iter();
        fields.filter(|field| !field.name.starts_with("common_"))
    }
}

impl TracepointField {
    /// Parses `char prev_comm[16]; offset:8; size:16; signed:0;`.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(';').map(str::trim);
        let declaration = parts.next()?;
        let (declared, array) = match declaration.find('[') {
            // `__data_loc char[] name` has its brackets in the type
            Some(at) if declaration.ends_with(']') => declaration.split_at(at),
            _ => (declaration, ""),
        };
        let declared = declared.trim();
        let (_, name) = declared.rsplit_once([' ', '\t', '*'])?;
        let kind = &declared[..declared.len() - name.len()]; // with the star, if there is one
        let mut this = Self {
            name: name.to_owned(),
            kind: format!("{}{array}", kind.trim()),
            ..Self::default()
        };
        for part in parts {
            match part.split_once(':') {
                Some(("offset", value)) => this.offset = value.parse().ok()?,
                Some(("size", value)) => this.size = value.parse().ok()?,
                Some(("signed", value)) => this.signed = value != "0",
                _ => {}
            }
        }
        Some(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_switch\nID: 316\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:1;\n\
        \tfield:const char * name;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:__data_loc char[] file;\toffset:32;\tsize:4;\tsigned:1;\n\
        \tfield:__u8 saddr[4];\toffset:36;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"prev_comm=%s\", REC->prev_comm\n";

    #[test]
    fn a_format_gives_each_field_with_its_place() {
        let format = TracepointFormat::parse("sched", FORMAT);
        assert_eq!((format.name.as_str(), format.id), ("sched_switch", 316));
        assert_eq!(format.system, "sched");
        assert_eq!(format.print, "\"prev_comm=%s\", REC->prev_comm");
        let fields: Vec<_> = format
            .fields
            .iter()
            .map(|f| (f.kind.as_str(), f.name.as_str(), f.offset, f.size, f.signed))
            .collect();
        assert_eq!(
            fields,
            [
                ("unsigned short", "common_type", 0, 2, false),
                ("char[16]", "prev_comm", 8, 16, true),
                ("const char *", "name", 24, 8, false),
                ("__data_loc char[]", "file", 32, 4, true),
                ("__u8[4]", "saddr", 36, 4, false),
            ]
        );
        let own: Vec<_> = format.own_fields().map(|field| &*field.name).collect();
        assert_eq!(own, ["prev_comm", "name", "file", "saddr"]);
    }
}
