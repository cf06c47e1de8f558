//! The folder that becomes the output: staged files are moved into it, and what does not belong there is
//! removed. Every step can be repeated after a crash. Writes no manifest, and makes nothing visible.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gristmill_common::durable::{force, force_all};
use gristmill_common::naming::{BAD_DIR, bad_records_name_of, part_file_name, part_name, staged_named_dir};
use gristmill_common::task::{BadRecords, NamedPart, PartSummary};

use super::OutputError;
use crate::failpoint::failpoint;

/// The folder while it is filled.
pub(super) struct ResultFolder<'a> {
    path: &'a Path,
    /// Where attempts staged what goes into it.
    staged: PathBuf,
    /// What the names of parts end with.
    ending: String,
    fsync: bool,
    /// Paths, relative to it, of all files and folders that belong into it.
    own: BTreeSet<String>,
    /// Those of them that are folders of named outputs.
    folders: BTreeSet<String>,
    /// Further parts, and parts of named outputs.
    named: Vec<PathBuf>,
}

impl<'a> ResultFolder<'a> {
    /// Makes the folder, unless an interrupted commit has done so.
    pub(super) fn create(path: &'a Path, staged: PathBuf, ending: String, fsync: bool) -> Result<Self, OutputError> {
        create_folder(path)?;
        Ok(Self { path, staged, ending, fsync, own: BTreeSet::new(), folders: BTreeSet::new(), named: Vec::new() })
    }

    /// Moves a part in, and the further parts and those of named outputs that were staged with it.
    pub(super) fn take_part(&mut self, index: u32, part: &PartSummary) -> Result<(), OutputError> {
        let name = part_file_name(index, &self.ending);
        let source = self.staged.join(&part.staged_name);
        // The name comes from a worker's report: it may only be that of an attempt at this part.
        let attempt = part.staged_name.strip_prefix(&part_name(index)).and_then(|rest| rest.strip_prefix('.'));
        if attempt.is_none_or(|attempt| attempt.contains('/')) {
            return Err(OutputError::Part { path: source, expected_bytes: part.bytes, found_bytes: None });
        }
        if !part.left_out {
            let target = self.path.join(&name);
            move_staged(&source, part.bytes, &target)?;
            if self.fsync {
                sync(&target, "publish.sync_part")?;
            }
            self.own.insert(name);
        }
        let staged = self.staged.join(staged_named_dir(&part.staged_name));
        (0_usize..)
            .zip(&part.named)
            .try_for_each(|(number, named)| self.take_named(index, &staged.join(number.to_string()), named))
    }

    fn take_named(&mut self, index: u32, source: &Path, part: &NamedPart) -> Result<(), OutputError> {
        for folder in part.name.folders() {
            if !self.folders.contains(folder) {
                create_folder(&self.path.join(folder))?;
                self.folders.insert(folder.to_owned());
                self.own.insert(folder.to_owned());
            }
        }
        let name = part.name.part_path(index, &self.ending);
        let target = self.path.join(&name);
        if file_bytes(source).is_some() && file_bytes(&target).is_some() {
            return Err(OutputError::SamePath { path: target });
        }
        move_staged(source, part.bytes, &target)?;
        self.own.insert(name);
        self.named.push(target);
        Ok(())
    }

    /// Moves what was skipped into a folder of its own, if anything was.
    pub(super) fn take_bad(&mut self, bad: &[BadRecords]) -> Result<(), OutputError> {
        if bad.is_empty() {
            return Ok(());
        }
        let folder = self.path.join(BAD_DIR);
        create_folder(&folder)?;
        self.own.insert(BAD_DIR.to_owned());
        for bad in bad {
            let source = self.staged.join(&bad.staged_name);
            // The name comes from a worker's report, as that of a part.
            let Some(name) = bad_records_name_of(&bad.staged_name) else {
                return Err(OutputError::Part { path: source, expected_bytes: bad.bytes, found_bytes: None });
            };
            let target = folder.join(&name);
            move_staged(&source, bad.bytes, &target)?;
            if self.fsync {
                sync(&target, "publish.sync_bad")?;
            }
            self.own.insert(format!("{BAD_DIR}/{name}"));
        }
        if self.fsync { sync(&folder, "publish.sync_bad_folder") } else { Ok(()) }
    }

    /// Removes what does not belong into the folder, and makes named outputs last if the job asks for it.
    pub(super) fn finish(&self) -> Result<(), OutputError> {
        self.remove_others("")?;
        if !self.fsync || self.named.is_empty() {
            return Ok(());
        }
        let folders = self.folders.iter().map(|folder| self.path.join(folder));
        let paths: Vec<PathBuf> = self.named.iter().cloned().chain(folders).collect();
        let sync = |path: &Path, error| OutputError::io("sync", path, error);
        failpoint("publish.sync_named").map_err(|error| sync(self.path, error))?;
        force_all(&paths).map_err(|lost| sync(&lost.path, lost.error))
    }

    /// Removes what does not belong into a folder and those below it, at most as deep as names are.
    fn remove_others(&self, below: &str) -> Result<(), OutputError> {
        let folder = self.path.join(below);
        let read = |error| OutputError::io("read folder", &folder, error);
        for entry in fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = entry.path();
            let is_folder = entry.file_type().map_err(read)?.is_dir();
            let name = entry.file_name().to_str().map(|name| format!("{below}{name}"));
            match name.filter(|name| self.own.contains(name)) {
                Some(name) if is_folder => self.remove_others(&format!("{name}/"))?,
                Some(_) => {}
                None => {
                    let remove = || if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    let removed = failpoint("publish.remove_other").and_then(|()| remove());
                    removed.map_err(|error| OutputError::io("remove", &path, error))?;
                }
            }
        }
        Ok(())
    }
}

/// Moves a staged file of a known size, unless an interrupted commit has done so.
fn move_staged(source: &Path, expected_bytes: u64, target: &Path) -> Result<(), OutputError> {
    match (file_bytes(source), file_bytes(target)) {
        (Some(bytes), _) if bytes == expected_bytes => {
            let moved = failpoint("publish.move_part").and_then(|()| fs::rename(source, target));
            moved.map_err(|error| OutputError::io("rename", source, error))
        }
        (None, Some(bytes)) if bytes == expected_bytes => Ok(()),
        (found_bytes, _) => Err(OutputError::Part { path: source.to_owned(), expected_bytes, found_bytes }),
    }
}

/// Makes a folder, unless an interrupted commit has done so.
fn create_folder(folder: &Path) -> Result<(), OutputError> {
    match failpoint("publish.create_result").and_then(|()| fs::create_dir(folder)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(OutputError::io("create folder", folder, error))
        }
        _ => Ok(()),
    }
}

/// The size of a regular file.
fn file_bytes(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// Makes a file or folder last; `place` is where trials interrupt that.
pub(super) fn sync(path: &Path, place: &'static str) -> Result<(), OutputError> {
    let synced = failpoint(place).and_then(|()| force(path));
    synced.map_err(|error| OutputError::io("sync", path, error))
}
