//! Q12, shipping modes and order priority: whether cheaper ways of shipping made urgent orders late.

use std::collections::BTreeMap;
use std::sync::Mutex;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use super::{LineItem, LineItems, Order, Orders};
use crate::totals;

/// Counts late line items by shipping mode and the urgency of their orders
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ShippingModes {
    /// The table of orders: files, folders, globs or @LIST
    #[arg(long, value_name = "URI", num_args = 1.., required = true)]
    orders: Vec<String>,
}

impl Program for ShippingModes {
    fn side_inputs(&self) -> Vec<Vec<String>> {
        vec![self.orders.clone()]
    }

    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(LateItems::default()))
    }
}

/// Joins by order and counts what was joined: by mode, urgent ones and others.
#[derive(Default)]
struct LateItems(Mutex<BTreeMap<String, [u64; 2]>>);

/// What an order and its late line items are to each other.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Order { urgent: bool },
    LateBy { mode: String },
}

impl MapReduce for LateItems {
    type Input = OneOf<LineItems, Orders>;
    type Key = u64;
    type Value = Part;
    type Combine = NoCombine;
    type Output = Text<str, Pair<u64, u64>>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, row: OneOf<LineItem<'_>, Order<'_>>, out: &mut impl Emit<u64, Part>) -> Result<()> {
        match row {
            OneOf::Main(item) => {
                let counts = ["MAIL", "SHIP"].contains(&item.mode)
                    && item.committed < item.received
                    && item.shipped < item.committed
                    && ("1994-01-01".."1995-01-01").contains(&item.received);
                if counts { out.emit(item.order, Part::LateBy { mode: item.mode.to_owned() }) } else { Ok(()) }
            }
            OneOf::Side(order) => {
                out.emit(order.key, Part::Order { urgent: ["1-URGENT", "2-HIGH"].contains(&order.priority) })
            }
        }
    }

    fn reduce(&self, _order: u64, parts: Values<Part>, _out: &mut impl Sink<str, Pair<u64, u64>>) -> Result<()> {
        let (mut is_urgent, mut modes) = (None, Vec::new());
        for part in parts {
            match part {
                Part::Order { urgent } => is_urgent = Some(urgent),
                Part::LateBy { mode } => modes.push(mode),
            }
        }
        let Some(urgent) = is_urgent else { return Ok(()) };
        let mut counts = self.0.lock().expect("no holder panics");
        for mode in modes {
            counts.entry(mode).or_default()[usize::from(!urgent)] += 1;
        }
        Ok(())
    }

    fn finish_reduce(&self, out: &mut impl Sink<str, Pair<u64, u64>>) -> Result<()> {
        let counts = self.0.lock().expect("no holder panics");
        counts.iter().try_for_each(|(mode, &[urgent, others])| out.put(mode, (urgent, others)))
    }
}
