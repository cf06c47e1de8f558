//! The running state of a group's aggregates: a fixed number of cells of 16 bytes, so that it lies
//! inside the combiner's slot and no row allocates. Sums leave the cell when they outgrow 64 bits, and
//! texts when they are longer than 13 bytes.
//!
//! Encoded cell: a tag (0 nothing, 1 count, 2 sum, 3 least, 4 greatest), then a count as LEB128; or a
//! scale byte and the mantissa as zigzag LEB128; or a length as LEB128 and the text.

use std::cmp::Ordering;

use gristmill_common::codec::{DecodeError, EncodeError};
use gristmill_common::prelude::*;

use crate::table::Decimal;

/// Bytes of text that fit into a cell.
const SHORT_TEXT: usize = 13;

/// Which of several texts is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extreme {
    Least,
    Greatest,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// No row with a value so far.
    Nothing,
    /// How many rows.
    Count(u64),
    /// A sum of at most 64 bits.
    Sum { scale: u8, mantissa: i64 },
    /// A larger sum.
    LargeSum(Box<Decimal>),
    /// A short text as it was read.
    Text { which: Extreme, len: u8, bytes: [u8; SHORT_TEXT] },
    /// A longer text.
    LongText { which: Extreme, text: Box<LongText> },
}

/// Text on the heap, in one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LongText(Vec<u8>);

impl State {
    /// A sum of one number.
    #[inline]
    pub(super) fn sum(number: Decimal) -> Self {
        match i64::try_from(number.mantissa) {
            Ok(mantissa) => State::Sum { scale: number.scale, mantissa },
            Err(_) => State::LargeSum(Box::new(number)),
        }
    }

    /// The extreme of one text.
    #[inline]
    pub(super) fn extreme(which: Extreme, text: &[u8]) -> Self {
        if text.len() > SHORT_TEXT {
            return State::LongText { which, text: Box::new(LongText(text.to_vec())) };
        }
        let mut bytes = [0; SHORT_TEXT];
        bytes[..text.len()].copy_from_slice(text);
        State::Text { which, len: text.len() as u8, bytes }
    }

    /// The sum, if it is one.
    pub(super) fn total(&self) -> Option<Decimal> {
        match self {
            State::Sum { scale, mantissa } => Some(Decimal { mantissa: (*mantissa).into(), scale: *scale }),
            State::LargeSum(number) => Some(**number),
            State::Nothing | State::Count(_) | State::Text { .. } | State::LongText { .. } => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            State::Text { len, bytes, .. } => Some(&bytes[..usize::from(*len)]),
            State::LongText { text, .. } => Some(&text.0),
            State::Nothing | State::Count(_) | State::Sum { .. } | State::LargeSum(_) => None,
        }
    }

    fn which(&self) -> Option<Extreme> {
        match self {
            State::Text { which, .. } | State::LongText { which, .. } => Some(*which),
            State::Nothing | State::Count(_) | State::Sum { .. } | State::LargeSum(_) => None,
        }
    }

    /// Adds the rows that another state stands for.
    #[inline]
    fn merge(&mut self, other: State) -> Result<(), FoldError> {
        match (&mut *self, other) {
            (_, State::Nothing) => {}
            (State::Count(count), State::Count(more)) => {
                *count = count.checked_add(more).ok_or(overflow("a count", "u64"))?;
            }
            (State::Sum { scale, mantissa }, State::Sum { scale: other_scale, mantissa: more })
                if *scale == other_scale && mantissa.checked_add(more).is_some() =>
            {
                *mantissa += more;
            }
            (_, other) => return self.merge_any(other),
        }
        Ok(())
    }

    fn merge_any(&mut self, other: State) -> Result<(), FoldError> {
        if matches!(self, State::Nothing) {
            *self = other;
            return Ok(());
        }
        if let (Some(sum), Some(more)) = (self.total(), other.total()) {
            let sum = sum.checked_add(more).ok_or(overflow("a sum", "a decimal number of 38 digits"))?;
            *self = State::sum(sum);
            return Ok(());
        }
        let (Some(text), Some(more), Some(which)) = (self.text(), other.text(), self.which()) else {
            return Err(overflow("folding different aggregates", "State"));
        };
        let order = compare(more, text);
        if (which == Extreme::Least && order.is_lt()) || (which == Extreme::Greatest && order.is_gt()) {
            *self = other;
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        match self {
            State::LargeSum(_) => size_of::<Decimal>(),
            State::LongText { text, .. } => size_of::<LongText>() + text.0.capacity(),
            State::Nothing | State::Count(_) | State::Sum { .. } | State::Text { .. } => 0,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(sum) = self.total() {
            out.extend_from_slice(&[2, sum.scale]);
            return write_varint(((sum.mantissa << 1) ^ (sum.mantissa >> 127)) as u128, out);
        }
        if let (Some(text), Some(which)) = (self.text(), self.which()) {
            out.push(if which == Extreme::Least { 3 } else { 4 });
            write_varint(text.len() as u128, out);
            return out.extend_from_slice(text);
        }
        match self {
            State::Count(count) => {
                out.push(1);
                write_varint((*count).into(), out);
            }
            _ => out.push(0),
        }
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        let (&tag, rest) = input.split_first()?;
        *input = rest;
        Some(match tag {
            0 => State::Nothing,
            1 => State::Count(read_varint(input)?.try_into().ok()?),
            2 => {
                let (&scale, rest) = input.split_first()?;
                *input = rest;
                let zigzag = read_varint(input)?;
                State::sum(Decimal { mantissa: (zigzag >> 1) as i128 ^ -((zigzag & 1) as i128), scale })
            }
            3 | 4 => {
                let len = usize::try_from(read_varint(input)?).ok()?;
                let (text, rest) = input.split_at_checked(len)?;
                *input = rest;
                State::extreme(if tag == 3 { Extreme::Least } else { Extreme::Greatest }, text)
            }
            _ => return None,
        })
    }
}

/// Numbers by value and before all other text; equal ones, and text, by their bytes.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(x), Some(y)) => x.cmp_value(y).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

fn overflow(what: &'static str, type_name: &'static str) -> FoldError {
    FoldError { what, type_name }
}

fn write_varint(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(input: &mut &[u8]) -> Option<u128> {
    let mut value = 0_u128;
    for shift in (0..).step_by(7).take(19) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u128::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The state of one group as it travels from map to reduce; seen as itself.
#[derive(Debug)]
pub(super) enum Cells<const N: usize> {}

impl<const N: usize> Datum for Cells<N> {
    type Ref<'a> = [State; N];
}

impl<const N: usize> Value for Cells<N> {
    #[inline]
    fn encode(value: &[State; N], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        value.iter().for_each(|state| state.encode(out));
        Ok(())
    }

    #[inline]
    fn decode(mut bytes: &[u8]) -> Result<[State; N], DecodeError> {
        let cells = Self::decode_part(&mut bytes)?;
        if bytes.is_empty() { Ok(cells) } else { Err(damaged(bytes.len())) }
    }

    fn encode_part(value: &[State; N], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Self::encode(value, out)
    }

    #[inline]
    fn decode_part(input: &mut &[u8]) -> Result<[State; N], DecodeError> {
        let len = input.len();
        let mut cells = [const { State::Nothing }; N];
        for cell in &mut cells {
            *cell = State::decode(input).ok_or_else(|| damaged(len))?;
        }
        Ok(cells)
    }
}

fn damaged(len: usize) -> DecodeError {
    DecodeError { type_name: "group state", len, reason: "not an encoded state".to_owned() }
}

/// Merges states cell by cell.
#[derive(Debug)]
pub(super) enum FoldCells {}

impl<const N: usize> Combine<Cells<N>> for FoldCells {
    type Acc = [State; N];

    #[inline]
    fn start(value: [State; N]) -> [State; N] {
        value
    }

    #[inline]
    fn fold(acc: &mut [State; N], value: [State; N]) -> Result<(), FoldError> {
        acc.iter_mut().zip(value).try_for_each(|(state, more)| state.merge(more))
    }

    #[inline]
    fn merge(acc: &mut [State; N], other: [State; N]) -> Result<(), FoldError> {
        <Self as Combine<Cells<N>>>::fold(acc, other)
    }

    #[inline]
    fn encode(acc: &[State; N], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Cells::<N>::encode(acc, out)
    }

    #[inline]
    fn heap_bytes(acc: &[State; N]) -> usize {
        acc.iter().map(State::heap_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> impl Strategy<Value = State> {
        let number = (any::<i64>(), 0_u8..6)
            .prop_map(|(mantissa, scale)| State::sum(Decimal { mantissa: mantissa.into(), scale }));
        let large = any::<i64>().prop_map(|m| State::sum(Decimal { mantissa: i128::from(m) << 40, scale: 2 }));
        prop_oneof![number, large, Just(State::Nothing)]
    }

    fn merged(states: &[State]) -> State {
        let mut sum = State::Nothing;
        states.iter().for_each(|state| sum.merge(state.clone()).expect("fits"));
        sum
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_grouping(states in proptest::collection::vec(state(), 1..12), cut in 0_usize..12) {
            let (left, right) = states.split_at(cut.min(states.len()));
            let whole = merged(&states);
            prop_assert_eq!(merged(&[merged(right), merged(left)]).total(), whole.total());
            let mut bytes = vec![];
            Cells::<2>::encode(&[whole.clone(), State::Count(7)], &mut bytes).expect("encodes");
            prop_assert_eq!(Cells::<2>::decode(&bytes).expect("whole"), [whole, State::Count(7)]);
            prop_assert!(Cells::<2>::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn extremes_do_not_depend_on_order(mut texts in proptest::collection::vec("[0-9]{1,2}(\\.[0-9])?|[a-z]{0,20}", 1..8)) {
            for which in [Extreme::Least, Extreme::Greatest] {
                let of = |texts: &[String]| merged(&texts.iter().map(|t| State::extreme(which, t.as_bytes())).collect::<Vec<_>>());
                let (mut before, mut after) = (vec![], vec![]);
                of(&texts).encode(&mut before);
                texts.reverse();
                of(&texts).encode(&mut after);
                prop_assert_eq!(&before, &after);
            }
        }
    }

    #[test]
    fn a_cell_is_two_words() {
        assert_eq!(size_of::<State>(), 16);
    }
}
