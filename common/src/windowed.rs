//! Objects that come in ranges, several of them on their way while one is read: for stores that answer
//! late and quickly. Who fetches a range, and where it lies then, is a [`RangeSource`]'s business; which
//! ranges, and how many bytes at once, is decided here. Waits, but for nothing else than ranges.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failure::{Failure, FailureCode};
use crate::objects::{LocalObjects, ObjectReader, OpenObject};
use crate::size::ByteSize;
use crate::task::{InputObject, Piece};

/// The largest range. Larger ones cost fewer requests, smaller ones arrive sooner.
const MAX_RANGE_BYTES: u64 = 8 << 20;

/// The most bytes that one attempt holds or waits for. More fills longer lines, less leaves more memory
/// to what is collected.
const MAX_WINDOW_BYTES: u64 = 40 << 20;

/// The part of an attempt's memory that its window may be.
const WINDOW_SHARE: u64 = 4;

/// Ranges in a full window: one that is read, and as many on their way as keep a line of some
/// latency busy. More make requests smaller, fewer leave the line idle while one is read.
const RANGES_IN_WINDOW: u64 = 5;

/// The smallest range: what is read here and there costs a request each time.
const MIN_RANGE_BYTES: u64 = 64 << 10;

/// The most objects that are fetched, wholly or not, before they are opened. More hides longer latencies of
/// small objects, fewer burdens the store less.
const MAX_OBJECTS_AHEAD: usize = 32;

/// How often a waiting attempt looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fetches ranges of objects.
pub trait RangeSource: fmt::Debug + Send + Sync {
    /// Begins to fetch a range of an object that must be what was planned; does not wait. Dropping what
    /// it returns gives the range up.
    fn begin(&self, object: &InputObject, range: Range<u64>) -> Box<dyn PendingRange>;
}

/// A range on its way. Comes to an end by itself, well or not.
pub trait PendingRange: Send {
    /// Waits for it as long as this; `None` if it is still on its way.
    ///
    /// # Errors
    ///
    /// `INPUT_UNREADABLE` or `INPUT_CHANGED`, naming the object.
    fn wait(&mut self, patience: Duration) -> Option<Result<Box<dyn RangeBytes>, Failure>>;
}

/// A range that is there.
pub trait RangeBytes: Send {
    /// Reads some bytes at `offset` from the range's beginning; 0 only at its end.
    ///
    /// # Errors
    ///
    /// If whatever holds it cannot be read.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl RangeBytes for Vec<u8> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl RangeBytes for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, offset)
    }
}

/// Bytes of a window, and those that are taken.
#[derive(Debug)]
struct Budget {
    range: u64,
    window: u64,
    held: AtomicU64,
}

impl Budget {
    /// That of an attempt with so much memory.
    fn of(attempt_bytes: ByteSize) -> Self {
        let window = (attempt_bytes.bytes() / WINDOW_SHARE).min(MAX_WINDOW_BYTES);
        let range = (window / RANGES_IN_WINDOW).clamp(MIN_RANGE_BYTES, MAX_RANGE_BYTES);
        Self { range, window, held: AtomicU64::new(0) }
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.held.load(Ordering::Relaxed) + bytes <= self.window
    }
}

/// Opens objects of stores through a [`RangeSource`], and local ones as they are.
#[derive(Debug)]
pub struct WindowedObjects {
    fetching: Fetching,
    ahead: Arc<Mutex<Ahead>>,
}

/// Where one attempt's ranges come from, how many there may be, and whether they are still wanted.
#[derive(Debug, Clone)]
struct Fetching {
    source: Arc<dyn RangeSource>,
    budget: Arc<Budget>,
    cancelled: Arc<AtomicBool>,
}

impl Fetching {
    fn chunk(&self, object: &InputObject, range: Range<u64>) -> Chunk {
        Chunk::begin(self.source.as_ref(), &self.budget, object, range)
    }

    /// Whether it is fetched in one piece.
    fn is_small(&self, object: &InputObject) -> bool {
        object.size <= self.budget.range
    }

    /// Begins as much of `wanted` as there is room for, range by range; whether that was all.
    fn begin_some(&self, object: &InputObject, wanted: &mut Range<u64>, chunks: &mut VecDeque<Chunk>) -> bool {
        while !wanted.is_empty() {
            let end = wanted.end.min(wanted.start + self.budget.range);
            if !self.budget.has_room(end - wanted.start) {
                return false;
            }
            chunks.push_back(self.chunk(object, wanted.start..end));
            wanted.start = end;
        }
        true
    }
}

/// Objects that will be opened, in this order, and what is on its way of them.
#[derive(Debug, Default)]
struct Ahead {
    objects: VecDeque<AheadObject>,
}

/// An object that is not open yet.
#[derive(Debug)]
struct AheadObject {
    object: Arc<InputObject>,
    /// From its beginning on.
    chunks: VecDeque<Chunk>,
    /// What is not begun.
    rest: Range<u64>,
}

impl Ahead {
    fn of(ahead: &Mutex<Self>) -> MutexGuard<'_, Self> {
        ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of pieces that follow what it knows already, up to the first that is not read from its
    /// object's beginning.
    fn announce(&mut self, pieces: &[Piece], fetching: &Fetching) {
        for piece in pieces.iter().take(MAX_OBJECTS_AHEAD) {
            if piece.object.uri.local_path().is_some() || piece.start > 0 || self.objects.len() >= MAX_OBJECTS_AHEAD {
                return;
            }
            if !self.objects.iter().any(|known| known.object == piece.object) {
                let is_small = fetching.is_small(&piece.object);
                let end = if is_small { piece.object.size } else { piece.end };
                let object = Arc::clone(&piece.object);
                self.objects.push_back(AheadObject { object, chunks: VecDeque::new(), rest: 0..end });
            }
        }
    }

    /// Begins what comes next, as far as there is room and `may_begin` it.
    fn begin(&mut self, fetching: &Fetching, may_begin: impl Fn(&InputObject) -> bool) {
        for next in self.objects.iter_mut().filter(|next| !next.rest.is_empty()) {
            if !may_begin(&next.object) || !fetching.begin_some(&next.object, &mut next.rest, &mut next.chunks) {
                return;
            }
        }
    }

    /// What is on its way of an object that is opened. What was announced before it is not read any more.
    fn take(&mut self, object: &InputObject) -> VecDeque<Chunk> {
        let place = self.objects.iter().position(|known| *known.object == *object);
        let taken = place.and_then(|place| self.objects.drain(..=place).next_back());
        taken.map(|taken| taken.chunks).unwrap_or_default()
    }
}

impl WindowedObjects {
    /// A reader for attempts of a job with so much memory for each.
    pub fn new(source: Arc<dyn RangeSource>, attempt_bytes: ByteSize) -> Self {
        let fetching = Fetching { source, budget: Arc::new(Budget::of(attempt_bytes)), cancelled: Arc::default() };
        Self { fetching, ahead: Arc::default() }
    }
}

impl ObjectReader for WindowedObjects {
    fn open(&self, object: &InputObject) -> Result<Box<dyn OpenObject>, Failure> {
        if object.uri.local_path().is_some() {
            return LOCAL.open(object);
        }
        let chunks = Ahead::of(&self.ahead).take(object);
        // An announcement goes on where these end.
        let announced = 0..chunks.back().map_or(0, |chunk| chunk.range.end);
        let window = RefCell::new(Window { chunks, announced, ..Window::default() });
        let (fetching, ahead) = (self.fetching.clone(), Arc::clone(&self.ahead));
        Ok(Box::new(WindowedObject { fetching, ahead, object: object.clone(), window }))
    }

    fn will_open(&self, pieces: &[Piece]) {
        let mut ahead = Ahead::of(&self.ahead);
        ahead.announce(pieces, &self.fetching);
        // Larger ones wait until the one before them is wholly on its way: they would take its room.
        ahead.begin(&self.fetching, |object| self.fetching.is_small(object));
    }

    fn until(&self, cancelled: &Arc<AtomicBool>) -> Arc<dyn ObjectReader> {
        let Budget { range, window, .. } = *self.fetching.budget;
        let fetching = Fetching {
            source: Arc::clone(&self.fetching.source),
            budget: Arc::new(Budget { range, window, held: AtomicU64::new(0) }),
            cancelled: Arc::clone(cancelled),
        };
        Arc::new(Self { fetching, ahead: Arc::default() })
    }
}

/// Opens local files for every reader.
static LOCAL: LocalObjects = LocalObjects;

/// A range of an object that is there or on its way.
struct Chunk {
    range: Range<u64>,
    /// Bytes from its beginning up to which it has been read.
    used: u64,
    data: Data,
    budget: Arc<Budget>,
}

enum Data {
    Pending(Box<dyn PendingRange>),
    There(Box<dyn RangeBytes>),
}

impl Chunk {
    fn begin(source: &dyn RangeSource, budget: &Arc<Budget>, object: &InputObject, range: Range<u64>) -> Self {
        budget.held.fetch_add(range.end - range.start, Ordering::Relaxed);
        let data = Data::Pending(source.begin(object, range.clone()));
        Self { range, used: 0, data, budget: Arc::clone(budget) }
    }

    /// Its bytes, waited for.
    fn bytes(&mut self, cancelled: &AtomicBool) -> Result<&dyn RangeBytes, Failure> {
        while let Data::Pending(pending) = &mut self.data {
            if let Some(result) = pending.wait(LOOK_EVERY) {
                self.data = Data::There(result?);
            } else if cancelled.load(Ordering::Relaxed) {
                return Err(Failure::new(FailureCode::Cancelled, "the attempt was cancelled"));
            }
        }
        match &self.data {
            Data::There(bytes) => Ok(bytes.as_ref()),
            Data::Pending(_) => unreachable!("it was just waited for"),
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.range.end - self.range.start, Ordering::Relaxed);
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("range", &self.range).field("used", &self.used).finish_non_exhaustive()
    }
}

/// What is there of an object, and what was announced and does not fit yet.
#[derive(Debug, Default)]
struct Window {
    /// In the order in which they were asked for.
    chunks: VecDeque<Chunk>,
    wanted: VecDeque<Range<u64>>,
    /// What the last announcements that followed each other came to.
    announced: Range<u64>,
}

/// An open object of a store.
struct WindowedObject {
    fetching: Fetching,
    ahead: Arc<Mutex<Ahead>>,
    object: InputObject,
    window: RefCell<Window>,
}

impl WindowedObject {
    /// Begins what was announced, as far as there is room, and then what will be opened next.
    fn go_ahead(&self, window: &mut Window) {
        while let Some(wanted) = window.wanted.front_mut() {
            if !self.fetching.begin_some(&self.object, wanted, &mut window.chunks) {
                return;
            }
            window.wanted.pop_front();
        }
        // Before all of it was announced, more of it is what comes next.
        if window.announced.end >= self.object.size {
            Ahead::of(&self.ahead).begin(&self.fetching, |_| true);
        }
    }

    /// Begins to fetch what holds `offset` and was not announced, or not begun yet.
    fn demand(&self, window: &mut Window, offset: u64, bytes: u64) {
        if self.fetching.is_small(&self.object) {
            window.chunks.push_back(self.fetching.chunk(&self.object, 0..self.object.size));
            return;
        }
        let range_bytes = self.fetching.budget.range;
        let announced = window.wanted.iter_mut().find(|wanted| wanted.contains(&offset));
        let mut end = match announced {
            Some(wanted) => {
                let end = wanted.end.min(offset + range_bytes);
                // What lies before has been passed over.
                wanted.start = end;
                end
            }
            None => offset + bytes.clamp(MIN_RANGE_BYTES, range_bytes.max(MIN_RANGE_BYTES)),
        };
        window.wanted.retain(|wanted| !wanted.is_empty());
        let others = window.chunks.iter().map(|chunk| chunk.range.start).chain([self.object.size]);
        end = others.filter(|start| *start > offset).fold(end, u64::min);
        while !self.fetching.budget.has_room(end - offset) && window.chunks.pop_front().is_some() {}
        window.chunks.push_back(self.fetching.chunk(&self.object, offset..end));
    }
}

impl WindowedObject {
    fn read_chunk(&self, chunk: &mut Chunk, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (start, bytes) = (chunk.range.start, chunk.range.end - chunk.range.start);
        let within = offset - start;
        let there = chunk.bytes(&self.fetching.cancelled);
        let there = there.map_err(|failure| io::Error::new(io::ErrorKind::InvalidData, failure))?;
        let read = there.read_at(into, within)?;
        if read == 0 {
            let message = format!("cannot read input {}: bytes {start} on came short of {bytes}", self.object.uri);
            let failure = Failure::new(FailureCode::InputUnreadable, message);
            return Err(io::Error::new(io::ErrorKind::InvalidData, failure));
        }
        chunk.used = chunk.used.max(within + read as u64);
        Ok(read)
    }
}

impl OpenObject for WindowedObject {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.object.size || into.is_empty() {
            return Ok(0);
        }
        let mut window = self.window.borrow_mut();
        let holds = |chunk: &Chunk| chunk.range.contains(&offset);
        if !window.chunks.iter().any(holds) {
            self.demand(&mut window, offset, into.len() as u64);
        }
        let index = window.chunks.iter().position(holds).expect("it was just asked for");
        let result = self.read_chunk(&mut window.chunks[index], into, offset);
        let chunk = &window.chunks[index];
        // One that failed is asked for again if it is read again.
        if result.is_err() || chunk.used >= chunk.range.end - chunk.range.start {
            window.chunks.remove(index);
        }
        self.go_ahead(&mut window);
        result
    }

    fn will_read(&self, offset: u64, bytes: u64) {
        let mut window = self.window.borrow_mut();
        let mut range = offset..offset.saturating_add(bytes).min(self.object.size);
        if self.fetching.is_small(&self.object) {
            if window.chunks.is_empty() && window.wanted.is_empty() && !range.is_empty() {
                window.wanted.push_back(0..self.object.size);
            }
            window.announced = 0..self.object.size;
        } else {
            // An announcement may repeat the end of the one before.
            let goes_on = window.announced.start <= offset && offset <= window.announced.end;
            range.start = if goes_on { window.announced.end } else { offset };
            let start = if goes_on { window.announced.start } else { offset };
            window.announced = start..range.end.max(range.start);
            if !range.is_empty() {
                window.wanted.push_back(range);
            }
        }
        self.go_ahead(&mut window);
    }

    fn ahead_bytes(&self) -> u64 {
        self.fetching.budget.window
    }

    fn check(&self) -> Result<(), Failure> {
        // Every range was checked against the pin when it came.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store in memory that notes what it is asked for and holds back what the test says.
    #[derive(Debug)]
    struct Noted {
        bytes: Vec<u8>,
        asked: Mutex<Vec<Range<u64>>>,
        fails: AtomicBool,
        stalls: AtomicBool,
    }

    struct Ready(Option<Result<Vec<u8>, Failure>>);

    impl PendingRange for Ready {
        fn wait(&mut self, _patience: Duration) -> Option<Result<Box<dyn RangeBytes>, Failure>> {
            Some(self.0.take()?.map(|bytes| Box::new(bytes) as Box<dyn RangeBytes>))
        }
    }

    impl RangeSource for Noted {
        fn begin(&self, object: &InputObject, range: Range<u64>) -> Box<dyn PendingRange> {
            self.asked.lock().expect("no panic").push(range.clone());
            let bytes = self.bytes[range.start as usize..range.end as usize].to_vec();
            let failed = || Failure::new(FailureCode::InputUnreadable, format!("cannot read input {}: no", object.uri));
            let result = if self.fails.swap(false, Ordering::Relaxed) { Err(failed()) } else { Ok(bytes) };
            Box::new(Ready((!self.stalls.load(Ordering::Relaxed)).then_some(result)))
        }
    }

    impl Noted {
        fn asked(&self) -> Vec<Range<u64>> {
            std::mem::take(&mut *self.asked.lock().expect("no panic"))
        }
    }

    fn object(key: &str, size: usize) -> InputObject {
        let uri = format!("s3://bucket/{key}").parse().expect("a URI");
        InputObject { uri, size: size as u64, modified_micros: None, etag: None, form: None }
    }

    fn store(size: usize) -> Arc<Noted> {
        let bytes = (0..size).map(|at| (at % 251) as u8).collect();
        Arc::new(Noted {
            bytes,
            asked: Mutex::default(),
            fails: AtomicBool::new(false),
            stalls: AtomicBool::new(false),
        })
    }

    /// Five ranges of 256 KiB.
    const MEMORY: ByteSize = ByteSize::mib(5);
    const RANGE: u64 = 256 << 10;

    fn read(open: &dyn OpenObject, from: u64, bytes: usize) -> Vec<u8> {
        let mut all = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match open.read_at(&mut all[filled..], from + filled as u64).expect("readable") {
                0 => break,
                read => filled += read,
            }
        }
        all.truncate(filled);
        all
    }

    #[test]
    fn announced_ranges_are_on_their_way_and_never_more_than_the_window() {
        let (source, size) = (store(3 << 20), 3 << 20);
        let objects = WindowedObjects::new(source.clone(), MEMORY);
        let planned = object("a", size);
        let open = objects.open(&planned).expect("opened");
        assert_eq!(open.ahead_bytes(), 5 * RANGE);
        open.will_read(100, 2 << 20);
        assert_eq!(source.asked(), (0..5).map(|n| 100 + n * RANGE..100 + (n + 1) * RANGE).collect::<Vec<_>>());
        assert_eq!(read(open.as_ref(), 100, 1 << 20), source.bytes[100..100 + (1 << 20)]);
        assert_eq!(source.asked().len(), 3);
        // Announced again from where the last announcement ended, and partly twice.
        open.will_read(100, 3 << 20);
        assert_eq!(read(open.as_ref(), 100 + (1 << 20), 4 << 20), source.bytes[100 + (1 << 20)..]);
        let asked = source.asked();
        assert_eq!(
            (asked.first().map(|range| range.start), asked.last().map(|range| range.end)),
            (Some(100 + (2 << 20)), Some(3 << 20))
        );
        assert_eq!(objects.fetching.budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_was_not_announced_is_fetched_when_it_is_read() {
        let source = store(3 << 20);
        let objects = WindowedObjects::new(source.clone(), MEMORY);
        let planned = object("a", 3 << 20);
        let open = objects.open(&planned).expect("opened");
        assert_eq!(read(open.as_ref(), 1 << 20, 10), source.bytes[1 << 20..(1 << 20) + 10]);
        assert_eq!(read(open.as_ref(), 0, 10), source.bytes[..10]);
        assert_eq!(read(open.as_ref(), (1 << 20) + 10, 10), source.bytes[(1 << 20) + 10..(1 << 20) + 20]);
        assert_eq!(source.asked(), [1 << 20..(1 << 20) + MIN_RANGE_BYTES, 0..MIN_RANGE_BYTES]);
        assert_eq!(read(open.as_ref(), 3 << 20, 1), b"");
    }

    #[test]
    fn small_objects_come_whole_and_before_they_are_opened() {
        let source = store(1000);
        let objects = WindowedObjects::new(source.clone(), MEMORY);
        let piece = |key: &str| Piece { object: Arc::new(object(key, 1000)), start: 0, end: 1000 };
        let pieces = [piece("a"), piece("b"), piece("c")];
        objects.will_open(&pieces);
        objects.will_open(&pieces[1..]);
        assert_eq!(source.asked(), [0..1000, 0..1000, 0..1000]);
        for planned in [&pieces[0].object, &pieces[2].object] {
            let open = objects.open(planned).expect("opened");
            open.will_read(0, 1000);
            assert_eq!(read(open.as_ref(), 10, 990), source.bytes[10..]);
        }
        // The one that was left out is given up.
        assert_eq!((source.asked(), objects.fetching.budget.held.load(Ordering::Relaxed)), (vec![], 0));
    }

    #[test]
    fn the_next_large_object_is_on_its_way_once_all_of_the_open_one_is() {
        let source = store(3 << 20);
        let objects = WindowedObjects::new(source.clone(), MEMORY);
        let piece = |key: &str, end: u64| Piece { object: Arc::new(object(key, 3 << 20)), start: 0, end };
        let pieces = [piece("a", 3 << 20), piece("b", 1 << 20)];
        objects.will_open(&pieces[1..]);
        assert_eq!(source.asked(), []);
        let open = objects.open(&pieces[0].object).expect("opened");
        open.will_read(0, 2 << 20);
        assert_eq!(read(open.as_ref(), 0, 2 << 20), source.bytes[..2 << 20]);
        // More of the open one may come: nothing else takes its room.
        assert_eq!(source.asked().len(), 8);
        open.will_read(2 << 20, 1 << 20);
        assert_eq!(
            source.asked().iter().map(|range| range.start).collect::<Vec<_>>(),
            [8, 9, 10, 11, 0].map(|n| n * RANGE)
        );
        assert_eq!(read(open.as_ref(), 2 << 20, 1 << 20), source.bytes[2 << 20..]);
        drop(open);
        // Three ranges more, and no byte beyond the piece.
        assert_eq!(source.asked(), [RANGE..2 * RANGE, 2 * RANGE..3 * RANGE, 3 * RANGE..4 * RANGE]);
        let next = objects.open(&pieces[1].object).expect("opened");
        next.will_read(0, 1 << 20);
        assert_eq!(read(next.as_ref(), 0, 1 << 20), source.bytes[..1 << 20]);
        assert_eq!((source.asked(), objects.fetching.budget.held.load(Ordering::Relaxed)), (vec![], 0));
    }

    #[test]
    fn failures_travel_and_the_range_is_asked_for_again() {
        let source = store(1000);
        let objects = WindowedObjects::new(source.clone(), MEMORY);
        source.fails.store(true, Ordering::Relaxed);
        let planned = object("a", 1000);
        let failure = objects.read_whole(&planned).expect_err("it fails once");
        assert_eq!(failure.message, "cannot read input s3://bucket/a: no");
        assert_eq!(objects.read_whole(&planned).expect("it is there"), source.bytes);
    }

    #[test]
    fn a_cancelled_attempt_waits_no_longer() {
        let source = store(1000);
        source.stalls.store(true, Ordering::Relaxed);
        let cancelled = Arc::new(AtomicBool::new(true));
        let objects = WindowedObjects::new(source, MEMORY).until(&cancelled);
        let failure = objects.read_whole(&object("a", 1000)).expect_err("cancelled");
        assert_eq!(failure.code, FailureCode::Cancelled);
    }
}
