//! Queries of TPC-H with its validation parameters, over the `.tbl` files of its generator: fields
//! between `|`, money in hundredths, days as text, which sorts as they do.

pub(crate) mod q1;
pub(crate) mod q12;
pub(crate) mod q13;
pub(crate) mod q3;
pub(crate) mod q6;

use gristmill::prelude::*;

use crate::columns::Fields;

/// What one part of an order costs and where it is. Hundredths where a unit is not named.
pub(crate) struct LineItem<'a> {
    pub(crate) order: u64,
    pub(crate) quantity: u32,
    pub(crate) price: i64,
    pub(crate) discount: i64,
    pub(crate) tax: i64,
    pub(crate) returned: &'a str,
    pub(crate) status: &'a str,
    pub(crate) shipped: &'a str,
    pub(crate) committed: &'a str,
    pub(crate) received: &'a str,
    pub(crate) mode: &'a str,
}

impl LineItem<'_> {
    /// The price without the discount, in 1/10,000.
    pub(crate) fn discounted(&self) -> i64 {
        self.price * (100 - self.discount)
    }
}

/// Rows of `lineitem`.
pub(crate) enum LineItems {}

impl Input for LineItems {
    type Record<'a> = LineItem<'a>;

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<LineItem<'a>, RecordError> {
        let mut row = Fields::of(line, '|')?;
        Ok(LineItem {
            order: row.parsed("l_orderkey")?,
            quantity: row.pass(3).parsed("l_quantity")?,
            price: row.hundredths("l_extendedprice")?,
            discount: row.hundredths("l_discount")?,
            tax: row.hundredths("l_tax")?,
            returned: row.text("l_returnflag")?,
            status: row.text("l_linestatus")?,
            shipped: row.text("l_shipdate")?,
            committed: row.text("l_commitdate")?,
            received: row.text("l_receiptdate")?,
            mode: row.pass(1).text("l_shipmode")?,
        })
    }
}

/// An order.
pub(crate) struct Order<'a> {
    pub(crate) key: u64,
    pub(crate) customer: u64,
    pub(crate) day: &'a str,
    pub(crate) priority: &'a str,
    pub(crate) ship_priority: &'a str,
    pub(crate) comment: &'a str,
}

/// Rows of `orders`.
pub(crate) enum Orders {}

impl Input for Orders {
    type Record<'a> = Order<'a>;

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<Order<'a>, RecordError> {
        let mut row = Fields::of(line, '|')?;
        Ok(Order {
            key: row.parsed("o_orderkey")?,
            customer: row.parsed("o_custkey")?,
            day: row.pass(2).text("o_orderdate")?,
            priority: row.text("o_orderpriority")?,
            ship_priority: row.pass(1).text("o_shippriority")?,
            comment: row.text("o_comment")?,
        })
    }
}

/// A customer: key and market segment.
pub(crate) struct Customer<'a> {
    pub(crate) key: u64,
    pub(crate) segment: &'a str,
}

/// Rows of `customer`.
pub(crate) enum Customers {}

impl Input for Customers {
    type Record<'a> = Customer<'a>;

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<Customer<'a>, RecordError> {
        let mut row = Fields::of(line, '|')?;
        Ok(Customer { key: row.parsed("c_custkey")?, segment: row.pass(5).text("c_mktsegment")? })
    }
}

/// A number with `digits` digits behind the point, of which `units` are so many.
pub(crate) fn decimal(units: i128, digits: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let text = format!("{:0width$}", units.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_all_their_digits() {
        assert_eq!(decimal(123_456, 2), "1234.56");
        assert_eq!(decimal(-5, 4), "-0.0005");
        assert_eq!(decimal(0, 2), "0.00");
    }
}
