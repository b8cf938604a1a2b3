//! Types, template arguments and parameters as a demangler prints them, from debug info.

use std::fmt::Write as _;
use std::sync::Arc;

use gimli::AttributeValue;

use crate::scoped_names::{DEEPEST, Namer, Place, Told, Untold};
use crate::scoped_unit::{Entry, is_named};

impl Namer<'_> {
    /// The types of a function's parameters, the object left out.
    pub(crate) fn parameters(&mut self, function: &Place, depth: usize) -> Told<String> {
        let wanted = |tag| {
            let is_rest = tag == gimli::DW_TAG_unspecified_parameters;
            tag == gimli::DW_TAG_formal_parameter || is_rest
        };
        let mut types = String::new();
        for child in self.children(function, wanted)? {
            let child = function.at(child);
            let entry = self.entry(&child)?;
            if entry.tag() == gimli::DW_TAG_unspecified_parameters {
                self.append(&mut types, "...")?;
            } else if entry.attr_value(gimli::DW_AT_artificial).is_none() {
                let of = self.type_of(&child, &entry, depth + 1)?;
                self.append(&mut types, &of)?;
            }
        }
        Ok(types)
    }

    /// The arguments of a template, if each can be told.
    pub(crate) fn arguments(&mut self, template: &Place, depth: usize) -> Told<String> {
        if depth > DEEPEST {
            return Err(Untold::Limit);
        }
        let wanted = |tag| {
            matches!(
                tag,
                gimli::DW_TAG_template_type_parameter
                    | gimli::DW_TAG_template_value_parameter
                    | gimli::DW_TAG_GNU_template_parameter_pack
                    | gimli::DW_TAG_GNU_template_template_param
            )
        };
        let mut arguments = String::new();
        for child in self.children(template, wanted)? {
            let child = template.at(child);
            let entry = self.entry(&child)?;
            let argument = match entry.tag() {
                gimli::DW_TAG_template_type_parameter => {
                    self.type_of(&child, &entry, depth + 1)?.to_string()
                }
                gimli::DW_TAG_template_value_parameter => {
                    self.value_of(&child, &entry, depth + 1)?
                }
                gimli::DW_TAG_GNU_template_parameter_pack => self.arguments(&child, depth + 1)?,
                _ => {
                    let name = self.text(&child, &entry, gimli::DW_AT_GNU_template_name)?;
                    name.ok_or(Untold::Unknown)?
                }
            };
            self.append(&mut arguments, &argument)?;
        }
        Ok(arguments)
    }

    /// Appends to a list, which an empty pack adds nothing to.
    fn append(&mut self, list: &mut String, one: &str) -> Told<()> {
        if one.is_empty() {
            return Ok(());
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(one);
        self.check(one.len(), list.len())
    }

    fn value_of(&mut self, place: &Place, entry: &Entry, depth: usize) -> Told<String> {
        let of = self.type_of(place, entry, depth)?;
        let value = entry
            .attr(gimli::DW_AT_const_value)
            .ok_or(Untold::Unknown)?;
        let is_unsigned = of.starts_with("unsigned") || &*of == "bool";
        let number = match value.value() {
            // Forms of a fixed size do not say whether they are signed.
            AttributeValue::Data1(byte) if !is_unsigned => Some(i128::from(byte.cast_signed())),
            AttributeValue::Data2(word) if !is_unsigned => Some(i128::from(word.cast_signed())),
            AttributeValue::Data4(word) if !is_unsigned => Some(i128::from(word.cast_signed())),
            _ => match is_unsigned {
                true => value.udata_value().map(i128::from),
                false => value.sdata_value().map(i128::from),
            },
        };
        let number = number.ok_or(Untold::Unknown)?;
        Ok(match (&*of, number) {
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

    /// The type that an entry says it has.
    pub(crate) fn type_of(&mut self, place: &Place, entry: &Entry, depth: usize) -> Told<Arc<str>> {
        match entry.attr_value(gimli::DW_AT_type) {
            Some(of) => {
                let of = self.follow(place, &of)?;
                self.type_name(&of, depth)
            }
            None => Ok("void".into()),
        }
    }

    fn type_name(&mut self, place: &Place, depth: usize) -> Told<Arc<str>> {
        if let Some(name) = self.known.types.get(&place.key()) {
            return Ok(Arc::clone(name));
        }
        if depth > DEEPEST {
            return Err(Untold::Limit);
        }
        let entry = self.entry(place)?;
        let name = match entry.tag() {
            tag if is_named(tag) => return self.name(place, depth + 1),
            gimli::DW_TAG_typedef => return self.type_of(place, &entry, depth + 1),
            gimli::DW_TAG_base_type => {
                let name = self.text(place, &entry, gimli::DW_AT_name)?;
                as_demangled(&name.ok_or(Untold::Unknown)?)
            }
            gimli::DW_TAG_unspecified_type => {
                let name = self.text(place, &entry, gimli::DW_AT_name)?;
                name.ok_or(Untold::Unknown)?
            }
            gimli::DW_TAG_pointer_type => pointer(&self.type_of(place, &entry, depth + 1)?, "*"),
            gimli::DW_TAG_reference_type => pointer(&self.type_of(place, &entry, depth + 1)?, "&"),
            gimli::DW_TAG_rvalue_reference_type => {
                pointer(&self.type_of(place, &entry, depth + 1)?, "&&")
            }
            gimli::DW_TAG_const_type => {
                [&*self.type_of(place, &entry, depth + 1)?, " const"].concat()
            }
            gimli::DW_TAG_volatile_type => {
                [&*self.type_of(place, &entry, depth + 1)?, " volatile"].concat()
            }
            gimli::DW_TAG_subroutine_type => {
                let parameters = self.parameters(place, depth)?;
                let result = self.type_of(place, &entry, depth + 1)?;
                format!("{result} ({parameters})")
            }
            _ => return Err(Untold::Unknown),
        };
        let name = self.made(name)?;
        if self.known.has_room(&name) {
            self.known.types.insert(place.key(), Arc::clone(&name));
        }
        Ok(name)
    }
}

/// What points to a type; to a function: the sign stands before its parameters.
fn pointer(to: &str, sign: &str) -> String {
    match to.split_once(" (").filter(|_| to.ends_with(')')) {
        Some((result, parameters)) if !to.contains("(anonymous") => {
            format!("{result} ({sign})({parameters}")
        }
        _ => [to, sign].concat(),
    }
}

/// The name of a template without the arguments that end it.
pub(crate) fn without_arguments(name: &str) -> Option<&str> {
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

/// A template's name with its arguments.
pub(crate) fn with_arguments(base: &str, arguments: &str) -> String {
    let mut name = base.to_owned();
    let space = if base.ends_with('<') { " " } else { "" };
    let end = if arguments.ends_with('>') { " >" } else { ">" };
    let _ = write!(name, "{space}<{arguments}{end}"); // a String takes all that is written
    name
}

/// GCC's names of built-in types as demanglers have them.
pub(crate) fn as_demangled(name: &str) -> String {
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
