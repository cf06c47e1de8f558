//! The values of one key group, as `reduce` reads them: once, one after the other, or kept to be read
//! as often as it likes. Knows nothing of where they come from.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::path::PathBuf;

use crate::codec::DecodeError;
use crate::combine::Addend;
use crate::datum::{Datum, Value};
use crate::job::{JobError, Result};

/// The most bytes of kept values that are held in memory when an engine does not say otherwise.
const KEPT_BYTES: usize = 16 << 20;

/// Where the values of a key group come from; implemented by engines.
pub trait ValueSource {
    /// Moves to the next value; `false` after the last one or after a failure.
    fn advance(&mut self) -> bool;

    /// The value moved to, encoded.
    fn value(&self) -> &[u8];

    /// Records that the values cannot be used; the attempt fails whatever `reduce` returns.
    fn fail(&self, failure: ValuesFailure);

    /// Where values that are kept go, and how many bytes of them may stay in memory.
    fn room(&self) -> KeptRoom {
        KeptRoom { memory: KEPT_BYTES, folder: std::env::temp_dir() }
    }
}

/// Where kept values are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRoom {
    /// Bytes that may stay in memory.
    pub memory: usize,
    /// The folder for the others.
    pub folder: PathBuf,
}

/// Why the values of a key group cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesFailure {
    /// A value does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A sum leaves its type's range.
    #[error("the sum of the values overflows {type_name}")]
    Overflow {
        /// The Rust type.
        type_name: &'static str,
    },
}

/// The values of one key group, read one after the other in canonical order: by map task, then by
/// emission. They need not fit in memory.
///
/// If reading fails, the values end early and the attempt fails whatever `reduce` returns, so
/// `reduce` need not check.
pub struct Values<'a, V: Value + ?Sized> {
    source: &'a mut dyn ValueSource,
    value: PhantomData<fn(&V)>,
}

impl<'a, V: Value + ?Sized> Values<'a, V> {
    /// Reads the values of `source`.
    pub fn new(source: &'a mut dyn ValueSource) -> Self {
        Self { source, value: PhantomData }
    }

    /// The next value, borrowed until the one after it is asked for.
    #[inline]
    pub fn next_ref(&mut self) -> Option<V::Ref<'_>> {
        if !self.source.advance() {
            return None;
        }
        let source: &dyn ValueSource = self.source;
        V::decode(source.value()).map_err(|error| source.fail(error.into())).ok()
    }

    /// Keeps the values left, to be read as often as needed. What exceeds a part of the attempt's memory
    /// goes to a file in scratch.
    ///
    /// # Errors
    ///
    /// If that file cannot be written.
    pub fn keep(self) -> Result<KeptValues<V>> {
        let mut kept = KeptValues::new(self.source.room());
        while self.source.advance() {
            kept.push(self.source.value())?;
        }
        Ok(kept)
    }

    /// Calls `f` with every value left.
    ///
    /// # Errors
    ///
    /// The first error of `f`.
    #[inline]
    pub fn try_for_each(mut self, mut f: impl FnMut(V::Ref<'_>) -> Result<()>) -> Result<()> {
        while let Some(value) = self.next_ref() {
            f(value)?;
        }
        Ok(())
    }

    /// How many values are left.
    pub fn count(self) -> u64 {
        let mut count = 0;
        while self.source.advance() {
            count += 1;
        }
        count
    }
}

impl<V: Value + Addend + for<'r> Datum<Ref<'r> = V>> Values<'_, V> {
    /// The sum of the values left; beyond the type's range the attempt fails.
    #[inline]
    pub fn sum(mut self) -> V {
        let mut sum = V::default();
        while let Some(value) = self.next_ref() {
            match sum.checked_sum(value) {
                Some(next) => sum = next,
                None => {
                    self.source.fail(ValuesFailure::Overflow { type_name: std::any::type_name::<V>() });
                    break;
                }
            }
        }
        sum
    }
}

impl<V: Value + for<'r> Datum<Ref<'r> = V>> Iterator for Values<'_, V> {
    type Item = V;

    #[inline]
    fn next(&mut self) -> Option<V> {
        if !self.source.advance() {
            return None;
        }
        let source: &dyn ValueSource = self.source;
        V::decode(source.value()).map_err(|error| source.fail(error.into())).ok()
    }
}

impl<V: Value + ?Sized> fmt::Debug for Values<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

/// The values of one key group, kept to be read several times: in memory, and from a file that has no
/// name any more and goes with this.
pub struct KeptValues<V: Value + ?Sized> {
    /// Each value behind its length, as four bytes, little endian.
    pending: Vec<u8>,
    spilled: Option<File>,
    count: u64,
    room: KeptRoom,
    value: PhantomData<fn(&V)>,
}

impl<V: Value + ?Sized> KeptValues<V> {
    fn new(room: KeptRoom) -> Self {
        Self { pending: Vec::new(), spilled: None, count: 0, room, value: PhantomData }
    }

    fn push(&mut self, value: &[u8]) -> Result<()> {
        if self.pending.len() + value.len() > self.room.memory && !self.pending.is_empty() {
            self.spill()?;
        }
        let length = u32::try_from(value.len()).map_err(|_| JobError::new("a value of 4 GiB or more"))?;
        self.pending.extend_from_slice(&length.to_le_bytes());
        self.pending.extend_from_slice(value);
        self.count += 1;
        Ok(())
    }

    /// Writes what is in memory behind what was written before.
    fn spill(&mut self) -> Result<()> {
        let failed =
            |folder: &PathBuf, error| JobError::new(format!("cannot keep values in {}: {error}", folder.display()));
        if self.spilled.is_none() {
            let file = nameless_file(&self.room.folder).map_err(|error| failed(&self.room.folder, error))?;
            self.spilled = Some(file);
        }
        if let Some(file) = &mut self.spilled {
            file.write_all(&self.pending).map_err(|error| failed(&self.room.folder, error))?;
        }
        self.pending.clear();
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Calls `f` with every value, in canonical order.
    ///
    /// # Errors
    ///
    /// The first error of `f`, or of reading back what does not fit into memory.
    pub fn for_each(&mut self, mut f: impl FnMut(V::Ref<'_>) -> Result<()>) -> Result<()> {
        if let Some(file) = &mut self.spilled {
            let failed = |error| JobError::new(format!("cannot read values that were kept: {error}"));
            let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let (mut reader, mut left, mut value) = (BufReader::with_capacity(1 << 18, &*file), bytes, Vec::new());
            while left > 0 {
                let mut length = [0; 4];
                reader.read_exact(&mut length).map_err(failed)?;
                value.resize(u32::from_le_bytes(length) as usize, 0);
                reader.read_exact(&mut value).map_err(failed)?;
                left -= (length.len() + value.len()) as u64;
                f(V::decode(&value)?)?;
            }
        }
        let mut rest = self.pending.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (value, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            f(V::decode(value)?)?;
            rest = behind;
        }
        Ok(())
    }
}

impl<V: Value + ?Sized> fmt::Debug for KeptValues<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptValues").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A file that goes when it is closed.
fn nameless_file(folder: &std::path::Path) -> std::io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("kept-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = folder.join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Listed {
        values: Vec<Vec<u8>>,
        at: usize,
        room: KeptRoom,
        failure: RefCell<Option<ValuesFailure>>,
    }

    impl ValueSource for Listed {
        fn advance(&mut self) -> bool {
            self.at += 1;
            self.at <= self.values.len()
        }

        fn value(&self) -> &[u8] {
            &self.values[self.at - 1]
        }

        fn fail(&self, failure: ValuesFailure) {
            self.failure.replace(Some(failure));
        }

        fn room(&self) -> KeptRoom {
            self.room.clone()
        }
    }

    #[test]
    fn values_are_kept_in_order_however_little_memory_there_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let values: Vec<String> = (0..1000).map(|n| format!("value {n} {}", "x".repeat(n % 70))).collect();
        for memory in [0, 1, 100, 4096, 1 << 20] {
            let room = KeptRoom { memory, folder: dir.path().to_owned() };
            let encoded = values.iter().map(|value| value.clone().into_bytes()).collect();
            let mut source = Listed { values: encoded, at: 0, room, failure: RefCell::default() };
            let mut all = Values::<str>::new(&mut source);
            assert_eq!(all.next_ref(), Some(values[0].as_str()), "what was read is not kept");
            let mut kept = all.keep().expect("kept");
            assert_eq!(kept.len(), 999);
            for _ in 0..2 {
                let mut seen = Vec::new();
                kept.for_each(|value| {
                    seen.push(value.to_owned());
                    Ok(())
                })
                .expect("readable");
                assert_eq!(seen, values[1..], "with {memory} bytes");
            }
            assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0, "no file has a name");
        }
    }
}
