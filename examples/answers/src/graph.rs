//! Graphs by chains of runs. `graph-nodes` makes nodes of edges, one a line with a label and its
//! neighbours; `graph-spread` hands labels on to neighbours, the smallest wins, and is run on its own
//! output until its counter `changed` is gone: distances from a node with `--step 1`, components of an
//! undirected graph with `--step 0`. `graph-triangles` counts what its name says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;

use clap::Args;
use gristmill::combine::Addend;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::Fields;
use crate::totals;

/// What stands for a label that a node has not got yet.
const NO_LABEL: &str = "-";

/// Makes lines NODE, LABEL, NEIGHBOURS of lines FROM, TO; each edge once
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Nodes {
    /// Edges go both ways, and none from a node to itself
    #[arg(long)]
    undirected: bool,

    /// Label this node 0 and no other, instead of each with its own number
    #[arg(long, value_name = "NODE")]
    source: Option<u64>,
}

impl Program for Nodes {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

/// Two nodes, or a comment.
pub(crate) enum Edges {}

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

impl MapReduce for Nodes {
    type Input = Edges;
    type Key = u64;
    /// A neighbour, or none: the node is there.
    type Value = Option<u64>;
    type Combine = NoCombine;
    type Output = Text<u64, Pair<String, String>>;

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

    fn reduce(
        &self,
        node: u64,
        neighbours: Values<Option<u64>>,
        out: &mut impl Sink<u64, Pair<String, String>>,
    ) -> Result<()> {
        let label = match self.source {
            None => Some(node),
            Some(source) => (source == node).then_some(0),
        };
        let neighbours: BTreeSet<u64> = neighbours.flatten().collect();
        let mut list = String::new();
        for neighbour in neighbours {
            let comma = if list.is_empty() { "" } else { "," };
            write!(list, "{comma}{neighbour}")?;
        }
        out.put(node, (label_text(label), list))
    }
}

fn label_text(label: Option<u64>) -> String {
    label.map_or_else(|| NO_LABEL.to_owned(), |label| label.to_string())
}

/// A line of `graph-nodes`.
pub(crate) struct Node<'a> {
    id: u64,
    label: Option<u64>,
    list: &'a str,
    neighbours: Vec<u64>,
}

pub(crate) enum NodeLines {}

impl Input for NodeLines {
    type Record<'a> = Node<'a>;

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<Node<'a>, RecordError> {
        let bad = |error: std::num::ParseIntError| RecordError { reason: format!("not a node: {error}") };
        let mut row = Fields::of(line, '\t')?;
        let id = row.parsed("node")?;
        let label = match row.text("label")? {
            NO_LABEL => None,
            label => Some(label.parse().map_err(bad)?),
        };
        let list = row.text("neighbours")?;
        let neighbours = list.split(',').filter(|node| !node.is_empty()).map(str::parse);
        Ok(Node { id, label, list, neighbours: neighbours.collect::<Result<_, _>>().map_err(bad)? })
    }
}

/// Hands labels of nodes on to their neighbours
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// What is added to a label on the way
    #[arg(long, default_value_t = 0)]
    step: u64,
}

impl Program for Spread {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

/// What a node is told: what it was, and labels of its neighbours.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message {
    Was { label: Option<u64>, list: String },
    Label(u64),
}

impl MapReduce for Spread {
    type Input = NodeLines;
    type Key = u64;
    type Value = Message;
    type Combine = NoCombine;
    type Output = Text<u64, Pair<String, String>>;

    fn map(&self, node: Node<'_>, out: &mut impl Emit<u64, Message>) -> Result<()> {
        if let Some(label) = node.label {
            let neighbours = node.neighbours.iter();
            neighbours.copied().try_for_each(|to| out.emit(to, Message::Label(label + self.step)))?;
        }
        out.emit(node.id, Message::Was { label: node.label, list: node.list.to_owned() })
    }

    fn reduce(
        &self,
        node: u64,
        messages: Values<Message>,
        out: &mut impl Sink<u64, Pair<String, String>>,
    ) -> Result<()> {
        let (mut before, mut told, mut neighbours) = (None, None, String::new());
        for message in messages {
            match message {
                Message::Was { label, list } => (before, neighbours) = (label, list),
                Message::Label(label) => told = Some(told.map_or(label, |other: u64| other.min(label))),
            }
        }
        let label = before.into_iter().chain(told).min();
        if label != before {
            out.count("changed", 1);
        }
        out.put(node, (label_text(label), neighbours))
    }
}

/// Counts triangles of an undirected graph, over lines of graph-nodes --undirected
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Triangles {}

impl Program for Triangles {
    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(Corners::default()))
    }
}

/// What two nodes are to each other: whether there is an edge, and how many smaller nodes have both as
/// neighbours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Link {
    edge: bool,
    shared: u64,
}

impl Addend for Link {
    const EXACT: bool = true;

    fn checked_sum(self, other: Self) -> Option<Self> {
        Some(Self { edge: self.edge | other.edge, shared: self.shared.checked_add(other.shared)? })
    }
}

#[derive(Default)]
struct Corners(Mutex<u64>);

impl MapReduce for Corners {
    type Input = NodeLines;
    type Key = Pair<u64, u64>;
    type Value = Link;
    type Combine = Sum;
    type Output = Text<str, u64>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, node: Node<'_>, out: &mut impl Emit<Pair<u64, u64>, Link>) -> Result<()> {
        let larger: Vec<u64> = node.neighbours.iter().copied().filter(|&neighbour| neighbour > node.id).collect();
        for (index, &second) in larger.iter().enumerate() {
            out.emit((node.id, second), Link { edge: true, shared: 0 })?;
            let thirds = larger[index + 1..].iter();
            thirds.copied().try_for_each(|third| out.emit((second, third), Link { edge: false, shared: 1 }))?;
        }
        Ok(())
    }

    fn reduce(&self, _nodes: (u64, u64), links: Values<Link>, _out: &mut impl Sink<str, u64>) -> Result<()> {
        let link = links.sum();
        if link.edge {
            *self.0.lock().expect("no holder panics") += link.shared;
        }
        Ok(())
    }

    fn finish_reduce(&self, out: &mut impl Sink<str, u64>) -> Result<()> {
        out.put("triangles", *self.0.lock().expect("no holder panics"))
    }
}
