//! Graphs by pipelines whose first stage makes nodes of edges, each with a label and its neighbours.
//!
//! | file | pipeline |
//! |---|---|
//! | `spread.rs` | `graph-distances` from a node and `graph-components`: labels go on to neighbours, until none changes |
//! | `triangles.rs` | `graph-triangles`: how many there are |

mod spread;
mod triangles;

use std::collections::BTreeSet;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use self::spread::{Components, Distances};
pub(crate) use self::triangles::Triangles;
use crate::columns::Fields;

/// Nodes as one stage hands them to the next: by number.
type Nodes = KeyValues<u64, Node>;

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Node {
    /// Its label, if it has one yet.
    label: Option<u64>,
    /// Where its edges lead, ascending.
    neighbours: Vec<u64>,
}

/// Makes nodes of lines FROM TAB TO; each edge once
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Gather {
    /// Edges go both ways, and none from a node to itself
    #[arg(long)]
    undirected: bool,

    /// Label this node 0 and no other, instead of each with its own number
    #[arg(long)]
    source: Option<u64>,
}

impl Program for Gather {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

/// Two nodes, or a comment.
enum Edges {}

impl Input for Edges {
    type Record<'a> = Option<(u64, u64)>;

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<Option<(u64, u64)>, RecordError> {
        if line.starts_with(b"#") {
            return Ok(None);
        }
        let mut row = Fields::of(line, '\t')?;
        Ok(Some((row.parsed("from")?, row.parsed("to")?)))
    }
}

impl MapReduce for Gather {
    type Input = Edges;
    type Key = u64;
    /// A neighbour, or none: the node is there.
    type Value = Option<u64>;
    type Combine = NoCombine;
    type Output = Nodes;

    fn map(&self, edge: Option<(u64, u64)>, out: &mut impl Emit<u64, Option<u64>>) -> Result<()> {
        let Some((from, to)) = edge else { return Ok(()) };
        match self.undirected {
            true if from == to => out.emit(from, None),
            both => {
                out.emit(from, Some(to))?;
                out.emit(to, both.then_some(from))
            }
        }
    }

    fn reduce(&self, node: u64, neighbours: Values<Option<u64>>, out: &mut impl Sink<u64, Node>) -> Result<()> {
        let label = match self.source {
            None => Some(node),
            Some(source) => (source == node).then_some(0),
        };
        let neighbours: BTreeSet<u64> = neighbours.flatten().collect();
        out.put(node, Node { label, neighbours: neighbours.into_iter().collect() })
    }
}
