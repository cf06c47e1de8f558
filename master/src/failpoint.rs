//! Named places at durable steps where trials interrupt the master or make an operation fail. Without
//! the feature `failpoints` they cost nothing and cannot be armed.
//!
//! A trial names places and what happens there in `FAILPOINTS`, as the crate `fail` reads it:
//! `FAILPOINTS='journal.commit=panic'` ends the master there (the program's panic hook aborts it), and
//! `FAILPOINTS='publish.rename=1*return(ENOSPC)'` makes the first rename fail as on a full disk.

use std::io;

/// Every place, in the order in which a job comes by.
pub const FAILPOINTS: &[&str] = &[
    // The state folder and its epoch.
    "state.create_folder",
    "state.lock",
    "epoch.create",
    "epoch.write",
    "epoch.sync",
    "epoch.rename",
    "epoch.sync_folder",
    // The journal.
    "journal.create",
    "journal.rename",
    "journal.sync_folder",
    "journal.open",
    "journal.opened",
    "journal.replay",
    "journal.seen",
    "journal.begin",
    "journal.append",
    "journal.forget",
    "journal.commit",
    "journal.committed",
    // A claim on an output.
    "claim.create_parent",
    "claim.create_staging",
    "claim.create_file",
    "claim.lock",
    "claim.write",
    "claim.written",
    "claim.probe",
    "claim.create_parts",
    "claim.reclaim",
    // A claim on an output in an object store.
    "claim.look_at_place",
    "claim.put_object",
    "claim.object_is_put",
    "claim.try_store",
    "claim.reclaim_object",
    // What follows from durable records.
    "driver.plan",
    "driver.planned",
    "driver.publish",
    "driver.published",
    "driver.undo",
    "driver.undone",
    "driver.sweep",
    // Publishing, step by step.
    "publish.create_result",
    "publish.move_part",
    "publish.sync_part",
    "publish.sync_named",
    "publish.sync_bad",
    "publish.sync_bad_folder",
    "publish.remove_other",
    "publish.create_manifest",
    "publish.write_manifest",
    "publish.set_permissions",
    "publish.sync_manifest",
    "publish.sync_result",
    "publish.rename",
    "publish.renamed",
    "publish.sync_parent",
    "publish.sweep",
    // Publishing in an object store.
    "publish.check_claim",
    "publish.delete_success",
    "publish.complete",
    "publish.completed",
    "publish.delete_other",
    "publish.create_success",
    "publish.success_is_created",
    // Undoing, and the end of a claim.
    "undo.sweep",
    "undo.rename",
    "undo.remove",
    "claim.remove",
    "claim.remove_staging",
    "claim.remove_parent",
    // The same in an object store.
    "undo.abort_upload",
    "undo.list_uploads",
    "undo.delete_completed",
    "claim.delete_object",
];

/// Those that a job comes by whose output is in an object store, but for the state folder and the journal.
pub const STORE_FAILPOINTS: &[&str] = &[
    "claim.look_at_place",
    "claim.put_object",
    "claim.object_is_put",
    "claim.try_store",
    "claim.reclaim_object",
    "driver.publish",
    "driver.published",
    "driver.undo",
    "driver.undone",
    "publish.check_claim",
    "publish.delete_success",
    "publish.complete",
    "publish.completed",
    "publish.delete_other",
    "publish.create_success",
    "publish.success_is_created",
    "undo.abort_upload",
    "undo.list_uploads",
    "undo.delete_completed",
    "claim.delete_object",
];

/// Comes by a place.
///
/// # Errors
///
/// What a trial wants to happen here; never without the feature `failpoints`.
#[cfg(feature = "failpoints")]
pub(crate) fn failpoint(name: &'static str) -> io::Result<()> {
    fail::fail_point!(name, |error| Err(named_error(error.as_deref(), name)));
    Ok(())
}

/// Comes by a place, at which nothing happens in this build.
///
/// # Errors
///
/// None.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn failpoint(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// Arms what the environment names. What it returns disarms it when dropped.
///
/// # Panics
///
/// If `FAILPOINTS` cannot be understood.
#[cfg(feature = "failpoints")]
pub fn arm() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// The operating system's error of that name; without a name, one that says where it came from.
#[cfg(feature = "failpoints")]
fn named_error(name: Option<&str>, place: &str) -> io::Error {
    use rustix::io::Errno;
    match name {
        Some("ENOSPC") => Errno::NOSPC.into(),
        Some("EIO") => Errno::IO.into(),
        Some("EACCES") => Errno::ACCESS.into(),
        _ => io::Error::other(format!("failed on purpose at {place}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Names of files that look like names of places.
    const FILES: [&str; 2] = ["journal.redb", "epoch.next"];

    /// The names that the sources of this crate come by.
    fn named(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                named(&path, found);
            } else if path.file_name().is_some_and(|name| name != "failpoint.rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let quoted = text.split('"').skip(1).step_by(2);
                let known: BTreeSet<&str> =
                    FAILPOINTS.iter().map(|name| name.split('.').next().unwrap_or(name)).collect();
                let place = |name: &&str| {
                    name.split_once('.').is_some_and(|(group, step)| {
                        known.contains(group)
                            && !FILES.contains(name)
                            && step.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    })
                };
                found.extend(quoted.filter(place).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_listed_place_is_there_once_and_no_other() {
        let mut found = Vec::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let mut listed: Vec<&str> = FAILPOINTS.to_vec();
        found.sort();
        listed.sort_unstable();
        assert_eq!(found, listed);
        assert!(listed.len() >= 40, "{}", listed.len());
        assert!(STORE_FAILPOINTS.iter().all(|place| listed.contains(place)));
    }
}
