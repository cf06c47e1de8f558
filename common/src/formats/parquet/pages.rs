//! The bound on the pages of columns that are in memory. The header of a page says how large it is, and is looked at
//! before the page is read or decoded: a page of a few bytes may say that it has two gibibytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// Bytes that the pages of all columns that are read take, and the most that they may.
#[derive(Debug)]
pub(super) struct HeldPages {
    bytes: AtomicU64,
    most: u64,
}

impl HeldPages {
    pub(super) fn new(most: u64) -> Self {
        Self { bytes: AtomicU64::new(0), most }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most bytes.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    fn add(&self, bytes: u64) -> Result<()> {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if bytes > self.most {
            return Err(ParquetError::External(Box::new(PagesTooLarge { bytes })));
        }
        Ok(())
    }
}

/// Pages that together take more memory than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pages take {bytes} bytes")]
pub(super) struct PagesTooLarge {
    /// What they would take.
    pub(super) bytes: u64,
}

/// The pages of a column that are in memory: a dictionary and one of values. Only one thread reads a column.
#[derive(Debug)]
pub(super) struct PagesOfColumn {
    held: Arc<HeldPages>,
    dictionary: AtomicU64,
    values: AtomicU64,
    /// Bytes of levels and values that pages of a column with repeated values decode to, since the batch began: a row
    /// may have all of them.
    decoded: AtomicU64,
    /// Whether what is read next is the header of a page.
    expect_header: AtomicBool,
}

impl PagesOfColumn {
    pub(super) fn new(held: Arc<HeldPages>) -> Self {
        let expect_header = AtomicBool::new(false);
        Self {
            held,
            dictionary: AtomicU64::new(0),
            values: AtomicU64::new(0),
            decoded: AtomicU64::new(0),
            expect_header,
        }
    }

    /// Forgets what was decoded before.
    pub(super) fn begin_batch(&self) {
        self.held.bytes.fetch_sub(self.decoded.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Takes note of what a page will decode to.
    ///
    /// # Errors
    ///
    /// [`PagesTooLarge`].
    fn will_decode(&self, bytes: u64) -> Result<()> {
        self.decoded.fetch_add(bytes, Ordering::Relaxed);
        self.held.add(bytes)
    }

    /// Whether what is read next is the header of a page.
    pub(super) fn expect_header(&self) -> bool {
        self.expect_header.load(Ordering::Relaxed)
    }

    /// Takes note of the page whose header begins with these bytes; none are left to the header's reader.
    ///
    /// # Errors
    ///
    /// [`PagesTooLarge`], or that it is damaged.
    pub(super) fn look_at(&self, header: &[u8]) -> Result<()> {
        if header.is_empty() {
            return Ok(());
        }
        let damaged = || ParquetError::General("the header of a page is damaged".to_owned());
        let size = PageSize::of(header).ok_or_else(damaged)?;
        let slot = if size.is_dictionary { &self.dictionary } else { &self.values };
        let before = slot.swap(size.bytes, Ordering::Relaxed);
        self.held.bytes.fetch_sub(before, Ordering::Relaxed);
        self.held.add(size.bytes)
    }
}

impl Drop for PagesOfColumn {
    fn drop(&mut self) {
        let bytes = *self.dictionary.get_mut() + *self.values.get_mut() + *self.decoded.get_mut();
        self.held.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a page takes in memory.
#[derive(Debug, PartialEq, Eq)]
struct PageSize {
    is_dictionary: bool,
    /// As it is stored and, if that is something else, as it is without compression.
    bytes: u64,
}

impl PageSize {
    /// The size of the page whose header begins so. A header is a struct of Thrift's compact protocol whose first
    /// fields are three integers: type, bytes without compression, bytes with it; then, behind a checksum or not, the
    /// struct that belongs to the type (parquet.thrift, `PageHeader`). Readers take for granted that it is there.
    fn of(header: &[u8]) -> Option<Self> {
        /// The field behind the one before, an `i32`.
        const NEXT_FIELD: u8 = 0x15;
        /// The type of a field that is a struct.
        const STRUCT: u8 = 0x0c;
        /// The type of a dictionary.
        const DICTIONARY: u64 = 2;
        let (mut bytes, mut numbers) = (header.iter(), [0_u64; 3]);
        for number in &mut numbers {
            if *bytes.next()? != NEXT_FIELD {
                return None;
            }
            let zigzag = varint(&mut bytes)?;
            // An odd one is negative.
            *number = Some(zigzag >> 1).filter(|_| zigzag % 2 == 0)?;
        }
        let [kind, plain, stored] = numbers;
        let (mut field, mut before) = (*bytes.next()?, 3);
        if field == NEXT_FIELD {
            varint(&mut bytes)?;
            (field, before) = (*bytes.next()?, 4);
        }
        let expected = match kind {
            0 => 5,
            1 => 6,
            DICTIONARY => 7,
            3 => 8,
            _ => return None,
        };
        if field != (expected - before) << 4 | STRUCT {
            return None;
        }
        let bytes = if plain == stored { plain } else { plain + stored };
        Some(Self { is_dictionary: kind == DICTIONARY, bytes })
    }
}

/// The next number: seven bits a byte, the lowest first.
fn varint<'b>(bytes: &mut impl Iterator<Item = &'b u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

/// Reads the pages of a column, the header of each by itself first.
pub(super) struct BoundedPages<P> {
    inner: P,
    pages: Arc<PagesOfColumn>,
    level_bytes: u64,
}

impl<P: PageReader> BoundedPages<P> {
    /// Pages whose levels take so many bytes each, 0 if that need not be counted.
    pub(super) fn new(inner: P, pages: Arc<PagesOfColumn>, level_bytes: u64) -> Self {
        Self { inner, pages, level_bytes }
    }

    /// Does what reads the next header, unless it was read before, and nothing else of the file.
    fn read_header<T>(&mut self, read: impl FnOnce(&mut P) -> Result<T>) -> Result<T> {
        self.pages.expect_header.store(true, Ordering::Relaxed);
        let found = read(&mut self.inner);
        self.pages.expect_header.store(false, Ordering::Relaxed);
        found
    }
}

impl<P: PageReader> PageReader for BoundedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        match self.peek_next_page()? {
            None => Ok(None),
            Some(page) => {
                self.pages.will_decode(page.num_levels.unwrap_or(0) as u64 * self.level_bytes)?;
                self.inner.get_next_page()
            }
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.read_header(P::peek_next_page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        match self.peek_next_page()? {
            None => Ok(()),
            Some(_) => self.inner.skip_next_page(),
        }
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.read_header(P::at_record_boundary)
    }
}

impl<P: PageReader> Iterator for BoundedPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_page_tells_its_size() {
        let size = |header: &[u8]| PageSize::of(header).map(|size| (size.is_dictionary, size.bytes));
        // A page of values, 3 bytes, stored in 3; a dictionary of 2^31 - 1 bytes, stored in 64.
        assert_eq!(size(&[0x15, 0, 0x15, 6, 0x15, 6, 0x2c]), Some((false, 3)));
        let dictionary = [0x15, 4, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0x80, 1, 0x4c];
        assert_eq!(size(&[0x15, 0, 0x15, 6, 0x15, 6, 0x15, 9, 0x1c]), Some((false, 3)), "with a checksum");
        assert_eq!(size(&[0x15, 0, 0x15, 6, 0x15, 6, 0x3c]), None, "what a page of values has is missing");
        assert_eq!(size(&dictionary), Some((true, (1 << 31) - 1 + 64)));
        for length in 0..dictionary.len() {
            assert_eq!(size(&dictionary[..length]), None);
        }
        assert_eq!(size(&[0x15, 0, 0x15, 5, 0x15, 6]), None, "it is negative");
        assert_eq!(size(b"PAR1 and more of it"), None);
    }
}
