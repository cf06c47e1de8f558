//! Q6, the forecasting revenue change: what would have been earned in a year without some discounts.

use gristmill::prelude::*;

use super::{LineItem, LineItems, decimal};

/// One sum under one key.
pub(crate) struct RevenueChange;

impl MapReduce for RevenueChange {
    type Input = LineItems;
    type Key = str;
    /// In 1/10,000.
    type Value = i64;
    type Combine = Sum;
    type Output = Text<str, String>;

    fn map(&self, item: LineItem<'_>, out: &mut impl Emit<str, i64>) -> Result<()> {
        let counts = ("1994-01-01".."1995-01-01").contains(&item.shipped)
            && (5..=7).contains(&item.discount)
            && item.quantity < 24;
        if counts { out.emit("revenue", item.price * item.discount) } else { Ok(()) }
    }

    fn reduce(&self, name: &str, amounts: Values<i64>, out: &mut impl Sink<str, String>) -> Result<()> {
        out.put(name, decimal(amounts.sum().into(), 4))
    }
}
