//! What `#[derive(Key)]` writes: encoded keys sort as the derived `Ord` does, come back as they
//! were, and borrow where the type borrows.

use std::cmp::Ordering;

use gristmill_common::datum::Datum;
use gristmill_common::key::{Key, KeyArena};
use gristmill_derive::Key;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Key)]
#[key(crate = "gristmill_common")]
struct Visit {
    host: String,
    at: i64,
    page: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Key)]
#[key(crate = "gristmill_common")]
struct Name(String);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Key)]
#[key(crate = "gristmill_common")]
struct Everything;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Key)]
#[key(crate = "gristmill_common")]
enum Event {
    Start,
    Seen(Name, Option<u8>),
    Moved { to: (u8, String), visit: Visit },
    Other(Everything),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Key)]
#[key(crate = "gristmill_common")]
struct Host<'h>(&'h str);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Key)]
#[key(crate = "gristmill_common")]
struct Lent<'a> {
    host: Host<'a>,
    at: u64,
    referrer: Option<&'a [u8]>,
    port: Option<u16>,
    route: (&'a str, u32, Option<Host<'a>>),
    page: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Key)]
#[key(crate = "gristmill_common")]
enum Shown<'a> {
    Nothing,
    Text(&'a str),
    Both { first: (&'a str, &'a str), second: Host<'a> },
}

/// Encodes both keys both ways, and checks order, prefixes and what comes back.
fn check<'a, K>(a: &K::Ref<'a>, b: &K::Ref<'a>, expect: Ordering)
where
    K: Key + ?Sized,
    for<'r> K::Ref<'r>: std::fmt::Debug,
{
    let arena = KeyArena::new();
    let (mut whole_a, mut whole_b, mut part_a, mut part_b) = (vec![], vec![], vec![], vec![]);
    K::encode(a, &mut whole_a);
    K::encode(b, &mut whole_b);
    K::encode_part(a, &mut part_a);
    K::encode_part(b, &mut part_b);
    assert_eq!(whole_a.cmp(&whole_b), expect, "{a:?} {b:?}");
    assert_eq!(part_a.cmp(&part_b), expect, "{a:?} {b:?}");
    assert!(expect == Ordering::Equal || !part_b.starts_with(&part_a), "{a:?} prefixes {b:?}");
    assert!(K::as_encoded(a).is_none_or(|encoded| encoded == whole_a), "{a:?}");
    // As text: a bound that compares borrowed forms of two lifetimes would ask for `'static` ones.
    let shown = format!("{a:?}");
    assert_eq!(format!("{:?}", K::decode(&whole_a, &arena).expect("decodes")), shown);
    part_a.push(7);
    let mut input = part_a.as_slice();
    assert_eq!(format!("{:?}", K::decode_part(&mut input, &arena).expect("decodes")), shown);
    assert_eq!(input, [7]);
}

fn text() -> impl Strategy<Value = String> {
    "[a\0b]{0,3}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0_u8..3, 0..4)
}

fn visit() -> impl Strategy<Value = Visit> {
    (text(), -2_i64..3, bytes()).prop_map(|(host, at, page)| Visit { host, at, page })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Start),
        (text(), any::<Option<u8>>()).prop_map(|(name, code)| Event::Seen(Name(name), code)),
        (0_u8..3, text(), visit()).prop_map(|(n, s, visit)| Event::Moved { to: (n, s), visit }),
        Just(Event::Other(Everything)),
        Just(Event::End),
    ]
}

type LentParts = (String, u64, Option<Vec<u8>>, Option<u16>, (String, u32, Option<String>), Vec<u8>);

fn lent_parts() -> impl Strategy<Value = LentParts> {
    let route = (text(), 0_u32..2, proptest::option::of(text()));
    (text(), 0_u64..3, proptest::option::of(bytes()), proptest::option::of(0_u16..2), route, bytes())
}

fn lent((host, at, referrer, port, (from, hops, to), page): &LentParts) -> Lent<'_> {
    let route = (from.as_str(), *hops, to.as_deref().map(Host));
    Lent { host: Host(host), at: *at, referrer: referrer.as_deref(), port: *port, route, page }
}

fn shown(kind: u8, a: &str) -> Shown<'_> {
    match kind {
        0 => Shown::Nothing,
        1 => Shown::Text(a),
        _ => Shown::Both { first: (a, "x"), second: Host(a) },
    }
}

proptest! {
    #[test]
    fn derived_keys_sort_as_their_values(a in visit(), b in visit(), e in event(), f in event(), s in text(), t in text()) {
        check::<Visit>(&a, &b, a.cmp(&b));
        check::<Event>(&e, &f, e.cmp(&f));
        check::<Name>(&Name(s.clone()), &Name(t.clone()), s.cmp(&t));
        check::<Everything>(&Everything, &Everything, Ordering::Equal);
    }

    #[test]
    fn lending_keys_sort_as_their_values(
        a in lent_parts(), b in lent_parts(), k in 0_u8..3, l in 0_u8..3, s in text(), t in text(),
    ) {
        check::<Lent<'static>>(&lent(&a), &lent(&b), lent(&a).cmp(&lent(&b)));
        check::<Shown<'static>>(&shown(k, &s), &shown(l, &t), shown(k, &s).cmp(&shown(l, &t)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(0_u8..4, 0..24)) {
        let arena = KeyArena::new();
        let _ = Event::decode(&bytes, &arena);
        let _ = Lent::decode(&bytes, &arena);
    }
}

#[test]
fn encodings_are_golden() {
    let encoded = |event: &Event| {
        let mut out = vec![];
        Event::encode(event, &mut out);
        out
    };
    assert_eq!(encoded(&Event::Start), [0, 0, 0, 0]);
    assert_eq!(encoded(&Event::Seen(Name("a".into()), Some(9))), [0, 0, 0, 1, b'a', 0, 0, 1, 9]);
    let visit = Visit { host: "h".into(), at: -1, page: vec![0, 1] };
    let moved = Event::Moved { to: (7, "t".into()), visit };
    let expect = b"\0\0\0\x02\x07t\0\0h\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\0\x01";
    assert_eq!(encoded(&moved), expect);
}

#[test]
fn lending_keys_borrow_from_the_encoding() {
    let arena = KeyArena::new();
    let mut bytes = vec![];
    Shown::encode(&Shown::Both { first: ("left", "right"), second: Host("last") }, &mut bytes);
    let Ok(Shown::Both { first: (left, _), second: Host(last) }) = Shown::decode(&bytes, &arena) else {
        panic!("not what was encoded");
    };
    for text in [left, last] {
        assert!(bytes.as_ptr_range().contains(&text.as_ptr()), "{text} was copied");
    }
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn damaged_bytes_are_refused() {
    let arena = KeyArena::new();
    for (bytes, reason) in [
        (b"\0\0\0\x05".as_slice(), "no variant has this number"),
        (b"\0\0\0", "cut short"),
        (b"\0\0\0\x04x", "bytes are left over"),
        (b"\0\0\0\x01a", "no end of the string"),
    ] {
        assert_eq!(Event::decode(bytes, &arena).expect_err("damaged").reason, reason, "{bytes:?}");
    }
    assert!(Everything::decode(b"x", &arena).is_err());
}

#[test]
fn newtypes_are_encoded_without_a_copy() {
    assert_eq!(<Host<'static> as Key>::as_encoded(&Host("abc")), Some(b"abc".as_slice()));
    fn is_lent<K: for<'a> Datum<Ref<'a> = Host<'a>>>() {}
    is_lent::<Host<'static>>();
}
