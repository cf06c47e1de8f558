//! A round of `page-rank`: each node hands its rank on to the nodes it links to, in even shares; what
//! nodes without links have goes to all alike.

use clap::Args;
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

use super::links::{Node, Nodes, names};
use super::units::{WHOLE, product, share};
use super::{DANGLING, MOVED};

/// Hands ranks on along links
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Round {
    /// How much of a rank is handed on along links, in units
    #[arg(long)]
    damping: u64,

    /// What every node gets whatever links to it, in units
    #[arg(long)]
    base: u64,

    /// The rank that every node has before, in units, if not its own
    #[arg(long)]
    start: Option<u64>,
}

impl Round {
    /// A round over so many nodes, of which those without links have `dangling` units together.
    pub(super) fn new(damping: u64, nodes: u64, dangling: u64, start: Option<u64>) -> Self {
        let to_all = (WHOLE - damping) + product(damping, dangling);
        Self { damping, base: to_all / nodes.max(1), start }
    }
}

impl Program for Round {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Round {
    type Input = Nodes;
    type Key = [u8];
    /// Of the node itself, its rank and its links; of one that links to it, a share of that one's rank.
    type Value = Pair<u64, Maybe<[u8]>>;
    type Combine = NoCombine;
    type Output = Nodes;

    fn map(&self, node: Node<'_>, out: &mut impl Emit<[u8], Pair<u64, Maybe<[u8]>>>) -> Result<()> {
        let (name, (rank, links)) = node.get()?;
        let rank = self.start.unwrap_or(rank);
        let count = names(links).count() as u64;
        for (index, to) in (0..).zip(names(links)) {
            out.emit(to?, (share(rank, count, index), None))?;
        }
        out.emit(name, (rank, Some(links)))
    }

    fn reduce(
        &self,
        node: &[u8],
        mut messages: Values<Pair<u64, Maybe<[u8]>>>,
        out: &mut impl Sink<[u8], Pair<u64, [u8]>>,
    ) -> Result<()> {
        let (mut before, mut handed_on, mut links) = (0, 0, Vec::new());
        while let Some((units, own)) = messages.next_ref() {
            match own {
                Some(own) => {
                    before = units;
                    links.extend_from_slice(own);
                }
                None => handed_on += units,
            }
        }
        let rank = self.base + product(self.damping, handed_on);
        out.count(MOVED, rank.abs_diff(before));
        if links.is_empty() {
            out.count(DANGLING, rank);
        }
        out.put(node, (rank, links.as_slice()))
    }
}
