//! Q1, the pricing summary report: sums and averages of what was shipped, by status.

use gristmill::combine::Addend;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use super::{LineItem, LineItems, decimal};

/// The last day that counts.
const LAST_DAY: &str = "1998-09-02";

/// Sums over line items. As an [`Addend`] they are added before the shuffle, and by `Values::sum`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    quantity: u64,
    /// In hundredths.
    price: i128,
    /// In 1/10,000.
    discounted: i128,
    /// In 1/1,000,000.
    charged: i128,
    /// In hundredths.
    discount: i64,
    rows: u64,
}

impl Addend for Sums {
    const EXACT: bool = true;

    fn checked_sum(self, other: Self) -> Option<Self> {
        Some(Self {
            quantity: self.quantity.checked_add(other.quantity)?,
            price: self.price.checked_add(other.price)?,
            discounted: self.discounted.checked_add(other.discounted)?,
            charged: self.charged.checked_add(other.charged)?,
            discount: self.discount.checked_add(other.discount)?,
            rows: self.rows.checked_add(other.rows)?,
        })
    }
}

/// `flag|status` and the eight columns of the report.
pub(crate) struct PricingSummary;

impl MapReduce for PricingSummary {
    type Input = LineItems;
    type Key = Pair<str, str>;
    type Value = Sums;
    type Combine = Sum;
    type Output = Text<String, String>;

    fn map(&self, item: LineItem<'_>, out: &mut impl Emit<Pair<str, str>, Sums>) -> Result<()> {
        if item.shipped > LAST_DAY {
            return Ok(());
        }
        let discounted = i128::from(item.discounted());
        let sums = Sums {
            quantity: item.quantity.into(),
            price: item.price.into(),
            discounted,
            charged: discounted * i128::from(100 + item.tax),
            discount: item.discount,
            rows: 1,
        };
        out.emit((item.returned, item.status), sums)
    }

    fn reduce(
        &self,
        (returned, status): (&str, &str),
        sums: Values<Sums>,
        out: &mut impl Sink<String, String>,
    ) -> Result<()> {
        let sums = sums.sum();
        let (rows, quantity, discount) = (i128::from(sums.rows), i128::from(sums.quantity), i128::from(sums.discount));
        // Six digits, rounded to the nearest.
        let average = |hundredths: i128| decimal((hundredths * 20_000 + rows) / (2 * rows), 6);
        let columns = [
            sums.quantity.to_string(),
            decimal(sums.price, 2),
            decimal(sums.discounted, 4),
            decimal(sums.charged, 6),
            average(quantity * 100),
            average(sums.price),
            average(discount),
            sums.rows.to_string(),
        ];
        out.put(format!("{returned}|{status}"), columns.join("\t"))
    }
}
