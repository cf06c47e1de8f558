//! Labels that nodes hand on to their neighbours, the smallest wins, until none changes: distances from a
//! node if one is added on the way, components of an undirected graph if not.

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Gather, Node, Nodes};

/// The counter of nodes whose label changed.
const CHANGED: &str = "changed";

/// Writes lines NODE TAB DISTANCE of the nodes that edges lead to from one node
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Distances {
    /// Where distances begin
    #[arg(long, value_name = "NODE")]
    source: u64,
}

impl Pipeline for Distances {
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
        spread(plan, Gather { undirected: false, source: Some(self.source) }, Spread { step: 1 });
        Ok(())
    }
}

/// Writes lines NODE TAB COMPONENT, a component being named by its smallest node
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Components {}

impl Pipeline for Components {
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
        spread(plan, Gather { undirected: true, source: None }, Spread { step: 0 });
        Ok(())
    }
}

fn spread(plan: &mut impl Plan, gather: Gather, spread: Spread) {
    plan.stage(Stage::new("nodes").reads(Source::Input), gather);
    plan.repeat(Rounds::of("nodes", u32::MAX).until(CHANGED, 0), |body| {
        body.stage(Stage::new("spread").reads(Source::Previous), spread);
    });
    plan.stage(Stage::new("labels").reads("spread"), Labels {});
}

/// Hands labels of nodes on to their neighbours
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Spread {
    /// What is added to a label on the way
    #[arg(long)]
    step: u64,
}

impl Program for Spread {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

/// What a node is told: what it was, and labels of its neighbours.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Message {
    Was(Node),
    Label(u64),
}

impl MapReduce for Spread {
    type Input = Nodes;
    type Key = u64;
    type Value = Message;
    type Combine = NoCombine;
    type Output = Nodes;

    fn map(&self, node: KeyValue<'_, u64, Node>, out: &mut impl Emit<u64, Message>) -> Result<()> {
        let (number, node) = node.get()?;
        if let Some(label) = node.label {
            node.neighbours.iter().try_for_each(|&to| out.emit(to, Message::Label(label + self.step)))?;
        }
        out.emit(number, Message::Was(node))
    }

    fn reduce(&self, number: u64, messages: Values<Message>, out: &mut impl Sink<u64, Node>) -> Result<()> {
        let (mut node, mut told) = (Node { label: None, neighbours: vec![] }, None::<u64>);
        for message in messages {
            match message {
                Message::Was(was) => node = was,
                Message::Label(label) => told = Some(told.map_or(label, |other| other.min(label))),
            }
        }
        let label = node.label.into_iter().chain(told).min();
        out.count(CHANGED, u64::from(label != node.label));
        out.put(number, Node { label, ..node })
    }
}

/// Writes nodes and their labels
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Labels {}

impl Program for Labels {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_only(self))
    }
}

impl MapOnly for Labels {
    type Input = Nodes;
    type Output = Text<u64, u64>;

    fn map(&self, node: KeyValue<'_, u64, Node>, out: &mut impl Sink<u64, u64>) -> Result<()> {
        let (number, node) = node.get()?;
        node.label.map_or(Ok(()), |label| out.put(number, label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_tried_like_any_job_on_what_the_one_before_it_wrote() {
        let gather = || Gather { undirected: false, source: Some(1) };
        gristmill::check_job!(gather(), "1\t2\n2\t3\n1\t4\n4\t3\n3\t3\n# no edge\n", any_order);
        let nodes = gristmill::testing::run(&gather(), "1\t2\n2\t3\n").bytes();
        let spread = || Spread { step: 1 };
        gristmill::check_job!(spread(), &nodes, any_order);
        let once = gristmill::testing::run(&spread(), &nodes);
        assert_eq!(once.counters().get(CHANGED), 1);
        let twice = gristmill::testing::run(&spread(), once.bytes());
        assert_eq!(gristmill::testing::run_map_only(&Labels {}, twice.bytes()).text(), "1\t0\n2\t1\n3\t2\n");
    }
}
