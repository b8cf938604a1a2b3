//! Names of C++ functions from where they stand in debug info, for those that it gives no mangled name:
//! as a demangler prints them, with namespaces, classes and template arguments, without parameters.
//!
//! References are followed into the other units of the program, which is where the linker's optimiser
//! (`-flto`) and `dwz` leave functions and types. A function that takes them from a file which `dwz` has
//! made for several programs, or from `.debug_types`, keeps its own name.

use std::sync::Arc;

use gimli::{DebugInfoOffset, UnitHeader};
use rustc_hash::FxHashMap;

use crate::demangle::{LONGEST_NAME, demangle};
use crate::elf::Reader;
use crate::scoped_unit::{Entry, Offset, ScopedUnit, Target, UnitKey};
use crate::type_names::{as_demangled, with_arguments, without_arguments};
use crate::unit_index::UnitIndex;

/// Entries that refer to each other, or stand in each other, deeper than any compiler writes are damaged.
pub(crate) const DEEPEST: usize = 32;
/// Entries and attributes that may be read for one name: a hundred times what the longest ones need.
const MOST_WORK: u64 = 1 << 22;
/// And for all names of a file: some seconds.
const MOST_WORK_OF_FILE: u64 = 1 << 28;
/// So many bytes of text cost as much as an attribute.
const TEXT: usize = 16;
/// Names of scopes and types that are kept for those who stand in them, in bytes.
const MOST_KEPT: usize = 64 << 20;

/// Why a name cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untold {
    /// Debug info does not say what it takes, or is damaged.
    Unknown,
    /// It is too long, too deep or too much work.
    Limit,
}

pub(crate) type Told<T> = Result<T, Untold>;

/// An entry of a unit.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) unit: Arc<ScopedUnit>,
    pub(crate) offset: Offset,
}

type Key = (UnitKey, Offset);

impl Place {
    /// Another entry of the same unit.
    pub(crate) fn at(&self, offset: Offset) -> Self {
        let unit = Arc::clone(&self.unit);
        Self { unit, offset }
    }

    pub(crate) fn key(&self) -> Key {
        (self.unit.key, self.offset)
    }
}

/// What is known of a program's scopes.
#[derive(Debug, Default)]
pub(crate) struct ScopedNames {
    units: FxHashMap<UnitKey, Option<Arc<ScopedUnit>>>,
    functions: FxHashMap<Key, Option<Arc<str>>>, // that were asked for
    names: FxHashMap<Key, Arc<str>>,
    pub(crate) types: FxHashMap<Key, Arc<str>>,
    lambdas: FxHashMap<Key, Arc<str>>,
    kept: usize, // bytes of `names` and `types`
    work: u64,
}

/// Where the units of a program are read.
pub(crate) struct UnitSource<'a> {
    /// All sections of the program.
    pub(crate) dwarf: &'a Arc<gimli::Dwarf<Reader>>,
    /// Where its units start.
    pub(crate) index: &'a UnitIndex,
}

impl ScopedNames {
    /// The whole name of a function in the unit with a header of `dwarf`, which is that of the source
    /// unless the unit was split off; `None` where its own name is all there is to tell.
    pub(crate) fn function(
        &mut self,
        source: &UnitSource<'_>,
        dwarf: &Arc<gimli::Dwarf<Reader>>,
        (unit, header): (UnitKey, &UnitHeader<Reader>),
        offset: Offset,
    ) -> Option<Arc<str>> {
        if let Some(known) = self.functions.get(&(unit, offset)) {
            return known.clone();
        }
        let name = self.unit(unit, || {
            ScopedUnit::new(unit, Arc::clone(dwarf), header.clone())
        });
        let name = name
            .filter(|unit| is_cpp(unit.language()))
            .and_then(|unit| {
                let place = Place { unit, offset };
                let mut namer = Namer {
                    left: MOST_WORK.min(MOST_WORK_OF_FILE.saturating_sub(self.work)),
                    known: self,
                    source,
                };
                let before = namer.left;
                let name = namer.name(&place, 0).ok();
                let work = before - namer.left;
                self.work += work;
                name
            });
        self.functions.insert((unit, offset), name.clone());
        name
    }

    fn unit(
        &mut self,
        key: UnitKey,
        read: impl FnOnce() -> gimli::Result<ScopedUnit>,
    ) -> Option<Arc<ScopedUnit>> {
        let known = self.units.entry(key);
        known.or_insert_with(|| read().ok().map(Arc::new)).clone()
    }

    /// Whether there is room for one more name.
    pub(crate) fn has_room(&mut self, name: &str) -> bool {
        self.kept += name.len();
        self.kept <= MOST_KEPT
    }

    /// The units that have been read.
    #[cfg(test)]
    pub(crate) fn units(&self) -> usize {
        self.units.len()
    }
}

/// Whether a unit may be one of C++; those that were split off tell only themselves.
pub(crate) fn may_be_cpp(language: Option<gimli::DwLang>) -> bool {
    language.is_none() || is_cpp(language)
}

fn is_cpp(language: Option<gimli::DwLang>) -> bool {
    matches!(
        language,
        Some(
            gimli::DW_LANG_C_plus_plus
                | gimli::DW_LANG_C_plus_plus_03
                | gimli::DW_LANG_C_plus_plus_11
                | gimli::DW_LANG_C_plus_plus_14
                | gimli::DW_LANG_C_plus_plus_17
                | gimli::DW_LANG_C_plus_plus_20
                | gimli::DW_LANG_ObjC_plus_plus
        )
    )
}

/// Makes one name.
pub(crate) struct Namer<'a> {
    pub(crate) known: &'a mut ScopedNames,
    source: &'a UnitSource<'a>,
    left: u64, // work
}

impl Namer<'_> {
    /// # Errors
    /// [`Untold::Limit`]: there is no work left.
    pub(crate) fn charge(&mut self, work: u64) -> Told<()> {
        let left = self.left.checked_sub(work);
        self.left = left.unwrap_or(0);
        left.map(drop).ok_or(Untold::Limit)
    }

    /// Counts so many new bytes of a text as work.
    ///
    /// # Errors
    /// [`Untold::Limit`]: the text has become too long.
    pub(crate) fn check(&mut self, new: usize, all: usize) -> Told<()> {
        self.charge((new / TEXT) as u64)?;
        match all {
            0..=LONGEST_NAME => Ok(()),
            _ => Err(Untold::Limit),
        }
    }

    /// A name that is not too long.
    pub(crate) fn made(&mut self, name: String) -> Told<Arc<str>> {
        self.check(name.len(), name.len())?;
        Ok(name.into())
    }

    pub(crate) fn entry(&mut self, place: &Place) -> Told<Entry> {
        let entry = place.unit.entry(place.offset).ok_or(Untold::Unknown)?;
        self.charge(1 + entry.attrs().len() as u64)?;
        Ok(entry)
    }

    pub(crate) fn text(
        &mut self,
        place: &Place,
        entry: &Entry,
        attribute: gimli::DwAt,
    ) -> Told<Option<String>> {
        use gimli::Reader as _;
        let Some(text) = place.unit.text(entry, attribute) else {
            return Ok(None);
        };
        self.check(text.len(), text.len())?;
        Ok(text.to_string_lossy().ok().map(|text| text.into_owned()))
    }

    /// The entries right in another one whose tags are wanted.
    pub(crate) fn children(
        &mut self,
        of: &Place,
        wanted: impl Fn(gimli::DwTag) -> bool,
    ) -> Told<Vec<Offset>> {
        let (children, work) = of.unit.children(of.offset, wanted, self.left);
        self.charge(work)?;
        children.ok_or(Untold::Unknown)
    }

    /// Where a reference of an entry leads to.
    pub(crate) fn follow(
        &mut self,
        from: &Place,
        reference: &gimli::AttributeValue<Reader>,
    ) -> Told<Place> {
        match from.unit.target(reference).ok_or(Untold::Unknown)? {
            Target::Here(offset) => Ok(from.at(offset)),
            Target::Elsewhere(offset) => self.elsewhere(offset).ok_or(Untold::Unknown),
        }
    }

    fn elsewhere(&mut self, offset: usize) -> Option<Place> {
        let start = self.source.index.start_around(offset)?;
        let dwarf = self.source.dwarf;
        let key = UnitKey::Own(start);
        let unit = self.known.unit(key, || {
            let header = dwarf.unit_header(DebugInfoOffset(start))?;
            ScopedUnit::new(key, Arc::clone(dwarf), header)
        })?;
        let offset = gimli::UnitOffset(offset - start);
        Some(Place { unit, offset })
    }

    /// The whole name of a function, a class or a namespace.
    pub(crate) fn name(&mut self, place: &Place, depth: usize) -> Told<Arc<str>> {
        if let Some(name) = self.known.names.get(&place.key()) {
            return Ok(Arc::clone(name));
        }
        let name = self.new_name(place.clone(), depth)?;
        if self.known.has_room(&name) {
            self.known.names.insert(place.key(), Arc::clone(&name));
        }
        Ok(name)
    }

    fn new_name(&mut self, mut place: Place, depth: usize) -> Told<Arc<str>> {
        if depth > DEEPEST {
            return Err(Untold::Limit);
        }
        let mut entry = self.entry(&place)?;
        for _ in 0..DEEPEST {
            if let Some(mangled) = self.text(&place, &entry, gimli::DW_AT_linkage_name)? {
                return self.made(demangle(&mangled).into_owned());
            }
            let origin = entry.attr_value(gimli::DW_AT_abstract_origin);
            let origin = origin.or_else(|| entry.attr_value(gimli::DW_AT_specification));
            let Some(origin) = origin else { break };
            place = self.follow(&place, &origin)?;
            entry = self.entry(&place)?;
        }
        let own = self.own_name(&place, &entry, depth)?;
        match place.unit.around(place.offset) {
            Some(scope) => {
                let scope = self.scope(&place.at(scope), depth + 1)?;
                self.made([&scope, "::", &own].concat())
            }
            None => self.made(own),
        }
    }

    /// The name of what stands around something else: functions with their parameters.
    fn scope(&mut self, place: &Place, depth: usize) -> Told<Arc<str>> {
        let name = self.name(place, depth)?;
        let entry = self.entry(place)?;
        if entry.tag() != gimli::DW_TAG_subprogram {
            return Ok(name);
        }
        let is_of_c = entry.attr_value(gimli::DW_AT_external).is_some()
            && entry.attr_value(gimli::DW_AT_linkage_name).is_none()
            && entry.attr_value(gimli::DW_AT_specification).is_none()
            && place.unit.around(place.offset).is_none();
        if is_of_c {
            return Ok(name);
        }
        let parameters = self.parameters(place, depth)?;
        let qualifier = match self.is_of_const(place, &entry, depth)? {
            true => " const",
            false => "",
        };
        self.made(format!("{name}({parameters}){qualifier}"))
    }

    /// Whether a function is a member that does not change its object.
    fn is_of_const(&mut self, place: &Place, function: &Entry, depth: usize) -> Told<bool> {
        let Some(object) = function.attr_value(gimli::DW_AT_object_pointer) else {
            return Ok(false);
        };
        let object = self.follow(place, &object).and_then(|place| {
            let entry = self.entry(&place)?;
            self.type_of(&place, &entry, depth + 1)
        });
        match object {
            Ok(of) => Ok(of.trim_end_matches(" const").ends_with(" const*")),
            Err(Untold::Unknown) => Ok(false),
            Err(Untold::Limit) => Err(Untold::Limit),
        }
    }

    fn own_name(&mut self, place: &Place, entry: &Entry, depth: usize) -> Told<String> {
        let name = self.text(place, entry, gimli::DW_AT_name)?;
        if entry.tag() == gimli::DW_TAG_namespace {
            return Ok(name.unwrap_or_else(|| "(anonymous namespace)".to_owned()));
        }
        let name = match name {
            Some(name) if !is_lambda(Some(&name)) => as_demangled(&name),
            _ => return self.lambda(place, depth),
        };
        let Some(base) = without_arguments(&name) else {
            return Ok(name);
        };
        match self.arguments(&place.at(entry.offset()), depth) {
            Ok(arguments) if !arguments.is_empty() => Ok(with_arguments(base, &arguments)),
            Ok(_) | Err(Untold::Unknown) => Ok(name),
            Err(Untold::Limit) => Err(Untold::Limit),
        }
    }

    /// `{lambda(long)#2}`: the second one with these parameters in its function.
    fn lambda(&mut self, place: &Place, depth: usize) -> Told<String> {
        if let Some(name) = self.known.lambdas.get(&place.key()) {
            return Ok(name.to_string());
        }
        let scope = place.unit.around(place.offset).ok_or(Untold::Unknown)?;
        self.number_lambdas(&place.at(scope), depth)?;
        let name = self.known.lambdas.get(&place.key());
        name.map(|name| name.to_string()).ok_or(Untold::Unknown)
    }

    /// Names all lambdas of a scope, by their places in the source.
    fn number_lambdas(&mut self, scope: &Place, depth: usize) -> Told<()> {
        let mut lambdas = Vec::new();
        for &class in scope.unit.classes_in(scope.offset) {
            let class = scope.at(class);
            let entry = self.entry(&class)?;
            if !is_lambda(self.text(&class, &entry, gimli::DW_AT_name)?.as_deref()) {
                continue;
            }
            let number = |name| entry.attr(name).and_then(|it| it.udata_value());
            let line = number(gimli::DW_AT_decl_line);
            let in_source = (line, number(gimli::DW_AT_decl_column));
            match self.call_parameters(&class, depth) {
                Ok(parameters) => lambdas.push((parameters, in_source, class.key())),
                Err(Untold::Unknown) => {} // a class without a name, but no lambda
                Err(Untold::Limit) => return Err(Untold::Limit),
            }
        }
        lambdas.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for alike in lambdas.chunk_by(|a, b| a.0 == b.0) {
            for (parameters, in_source, key) in alike {
                let number = 1 + alike.partition_point(|other| other.1 < *in_source);
                let name = self.made(format!("{{lambda({parameters})#{number}}}"))?;
                self.known.lambdas.insert(*key, name);
            }
        }
        Ok(())
    }

    /// What the unnamed class of a lambda is called with.
    fn call_parameters(&mut self, class: &Place, depth: usize) -> Told<String> {
        for member in self.children(class, |tag| tag == gimli::DW_TAG_subprogram)? {
            let member = class.at(member);
            let entry = self.entry(&member)?;
            let name = self.text(&member, &entry, gimli::DW_AT_name)?;
            if name.is_some_and(|name| name == "operator()") {
                return self.parameters(&member, depth);
            }
        }
        Err(Untold::Unknown)
    }
}

/// Whether a class of this name may be that of a lambda.
fn is_lambda(name: Option<&str>) -> bool {
    name.is_none_or(|name| name.starts_with("<lambda"))
}
