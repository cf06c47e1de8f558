//! The macro [`check_job!`](crate::check_job), and what it learns of a job's types that no bound asks
//! for: whether values can be compared, and how keys compare. A method call finds the first of several
//! traits whose bounds hold, by how often the receiver must be borrowed for it.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::marker::PhantomData;

use gristmill_common::datum::{Datum, Value};
use gristmill_common::job::MapReduce;
use gristmill_common::key::{Key, KeyArena};

use super::Laws;

/// Tells whether an emitted value is the one that its encoding decodes to.
pub trait Comparison<V: Value + ?Sized>: Send + Sync {
    /// Decodes and compares.
    fn comes_back(&self, value: &V::Ref<'_>, bytes: &[u8]) -> bool;
}

/// A [`Comparison`].
pub type ComesBack<V> = &'static dyn Comparison<V>;

/// How two encoded keys compare once they are decoded; `None` if one does not decode.
pub type KeyOrder = fn(&[u8], &[u8]) -> Option<Ordering>;

/// Looks for laws that a job breaks on a sample, and panics with the law, the job and the smallest
/// sample found.
///
/// The first argument is an expression that makes the job, evaluated for every new one; the second what
/// it is tried on: text, bytes, or a [`Sample`](crate::testing::Sample). A job without a reduce follows
/// `map_only`. A third argument makes a claim that is checked too: `any_order`, that `reduce` gives the
/// same for the values of a key in any order. Without it reducers may depend on the order, which is
/// always the same.
///
/// # Examples
///
/// ```should_panic
/// use gristmill::prelude::*;
///
/// /// The last line by first letter, whichever is read last.
/// struct Last;
///
/// impl MapReduce for Last {
///     type Input = Utf8Lines;
///     type Key = char;
///     type Value = str;
///     type Combine = NoCombine;
///     type Output = Text<char, str>;
///
///     fn map(&self, line: &str, out: &mut impl Emit<char, str>) -> Result<()> {
///         line.chars().next().map_or(Ok(()), |first| out.emit(first, line))
///     }
///
///     fn reduce(&self, first: char, mut lines: Values<str>, out: &mut impl Sink<char, str>) -> Result<()> {
///         let mut last = String::new();
///         while let Some(line) = lines.next_ref() {
///             last = line.to_owned();
///         }
///         out.put(first, &last)
///     }
/// }
///
/// gristmill::check_job!(Last, "ant\nbee\nbug\n"); // What is last is always the same...
/// gristmill::check_job!(Last, "ant\nbee\nbug\n", any_order); // ...and depends on the order: panics.
/// ```
///
/// For jobs with options, and what the macro does not ask, see [`Laws`](crate::testing::Laws).
#[macro_export]
macro_rules! check_job {
    (@laws $job:expr) => {{
        #[allow(unused_imports, reason = "which of them are used depends on the job's types")]
        use $crate::testing::hooks::{KeysAsTheyAre, OrderedKeys, ShownValues, ValuesAsTheyAre, ComparedValues};
        let make = || $job;
        let types = $crate::testing::hooks::TypesOf::of(&make);
        let (values, keys) = ((&&types).comes_back(), (&types).key_order());
        $crate::testing::Laws::of_job_with_hooks(make, values, keys)
    }};
    (map_only $job:expr, $sample:expr $(,)?) => {
        $crate::testing::hooks::check($crate::testing::Laws::of_map_only(|| $job), $sample)
    };
    ($job:expr, $sample:expr $(,)?) => {
        $crate::testing::hooks::check($crate::check_job!(@laws $job), $sample)
    };
    ($job:expr, $sample:expr, any_order $(,)?) => {
        $crate::testing::hooks::check($crate::check_job!(@laws $job).in_any_order(), $sample)
    };
}

/// Panics if a law is broken.
///
/// # Panics
///
/// With the law and the sample.
#[track_caller]
pub fn check(laws: Laws<'_>, sample: impl Into<super::Sample>) {
    if let Err(broken) = laws.check(sample) {
        panic!("{broken}");
    }
}

/// The types of a job.
#[derive(Debug)]
pub struct TypesOf<J>(PhantomData<fn() -> J>);

impl<J> TypesOf<J> {
    /// Those of the job that `make` makes.
    pub fn of(make: &impl Fn() -> J) -> Self {
        let _ = make;
        Self(PhantomData)
    }
}

/// Values that are their own form and can be compared.
pub trait ComparedValues<V: Value + ?Sized> {
    /// Compares with what comes back.
    fn comes_back(&self) -> Option<ComesBack<V>>;
}

impl<J: MapReduce> ComparedValues<J::Value> for &TypesOf<J>
where
    J::Value: PartialEq + Sized + for<'r> Datum<Ref<'r> = J::Value>,
{
    fn comes_back(&self) -> Option<ComesBack<J::Value>> {
        Some(&ByEquality)
    }
}

struct ByEquality;

impl<V: Value + PartialEq + for<'r> Datum<Ref<'r> = V>> Comparison<V> for ByEquality {
    #[expect(clippy::eq_op, reason = "what does not equal itself, such as a NaN, tells nothing")]
    fn comes_back(&self, value: &V, bytes: &[u8]) -> bool {
        V::decode(bytes).is_ok_and(|back| back == *value || *value != *value)
    }
}

/// Values that are their own form and can be shown.
pub trait ShownValues<V: Value + ?Sized> {
    /// Compares how they are shown.
    fn comes_back(&self) -> Option<ComesBack<V>>;
}

impl<J: MapReduce> ShownValues<J::Value> for &&TypesOf<J>
where
    J::Value: Debug + Sized + for<'r> Datum<Ref<'r> = J::Value>,
{
    fn comes_back(&self) -> Option<ComesBack<J::Value>> {
        Some(&ByDebug)
    }
}

struct ByDebug;

impl<V: Value + Debug + for<'r> Datum<Ref<'r> = V>> Comparison<V> for ByDebug {
    fn comes_back(&self, value: &V, bytes: &[u8]) -> bool {
        V::decode(bytes).is_ok_and(|back| format!("{back:?}") == format!("{value:?}"))
    }
}

/// All other values: only their bytes are looked at.
pub trait ValuesAsTheyAre<V: Value + ?Sized> {
    /// Nothing to compare with.
    fn comes_back(&self) -> Option<ComesBack<V>>;
}

impl<J: MapReduce> ValuesAsTheyAre<J::Value> for TypesOf<J> {
    fn comes_back(&self) -> Option<ComesBack<J::Value>> {
        None
    }
}

/// Keys that have an order of their own.
pub trait OrderedKeys {
    /// That order.
    fn key_order(&self) -> Option<KeyOrder>;
}

impl<J: MapReduce> OrderedKeys for TypesOf<J>
where
    for<'r> <J::Key as Datum>::Ref<'r>: Ord,
{
    fn key_order(&self) -> Option<KeyOrder> {
        Some(|a, b| {
            let arena = KeyArena::new();
            let (a, b) = (<J::Key as Key>::decode(a, &arena).ok()?, <J::Key as Key>::decode(b, &arena).ok()?);
            Some(a.cmp(&b))
        })
    }
}

/// All other keys.
pub trait KeysAsTheyAre {
    /// None but that of their bytes.
    fn key_order(&self) -> Option<KeyOrder>;
}

impl<J> KeysAsTheyAre for &TypesOf<J> {
    fn key_order(&self) -> Option<KeyOrder> {
        None
    }
}
