//! The first record of an object, where it tells what the others mean: the header of a table. Whoever reads
//! an object reads it once, for all parts of the object.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

use crate::input::RecordError;

/// An object's first record, and what a type of records made of it.
pub struct Heading {
    record: Vec<u8>,
    /// Made by the first record that asks.
    meaning: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Heading {
    /// A heading of these bytes, without what ends them.
    pub fn new(record: Vec<u8>) -> Self {
        Self { record, meaning: OnceLock::new() }
    }

    /// Its bytes.
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// What the heading means: what `read` makes of its bytes, the first time it is asked for, and the same
    /// from then on.
    ///
    /// # Errors
    ///
    /// What `read` says.
    ///
    /// # Panics
    ///
    /// If a heading is asked for meanings of two types: the records of an object have one.
    #[inline]
    pub fn meaning<M: Any + Send + Sync>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<M, RecordError>,
    ) -> Result<&M, RecordError> {
        let meaning = match self.meaning.get() {
            Some(meaning) => meaning,
            None => {
                let meaning: Box<dyn Any + Send + Sync> = Box::new(read(&self.record)?);
                self.meaning.get_or_init(|| meaning)
            }
        };
        Ok((**meaning).downcast_ref().expect("the records of an object are of one type"))
    }
}

impl fmt::Debug for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Heading").field(&self.record.escape_ascii().to_string()).finish()
    }
}

/// Headings of the same bytes are equal.
impl PartialEq for Heading {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl Eq for Heading {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_read_once() {
        let heading = Heading::new(b"a,b".to_vec());
        let error = heading.meaning::<usize>(|_| Err(RecordError::new("no"))).expect_err("refused");
        assert_eq!(error.to_string(), "no");
        assert_eq!(heading.meaning(|bytes| Ok(bytes.len())), Ok(&3));
        assert_eq!(heading.meaning::<usize>(|_| Err(RecordError::new("again"))), Ok(&3));
    }
}
