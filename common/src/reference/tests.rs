//! The reference itself, on inputs small enough to be checked by eye.

use super::*;
use crate::prelude::*;

struct WordCount;

impl MapReduce for WordCount {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        for word in words(line) {
            out.emit(word, 1)?;
            out.count("words", 1);
        }
        Ok(())
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

/// Groups composite keys, and fails on a line that is no pair.
struct Visits;

impl MapReduce for Visits {
    type Input = Utf8Lines;
    type Key = Pair<str, u32>;
    type Value = str;
    type Combine = NoCombine;
    type Output = Text<Pair<str, u32>, String>;

    fn map(&self, line: &str, out: &mut impl Emit<Pair<str, u32>, str>) -> Result<()> {
        let mut fields = line.split(' ');
        let (Some(host), Some(hour), Some(page)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(JobError::new("not a visit"));
        };
        out.emit((host, hour.parse()?), page)
    }

    fn reduce(
        &self,
        key: (&str, u32),
        mut pages: Values<str>,
        out: &mut impl Sink<Pair<str, u32>, String>,
    ) -> Result<()> {
        let mut all = String::new();
        while let Some(page) = pages.next_ref() {
            all.push_str(page);
        }
        out.put(key, all)
    }
}

fn input<'a>(objects: &'a [(&'a str, &'a [u8])], partitions: u32) -> ReferenceInput<'a> {
    ReferenceInput { objects, rule: &LineRule::Lf, partitions }
}

#[test]
fn words_are_counted_in_key_order() {
    let objects: [(&str, &[u8]); 2] = [("a", b"to be or\x0cnot"), ("b", b"to\tbe\r\n")];
    let output = run_map_reduce(&WordCount, &input(&objects, 1)).expect("no user error");
    assert_eq!(output.parts, [b"be\t2\nnot\t1\nor\t1\nto\t2\n".to_vec()]);
    assert_eq!(output.counters.get("words"), 6);
    let split = run_map_reduce(&WordCount, &input(&objects, 3)).expect("no user error");
    let mut lines: Vec<&[u8]> = split.parts.iter().flat_map(|p| p.split_inclusive(|&b| b == b'\n')).collect();
    lines.sort_unstable();
    assert_eq!(lines.concat(), output.parts[0]);
}

#[test]
fn composite_keys_group_and_values_keep_their_order() {
    let objects: [(&str, &[u8]); 1] = [("a", b"x 2 /b\nx 10 /c\nx 2 /a\n")];
    let output = run_map_reduce(&Visits, &input(&objects, 1)).expect("no user error");
    assert_eq!(output.parts, [b"x\t2\t/b/a\nx\t10\t/c\n".to_vec()]);
    let broken: [(&str, &[u8]); 1] = [("a", b"x two /b")];
    let error = run_map_reduce(&Visits, &input(&broken, 1)).expect_err("not a number");
    assert_eq!(error.to_string(), "invalid digit found in string");
}

/// Words by their first letter; those of one letter in the main output.
struct ByLetter;

impl MapOnly for ByLetter {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        line.split(' ').try_for_each(|word| match word.len() {
            1 => out.put(word, ()),
            _ => out.put_to(word.get(..1).unwrap_or_default(), word, ()),
        })
    }

    fn begin_part(&self, part: &mut Vec<u8>) {
        part.extend_from_slice(b"word\n");
    }
}

#[test]
fn named_outputs_have_parts_of_their_own_that_begin_alike() {
    let objects: [(&str, &[u8]); 2] = [("a", b"be a\nby or"), ("b", b"bin")];
    let output = run_map_only(&ByLetter, &input(&objects, 1)).expect("no user error");
    assert_eq!(output.parts, [b"word\na\n"]);
    let named = |name: &str, bytes: &[u8]| (name.to_owned(), BTreeMap::from([(0, bytes.to_vec())]));
    assert_eq!(output.named, [named("b", b"word\nbe\nby\nbin\n"), named("o", b"word\nor\n")].into());
    let error = run_map_only(&ByLetter, &input(&[("a", b"_SUCCESS")], 1)).expect_err("no such name");
    assert!(error.to_string().starts_with("\"_\" cannot be the name of an output: "), "{error}");
}
