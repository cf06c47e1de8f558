//! `inverted-index`: in which files each term occurs, or with `--documents` in which lines `ID TAB
//! text`. Terms are maximal runs of Unicode letters (general category L), where bytes that are not
//! UTF-8 separate terms like any other non-letter, or of bytes that are not ASCII white space.

use clap::{Args, ValueEnum};
use gristmill_common::codec::EncodeError;
use gristmill_common::naming::base_name;
use gristmill_common::prelude::*;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

use crate::documents::DocumentIndexer;

/// Lists the files, or the documents, in which each term occurs
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvertedIndex {
    /// Index documents instead of files: each line is ID TAB text, with a number as ID
    #[arg(long)]
    #[serde(default)]
    documents: bool,

    /// What terms are: runs of Unicode letters, or whatever stands between white space
    #[arg(long, value_enum, value_name = "KIND", default_value = "letters")]
    #[serde(default)]
    tokens: Tokens,
}

// Plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tokens {
    #[default]
    Letters,
    Space,
}

impl Tokens {
    fn regex(self) -> Regex {
        let term = match self {
            Tokens::Letters => r"\p{L}+",
            Tokens::Space => r"(?-u)[^ \t\n\x0c\r]+",
        };
        Regex::new(term).expect("a class and a plus are a regular expression")
    }
}

impl Program for InvertedIndex {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        let term = self.tokens.regex();
        Ok(match self.documents {
            // Splitting at white space has a scan of its own, faster than any expression.
            true => visitor.map_reduce(DocumentIndexer { term: (self.tokens == Tokens::Letters).then_some(term) }),
            false => visitor.map_reduce(Indexer { term }),
        })
    }
}

#[derive(Debug)]
struct Indexer {
    term: Regex,
}

impl MapReduce for Indexer {
    type Input = Located<Lines>;
    type Key = [u8];
    /// Base names separated by `/`, which no base name contains.
    type Value = str;
    type Combine = UnionOfNames;
    type Output = Text<[u8], str>;

    fn map(&self, (from, line): (Provenance<'_>, &[u8]), out: &mut impl Emit<[u8], str>) -> Result<()> {
        let name = base_name(from.object);
        for term in self.term.find_iter(line) {
            out.emit(term.as_bytes(), name)?;
        }
        Ok(())
    }

    fn reduce(&self, term: &[u8], mut lists: Values<str>, out: &mut impl Sink<[u8], str>) -> Result<()> {
        let mut names = Names::default();
        while let Some(list) = lists.next_ref() {
            names.add_list(list);
        }
        out.put(term, &names.joined(","))
    }
}

/// Joins lists of names into one, sorted and each name once.
#[derive(Debug)]
enum UnionOfNames {}

impl Combine<str> for UnionOfNames {
    type Acc = Names;

    fn start(list: &str) -> Names {
        let mut names = Names::default();
        names.add_list(list);
        names
    }

    fn fold(names: &mut Names, list: &str) -> Result<(), FoldError> {
        names.add_list(list);
        Ok(())
    }

    fn encode(names: &Names, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        <str as Value>::encode(&names.joined("/").as_str(), out)
    }

    fn heap_bytes(names: &Names) -> usize {
        names.heap_bytes
    }
}

/// A sorted set of names. Most terms are in few files, and files come in name order, so a vector
/// that is appended to is smaller and faster than a tree.
#[derive(Debug, Default)]
struct Names {
    sorted: Vec<Box<str>>,
    heap_bytes: usize,
}

impl Names {
    fn add_list(&mut self, list: &str) {
        list.split('/').for_each(|name| self.add(name));
    }

    fn add(&mut self, name: &str) {
        let slots_before = self.sorted.capacity();
        let at = match self.sorted.last() {
            Some(last) if **last == *name => return,
            Some(last) if **last > *name => match self.sorted.binary_search_by(|known| (**known).cmp(name)) {
                Ok(_) => return,
                Err(at) => at,
            },
            Some(_) => self.sorted.len(),
            None => {
                self.sorted.reserve_exact(1);
                0
            }
        };
        self.sorted.insert(at, name.into());
        self.heap_bytes += name.len() + (self.sorted.capacity() - slots_before) * size_of::<Box<str>>();
    }

    fn joined(&self, separator: &str) -> String {
        self.sorted.join(separator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options, table_error};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn terms_are_runs_of_letters_with_their_files() {
        type Row = (&'static [(&'static str, &'static [u8])], &'static [u8]);
        let rows: [Row; 6] = [
            (&[("/d/b.txt", b"one two"), ("/d/a.txt", b"two, two")], b"one\tb.txt\ntwo\ta.txt,b.txt\n"),
            (&[("s3://x/y/a", b"it's a2b")], b"a\ta\nb\ta\nit\ta\ns\ta\n"),
            (&[("/x/same", b"t"), ("/y/same", b"t")], b"t\tsame\n"),
            (&[("a", b"caf\xc3\xa9 x\xffy \xe2\x85\xa7 e\xcc\x81")], b"caf\xc3\xa9\ta\ne\ta\nx\ta\ny\ta\n"),
            (&[("f10", b"t"), ("f9", b"t"), ("F", b"t")], b"t\tF,f10,f9\n"),
            (&[("a", b""), ("b", b"12 34\n")], b""),
        ];
        for (objects, expect) in rows {
            check::<InvertedIndex>(&[], objects, expect);
        }
        check::<InvertedIndex>(
            &["--tokens", "space"],
            &[("a", b"it's\tfine,\x0b \xff")],
            b"fine,\x0b\ta\nit's\ta\n\xff\ta\n",
        );
        check_options::<InvertedIndex>(&[]);
    }

    #[test]
    fn documents_are_listed_by_number_each_once() {
        let check = |flags: &[&str], expect: &[u8]| {
            let text: [(&str, &[u8]); 2] =
                [("a", b"10\tone two one\n9\tone's\n\n"), ("b", b"2\ttwo one\r\n10\tone\n3\t\n")];
            check::<InvertedIndex>(&[&["--documents"], flags].concat(), &text, expect);
        };
        check(&["--tokens", "space"], b"one\t2,10\none's\t9\ntwo\t2,10\n");
        check(&[], b"one\t2,9,10\ns\t9\ntwo\t2,10\n");
        let error = |text: &[u8]| table_error::<InvertedIndex>(&["--documents"], &[], &[("a", text)]);
        assert_eq!(error(b"one two"), "the line has no TAB behind a document's id");
        assert_eq!(error(b"a1\tone"), "a document's id is not a number of at most 64 bits");
        check_options::<InvertedIndex>(&["--documents", "--tokens", "space"]);
    }

    fn encoded(names: &Names) -> String {
        let mut out = vec![];
        UnionOfNames::encode(names, &mut out).expect("strings encode");
        String::from_utf8(out).expect("names are text")
    }

    proptest! {
        #[test]
        fn the_fold_is_the_union_for_every_grouping(
            names in proptest::collection::vec("[a-c.]{0,3}", 1..12), cut in 0_usize..12,
        ) {
            let expect = names.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("/");
            let (left, right) = names.split_at(cut.min(names.len()));
            let halves: Vec<String> = [left, right]
                .into_iter()
                .filter_map(|half| {
                    let (first, rest) = half.split_first()?;
                    let mut acc = UnionOfNames::start(first);
                    rest.iter().for_each(|name| UnionOfNames::fold(&mut acc, name).expect("a union exists"));
                    Some(encoded(&acc))
                })
                .collect();
            for order in [halves.clone(), halves.into_iter().rev().collect()] {
                let mut acc = UnionOfNames::start(&order[0]);
                order[1..].iter().for_each(|list| UnionOfNames::fold(&mut acc, list).expect("a union exists"));
                prop_assert_eq!(encoded(&acc), expect.clone());
                let real = acc.sorted.capacity() * size_of::<Box<str>>() + acc.sorted.iter().map(|n| n.len()).sum::<usize>();
                prop_assert_eq!(UnionOfNames::heap_bytes(&acc), real);
            }
        }
    }
}
