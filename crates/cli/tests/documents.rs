//! What the documents say about the project's files is true.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names and versions in the workspace's table of dependencies; its own crates have no version.
fn asked_for() -> BTreeMap<String, String> {
    let manifest = read("Cargo.toml");
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    let dependencies = lines.filter_map(|line| {
        let (name, value) = line.split_once(" = ")?;
        let version = match value.strip_prefix('"') {
            Some(version) => version,
            None => value.split_once("version = \"")?.1,
        };
        Some((name.to_owned(), version.split('"').next()?.to_owned()))
    });
    dependencies.collect()
}

#[test]
fn every_dependency_is_listed_with_its_version() {
    let document = read("docs/dependencies.md");
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
    });
    let listed: BTreeMap<String, String> = rows.filter(|(name, _)| name != "crate").collect();
    let asked_for = asked_for();
    assert!(asked_for.len() > 20, "{asked_for:?}");
    assert_eq!(listed, asked_for);
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let roots = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let mut documents: Vec<_> = roots.map(PathBuf::from).into();
    let names = fs::read_dir(root().join("docs")).unwrap();
    let names = names.map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    documents.extend(names.filter(|name| name.extension().is_some_and(|it| it == "md")));
    let mut links = 0;
    for document in documents {
        for part in read(&document).split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let path = root().join(&document).with_file_name(target);
            assert!(path.exists(), "{}: {target}", document.display());
        }
    }
    assert!(links > 5, "{links}");
}
