//! Q3, shipping priority: the ten orders of a market segment that were not shipped by some day and are
//! worth the most. Customers are few: their file is shipped with the job. Orders and line items meet in
//! the reduce.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Customers, LineItem, LineItems, Order, Orders, decimal};
use crate::totals;

/// The day.
const DAY: &str = "1995-03-15";

/// The customers asked for.
const SEGMENT: &str = "BUILDING";

/// Orders in the answer.
const BEST: usize = 10;

/// Finds the ten most valuable orders of builders; run it with --file customers=FILE
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ShippingPriority {
    /// The table of orders: files, folders, globs or @LIST
    #[arg(long, value_name = "URI", num_args = 1.., required = true)]
    orders: Vec<String>,
}

impl Program for ShippingPriority {
    fn side_inputs(&self) -> Vec<Vec<String>> {
        vec![self.orders.clone()]
    }

    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(BestOrders::default()))
    }
}

/// The job with what an attempt of it knows: a map attempt the builders, the reduce attempt the best.
#[derive(Default)]
struct BestOrders {
    builders: BTreeSet<u64>,
    best: Mutex<Vec<Valued>>,
}

/// What an order and its line items are to each other.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Order {
        day: String,
        ship_priority: String,
    },
    /// In 1/10,000.
    Revenue(i64),
}

struct Valued {
    revenue: i64,
    day: String,
    order: u64,
    ship_priority: String,
}

impl MapReduce for BestOrders {
    type Input = OneOf<LineItems, Orders>;
    type Key = u64;
    type Value = Part;
    type Combine = NoCombine;
    type Output = Text<u64, String>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        let mut own = Self::default();
        let table = fs::read(task.file("customers")?)?;
        for line in table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let customer = Customers::decode(line, Provenance::new("customers", 0, 0))?;
            if customer.segment == SEGMENT {
                own.builders.insert(customer.key);
            }
        }
        Ok(Some(own))
    }

    fn map(&self, row: OneOf<LineItem<'_>, Order<'_>>, out: &mut impl Emit<u64, Part>) -> Result<()> {
        match row {
            OneOf::Main(item) if item.shipped > DAY => out.emit(item.order, Part::Revenue(item.discounted())),
            OneOf::Side(order) if order.day < DAY && self.builders.contains(&order.customer) => {
                let (day, ship_priority) = (order.day.to_owned(), order.ship_priority.to_owned());
                out.emit(order.key, Part::Order { day, ship_priority })
            }
            OneOf::Main(_) | OneOf::Side(_) => Ok(()),
        }
    }

    fn reduce(&self, order: u64, parts: Values<Part>, _out: &mut impl Sink<u64, String>) -> Result<()> {
        let (mut about, mut revenue) = (None, 0);
        for part in parts {
            match part {
                Part::Order { day, ship_priority } => about = Some((day, ship_priority)),
                Part::Revenue(amount) => revenue += amount,
            }
        }
        let Some((day, ship_priority)) = about.filter(|_| revenue > 0) else { return Ok(()) };
        let mut best = self.best.lock().expect("no holder panics");
        best.push(Valued { revenue, day, order, ship_priority });
        best.sort_by(|a, b| (b.revenue, &a.day, a.order).cmp(&(a.revenue, &b.day, b.order)));
        best.truncate(BEST);
        Ok(())
    }

    fn finish_reduce(&self, out: &mut impl Sink<u64, String>) -> Result<()> {
        let best = self.best.lock().expect("no holder panics");
        best.iter().try_for_each(|Valued { revenue, day, order, ship_priority }| {
            out.put(*order, format!("{}\t{day}\t{ship_priority}", decimal((*revenue).into(), 4)))
        })
    }
}
