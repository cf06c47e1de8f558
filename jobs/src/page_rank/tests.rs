//! The jobs of `page-rank` in sequence, against the definition in floating point.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_common::counters::Counters;
use gristmill_common::prelude::*;
use gristmill_common::text::LineRule;
use proptest::prelude::*;

use super::links::Links;
use super::ranks::Ranks;
use super::round::Round;
use super::units::{WHOLE, fraction};
use super::{DANGLING, MOVED, NODES};
use crate::oracle::output;

fn run<P: Program>(program: P, input: &[u8]) -> (Vec<u8>, Counters) {
    let output = output(program, &LineRule::Lf, &[("in", input)]);
    (output.parts.concat(), output.counters)
}

/// The ranks after some rounds, and what the last one counted.
fn ranks(lines: &[u8], rounds: u32) -> (BTreeMap<String, f64>, Counters) {
    let damping = fraction("--damping", 0.85).expect("a fraction");
    let (mut nodes, mut counted) = run(Links { separator: "\\t".parse().expect("a delimiter") }, lines);
    let count = counted.get(NODES);
    let start = WHOLE / count.max(1);
    let mut dangling = counted.get(DANGLING) * start;
    for round in 1..=rounds {
        let start = (round == 1).then_some(start);
        (nodes, counted) = run(Round::new(damping, count, dangling, start), &nodes);
        dangling = counted.get(DANGLING);
    }
    let (text, _) = run(Ranks { start: (rounds == 0).then_some(start) }, &nodes);
    let text = String::from_utf8(text).expect("text");
    let row = |line: &str| {
        let (node, rank) = line.split_once('\t').expect("two fields");
        (node.to_owned(), rank.parse().expect("a number"))
    };
    (text.lines().map(row).collect(), counted)
}

/// The same by definition.
fn defined(links: &[(u8, u8)], rounds: u32) -> BTreeMap<String, f64> {
    let links: BTreeSet<(u8, u8)> = links.iter().copied().collect();
    let nodes: BTreeSet<u8> = links.iter().flat_map(|&(from, to)| [from, to]).collect();
    let all = nodes.len() as f64;
    let degree = |node: u8| links.iter().filter(|link| link.0 == node).count() as f64;
    let mut ranks: BTreeMap<u8, f64> = nodes.iter().map(|&node| (node, 1.0 / all)).collect();
    for _ in 0..rounds {
        let dangling: f64 = nodes.iter().filter(|&&node| degree(node) == 0.0).map(|node| ranks[node]).sum();
        let rank = |to: u8| {
            let told: f64 = links.iter().filter(|link| link.1 == to).map(|link| ranks[&link.0] / degree(link.0)).sum();
            0.15 / all + 0.85 * (told + dangling / all)
        };
        ranks = nodes.iter().map(|&node| (node, rank(node))).collect();
    }
    ranks.into_iter().map(|(node, rank)| (node.to_string(), rank)).collect()
}

#[test]
fn ranks_of_a_small_graph() {
    let (found, counted) = ranks(b"# a comment\na\tb\nb\ta\nb\ta\nc\ta\r\n", 100);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!((found.values().sum::<f64>() - 1.0).abs() < 1e-12 && (found["c"] - 0.05).abs() < 1e-12, "{found:?}");
    assert!(counted.get(MOVED) < WHOLE / 1_000_000, "it has settled: {counted:?}");
    assert_eq!(ranks(b"", 3).0, BTreeMap::new());
    assert_eq!(ranks(b"a\ta\n", 0).0["a"], 1.0);
}

#[test]
fn lines_that_are_no_links_are_refused() {
    let separator = || "\\t".parse().expect("a delimiter");
    for (line, reason) in [("a b", "no separator"), ("a\t", "without a name"), ("a\tb\tc", "more than two")] {
        let objects = [("in", line.as_bytes())];
        let input =
            gristmill_common::reference::ReferenceInput { objects: &objects, rule: &LineRule::Lf, partitions: 1 };
        let error = Links { separator: separator() }.visit(input).expect("options").expect_err(line).to_string();
        assert!(error.contains(reason) && error.contains("(a line is FROM\\tTO)"), "{error}");
    }
}

proptest! {
    #[test]
    fn ranks_are_those_of_the_definition(links in proptest::collection::vec((0_u8..12, 0_u8..12), 0..40), rounds in 0_u32..6) {
        let lines: String = links.iter().map(|(from, to)| format!("{from}\t{to}\n")).collect();
        let (found, expect) = (ranks(lines.as_bytes(), rounds).0, defined(&links, rounds));
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), expect.keys().collect::<Vec<_>>());
        for (node, rank) in &expect {
            prop_assert!((found[node] - rank).abs() < 1e-13, "{} has {} and not {}", node, found[node], rank);
        }
    }
}
