//! `@list.txt` on the command line: a local text file with one input a line. Only reads the list;
//! whether its inputs exist is found out when they are listed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::naming::Uri;
use crate::storage::error::InputError;
use crate::storage::listing::{Entry, Listing as _};
use crate::storage::local::LocalListing;

/// The largest list. Every input of it becomes part of the job spec, which travels in one message.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Turns the inputs of a command line into locations, list files replaced by the inputs they list.
///
/// An argument `@PATH` is a list file: a path or URI a line, relative ones relative to the file's
/// own folder; blank lines and lines that begin with `#` are skipped, white space around a line is
/// dropped. A file whose own name begins with `@` is named `./@name`. Other arguments are relative
/// to `current_dir`.
///
/// # Errors
///
/// If an argument or a line names no location, or a list cannot be read, is not UTF-8 or is empty.
pub fn expand_list_files(args: &[String], current_dir: &Path) -> Result<Vec<Uri>, InputError> {
    let mut inputs = Vec::with_capacity(args.len());
    for arg in args {
        let bad = |source| InputError::BadArgument { source };
        match arg.strip_prefix('@') {
            Some(list) => read_list(&Uri::parse(list, current_dir).map_err(bad)?, &mut inputs)?,
            None => inputs.push(Uri::parse(arg, current_dir).map_err(bad)?),
        }
    }
    Ok(inputs)
}

fn read_list(uri: &Uri, inputs: &mut Vec<Uri>) -> Result<(), InputError> {
    let list = uri.to_string();
    let Some(path) = uri.local_path() else {
        return Err(InputError::ListNotLocal { list });
    };
    match LocalListing.find(uri)? {
        Entry::Object(_) => {}
        Entry::Folder => return Err(InputError::NotRegular { object: list, kind: "a folder, not a list" }),
        Entry::Missing => return Err(InputError::NotFound { object: list }),
    }
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| InputError::io(list.clone(), error))?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return Err(InputError::ListTooLarge { list, limit_bytes: MAX_LIST_BYTES });
    }
    let text = String::from_utf8(bytes).map_err(|_| InputError::ListNotUtf8 { list: list.clone() })?;
    let folder = path.parent().unwrap_or(&path);
    let before = inputs.len();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let uri = Uri::parse(line, folder);
        let bad = |source| InputError::BadListLine { list: list.clone(), line: index + 1, source };
        inputs.push(uri.map_err(bad)?);
    }
    if inputs.len() == before { Err(InputError::EmptyList { list }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn expand(dir: &Path, args: &[&str]) -> Result<Vec<String>, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let shown = |error: InputError| error.to_string().replace(&dir.display().to_string(), "DIR");
        let inputs = expand_list_files(&args, Path::new("/home/ann")).map_err(shown)?;
        Ok(inputs.iter().map(|uri| uri.to_string().replace(&dir.display().to_string(), "DIR")).collect())
    }

    #[test]
    fn lists_are_replaced_by_their_lines() {
        let dir = tempfile::tempdir().expect("scratch");
        let list = dir.path().join("list.txt");
        let arg = format!("@{}", list.display());
        fs::write(&list, "\u{feff}# books\r\na b.txt\r\n\n  ../*.csv  \ns3://bucket/x\n/abs").expect("written");
        let sub = fs::canonicalize(dir.path()).expect("exists");
        assert_eq!(sub, dir.path());
        let parent = dir.path().parent().expect("has one").display().to_string();
        let expect = ["/home/ann/first", "DIR/a b.txt", &format!("{parent}/*.csv"), "s3://bucket/x", "/abs"];
        assert_eq!(expand(dir.path(), &["first", &arg]).expect("a list"), expect);
        assert_eq!(expand(dir.path(), &["./@x"]).expect("a path"), ["/home/ann/@x"]);
    }

    #[test]
    fn bad_lists_are_named_with_their_line() {
        let dir = tempfile::tempdir().expect("scratch");
        let list = dir.path().join("list.txt");
        let arg = format!("@{}", list.display());
        let check = |content: &[u8], text: &str| {
            fs::write(&list, content).expect("written");
            assert_eq!(expand(dir.path(), &[&arg]), Err(text.to_owned()));
        };
        check(b"a\nftp://x", "cannot understand line 2 of DIR/list.txt");
        check(b"\n# nothing\n", "the list DIR/list.txt names no inputs");
        check(b"\xff", "the list DIR/list.txt is not UTF-8 text");
        fs::remove_file(&list).expect("removed");
        assert_eq!(expand(dir.path(), &[&arg]), Err("no such input: DIR/list.txt".to_owned()));
        let folder = format!("@{}", dir.path().display());
        assert!(expand(dir.path(), &[&folder]).expect_err("a folder").contains("a folder, not a list"));
        assert_eq!(expand(dir.path(), &["@"]), Err("cannot understand an input".to_owned()));
    }
}
