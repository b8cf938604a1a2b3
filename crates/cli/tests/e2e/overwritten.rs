//! Libraries that are written over while a program that uses them is recorded.
#![cfg(target_arch = "x86_64")]

use crate::support::{Place, build, has, tolerance};

/// `overwritten.c` and its two libraries, which differ in the name of their function.
fn libraries(place: &Place, args: &[&str]) {
    build(place, "overwritten.c", &["-o", "overwritten"]);
    for (library, name) in [("plugin.so", "-DNAME=first_"), ("next.so", "-DNAME=second")] {
        let own = [name, "-shared", "-fPIC", "-o", library];
        build(place, "plugin.c", &[&own, args].concat());
    }
}

#[test]
fn a_library_that_was_written_over_has_no_name_where_it_ran_before_and_its_own_where_it_ran_after()
{
    if !has("gcc") {
        return;
    }
    for build_id in ["-Wl,--build-id=sha1", "-Wl,--build-id=none"] {
        let place = Place::new();
        libraries(&place, &[build_id]);
        let args = ["record", "-F", "499", "--", "./overwritten", "100"];
        let recorded = place.prof(&args).ok();
        let reason = "in plugin.so: the file on disk is not the one that ran";
        assert!(recorded.err.contains(reason), "{}", recorded.err);
        let samples = place.samples("perf.data");
        let functions = place.functions("perf.data");
        let of = |is_it: &dyn Fn(&str) -> bool| -> f64 {
            let found = functions.iter().filter(|(name, _)| is_it(name));
            found.map(|(_, percent)| percent).sum()
        };
        let second = of(&|name| name == "second");
        let unnamed = of(&|name| name.starts_with("0x"));
        for (share, percent) in [(second, 75.0), (unnamed, 25.0)] {
            let off = (share - percent).abs();
            assert!(off < tolerance(percent, samples) + 2.0, "{functions:?}");
        }
        assert_eq!(of(&|name| name == "first_"), 0.0);
    }
}
