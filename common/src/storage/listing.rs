//! From what a job names as its inputs to the objects it reads, in canonical order. Decides what an
//! input means; how folders are listed is each store's [`Listing`].

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::naming::Uri;
use crate::storage::error::InputError;
use crate::storage::local::LocalListing;
use crate::storage::object_stores::ObjectStoreListing;
use crate::storage::pattern::{NamesBelow, Pattern};
use crate::storage::stores::Stores;
use crate::task::InputObject;

/// The most objects of one job. Raising it costs some 200 bytes of memory an object wherever the
/// job is planned; lowering it refuses jobs over many small objects.
const MAX_OBJECTS: usize = 5_000_000;

/// The most inputs that are looked up at the same time where they lie in stores, which takes one or two
/// round trips each.
const INPUTS_AT_ONCE: usize = 32;

/// What a location names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An object, readable when it was looked at.
    Object(InputObject),
    /// A folder, or a prefix that objects have.
    Folder,
    /// Nothing.
    Missing,
}

/// A store whose objects can be looked up and listed.
pub trait Listing {
    /// What this very name stands for, glob characters taken as they are.
    ///
    /// # Errors
    ///
    /// If the store does not tell, or what it names cannot be read.
    fn find(&self, uri: &Uri) -> Result<Entry, InputError>;

    /// Hands over each object below `folder` that `names` matches, in any order; none if there is no
    /// such folder.
    ///
    /// # Errors
    ///
    /// The first object or folder that could match and cannot be read, or what `take` returns.
    fn list(
        &self,
        folder: &Uri,
        names: &NamesBelow,
        take: &mut dyn FnMut(InputObject) -> Result<(), InputError>,
    ) -> Result<(), InputError>;
}

/// The listing for the scheme of `uri`.
///
/// # Errors
///
/// If its store cannot be reached from here.
pub fn listing_for(uri: &Uri, stores: &Stores) -> Result<Box<dyn Listing>, InputError> {
    match uri.scheme() {
        "file" => Ok(Box::new(LocalListing)),
        _ => Ok(Box::new(ObjectStoreListing::new(stores.prepare(uri)?))),
    }
}

/// Lists the objects that the inputs stand for, pinned as they are now.
///
/// An input is an object, a folder (every visible object below it) or a glob; what exists under the
/// very name is taken as that, even if it holds glob characters. Names below a folder that begin
/// with `_` or `.` are hidden, unless the input says them. The order is that of the inputs, and
/// within one input that of the objects' URIs as bytes. An object that two inputs name is listed
/// twice; one that several alternatives of one glob match, once.
///
/// # Errors
///
/// If an input does not exist, a glob matches nothing, or an object or folder cannot be read. A
/// folder without objects is no error.
pub fn list_inputs(inputs: &[Uri], stores: &Stores) -> Result<Vec<InputObject>, InputError> {
    let list = |input: &Uri| {
        let mut found = Vec::new();
        list_input(listing_for(input, stores)?.as_ref(), input, MAX_OBJECTS, &mut found)?;
        Ok(found)
    };
    let in_stores = inputs.iter().filter(|input| input.local_path().is_none()).count();
    let mut all = Vec::new();
    for (input, found) in inputs.iter().zip(in_order(inputs, in_stores.clamp(1, INPUTS_AT_ONCE), list)?) {
        if found.len() > MAX_OBJECTS - all.len() {
            return Err(InputError::TooManyObjects { pattern: input.to_string(), limit: MAX_OBJECTS });
        }
        all.extend(found);
    }
    Ok(all)
}

/// What `list` makes of each input, by so many threads.
///
/// # Errors
///
/// That of the first input in order of which there is one.
fn in_order<T: Send>(
    inputs: &[Uri],
    threads: usize,
    list: impl Fn(&Uri) -> Result<T, InputError> + Sync,
) -> Result<Vec<T>, InputError> {
    if threads == 1 {
        return inputs.iter().map(list).collect();
    }
    // Inputs are taken in order, so that all before one that fails have been taken too.
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let some = || {
        let mut listed = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = inputs.get(index) else { break };
            let result = list(input);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            listed.push((index, result));
        }
        listed
    };
    let mut listed: Vec<(usize, Result<T, InputError>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    listed.sort_unstable_by_key(|(index, _)| *index);
    listed.into_iter().map(|(_, result)| result).collect()
}

/// Appends the objects of one input, unless there would be more than `limit` of them.
pub(crate) fn list_input(
    listing: &dyn Listing,
    input: &Uri,
    limit: usize,
    all: &mut Vec<InputObject>,
) -> Result<(), InputError> {
    let mut found = Vec::new();
    let room = limit - all.len();
    let mut take = |object: InputObject| {
        if found.len() >= room {
            return Err(InputError::TooManyObjects { pattern: input.to_string(), limit });
        }
        found.push(object);
        Ok(())
    };
    match listing.find(input)? {
        Entry::Object(object) => take(object)?,
        Entry::Folder => listing.list(input, &NamesBelow::default(), &mut take)?,
        Entry::Missing if Pattern::is_glob(input) => {
            list_glob(listing, &Pattern::parse(input)?, &mut take)?;
            if found.is_empty() {
                return Err(InputError::NothingMatches { pattern: input.to_string() });
            }
        }
        Entry::Missing => return Err(InputError::NotFound { object: input.to_string() }),
    }
    found.sort_unstable_by(|a, b| a.uri.rest().cmp(b.uri.rest()));
    found.dedup_by(|a, b| a.uri == b.uri);
    all.append(&mut found);
    Ok(())
}

fn list_glob(
    listing: &dyn Listing,
    pattern: &Pattern,
    take: &mut dyn FnMut(InputObject) -> Result<(), InputError>,
) -> Result<(), InputError> {
    for alternative in &pattern.alternatives {
        if !alternative.names.is_anything() {
            listing.list(&alternative.folder, &alternative.names, take)?;
            continue;
        }
        match listing.find(&alternative.folder)? {
            Entry::Object(object) => take(object)?,
            Entry::Folder => listing.list(&alternative.folder, &alternative.names, take)?,
            Entry::Missing => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use object_store::ObjectStoreExt as _;
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    const KEYS: &[&str] = &[
        "2023/a.txt",
        "2023/b.csv",
        "2024/deep/er/c.txt",
        "2024/deep/_SUCCESS",
        "2024/.crc/d.txt",
        "2024.txt",
        "_hidden/e.txt",
        "odd/a[1].txt",
        "odd/a1.txt",
        "odd/k=v/x y.txt",
        "odd/100%25.txt",
        "odd/plus+é.txt",
    ];

    /// What each input lists, relative to the base. One table for every store.
    const ROWS: &[(&str, &[&str])] = &[
        ("2023/a.txt", &["2023/a.txt"]),
        ("2023", &["2023/a.txt", "2023/b.csv"]),
        ("2024", &["2024/deep/er/c.txt"]),
        ("20*", &["2023/a.txt", "2023/b.csv", "2024.txt", "2024/deep/er/c.txt"]),
        ("*.txt", &["2024.txt"]),
        (
            "**/*.txt",
            &[
                "2023/a.txt",
                "2024.txt",
                "2024/deep/er/c.txt",
                "odd/a1.txt",
                "odd/a[1].txt",
                "odd/k=v/x y.txt",
                "odd/100%25.txt",
                "odd/plus+é.txt",
            ],
        ),
        ("{2023,missing,2024}/**", &["2023/a.txt", "2023/b.csv", "2024/deep/er/c.txt"]),
        ("202[34]/{a,b}.{txt,csv}", &["2023/a.txt", "2023/b.csv"]),
        ("{2023/a.txt,2023/*}", &["2023/a.txt", "2023/b.csv"]),
        ("_hidden", &["_hidden/e.txt"]),
        ("_*/e.txt", &["_hidden/e.txt"]),
        ("2024/.c?c/*", &["2024/.crc/d.txt"]),
        ("2024/deep/_SUCCESS", &["2024/deep/_SUCCESS"]),
        ("odd/a[1].txt", &["odd/a[1].txt"]),
        ("odd/a[12].txt", &["odd/a1.txt"]),
        ("odd/*=*", &["odd/k=v/x y.txt"]),
        ("odd/100%25.txt", &["odd/100%25.txt"]),
        ("odd/100%.txt", &[]),
        ("odd/plus+?.txt", &["odd/plus+é.txt"]),
        ("nothing", &[]),
        ("2023/*.md", &[]),
    ];

    fn check_store(listing: &dyn Listing, base: &Uri) {
        for (input, expect) in ROWS {
            let mut all = Vec::new();
            let result = list_input(listing, &base.join(input), 100, &mut all);
            let strip = |object: &InputObject| object.uri.rest()[base.rest().len() + 1..].to_owned();
            let mut keys: Vec<String> = all.iter().map(strip).collect();
            let mut expect = expect.to_vec();
            expect.sort_unstable();
            assert_eq!(keys, expect, "{input} in {base}");
            match result {
                Ok(()) => assert!(!expect.is_empty()),
                Err(InputError::NotFound { object } | InputError::NothingMatches { pattern: object }) => {
                    assert!(expect.is_empty() && object.ends_with(input), "{object}");
                }
                Err(error) => panic!("{input} in {base}: {error:?}"),
            }
            keys.dedup();
            assert_eq!(keys.len(), all.len());
            assert!(all.iter().all(|object| object.size == 4 && object.modified_micros.is_some()));
        }
        let mut all = Vec::new();
        let error = list_input(listing, &base.join("2023"), 1, &mut all).expect_err("two objects");
        assert!(matches!(error, InputError::TooManyObjects { limit: 1, .. }), "{error}");
    }

    fn fill(folder: &Path) {
        for key in KEYS {
            let path = folder.join(key);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, "text").expect("written");
        }
    }

    #[test]
    fn every_store_lists_the_same_objects() {
        let dir = tempfile::tempdir().expect("scratch");
        fill(dir.path());
        check_store(&LocalListing, &Uri::from_path(dir.path()));

        let base: Uri = "s3://bucket".parse().expect("valid");
        let stores = Stores::without_environment();
        // It lists in no order, as some stores do.
        let unordered: Uri = "az://container".parse().expect("valid");
        let files = LocalFileSystem::new_with_prefix(dir.path()).expect("a folder");
        stores.give(unordered.clone(), Arc::new(files), None);
        check_store(listing_for(&unordered, &stores).expect("given").as_ref(), &unordered);

        let memory = Arc::new(InMemory::new());
        stores.give(base.clone(), memory.clone(), None);
        let put = async move {
            for key in KEYS {
                let path = object_store::path::Path::parse(key).expect("a key");
                memory.put(&path, "text".into()).await.expect("put");
            }
        };
        stores.runtime().expect("threads").wait(put);
        check_store(listing_for(&base, &stores).expect("given").as_ref(), &base);
    }

    #[test]
    fn inputs_keep_their_order_and_may_repeat() {
        let dir = tempfile::tempdir().expect("scratch");
        fill(dir.path());
        let base = Uri::from_path(dir.path());
        let inputs = [base.join("2024.txt"), base.join("2023"), base.join("2023/a.txt")];
        let listed = list_inputs(&inputs, &Stores::without_environment()).expect("they exist");
        let names: Vec<&str> = listed.iter().map(|object| object.uri.base_name()).collect();
        assert_eq!(names, ["2024.txt", "a.txt", "b.csv", "a.txt"]);
    }

    #[test]
    fn inputs_that_are_looked_up_together_keep_their_order_and_the_first_error_counts() {
        let inputs: Vec<Uri> = (0..200).map(|number| format!("s3://b/{number}").parse().expect("valid")).collect();
        let name = |input: &Uri| Ok(input.base_name().to_owned());
        let names = in_order(&inputs, 8, name).expect("all are there");
        assert_eq!(names, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
        // All threads are under way when the first one fails.
        let begun = std::sync::Barrier::new(8);
        let fail = |input: &Uri| -> Result<(), InputError> {
            if input.base_name().len() == 1 && input.base_name() < "8" {
                begun.wait();
            }
            Err(InputError::NotFound { object: input.to_string() })
        };
        let error = in_order(&inputs, 8, fail).expect_err("none is there").to_string();
        assert!(error.contains("s3://b/0"), "{error}");
    }

    #[test]
    fn stores_that_cannot_be_reached_are_refused() {
        for uri in ["s3://b/k", "gs://b/k", "az://c/k"] {
            let listed = list_inputs(&[uri.parse().expect("valid")], &Stores::without_environment());
            let error = listed.expect_err("no credentials").to_string();
            assert!(error.contains(uri), "{error}");
        }
    }
}
