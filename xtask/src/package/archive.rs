//! Compressed archives of a few files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use join_image::Entry;
use time::OffsetDateTime;

/// Writes an archive of `(file, name in the archive, permission bits)`, all below the folder `inside` if it has a name.
pub fn write(
    archive: &Path,
    inside: &str,
    files: &[(&Path, &str, u32)],
    created: OffsetDateTime,
) -> anyhow::Result<()> {
    let mut entries = BTreeMap::new();
    for (file, name, mode) in files {
        let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let path = if inside.is_empty() { (*name).to_owned() } else { format!("{inside}/{name}") };
        entries.insert(path, Entry::File { content, mode: *mode });
    }
    let content = join_image::compressed_archive(&entries, created).context("packing")?;
    fs::write(archive, content).with_context(|| format!("writing {}", archive.display()))
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_files_are_there_with_their_modes_and_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program-of-today");
        fs::write(&program, "\x7fELF").unwrap();
        let created = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let archive = folder.path().join(name);
            let files = [(&*program, "program", 0o755), (&*program, "another", 0o600)];
            write(&archive, "name-1.0.0", &files, created).unwrap();
            fs::read(archive).unwrap()
        });
        assert_eq!(one, two);
        let mut archive = tar::Archive::new(GzDecoder::new(&*one));
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.mtime().unwrap())
            })
            .collect();
        let expected = [("name-1.0.0/another", 0o600), ("name-1.0.0/program", 0o755)];
        assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode, 1_700_000_000)));
    }
}
