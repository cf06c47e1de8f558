//! Folds that may run inside a map attempt before anything is shuffled, and again before `reduce`.

use std::marker::PhantomData;

use crate::codec::EncodeError;
use crate::datum::{Datum, Value};

/// A fold step that has no result, such as a sum beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} overflows {type_name}")]
pub struct FoldError {
    /// The operation.
    pub what: &'static str,
    /// The Rust type.
    pub type_name: &'static str,
}

/// An associative, commutative fold of the values of one key. It may run 0 to n times on any
/// grouping of them; `reduce` then sees fewer, folded values.
pub trait Combine<V: Value + ?Sized>: Send + Sync + 'static {
    /// Whether there is anything to fold; [`NoCombine`] says no and its other members are not called.
    const ACTIVE: bool = true;

    /// Whether the result is the same for every grouping, bit for bit. If not (float sums), outputs
    /// are equal only among runs of one spec.
    const EXACT: bool = true;

    /// The running state of one key.
    type Acc: Send + 'static;

    /// The state after one value.
    fn start(value: V::Ref<'_>) -> Self::Acc;

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// If the fold has no result; the attempt fails.
    fn fold(acc: &mut Self::Acc, value: V::Ref<'_>) -> Result<(), FoldError>;

    /// Adds another state: what [`fold`](Self::fold) with all of its values would give. By default it
    /// is encoded and folded as one value.
    ///
    /// # Errors
    ///
    /// If the fold has no result.
    fn merge(acc: &mut Self::Acc, other: Self::Acc) -> Result<(), FoldError> {
        let lost = |_| FoldError { what: "merging two states", type_name: std::any::type_name::<Self::Acc>() };
        let mut bytes = Vec::new();
        Self::encode(&other, &mut bytes).map_err(|error| lost(error.to_string()))?;
        Self::fold(acc, V::decode(&bytes).map_err(|error| lost(error.to_string()))?)
    }

    /// Appends the state, encoded as one value.
    ///
    /// # Errors
    ///
    /// If the value's `Serialize` fails.
    fn encode(acc: &Self::Acc, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Heap bytes behind `acc`, for the memory budget.
    fn heap_bytes(acc: &Self::Acc) -> usize {
        let _ = acc;
        0
    }
}

/// Values are shuffled as they were emitted.
#[derive(Debug)]
pub enum NoCombine {}

impl<V: Value + ?Sized> Combine<V> for NoCombine {
    const ACTIVE: bool = false;
    type Acc = ();

    fn start(_value: V::Ref<'_>) {}

    fn fold((): &mut (), _value: V::Ref<'_>) -> Result<(), FoldError> {
        Ok(())
    }

    fn encode((): &(), _out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// A number that [`Sum`] and `Values::sum` can add.
pub trait Addend: Copy + Default + Send + 'static {
    /// Whether addition is associative bit for bit.
    const EXACT: bool;

    /// The sum, or `None` beyond the type's range.
    fn checked_sum(self, other: Self) -> Option<Self>;
}

macro_rules! addends {
    ($($int:ident)* ; $($float:ident)*) => {
        $(impl Addend for $int {
            const EXACT: bool = true;

            #[inline]
            fn checked_sum(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
        })*
        $(impl Addend for $float {
            const EXACT: bool = false;

            #[inline]
            fn checked_sum(self, other: Self) -> Option<Self> {
                Some(self + other)
            }
        })*
    };
}

addends!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize ; f32 f64);

/// Adds the values; fails rather than wraps beyond the type's range.
#[derive(Debug)]
pub enum Sum {}

impl<V: Value + Addend + for<'a> Datum<Ref<'a> = V>> Combine<V> for Sum {
    const EXACT: bool = V::EXACT;
    type Acc = V;

    #[inline]
    fn start(value: V) -> V {
        value
    }

    #[inline]
    fn fold(acc: &mut V, value: V) -> Result<(), FoldError> {
        *acc = acc.checked_sum(value).ok_or(FoldError { what: "a sum", type_name: std::any::type_name::<V>() })?;
        Ok(())
    }

    #[inline]
    fn merge(acc: &mut V, other: V) -> Result<(), FoldError> {
        <Self as Combine<V>>::fold(acc, other)
    }

    #[inline]
    fn encode(acc: &V, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        V::encode(acc, out)
    }
}

macro_rules! pick_one {
    ($($(#[$doc:meta])* $name:ident, |$acc:ident, $value:ident| $keep:expr, $bound:path;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(PhantomData<()>);

        impl<V: Value + $bound + Send + for<'a> Datum<Ref<'a> = V>> Combine<V> for $name {
            type Acc = V;

            #[inline]
            fn start(value: V) -> V {
                value
            }

            #[inline]
            fn fold($acc: &mut V, $value: V) -> Result<(), FoldError> {
                if $keep {
                    *$acc = $value;
                }
                Ok(())
            }

            #[inline]
            fn merge(acc: &mut V, other: V) -> Result<(), FoldError> {
                <Self as Combine<V>>::fold(acc, other)
            }

            #[inline]
            fn encode(acc: &V, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                V::encode(acc, out)
            }
        }
    )*};
}

pick_one! {
    /// Keeps the greatest value.
    Max, |acc, value| value > *acc, Ord;
    /// Keeps the smallest value.
    Min, |acc, value| value < *acc, Ord;
}

/// Keeps one of equal values: for jobs in which all values of a key are the same, such as `distinct`.
#[derive(Debug)]
pub enum First {}

impl<V: Value + Send + for<'a> Datum<Ref<'a> = V>> Combine<V> for First {
    type Acc = V;

    #[inline]
    fn start(value: V) -> V {
        value
    }

    #[inline]
    fn fold(_acc: &mut V, _value: V) -> Result<(), FoldError> {
        Ok(())
    }

    #[inline]
    fn merge(_acc: &mut V, _other: V) -> Result<(), FoldError> {
        Ok(())
    }

    #[inline]
    fn encode(acc: &V, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        V::encode(acc, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded<V: Value + Copy + for<'a> Datum<Ref<'a> = V>, C: Combine<V>>(values: &[V]) -> Result<Vec<u8>, FoldError> {
        let mut acc = C::start(values[0]);
        for value in &values[1..] {
            C::fold(&mut acc, *value)?;
        }
        let mut out = vec![];
        C::encode(&acc, &mut out).expect("integers encode");
        Ok(out)
    }

    #[test]
    fn ready_made_folds_fold() {
        assert_eq!(folded::<u64, Sum>(&[1, 2, 3]), Ok(vec![6]));
        assert_eq!(folded::<u64, Max>(&[1, 3, 2]), Ok(vec![3]));
        assert_eq!(folded::<u64, Min>(&[2, 1, 3]), Ok(vec![1]));
        assert_eq!(folded::<(), First>(&[(), ()]), Ok(vec![]));
        assert!(folded::<u8, Sum>(&[200, 100]).is_err());
        const { assert!(<Sum as Combine<u64>>::EXACT && !<Sum as Combine<f64>>::EXACT) };
    }
}
