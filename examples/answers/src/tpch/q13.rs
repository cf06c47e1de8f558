//! Q13, customer distribution: how many customers have placed how many orders, none included.

use std::collections::BTreeMap;
use std::sync::Mutex;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Customer, Customers, Order, Orders};
use crate::totals;

/// Counts customers by how many orders they placed, special requests left out
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct OrdersPerCustomer {
    /// The table of orders: files, folders, globs or @LIST
    #[arg(long, value_name = "URI", num_args = 1.., required = true)]
    orders: Vec<String>,
}

impl Program for OrdersPerCustomer {
    fn side_inputs(&self) -> Vec<Vec<String>> {
        vec![self.orders.clone()]
    }

    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(Distribution::default()))
    }
}

/// An outer join that is a sum: a customer counts for no order, each of its orders for one.
#[derive(Default)]
struct Distribution(Mutex<BTreeMap<u64, u64>>);

impl MapReduce for Distribution {
    type Input = OneOf<Customers, Orders>;
    type Key = u64;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<u64, u64>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, row: OneOf<Customer<'_>, Order<'_>>, out: &mut impl Emit<u64, u64>) -> Result<()> {
        match row {
            OneOf::Main(customer) => out.emit(customer.key, 0),
            OneOf::Side(order) if is_special(order.comment) => Ok(()),
            OneOf::Side(order) => out.emit(order.customer, 1),
        }
    }

    fn reduce(&self, _customer: u64, orders: Values<u64>, _out: &mut impl Sink<u64, u64>) -> Result<()> {
        *self.0.lock().expect("no holder panics").entry(orders.sum()).or_default() += 1;
        Ok(())
    }

    fn finish_reduce(&self, out: &mut impl Sink<u64, u64>) -> Result<()> {
        let customers = self.0.lock().expect("no holder panics");
        customers.iter().try_for_each(|(&orders, &customers)| out.put(orders, customers))
    }
}

/// Whether a comment is `%special%requests%`.
fn is_special(comment: &str) -> bool {
    comment.split_once("special").is_some_and(|(_, rest)| rest.contains("requests"))
}
