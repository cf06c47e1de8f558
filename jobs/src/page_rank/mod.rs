//! `page-rank`: the ranks of a graph's nodes by the links that lead to them (Page, Brin, Motwani and
//! Winograd, 1999), by repeated multiplication: a pipeline of one job that gathers links, one for each
//! round, and one that writes the ranks as text.
//!
//! | file | responsibility |
//! |---|---|
//! | `links.rs` | lines to nodes with their links |
//! | `round.rs` | each node hands its rank on to the nodes it links to |
//! | `ranks.rs` | nodes and ranks as text |
//! | `units.rs` | ranks as whole numbers, so that sums do not depend on their order |
//!
//! Ranks are multiples of 2^-62 and sums of them are exact, so the result is the same to the last digit
//! whatever the split size, the number of reduce tasks or workers. Of a rank that a node divides among
//! its links nothing is lost; what is rounded off elsewhere is less than 2^-61 for each node and round.

mod links;
mod ranks;
mod round;
#[cfg(test)]
mod tests;
mod units;

use clap::Args;
use gristmill_common::prelude::*;
use gristmill_common::text::Delimiter;
use serde::{Deserialize, Serialize};

use self::links::Links;
use self::ranks::Ranks;
use self::round::Round;
use self::units::{WHOLE, fraction};

/// Ranks the nodes of a graph by the links that lead to them
///
/// Reads lines FROM TAB TO, one for each link, and writes lines NODE TAB RANK. The ranks add up to 1.
/// Lines that begin with `#` are comments; a link that is there twice counts once.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageRank {
    /// Rounds at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    iterations: u32,

    /// How much of a rank is handed on along links; the rest goes to all nodes alike (0 to 1)
    #[arg(long, value_name = "D", default_value_t = 0.85)]
    damping: f64,

    /// End after a round that moved no more than this from node to node, all changes added up
    #[arg(long, value_name = "SUM")]
    tolerance: Option<f64>,

    /// What separates the two nodes of a line
    #[arg(long, value_name = "TEXT", default_value = "\\t")]
    separator: Delimiter,
}

/// The counters by which a round's options follow from the jobs before it.
const NODES: &str = "nodes";
/// Ranks of nodes without links, in units; of `links`, how many such nodes there are.
const DANGLING: &str = "dangling";
/// By how much ranks changed, in units.
const MOVED: &str = "moved";

impl Pipeline for PageRank {
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
        let damping = fraction("--damping", self.damping)?;
        let mut rounds = Rounds::of("links", self.iterations);
        if let Some(tolerance) = self.tolerance {
            rounds = rounds.until(MOVED, fraction("--tolerance", tolerance)?);
        }
        plan.stage(Stage::new("links").reads(Source::Input), Links { separator: self.separator.clone() });
        plan.repeat(rounds, |body| {
            body.stage_with(Stage::new("round").reads(Source::Previous), move |so_far| {
                let (nodes, start) = (so_far.counter("links", NODES), first_rank(so_far));
                Ok(match so_far.round() {
                    1 => Round::new(damping, nodes, so_far.counter("links", DANGLING) * start, Some(start)),
                    _ => Round::new(damping, nodes, so_far.counter("round", DANGLING), None),
                })
            });
        });
        let unchanged = self.iterations == 0;
        plan.stage_with(Stage::new("ranks").reads("round"), move |so_far| {
            Ok(Ranks { start: unchanged.then(|| first_rank(so_far)) })
        });
        Ok(())
    }
}

/// The rank that every node begins with.
fn first_rank(so_far: &SoFar) -> u64 {
    WHOLE / so_far.counter("links", NODES).max(1)
}
