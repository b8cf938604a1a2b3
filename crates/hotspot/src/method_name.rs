//! A method's class and name, as Java programs write them.

use crate::layout::{Layout, MethodLayout};
use crate::memory::{Reader, Unread, printable};

/// No class and no method has a longer name.
const LONGEST: u64 = 1 << 10;

/// `java.util.HashMap.getNode` of a method at an address.
pub(crate) fn read(
    method: u64,
    layout: &Layout,
    reader: &mut Reader<'_>,
) -> Result<String, Unread> {
    let fields = &layout.method;
    let constant_part = reader.word(method.wrapping_add(fields.constant_part))?;
    let constants = reader.word(constant_part.wrapping_add(fields.constants))?;
    let index = fields.name_index;
    let index = reader.number(constant_part.wrapping_add(index.at), index.size)?;
    let entry = fields.constants_size.wrapping_add(8 * (index & 0xffff));
    let name = reader.word(constants.wrapping_add(entry))?;
    let class = reader.word(constants.wrapping_add(fields.holder))?;
    let class_name = reader.word(class.wrapping_add(fields.class_name))?;
    let class = symbol(class_name, fields, reader)?;
    // a hidden class, as of a lambda, has a `+` before its number, where Java has a slash
    let class = class.replace('/', ".").replace('+', "/");
    let name = symbol(name, fields, reader)?;
    Ok(format!("{class}.{name}"))
}

/// A text of HotSpot's table of names.
fn symbol(addr: u64, layout: &MethodLayout, reader: &mut Reader<'_>) -> Result<String, Unread> {
    let length = layout.symbol_length;
    let length = reader.number(addr.wrapping_add(length.at), length.size)?;
    if !(1..=LONGEST).contains(&length) {
        return Err(Unread::Nothing);
    }
    let mut bytes = vec![0; length as usize];
    reader.bytes(addr.wrapping_add(layout.symbol_text), &mut bytes)?;
    Ok(printable(&bytes))
}
