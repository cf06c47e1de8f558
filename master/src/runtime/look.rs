//! A look at large inputs of which nothing tells their form, before they are planned: at the first bytes of
//! an object, or at the table of frames that may be at the end of a zstd one. Plans nothing.

use gristmill_common::compression::SeekTable;
use gristmill_common::failure::Failure;
use gristmill_common::form::{Codec, Form};
use gristmill_common::objects::ObjectReader;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::InputObject;

use crate::plan::Cut;

/// Objects that one thread looks at. Each look is a request to a store or two; more threads than that pays
/// for would cost more than they save.
const PER_THREAD: usize = 16;

/// The most threads. More wait for a store at the same time.
const MOST_THREADS: usize = 32;

/// Pins the form of every object that would be cut otherwise if it were known.
///
/// # Errors
///
/// If an object cannot be opened or read, or is not what was listed; the first one in order.
pub(super) fn pin_forms(spec: &JobSpec, objects: &mut [InputObject], reader: &dyn ObjectReader) -> Result<(), Failure> {
    let mut wanted: Vec<&mut InputObject> = objects.iter_mut().filter(|object| wants_a_look(spec, object)).collect();
    let threads = wanted.len().div_ceil(PER_THREAD).clamp(1, MOST_THREADS);
    let each = wanted.len().div_ceil(threads).max(1);
    let look_at_all =
        |objects: &mut [&mut InputObject]| objects.iter_mut().try_for_each(|object| look(spec, object, reader));
    if threads == 1 {
        return look_at_all(&mut wanted);
    }
    std::thread::scope(|scope| {
        let looking: Vec<_> = wanted.chunks_mut(each).map(|objects| scope.spawn(|| look_at_all(objects))).collect();
        looking
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Whether what nobody has told of an object decides how it is cut.
fn wants_a_look(spec: &JobSpec, object: &InputObject) -> bool {
    match told(spec, object) {
        None => object.size > spec.split_size.bytes(),
        Some(Form::Compressed(Codec::Zstd)) => match Cut::of(Some(Form::SeekableZstd), object.size, spec.split_size) {
            Cut::Every(bytes) => object.size > bytes.bytes(),
            Cut::Nowhere => false,
        },
        Some(_) => false,
    }
}

fn told(spec: &JobSpec, object: &InputObject) -> Option<Form> {
    Form::told(spec.input_form, object.form, object.uri.base_name())
}

fn look(spec: &JobSpec, object: &mut InputObject, reader: &dyn ObjectReader) -> Result<(), Failure> {
    let open = reader.open(object)?;
    let form = gristmill_common::content::form_of(object, spec.input_form, open.as_ref())?;
    let is_zstd = form == Form::Compressed(Codec::Zstd);
    let has_table = is_zstd && SeekTable::find(object, open.as_ref())?.is_some();
    drop(open);
    object.form = Some(if has_table { Form::SeekableZstd } else { form });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gristmill_common::compression::Encoder;
    use gristmill_common::naming::Uri;
    use gristmill_common::objects::LocalObjects;
    use gristmill_common::size::ByteSize;
    use gristmill_common::spec::JobShape;

    use super::*;

    #[test]
    fn only_large_objects_that_do_not_tell_their_form_are_looked_at() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut encoder = Encoder::new(Codec::Zstd, ByteSize::mib(160)).expect("it begins");
        let (mut part, mut zstd) = (encoder.begin(), Vec::new());
        encoder.encode(&mut part, &[b'x'; 100], &mut zstd).expect("it goes on");
        encoder.encode(&mut part, b"of some length", &mut zstd).expect("it goes on");
        let without_table = zstd.clone();
        encoder.finish(&mut part, &mut zstd).expect("it ends");
        let mut spec = JobSpec::new("copy", JobShape::MapOnly, vec![], Uri::from_path("/out".as_ref()));
        spec.split_size = ByteSize(20);
        let mut check = |name: &str, bytes: &[u8], asked: Option<Form>, expect: Option<&str>| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).expect("written");
            let (uri, size) = (Uri::from_path(&path), bytes.len() as u64);
            let mut objects = [InputObject { uri, size, modified_micros: None, etag: None, form: None }];
            spec.input_form = asked;
            pin_forms(&spec, &mut objects, &LocalObjects).expect("readable");
            let form = objects[0].form.map(|form| form.to_string());
            assert_eq!(form.as_deref(), expect, "{name}");
        };
        check("a", b"short", None, None);
        check("a.txt", &[b'x'; 100], None, None);
        check("a.gz", &[b'x'; 100], None, None);
        check("part-00000", &[b'x'; 100], None, Some("plain"));
        check("part-00001", &[&b"BZh9\x31\x41\x59\x26\x53\x59"[..], &[0; 90]].concat(), None, Some("bzip2"));
        check("a.zst", &zstd, None, Some("zstd-seekable"));
        check("b", &zstd, None, Some("zstd-seekable"));
        check("c.zst", &without_table, None, Some("zstd"));
        check("d", &zstd, Some(Form::Plain), None);
        check("e", &zstd, Some(Form::Compressed(Codec::Zstd)), Some("zstd-seekable"));
    }

    #[test]
    fn many_objects_are_looked_at_and_the_first_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut spec = JobSpec::new("copy", JobShape::MapOnly, vec![], Uri::from_path("/out".as_ref()));
        spec.split_size = ByteSize(1);
        let object = |n: usize| {
            let path = dir.path().join(format!("{n:04}"));
            fs::write(&path, "text").expect("written");
            InputObject { uri: Uri::from_path(&path), size: 4, modified_micros: None, etag: None, form: None }
        };
        let mut objects: Vec<InputObject> = (0..1000).map(object).collect();
        pin_forms(&spec, &mut objects, &LocalObjects).expect("readable");
        assert!(objects.iter().all(|object| object.form == Some(Form::Plain)));
        objects.iter_mut().for_each(|object| object.form = None);
        fs::remove_file(dir.path().join("0500")).expect("removed");
        fs::remove_file(dir.path().join("0900")).expect("removed");
        let failure = pin_forms(&spec, &mut objects, &LocalObjects).expect_err("two are gone");
        assert!(failure.message.contains("/0500"), "{failure}");
    }
}
