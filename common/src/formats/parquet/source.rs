//! An input object as what the `parquet` crate reads.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::objects::OpenObject;

/// Bytes read at once where it is not known how many are needed: for the header of a page.
const HEADER_BYTES: usize = 4 << 10;

/// An open object, shared by the readers of its columns.
#[derive(Clone)]
pub(super) struct Source(Arc<Inner>);

struct Inner {
    object: Mutex<Box<dyn OpenObject>>,
    size: u64,
}

impl Source {
    pub(super) fn new(object: Box<dyn OpenObject>, size: u64) -> Self {
        Self(Arc::new(Inner { object: Mutex::new(object), size }))
    }

    /// Tells that a range will be read soon.
    pub(super) fn will_read(&self, offset: u64, bytes: u64) {
        self.with(|object| object.will_read(offset, bytes));
    }

    /// Does something with the object.
    pub(super) fn with<T>(&self, f: impl FnOnce(&dyn OpenObject) -> T) -> T {
        f(self.0.object.lock().unwrap_or_else(PoisonError::into_inner).as_ref())
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.size
    }
}

impl ChunkReader for Source {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<BufReader<From>> {
        Ok(BufReader::with_capacity(HEADER_BYTES, From { source: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.0.size);
        if end.is_none() {
            return Err(ParquetError::EOF(format!("bytes {start} to {length} more are beyond the end of the file")));
        }
        let mut bytes = vec![0; length];
        From { source: self.clone(), at: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// The object from some place on.
pub(super) struct From {
    source: Source,
    at: u64,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.0.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let want = into.len().min(left);
        let read = self.source.with(|object| object.read_at(&mut into[..want], self.at))?;
        self.at += read as u64;
        Ok(read)
    }
}
