//! Triangles of an undirected graph: a pair of nodes with an edge closes one with each smaller node that
//! has both as neighbours.

use std::sync::Mutex;

use clap::Args;
use gristmill::combine::Addend;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Gather, Node, Nodes};
use crate::totals;

/// Writes how many triangles a graph has whose edges go both ways
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Triangles {}

impl Pipeline for Triangles {
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
        plan.stage(Stage::new("nodes").reads(Source::Input), Gather { undirected: true, source: None });
        plan.stage(Stage::new("triangles").reads("nodes").reducers(1), Count {});
        Ok(())
    }
}

/// Counts triangles
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Count {}

impl Program for Count {
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
    type Input = Nodes;
    type Key = Pair<u64, u64>;
    type Value = Link;
    type Combine = Sum;
    type Output = Text<str, u64>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, node: KeyValue<'_, u64, Node>, out: &mut impl Emit<Pair<u64, u64>, Link>) -> Result<()> {
        let (number, node) = node.get()?;
        let larger: Vec<u64> = node.neighbours.into_iter().filter(|&neighbour| neighbour > number).collect();
        for (index, &second) in larger.iter().enumerate() {
            out.emit((number, second), Link { edge: true, shared: 0 })?;
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
