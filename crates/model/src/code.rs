use std::sync::Arc;

/// The instructions of one function, with what debug info says about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionCode {
    /// Where the bytes were read.
    pub file: String,
    /// The file's section, if it has sections.
    pub section: Option<String>,
    /// In the order of their addresses, end to end.
    pub instructions: Vec<Instruction>,
    /// The source files that [`CodePlace::source`] is an index of.
    pub sources: Vec<SourceText>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its address, numbered as [`crate::DsoAddr`]: where samples are looked up.
    pub offset: u64,
    /// Its address as the file numbers it: what `nm` and `objdump` print.
    pub address: u64,
    /// Its bytes.
    pub bytes: Box<[u8]>,
    /// As an assembler would have it.
    pub text: String,
    /// Where in the source it comes from.
    pub place: Option<CodePlace>,
}

/// A place in the source of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePlace {
    /// The function; of inlined ones the innermost.
    pub function: Arc<str>,
    /// Index in [`FunctionCode::sources`].
    pub source: usize,
    /// From 1; 0 where the debug info has no line.
    pub line: u32,
}

/// A source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// The path as the debug info has it.
    pub path: Arc<str>,
    /// Its lines, or why they are not known.
    pub lines: Result<Vec<String>, NoSource>,
}

/// Why there is no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSource {
    /// There is no such file here.
    Missing,
    /// It was changed after the program was built: its lines may be others by now.
    Newer,
}

impl NoSource {
    /// A few words for a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Missing => "is not here",
            Self::Newer => "was changed after the program was built",
        }
    }
}

/// A line of annotated code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeLine<'a> {
    /// What follows belongs to this function, in this file.
    Function(&'a str, &'a str),
    /// A line of source, with its number.
    Source(u32, &'a str),
    /// An instruction, by its index.
    Instruction(usize),
}

/// So many lines that no instruction comes from are shown between two that some come from.
const MOST_BETWEEN: u32 = 6;

impl FunctionCode {
    /// The instruction that covers an address, numbered as [`crate::DsoAddr`].
    pub fn instruction_at(&self, offset: u64) -> Option<usize> {
        let after = self.instructions.partition_point(|it| it.offset <= offset);
        let index = after.checked_sub(1)?;
        let found = &self.instructions[index];
        (offset - found.offset < found.bytes.len() as u64).then_some(index)
    }

    /// The instructions, each run of them below the source that it comes from.
    pub fn lines(&self, with_source: bool) -> Vec<CodeLine<'_>> {
        let mut lines = Vec::new();
        let mut function: Option<(&str, usize)> = None;
        let mut line: Option<u32> = None; // the last one shown of that function
        for (index, instruction) in self.instructions.iter().enumerate() {
            if let Some(place) = &instruction.place {
                let here = (&*place.function, place.source);
                let source = &self.sources[place.source];
                if function != Some(here) {
                    lines.push(CodeLine::Function(&place.function, &source.path));
                    function = Some(here);
                    line = None;
                }
                if with_source && place.line > 0 && line != Some(place.line) {
                    let first = match line {
                        Some(last) if (last..last + MOST_BETWEEN).contains(&place.line) => last + 1,
                        _ => place.line,
                    };
                    if let Ok(texts) = &source.lines {
                        lines.extend((first..=place.line).filter_map(|number| {
                            let text = texts.get(number as usize - 1)?;
                            Some(CodeLine::Source(number, text))
                        }));
                    }
                    line = Some(place.line);
                }
            }
            lines.push(CodeLine::Instruction(index));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(places: &[Option<(&str, u32)>]) -> FunctionCode {
        let texts = (1..=30).map(|number| format!("line {number}")).collect();
        let instructions = places.iter().enumerate();
        let instructions = instructions.map(|(index, place)| Instruction {
            offset: 0x100 + 4 * index as u64,
            address: 0x1100 + 4 * index as u64,
            bytes: Box::new([0; 4]),
            text: "nop".to_owned(),
            place: place.map(|(function, line)| CodePlace {
                function: Arc::from(function),
                source: 0,
                line,
            }),
        });
        FunctionCode {
            instructions: instructions.collect(),
            sources: vec![SourceText {
                path: Arc::from("/src/a.c"),
                lines: Ok(texts),
            }],
            ..FunctionCode::default()
        }
    }

    #[test]
    fn an_instruction_is_found_by_every_address_in_it() {
        let code = code(&[None, None]);
        let found = [0xff, 0x100, 0x103, 0x104, 0x107, 0x108].map(|it| code.instruction_at(it));
        assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(1), None]);
    }

    #[test]
    fn source_stands_before_the_instructions_that_it_became() {
        use CodeLine::{Function, Instruction, Source};
        let code = code(&[
            Some(("f", 10)),
            Some(("f", 10)),
            Some(("g", 20)), // inlined
            Some(("f", 12)),
            Some(("f", 14)), // with what lies between
            Some(("f", 12)), // and back
            Some(("f", 25)), // too far to show all
            Some(("f", 99)), // not in the file
            None,
        ]);
        let expected = [
            Function("f", "/src/a.c"),
            Source(10, "line 10"),
            Instruction(0),
            Instruction(1),
            Function("g", "/src/a.c"),
            Source(20, "line 20"),
            Instruction(2),
            Function("f", "/src/a.c"),
            Source(12, "line 12"),
            Instruction(3),
            Source(13, "line 13"),
            Source(14, "line 14"),
            Instruction(4),
            Source(12, "line 12"),
            Instruction(5),
            Source(25, "line 25"),
            Instruction(6),
            Instruction(7),
            Instruction(8),
        ];
        assert_eq!(code.lines(true), expected);
        let bare = code.lines(false);
        assert_eq!(bare.iter().filter(|it| matches!(it, Source(..))).count(), 0);
        assert_eq!(bare.len(), 9 + 3);
    }
}
