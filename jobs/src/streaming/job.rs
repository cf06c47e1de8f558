//! The two shapes of a streaming job, as the engine runs them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_common::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::attempt::{Attempt, Receiver};
use super::key_order::KeyOrder;
use super::place::Place;
use super::records::Format;
use super::settings::Settings;
use super::typed_bytes;

/// A streaming job with a reduce.
#[derive(Debug)]
pub(super) struct Reducing(Stream);

/// A streaming job whose mapper's output is the job's.
#[derive(Debug)]
pub(super) struct Mapping(Stream);

/// What both have: settings, and in an attempt its state. Only one thread runs an attempt, so nobody
/// ever waits for the lock.
#[derive(Debug)]
struct Stream {
    settings: Arc<Settings>,
    attempt: Option<Mutex<Attempt>>,
}

impl Stream {
    fn set_up(&self, task: &TaskContext<'_>) -> Result<Self> {
        let place = Place::prepare(task, &self.settings)?;
        let attempt = Attempt::new(Arc::clone(&self.settings), place);
        Ok(Self { settings: Arc::clone(&self.settings), attempt: Some(Mutex::new(attempt)) })
    }

    fn attempt(&self) -> Result<MutexGuard<'_, Attempt>> {
        let attempt = self.attempt.as_ref().ok_or_else(|| JobError::new("the attempt was not set up"))?;
        Ok(attempt.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn emitting<'a, E>(&'a self, out: &'a mut E) -> Emitting<'a, E> {
        Emitting { out, order: self.settings.order.as_ref(), key: Vec::new() }
    }

    fn writing<'a, S>(&'a self, out: &'a mut S) -> Writing<'a, S> {
        let format = if self.settings.map_only { &self.settings.map_output } else { &self.settings.reduce_output };
        Writing { out, format: format.format, separator: &self.settings.part_separator, line: Vec::new() }
    }
}

impl Reducing {
    pub(super) fn new(settings: Settings) -> Self {
        Self(Stream { settings: Arc::new(settings), attempt: None })
    }
}

impl Mapping {
    pub(super) fn new(settings: Settings) -> Self {
        Self(Stream { settings: Arc::new(settings), attempt: None })
    }
}

/// `map` is for engines that hand over records one by one, and ours hands over blocks.
const WHOLE_BLOCKS: &str = "a streaming job maps whole blocks";

impl MapReduce for Reducing {
    type Input = Lines;
    type Key = [u8];
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Raw<[u8], ()>;
    /// What a command makes of a record comes when it likes, or never.
    const RECORD_BY_RECORD: bool = false;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        self.0.set_up(task).map(|stream| Some(Self(stream)))
    }

    fn map(&self, _record: &[u8], _out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        Err(JobError::new(WHOLE_BLOCKS))
    }

    fn map_block(&self, block: &mut Block<'_, Lines>, out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        self.0.attempt()?.map_block(block, &mut self.0.emitting(out))
    }

    fn finish_map(&self, out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        self.0.attempt()?.finish_map(&mut self.0.emitting(out))
    }

    fn reduce(&self, key: &[u8], values: Values<[u8]>, out: &mut impl Sink<[u8]>) -> Result<()> {
        let key = self.0.settings.order.as_ref().map_or(key, |order| order.key_of(key));
        self.0.attempt()?.reduce(key, values, &mut self.0.writing(out))
    }

    fn finish_reduce(&self, out: &mut impl Sink<[u8]>) -> Result<()> {
        self.0.attempt()?.finish_reduce(&mut self.0.writing(out))
    }

    fn partition(&self, key: EncodedKey<'_>, partitions: u32) -> u32 {
        let Settings { order, partition, field_separator, .. } = &*self.0.settings;
        if order.is_none() && partition.is_empty() {
            return key.hash_partition(partitions);
        }
        let key = order.as_ref().map_or(key.bytes(), |order| order.key_of(key.bytes()));
        if partition.is_empty() {
            return EncodedKey::new(key).hash_partition(partitions);
        }
        let parts = partition.iter().filter_map(|field| field.of(key, field_separator));
        let hash = parts.fold(0_u64, |hash, part| hash.rotate_left(7) ^ xxh3_64(part));
        EncodedKey::new(&hash.to_be_bytes()).hash_partition(partitions)
    }
}

impl MapOnly for Mapping {
    type Input = Lines;
    type Output = Raw<[u8], ()>;
    /// What a command makes of a record comes when it likes, or never.
    const RECORD_BY_RECORD: bool = false;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        self.0.set_up(task).map(|stream| Some(Self(stream)))
    }

    fn map(&self, _record: &[u8], _out: &mut impl Sink<[u8]>) -> Result<()> {
        Err(JobError::new(WHOLE_BLOCKS))
    }

    fn map_block(&self, block: &mut Block<'_, Lines>, out: &mut impl Sink<[u8]>) -> Result<()> {
        self.0.attempt()?.map_block(block, &mut self.0.writing(out))
    }

    fn finish_map(&self, out: &mut impl Sink<[u8]>) -> Result<()> {
        self.0.attempt()?.finish_map(&mut self.0.writing(out))
    }
}

/// Hands records to the shuffle.
struct Emitting<'a, E> {
    out: &'a mut E,
    order: Option<&'a KeyOrder>,
    key: Vec<u8>,
}

impl<E: Emit<[u8], [u8]>> Receiver for Emitting<'_, E> {
    #[inline]
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(order) = self.order else { return self.out.emit(key, value) };
        self.key.clear();
        order.encode(key, &mut self.key);
        self.out.emit(&self.key, value)
    }

    fn count(&mut self, name: &str, by: u64) {
        self.out.count(name, by);
    }
}

/// Writes records into a part, as Hadoop's `TextOutputFormat` does.
struct Writing<'a, S> {
    out: &'a mut S,
    format: Format,
    separator: &'a [u8],
    line: Vec<u8>,
}

impl<S: Sink<[u8]>> Receiver for Writing<'_, S> {
    #[inline]
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.line.clear();
        match self.format {
            Format::KeyOnlyText => self.line.extend_from_slice(key),
            Format::Text | Format::RawBytes => {
                self.line.extend_from_slice(key);
                self.line.extend_from_slice(self.separator);
                self.line.extend_from_slice(value);
            }
            Format::TypedBytes => {
                typed_bytes::write_text(key, &mut self.line);
                self.line.extend_from_slice(self.separator);
                typed_bytes::write_text(value, &mut self.line);
            }
        }
        self.line.push(b'\n');
        self.out.put(&self.line, ())
    }

    fn count(&mut self, name: &str, by: u64) {
        self.out.count(name, by);
    }
}
