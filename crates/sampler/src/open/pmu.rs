//! Events of a PMU: sysfs tells its number, and which bits of an attr a term means.
//!
//! `/sys/bus/event_source/devices/cpu/format/umask` says `config:8-15`; `events/cpu-cycles` beside it names
//! terms, `event=0x3c`.

use std::fs;
use std::io;

use prof_event::{EventAttr, PmuTerm};

use super::error::OpenError;

const DEVICES: &str = "/sys/bus/event_source/devices";

/// Fills in the kind and the configuration of an event.
pub(super) fn configure(
    attr: &mut EventAttr,
    pmu: &str,
    terms: &[PmuTerm],
) -> Result<(), OpenError> {
    let no_pmu = |source| OpenError::NoPmu {
        pmu: pmu.to_owned(),
        known: names(DEVICES),
        source,
    };
    let kind = fs::read_to_string(format!("{DEVICES}/{pmu}/type")).map_err(no_pmu)?;
    let kind = kind.trim().parse();
    attr.kind = kind.map_err(|error| no_pmu(io::Error::other(error)))?;
    terms.iter().try_for_each(|term| put(attr, pmu, term))
}

fn put(attr: &mut EventAttr, pmu: &str, term: &PmuTerm) -> Result<(), OpenError> {
    let folder = |kind: &str| format!("{DEVICES}/{pmu}/{kind}");
    let unknown = || OpenError::NoPmuTerm {
        pmu: pmu.to_owned(),
        term: term.name.clone(),
        known: [folder("format"), folder("events")]
            .map(|it| names(&it))
            .concat(),
    };
    if let Ok(event) = fs::read_to_string(format!("{}/{}", folder("events"), term.name))
        && term.value.is_none()
    {
        let terms = event.trim().split(',').map(PmuTerm::parse);
        let terms: Option<Vec<_>> = terms.collect();
        let terms = terms.ok_or_else(unknown)?;
        return terms
            .iter()
            .try_for_each(|term| put_bits(attr, pmu, term).ok_or_else(unknown)?);
    }
    put_bits(attr, pmu, term).ok_or_else(unknown)?
}

/// `None` if the PMU has no such field.
fn put_bits(attr: &mut EventAttr, pmu: &str, term: &PmuTerm) -> Option<Result<(), OpenError>> {
    let value = term.value.unwrap_or(1);
    let format = match term.name.as_str() {
        field @ ("config" | "config1" | "config2") => field.to_owned() + ":0-63",
        name => fs::read_to_string(format!("{DEVICES}/{pmu}/format/{name}")).ok()?,
    };
    let (field, bits) = format.trim().split_once(':')?;
    let field = match field {
        "config" => &mut attr.config,
        "config1" => &mut attr.config1,
        "config2" => &mut attr.config2,
        _ => return None,
    };
    Some(match spread(bits, value) {
        Some(bits) => {
            *field |= bits;
            Ok(())
        }
        None => Err(OpenError::PmuValue {
            term: term.name.clone(),
            value,
            bits: bits.to_owned(),
        }),
    })
}

/// A value at the places of its bits, lowest first: `0-7,32-35`. `None` if it does not fit.
fn spread(places: &str, mut value: u64) -> Option<u64> {
    let mut bits = 0;
    for range in places.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        for place in first..=last.min(63) {
            bits |= (value & 1) << place;
            value >>= 1;
        }
    }
    (value == 0).then_some(bits)
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // `EVENT.unit` and `EVENT.scale` tell about an event
    let mut names: Vec<_> = names.filter(|name| !name.contains('.')).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_spread_over_the_bits_of_its_field() {
        assert_eq!(spread("0-7", 0x3c), Some(0x3c));
        assert_eq!(spread("8-15", 0x41), Some(0x4100));
        assert_eq!(spread("23", 1), Some(1 << 23));
        assert_eq!(spread("0-7,32-35", 0x5c1), Some(0x5_0000_00c1));
        assert_eq!(spread("0-63", u64::MAX), Some(u64::MAX));
        assert_eq!(spread("0-7", 0x100), None);
        assert_eq!(spread("0-7,32-35", 0x1000), None);
        assert_eq!(spread("x", 0), None);
    }

    #[test]
    fn a_pmu_that_is_not_there_is_told_with_those_that_are() {
        let mut attr = EventAttr::default();
        let refused = configure(&mut attr, "no-such-pmu", &[]);
        assert!(matches!(refused, Err(OpenError::NoPmu { pmu, .. }) if pmu == "no-such-pmu"));
    }

    #[test]
    fn the_pmu_of_software_events_has_only_numbers() {
        let mut attr = EventAttr::default();
        let term = |text| PmuTerm::parse(text).unwrap();
        configure(&mut attr, "software", &[term("config=2")]).unwrap();
        assert_eq!((attr.kind, attr.config), (1, 2));
        let refused = configure(&mut attr, "software", &[term("umask=2")]);
        assert!(matches!(refused, Err(OpenError::NoPmuTerm { term, .. }) if term == "umask"));
    }
}
