//! An input object as what the `parquet` crate reads.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::pages::{HeldPages, PagesOfColumn};
use crate::objects::OpenObject;

/// Bytes read at once where it is not known how many are needed: for the header of a page.
const HEADER_BYTES: usize = 4 << 10;

/// An open object, shared by the readers of its columns.
#[derive(Clone)]
pub(super) struct Source {
    inner: Arc<Inner>,
    /// What looks at the headers of pages, if it is a column that is read.
    pages: Option<Arc<PagesOfColumn>>,
}

struct Inner {
    object: Mutex<Box<dyn OpenObject>>,
    size: u64,
    held: Arc<HeldPages>,
}

impl Source {
    /// An object of this size, of whose pages at most `most` bytes are in memory.
    pub(super) fn new(object: Box<dyn OpenObject>, size: u64, most: u64) -> Self {
        let (object, held) = (Mutex::new(object), Arc::new(HeldPages::new(most)));
        Self { inner: Arc::new(Inner { object, size, held }), pages: None }
    }

    /// The same, to read the pages of a column, whose headers are looked at by what is given besides.
    pub(super) fn of_column(&self) -> (Self, Arc<PagesOfColumn>) {
        let pages = Arc::new(PagesOfColumn::new(Arc::clone(&self.inner.held)));
        (Self { inner: Arc::clone(&self.inner), pages: Some(Arc::clone(&pages)) }, pages)
    }

    /// The most bytes of pages in memory.
    pub(super) fn most_bytes(&self) -> u64 {
        self.inner.held.most()
    }

    /// Bytes of pages that are in memory.
    pub(super) fn page_bytes(&self) -> u64 {
        self.inner.held.bytes()
    }

    /// Tells that a range will be read soon.
    pub(super) fn will_read(&self, offset: u64, bytes: u64) {
        self.with(|object| object.will_read(offset, bytes));
    }

    /// Does something with the object.
    pub(super) fn with<T>(&self, f: impl FnOnce(&dyn OpenObject) -> T) -> T {
        f(self.inner.object.lock().unwrap_or_else(PoisonError::into_inner).as_ref())
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.inner.size
    }
}

impl ChunkReader for Source {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<BufReader<From>> {
        let from = From { source: self.clone(), at: start };
        let mut reader = BufReader::with_capacity(HEADER_BYTES, from);
        if let Some(pages) = self.pages.as_deref().filter(|pages| pages.expect_header()) {
            pages.look_at(reader.fill_buf()?)?;
        }
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.inner.size);
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
        let left = usize::try_from(self.source.inner.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let want = into.len().min(left);
        loop {
            match self.source.with(|object| object.read_at(&mut into[..want], self.at)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.at += read as u64;
                    return Ok(read);
                }
            }
        }
    }
}
