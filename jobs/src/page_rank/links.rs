//! The first job of `page-rank`: lines to nodes, each with the nodes it links to, sorted and once each.

use clap::Args;
use gristmill_common::prelude::*;
use gristmill_common::text::Delimiter;
use serde::{Deserialize, Serialize};

use super::{DANGLING, NODES};

/// Gathers the links of each node
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Links {
    /// What separates the two nodes of a line
    #[arg(long)]
    pub(super) separator: Delimiter,
}

/// A node as the jobs of the pipeline hand it on: its name, its rank in units and its links, one after
/// the other in the form of a composite's member.
pub(super) type Nodes = KeyValues<[u8], Pair<u64, [u8]>>;

/// A record of [`Nodes`].
pub(super) type Node<'a> = KeyValue<'a, [u8], Pair<u64, [u8]>>;

/// The names in a list of links.
///
/// # Errors
///
/// If it is none.
pub(super) fn names(mut links: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    std::iter::from_fn(move || {
        if links.is_empty() {
            return None;
        }
        let name = <[u8] as Value>::decode_part(&mut links);
        if name.is_err() {
            links = &[];
        }
        Some(name.map_err(Into::into))
    })
}

impl Program for Links {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Links {
    type Input = Lines;
    /// A node and one that it links to; by itself it is there.
    type Key = Pair<[u8], Maybe<[u8]>>;
    /// The latter again: `reduce` is handed the first key of a group, and no other.
    type Value = Maybe<[u8]>;
    type Combine = NoCombine;
    type Output = Nodes;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<[u8], Maybe<[u8]>>, Maybe<[u8]>>) -> Result<()> {
        if line.starts_with(b"#") {
            return Ok(());
        }
        let (from, to) = self.nodes(line)?;
        out.emit((from, Some(to)), Some(to))?;
        out.emit((to, None), None)
    }

    fn reduce(
        &self,
        (node, _): (&[u8], Option<&[u8]>),
        mut targets: Values<Maybe<[u8]>>,
        out: &mut impl Sink<[u8], Pair<u64, [u8]>>,
    ) -> Result<()> {
        let (mut links, mut last) = (Vec::new(), None::<Vec<u8>>);
        while let Some(target) = targets.next_ref() {
            let Some(target) = target else { continue };
            if last.as_deref() != Some(target) {
                <[u8] as Value>::encode_part(&target, &mut links)?;
                last = Some(target.to_vec());
            }
        }
        out.count(NODES, 1);
        out.count(DANGLING, u64::from(links.is_empty()));
        out.put(node, (0, links.as_slice()))
    }
}

impl Links {
    /// The two nodes of a line.
    fn nodes<'a>(&self, line: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), RecordError> {
        let bad = |reason: &str| RecordError { reason: format!("{reason} (a line is FROM{}TO)", self.separator) };
        let separator = self.separator.bytes();
        let at = memchr::memmem::find(line, separator).ok_or_else(|| bad("no separator"))?;
        let (from, to) = (&line[..at], &line[at + separator.len()..]);
        if from.is_empty() || to.is_empty() {
            return Err(bad("a node without a name"));
        }
        if memchr::memmem::find(to, separator).is_some() {
            return Err(bad("more than two nodes"));
        }
        Ok((from, to))
    }
}
