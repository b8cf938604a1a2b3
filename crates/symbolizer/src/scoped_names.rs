//! Names of C++ functions from where they stand in debug info, for those that it gives no mangled name:
//! as a demangler prints them, with namespaces, classes and template arguments, without parameters.

use std::fmt::Write as _;

use gimli::{AttributeValue, DwTag, Reader as _, UnitOffset, UnitRef};
use rustc_hash::FxHashMap;

use crate::demangle::demangle;
use crate::elf::Reader;

/// Entries that refer to each other, or stand in each other, deeper than any compiler writes are damaged.
const DEEPEST: usize = 32;

type Offset = UnitOffset<usize>;
type Unit<'a> = UnitRef<'a, Reader>;
type Entry = gimli::DebuggingInformationEntry<Reader>;

/// The named entry around each entry that may be one or hold one.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    around: FxHashMap<Offset, Offset>,
    functions: FxHashMap<Offset, Option<String>>, // that were asked for
}

impl Scopes {
    /// Those of a unit.
    pub(crate) fn new(unit: Unit<'_>) -> gimli::Result<Self> {
        let mut around = FxHashMap::default();
        let mut open: Vec<(isize, Offset)> = Vec::new();
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let (offset, depth) = (entries.next_offset(), entries.next_depth());
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            entries.skip_attributes(abbreviation.attributes())?;
            while open.last().is_some_and(|&(of_open, _)| of_open >= depth) {
                open.pop();
            }
            if is_named(abbreviation.tag()) {
                around.extend(open.last().map(|&(_, scope)| (offset, scope)));
                open.push((depth, offset));
            }
        }
        Ok(Self {
            around,
            functions: FxHashMap::default(),
        })
    }

    /// The whole name of a function; `None` where its own name is all there is to tell.
    pub(crate) fn function(&mut self, unit: Unit<'_>, offset: Offset) -> Option<String> {
        if let Some(known) = self.functions.get(&offset) {
            return known.clone();
        }
        let name = is_cpp(unit).then(|| self.name(unit, offset, 0)).flatten();
        self.functions.insert(offset, name.clone());
        name
    }

    fn name(&self, unit: Unit<'_>, offset: Offset, depth: usize) -> Option<String> {
        if depth > DEEPEST {
            return None;
        }
        let mut offset = offset;
        let mut entry = unit.entry(offset).ok()?;
        for _ in 0..DEEPEST {
            if let Some(mangled) = text(unit, &entry, gimli::DW_AT_linkage_name) {
                return Some(demangle(&mangled).into_owned());
            }
            let origin = entry.attr_value(gimli::DW_AT_abstract_origin);
            let origin = origin.or_else(|| entry.attr_value(gimli::DW_AT_specification));
            let Some(origin) = origin else { break };
            offset = in_unit(unit, &origin)?;
            entry = unit.entry(offset).ok()?;
        }
        let own = self.own_name(unit, &entry, depth)?;
        match self.around.get(&offset) {
            Some(&scope) => Some(format!("{}::{own}", self.scope(unit, scope, depth + 1)?)),
            None => Some(own),
        }
    }

    /// The name of what stands around something else: functions with their parameters.
    fn scope(&self, unit: Unit<'_>, offset: Offset, depth: usize) -> Option<String> {
        let name = self.name(unit, offset, depth)?;
        let entry = unit.entry(offset).ok()?;
        if entry.tag() != gimli::DW_TAG_subprogram {
            return Some(name);
        }
        let is_of_c = entry.attr_value(gimli::DW_AT_external).is_some()
            && entry.attr_value(gimli::DW_AT_linkage_name).is_none()
            && entry.attr_value(gimli::DW_AT_specification).is_none()
            && !self.around.contains_key(&offset);
        if is_of_c {
            return Some(name);
        }
        let parameters = self.parameters(unit, offset, depth)?.join(", ");
        let qualifier = match self.is_of_const(unit, offset, depth) {
            true => " const",
            false => "",
        };
        Some(format!("{name}({parameters}){qualifier}"))
    }

    /// Whether a function is a member that does not change its object.
    fn is_of_const(&self, unit: Unit<'_>, function: Offset, depth: usize) -> bool {
        let object = || {
            let entry = unit.entry(function).ok()?;
            let object = entry.attr_value(gimli::DW_AT_object_pointer)?;
            let object = unit.entry(in_unit(unit, &object)?).ok()?;
            self.type_of(unit, &object, depth + 1)
        };
        object().is_some_and(|of| of.trim_end_matches(" const").ends_with(" const*"))
    }

    fn own_name(&self, unit: Unit<'_>, entry: &Entry, depth: usize) -> Option<String> {
        let name = text(unit, entry, gimli::DW_AT_name);
        if entry.tag() == gimli::DW_TAG_namespace {
            return Some(name.unwrap_or_else(|| "(anonymous namespace)".to_owned()));
        }
        let name = match name {
            Some(name) if !name.starts_with("<lambda") => as_demangled(&name),
            _ => return self.lambda(unit, entry, depth),
        };
        let Some(base) = without_arguments(&name) else {
            return Some(name);
        };
        match self.arguments(unit, entry.offset(), depth) {
            Some(arguments) if !arguments.is_empty() => Some(with_arguments(base, &arguments)),
            _ => Some(name),
        }
    }

    /// `{lambda(long)#2}`: the second one with these parameters in its function.
    fn lambda(&self, unit: Unit<'_>, entry: &Entry, depth: usize) -> Option<String> {
        let parameters = self.call_parameters(unit, entry.offset(), depth)?;
        let scope = self.around.get(&entry.offset())?;
        let place = |entry: &Entry| {
            let number = |name| entry.attr(name).and_then(|it| it.udata_value());
            (
                number(gimli::DW_AT_decl_line),
                number(gimli::DW_AT_decl_column),
            )
        };
        let is_before = |other: Offset| {
            let other = unit.entry(other).ok()?;
            let is_like = other.attr_value(gimli::DW_AT_name).is_none()
                && place(&other) < place(entry)
                && self.call_parameters(unit, other.offset(), depth)? == parameters;
            Some(is_like)
        };
        let others = self.around.iter().filter(|&(_, around)| around == scope);
        let before = others.filter(|&(&other, _)| is_before(other) == Some(true));
        Some(format!("{{lambda({parameters})#{}}}", 1 + before.count()))
    }

    /// What the unnamed class of a lambda is called with.
    fn call_parameters(&self, unit: Unit<'_>, class: Offset, depth: usize) -> Option<String> {
        let mut tree = unit.entries_tree(Some(class)).ok()?;
        let mut members = tree.root().ok()?.children();
        while let Some(member) = members.next().ok()? {
            let entry = member.entry();
            if text(unit, entry, gimli::DW_AT_name).is_some_and(|name| name == "operator()") {
                let offset = entry.offset();
                return Some(self.parameters(unit, offset, depth)?.join(", "));
            }
        }
        None
    }

    /// The types of a function's parameters, the object left out.
    fn parameters(&self, unit: Unit<'_>, function: Offset, depth: usize) -> Option<Vec<String>> {
        let mut tree = unit.entries_tree(Some(function)).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut types = Vec::new();
        while let Some(child) = children.next().ok()? {
            let entry = child.entry();
            let is_artificial = entry.attr_value(gimli::DW_AT_artificial).is_some();
            match entry.tag() {
                gimli::DW_TAG_formal_parameter if !is_artificial => {
                    types.push(self.type_of(unit, entry, depth + 1)?);
                }
                gimli::DW_TAG_unspecified_parameters => types.push("...".to_owned()),
                _ => {}
            }
        }
        Some(types)
    }

    /// The arguments of a template, if each can be told.
    fn arguments(&self, unit: Unit<'_>, offset: Offset, depth: usize) -> Option<Vec<String>> {
        if depth > DEEPEST {
            return None;
        }
        let mut tree = unit.entries_tree(Some(offset)).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut arguments = Vec::new();
        while let Some(child) = children.next().ok()? {
            let entry = child.entry();
            match entry.tag() {
                gimli::DW_TAG_template_type_parameter => {
                    arguments.push(self.type_of(unit, entry, depth + 1)?);
                }
                gimli::DW_TAG_template_value_parameter => {
                    arguments.push(self.value_of(unit, entry, depth + 1)?);
                }
                gimli::DW_TAG_GNU_template_parameter_pack => {
                    let pack = entry.offset();
                    arguments.extend(self.arguments(unit, pack, depth + 1)?);
                }
                gimli::DW_TAG_GNU_template_template_param => {
                    arguments.push(text(unit, entry, gimli::DW_AT_GNU_template_name)?);
                }
                _ => {}
            }
        }
        Some(arguments)
    }

    fn value_of(&self, unit: Unit<'_>, entry: &Entry, depth: usize) -> Option<String> {
        let of = self.type_of(unit, entry, depth)?;
        let value = entry.attr(gimli::DW_AT_const_value)?;
        let is_unsigned = of.starts_with("unsigned") || of == "bool";
        let number = match value.value() {
            // Forms of a fixed size do not say whether they are signed.
            AttributeValue::Data1(byte) if !is_unsigned => i128::from(byte.cast_signed()),
            AttributeValue::Data2(word) if !is_unsigned => i128::from(word.cast_signed()),
            AttributeValue::Data4(word) if !is_unsigned => i128::from(word.cast_signed()),
            _ => match is_unsigned {
                true => i128::from(value.udata_value()?),
                false => i128::from(value.sdata_value()?),
            },
        };
        Some(match (&*of, number) {
            ("bool", 0) => "false".to_owned(),
            ("bool", _) => "true".to_owned(),
            ("int", _) => format!("{number}"),
            ("unsigned int", _) => format!("{number}u"),
            ("long", _) => format!("{number}l"),
            ("unsigned long", _) => format!("{number}ul"),
            ("long long", _) => format!("{number}ll"),
            ("unsigned long long", _) => format!("{number}ull"),
            _ => format!("({of}){number}"),
        })
    }

    fn type_of(&self, unit: Unit<'_>, entry: &Entry, depth: usize) -> Option<String> {
        match entry.attr_value(gimli::DW_AT_type) {
            Some(of) => self.type_name(unit, in_unit(unit, &of)?, depth),
            None => Some("void".to_owned()),
        }
    }

    fn type_name(&self, unit: Unit<'_>, offset: Offset, depth: usize) -> Option<String> {
        if depth > DEEPEST {
            return None;
        }
        let entry = unit.entry(offset).ok()?;
        let inner = || self.type_of(unit, &entry, depth + 1);
        let pointed_by = |sign: &str| {
            let inner = inner()?;
            // To a function: the sign stands before its parameters.
            match inner.split_once(" (").filter(|_| inner.ends_with(')')) {
                Some((result, parameters)) if !inner.contains("(anonymous") => {
                    Some(format!("{result} ({sign})({parameters}"))
                }
                _ => Some(inner + sign),
            }
        };
        match entry.tag() {
            gimli::DW_TAG_base_type => {
                let name = text(unit, &entry, gimli::DW_AT_name)?;
                Some(as_demangled(&name))
            }
            gimli::DW_TAG_unspecified_type => text(unit, &entry, gimli::DW_AT_name),
            gimli::DW_TAG_pointer_type => pointed_by("*"),
            gimli::DW_TAG_reference_type => pointed_by("&"),
            gimli::DW_TAG_rvalue_reference_type => pointed_by("&&"),
            gimli::DW_TAG_const_type => Some(inner()? + " const"),
            gimli::DW_TAG_volatile_type => Some(inner()? + " volatile"),
            gimli::DW_TAG_typedef => inner(),
            gimli::DW_TAG_subroutine_type => {
                let parameters = self.parameters(unit, offset, depth)?.join(", ");
                Some(format!("{} ({parameters})", inner()?))
            }
            tag if is_named(tag) => self.name(unit, offset, depth + 1),
            _ => None,
        }
    }
}

fn is_named(tag: DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_namespace
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_structure_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_subprogram
    )
}

fn is_cpp(unit: Unit<'_>) -> bool {
    let root = unit.entry(unit.header.root_offset()).ok();
    let language = root.and_then(|root| root.attr_value(gimli::DW_AT_language));
    matches!(
        language,
        Some(AttributeValue::Language(
            gimli::DW_LANG_C_plus_plus
                | gimli::DW_LANG_C_plus_plus_03
                | gimli::DW_LANG_C_plus_plus_11
                | gimli::DW_LANG_C_plus_plus_14
                | gimli::DW_LANG_C_plus_plus_17
                | gimli::DW_LANG_C_plus_plus_20
        ))
    )
}

fn text(unit: Unit<'_>, entry: &Entry, attribute: gimli::DwAt) -> Option<String> {
    let text = unit.attr_string(entry.attr_value(attribute)?).ok()?;
    Some(text.to_string_lossy().ok()?.into_owned())
}

/// Where a reference leads to within a unit.
fn in_unit(unit: Unit<'_>, reference: &AttributeValue<Reader>) -> Option<Offset> {
    match *reference {
        AttributeValue::UnitRef(offset) => Some(offset),
        AttributeValue::DebugInfoRef(offset) => offset.to_unit_offset(&unit.header),
        _ => None,
    }
}

/// The name of a template without the arguments that end it.
fn without_arguments(name: &str) -> Option<&str> {
    let mut depth = 0;
    let inner = name.strip_suffix('>')?;
    for (at, byte) in inner.bytes().enumerate().rev() {
        match byte {
            b'>' => depth += 1,
            b'<' if depth == 0 => return Some(inner[..at].trim_end()).filter(|it| !it.is_empty()),
            b'<' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn with_arguments(base: &str, arguments: &[String]) -> String {
    let mut name = base.to_owned();
    let space = if base.ends_with('<') { " " } else { "" };
    let arguments = arguments.join(", ");
    let end = if arguments.ends_with('>') { " >" } else { ">" };
    let _ = write!(name, "{space}<{arguments}{end}"); // a String takes all that is written
    name
}

/// GCC's names of built-in types as demanglers have them.
fn as_demangled(name: &str) -> String {
    const NAMES: [(&str, &str); 7] = [
        ("long long unsigned int", "unsigned long long"),
        ("long long int", "long long"),
        ("long unsigned int", "unsigned long"),
        ("long int", "long"),
        ("short unsigned int", "unsigned short"),
        ("short int", "short"),
        ("__int128 unsigned", "unsigned __int128"),
    ];
    let mut name = name.to_owned();
    for (long, short) in NAMES {
        if name.contains(long) {
            name = name.replace(long, short);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_a_name_are_its_template_arguments() {
        for (name, base) in [
            ("vector<int, std::allocator<int> >", Some("vector")),
            ("operator<< <char>", Some("operator<<")),
            ("plain", None),
            ("operator>", None),
            ("operator->", None),
        ] {
            assert_eq!(without_arguments(name), base, "{name}");
        }
    }
}
