//! The last job of `page-rank`: nodes and their ranks as text.

use clap::Args;
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

use super::links::{Node, Nodes};
use super::units::to_number;

/// Writes nodes and their ranks
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ranks {
    /// The rank of every node, in units, if not its own
    #[arg(long)]
    pub(super) start: Option<u64>,
}

impl Program for Ranks {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_only(self))
    }
}

impl MapOnly for Ranks {
    type Input = Nodes;
    type Output = Text<[u8], f64>;

    fn map(&self, node: Node<'_>, out: &mut impl Sink<[u8], f64>) -> Result<()> {
        let (name, (rank, _)) = node.get()?;
        out.put(name, to_number(self.start.unwrap_or(rank)))
    }
}
