//! `join`: rows of two tables that agree in a key. Left rows are written as they were read, and right
//! columns without the key behind them. A right side that is small, and whose unmatched rows are not
//! asked for, is loaded by every process and the left side streams past it; otherwise both sides are
//! shuffled by key, right rows of a key before its left ones.
//!
//! | file | responsibility |
//! |---|---|
//! | `sides.rs` | keys and rows of either side |
//! | `shuffled.rs` | the join by a shuffle |
//! | `loaded.rs` | the join against a right side in memory |

mod loaded;
mod shuffled;
mod sides;

use clap::{Args, ValueEnum};
use gristmill_common::form::Form;
use gristmill_common::prelude::*;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::InputObject;
use gristmill_common::text::LineRule;
use serde::{Deserialize, Serialize};

use self::loaded::LoadedJoin;
use self::shuffled::ShuffledJoin;
use self::sides::Sides;
use crate::table::{Header, TableOptions};

/// The role of the right side.
const RIGHT: u32 = 1;

/// Joins two tables (CSV or other delimited text) by the values of columns
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The right side: files, folders, globs or @LIST, like -i, which is the left side
    #[arg(long, value_name = "URI", num_args = 1.., required = true)]
    right: Vec<String>,

    /// Columns that must agree, as a,b; LEFT=RIGHT where their names differ
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    on: Vec<String>,

    /// Which rows without a partner are written too; rows without a key have none
    #[arg(long, value_enum, value_name = "SIDE", default_value = "inner")]
    how: How,

    /// The columns of a right side without a header line, as a,b,c
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    #[serde(default)]
    right_columns: Vec<String>,

    #[command(flatten)]
    table: TableOptions,

    #[arg(skip)]
    #[serde(default)]
    right_header: Option<Header>,

    #[arg(skip)]
    #[serde(default)]
    plan: Plan,
}

// Plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    Inner,
    Left,
    Right,
    Full,
}

impl How {
    fn keeps_left(self) -> bool {
        matches!(self, How::Left | How::Full)
    }

    fn keeps_right(self) -> bool {
        matches!(self, How::Right | How::Full)
    }
}

/// How the join is done; settled by the size of the right side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Plan {
    /// Not settled.
    #[default]
    Open,
    /// Both sides are shuffled; the right rows of one key may take this much memory.
    Shuffled {
        /// Bytes.
        group_bytes: u64,
    },
    /// The right side is loaded.
    Loaded {
        /// Its objects, pinned.
        objects: Vec<InputObject>,
        /// What ends its records.
        line_rule: LineRule,
        /// The most bytes that all of them may hold.
        most_bytes: u64,
    },
}

/// How many times as large as what is stored the content of a compressed object is taken to be. Text seldom
/// shrinks more; taken for larger, sides that would fit are shuffled.
const COMPRESSION: u64 = 8;

/// The most bytes that a loaded side may hold, whatever the memory: its rows are found by 32 bits.
const MOST_LOADED_BYTES: u64 = 1 << 30;

/// What an object holds, in bytes, as far as that is known before it is read.
fn content_bytes(object: &InputObject) -> u64 {
    let form = Form::told(None, object.form, object.uri.base_name());
    let factor = if form.and_then(Form::codec).is_some() { COMPRESSION } else { 1 };
    object.size.saturating_mul(factor)
}

impl Program for Join {
    fn side_inputs(&self) -> Vec<Vec<String>> {
        vec![self.right.clone()]
    }

    fn looks_at_inputs(&self) -> bool {
        true
    }

    fn look(&mut self, spec: &JobSpec, inputs: &[InputSample]) -> Result<(), OptionError> {
        let [left, right] = inputs else { return Err(OptionError::new("a join has two inputs")) };
        self.table.look(left)?;
        if self.right_columns.is_empty() {
            self.right_header = Header::of(right)?;
        }
        // A quarter of an attempt's memory, the bound of a single record too: the index takes as much
        // again, and the other attempts of the process share both.
        let budget = spec.attempt_bytes.bytes() / 4;
        let size = right.objects.iter().fold(0_u64, |sum, object| sum.saturating_add(content_bytes(object)));
        // Who asks for reduce tasks gets them.
        let loads = size <= budget && !self.how.keeps_right() && spec.reducers.is_none();
        self.plan = if loads {
            let most_bytes = spec.attempt_bytes.bytes().min(MOST_LOADED_BYTES);
            Plan::Loaded { objects: right.objects.clone(), line_rule: spec.line_rule.clone(), most_bytes }
        } else {
            Plan::Shuffled { group_bytes: budget }
        };
        Ok(())
    }

    fn maps_side_input(&self, _role: u32) -> bool {
        matches!(self.plan, Plan::Shuffled { .. })
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        let left = self.table.table()?;
        let right = self.table.table_with(&self.right_columns, self.right_header.as_ref())?;
        let sides = Sides::new(left, right, &self.on, self.how, self.table.null(), self.table.writes_header())?;
        match self.plan {
            Plan::Open => Err(OptionError::new("the join was not shown its inputs")),
            Plan::Shuffled { group_bytes } => Ok(visitor.map_reduce(ShuffledJoin::new(sides, group_bytes))),
            Plan::Loaded { objects, line_rule, most_bytes } => {
                Ok(visitor.map_only(LoadedJoin::new(sides, objects, line_rule, most_bytes)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
