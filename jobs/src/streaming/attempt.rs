//! One attempt of a streaming job: its command while there is one, and the records between it and the
//! engine.
//!
//! A mapper reads one stretch of one input file, so that it can be told the file's name; the next file of
//! a split gets another process. A reducer reads all key groups of its task.

use std::sync::Arc;

use gristmill_common::input::{Block, Lines, Provenance};
use gristmill_common::job::{Result, Values};
use gristmill_common::text::LineRule;
use memchr::memchr;

use super::held::HeldRecords;
use super::listener::Listener;
use super::place::Place;
use super::process::{Process, Terms};
use super::records::{Format, Shape};
use super::settings::Settings;
use super::typed_bytes;

/// Bytes that are collected before a command is written to. More save calls of the system, fewer stay in
/// the cache.
const FEED_BYTES: usize = 128 << 10;

/// Bytes of a block that are written to a mapper before the record in hand is another one. More save
/// calls of the system; but a slow mapper must be through with so many before a record takes too long.
const PIECE_BYTES: usize = 256 << 10;

/// Where the records of a command go.
pub(super) trait Receiver {
    /// Takes one record.
    ///
    /// # Errors
    ///
    /// If it cannot: the attempt fails.
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Adds to a counter of the job.
    fn count(&mut self, name: &str, by: u64);
}

/// What commands of an attempt are started with.
#[derive(Debug)]
struct Starter {
    settings: Arc<Settings>,
    place: Place,
}

impl Starter {
    fn start(&self, role: &str, words: &[String], variables: &[(&str, String)]) -> Result<Process> {
        let Settings { lenient, max_record, ref reporter, .. } = *self.settings;
        let mut command = self.place.command(words);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let listener = Listener::new(reporter, self.place.task.clone());
        let name = format!("the {role} {:?}", words.join(" "));
        let cancelled = Arc::clone(&self.place.cancelled);
        Process::start(&mut command, Terms { name, lenient, max_record, cancelled }, listener)
    }
}

/// The state of an attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    starter: Arc<Starter>,
    process: Option<Process>,
    combiner: Option<Combiner>,
    /// What the command is still to be written.
    input: Vec<u8>,
    /// The file that the mapper reads, and where its next record begins.
    reading: Option<(String, u64)>,
}

impl Attempt {
    /// An attempt that has not begun.
    pub(super) fn new(settings: Arc<Settings>, place: Place) -> Self {
        let starter = Arc::new(Starter { settings, place });
        let combines = starter.settings.combiner.is_some();
        let combiner = combines.then(|| Combiner {
            starter: Arc::clone(&starter),
            held: HeldRecords::default(),
            sorted: Vec::new(),
        });
        Self { starter, process: None, combiner, input: Vec::new(), reading: None }
    }

    /// Maps a block of records.
    ///
    /// # Errors
    ///
    /// If the mapper fails, or `to` does.
    pub(super) fn map_block(&mut self, block: &mut Block<'_, Lines>, to: &mut impl Receiver) -> Result<()> {
        let settings = Arc::clone(&self.starter.settings);
        if settings.mapper.is_none() {
            let mut to = Combining { combiner: self.combiner.as_mut(), to };
            while let Some(record) = block.next_raw() {
                let (key, value) = settings.map_output.divide(record);
                to.record(key, value)?;
            }
            return Ok(());
        }
        let from = block.provenance();
        self.read_on(from, to)?;
        let input = &settings.map_input;
        if input.shape.format == Format::Text && !input.keys {
            self.feed_lines(block, to)?;
        } else {
            let mut offset = from.offset;
            while let Some(record) = block.next_raw() {
                let shape = &input.shape;
                match &input.lines {
                    Some(lines) => {
                        let (key, value) = lines.divide(record);
                        write_input(shape, key, value, &mut self.input);
                    }
                    None if shape.format == Format::TypedBytes => {
                        shape.write(&typed_bytes::long(offset), &typed_bytes::string(record), &mut self.input);
                    }
                    None if shape.format == Format::RawBytes => {
                        shape.write(&offset.to_be_bytes(), record, &mut self.input);
                    }
                    None => shape.write(offset.to_string().as_bytes(), record, &mut self.input),
                }
                offset = block.provenance().offset;
                self.feed(FEED_BYTES, to)?;
            }
        }
        if let Some((_, next)) = &mut self.reading {
            *next = block.provenance().offset;
        }
        Ok(())
    }

    /// Has a mapper running that reads from here on.
    fn read_on(&mut self, from: Provenance<'_>, to: &mut impl Receiver) -> Result<()> {
        if self.reading.as_ref().is_some_and(|(file, next)| file == from.object && *next == from.offset) {
            return Ok(());
        }
        self.finish_mapper(to)?;
        let file = from.object.to_owned();
        let start = from.offset.to_string();
        self.start_mapper(&[
            ("mapreduce_map_input_file", file.clone()),
            ("map_input_file", file.clone()),
            ("mapreduce_map_input_start", start.clone()),
            ("map_input_start", start),
        ])?;
        self.reading = Some((file, from.offset));
        Ok(())
    }

    fn start_mapper(&mut self, variables: &[(&str, String)]) -> Result<()> {
        if let Some(words) = &self.starter.settings.mapper {
            self.process = Some(self.starter.start("mapper", words, variables)?);
        }
        Ok(())
    }

    /// Hands on the values of a block as lines: all at once, where they end as they are to.
    fn feed_lines(&mut self, block: &mut Block<'_, Lines>, to: &mut impl Receiver) -> Result<()> {
        let rest = block.rest();
        let ends_alike = match block.rule() {
            LineRule::Lf | LineRule::Any => memchr(b'\r', rest).is_none(),
            LineRule::Quoted | LineRule::Delimiter(_) => false,
        };
        if ends_alike {
            self.feed(1, to)?;
            let mut place = 0;
            for piece in rest.chunks(PIECE_BYTES) {
                block.point_at(place);
                self.write(piece, to)?;
                place += piece.len();
            }
            block.skip_to_end();
            return if rest.is_empty() || rest.ends_with(b"\n") { Ok(()) } else { self.write(b"\n", to) };
        }
        while let Some(record) = block.next_raw() {
            self.input.extend_from_slice(record);
            self.input.push(b'\n');
            self.feed(FEED_BYTES, to)?;
        }
        Ok(())
    }

    /// Ends the map: the mapper's last records, then the combiner's.
    ///
    /// # Errors
    ///
    /// If a command fails, or `to` does.
    pub(super) fn finish_map(&mut self, to: &mut impl Receiver) -> Result<()> {
        if self.reading.is_none() {
            // There was nothing to read; some commands write something all the same.
            self.start_mapper(&[])?;
        }
        self.finish_mapper(to)?;
        match &mut self.combiner {
            Some(combiner) => combiner.run(to),
            None => Ok(()),
        }
    }

    fn finish_mapper(&mut self, to: &mut impl Receiver) -> Result<()> {
        self.feed(1, to)?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let mut to = Combining { combiner: self.combiner.as_mut(), to };
        finish(&mut process, &self.starter.settings.map_output, &mut to)
    }

    /// Writes what is collected to the mapper, if it is so many bytes.
    fn feed(&mut self, at_least: usize, to: &mut impl Receiver) -> Result<()> {
        if self.input.len() < at_least {
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        let result = self.write(&input, to);
        input.clear();
        self.input = input;
        result
    }

    fn write(&mut self, input: &[u8], to: &mut impl Receiver) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let mut to = Combining { combiner: self.combiner.as_mut(), to };
        feed(process, input, &self.starter.settings.map_output, &mut to)
    }

    /// Reduces one key group.
    ///
    /// # Errors
    ///
    /// If the reducer fails, or `to` does.
    pub(super) fn reduce(&mut self, key: &[u8], mut values: Values<'_, [u8]>, to: &mut impl Receiver) -> Result<()> {
        let settings = &self.starter.settings;
        let Some(words) = &settings.reducer else {
            return values.try_for_each(|value| to.record(key, value));
        };
        let process = match &mut self.process {
            Some(process) => process,
            none => none.insert(self.starter.start("reducer", words, &[])?),
        };
        while let Some(value) = values.next_ref() {
            settings.reduce_input.write(key, value, &mut self.input);
            if self.input.len() >= FEED_BYTES {
                feed(process, &self.input, &settings.reduce_output, to)?;
                self.input.clear();
            }
        }
        Ok(())
    }

    /// Ends the reduce.
    ///
    /// # Errors
    ///
    /// If the reducer fails, or `to` does.
    pub(super) fn finish_reduce(&mut self, to: &mut impl Receiver) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let output = &self.starter.settings.reduce_output;
        feed(&mut process, &self.input, output, to)?;
        finish(&mut process, output, to)
    }
}

/// Writes key and value of a line of input.
fn write_input(shape: &Shape, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match shape.format {
        Format::TypedBytes => shape.write(&typed_bytes::string(key), &typed_bytes::string(value), out),
        _ => shape.write(key, value, out),
    }
}

/// Writes to a command, and hands on what it writes meanwhile.
fn feed(process: &mut Process, input: &[u8], output: &Shape, to: &mut impl Receiver) -> Result<()> {
    process.feed(input, &mut |bytes, end| output.for_each(bytes, end, |key, value| to.record(key, value)))?;
    hand_counts(process, to);
    Ok(())
}

/// Waits for a command's end, and hands on what it writes until then.
fn finish(process: &mut Process, output: &Shape, to: &mut impl Receiver) -> Result<()> {
    process.finish(&mut |bytes, end| output.for_each(bytes, end, |key, value| to.record(key, value)))?;
    hand_counts(process, to);
    Ok(())
}

fn hand_counts(process: &mut Process, to: &mut impl Receiver) {
    for (name, by) in process.listener().take_counts() {
        to.count(&name, by);
    }
}

/// Combines the records of a map attempt.
#[derive(Debug)]
struct Combiner {
    starter: Arc<Starter>,
    /// Their keys as they are sorted.
    held: HeldRecords,
    /// Room for such a key.
    sorted: Vec<u8>,
}

impl Combiner {
    /// Takes one record, whose key is sorted by `sorted`; one that is too large is handed on.
    fn take(&mut self, sorted: &[u8], key: &[u8], value: &[u8], to: &mut impl Receiver) -> Result<()> {
        if !HeldRecords::could_hold(sorted.len(), value.len()) {
            return to.record(key, value);
        }
        if self.held.is_full(sorted.len(), value.len()) {
            self.run(to)?;
        }
        self.held.push(sorted, value);
        Ok(())
    }

    /// Combines what is held.
    fn run(&mut self, to: &mut impl Receiver) -> Result<()> {
        let settings = &self.starter.settings;
        let Some(words) = settings.combiner.as_ref().filter(|_| !self.held.is_empty()) else { return Ok(()) };
        let mut process = self.starter.start("combiner", words, &[])?;
        let mut input = Vec::with_capacity(2 * FEED_BYTES);
        self.held.drain(|key, value| {
            let key = settings.order.as_ref().map_or(key, |order| order.key_of(key));
            settings.reduce_input.write(key, value, &mut input);
            if input.len() >= FEED_BYTES {
                feed(&mut process, &input, &settings.map_output, to)?;
                input.clear();
            }
            Ok(())
        })?;
        feed(&mut process, &input, &settings.map_output, to)?;
        finish(&mut process, &settings.map_output, to)
    }
}

/// Takes records to a combiner, if there is one.
struct Combining<'c, R> {
    combiner: Option<&'c mut Combiner>,
    to: &'c mut R,
}

impl<R: Receiver> Receiver for Combining<'_, R> {
    #[inline]
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(combiner) = &mut self.combiner else { return self.to.record(key, value) };
        let mut sorted = std::mem::take(&mut combiner.sorted);
        sorted.clear();
        match &combiner.starter.settings.order {
            None => sorted.extend_from_slice(key),
            Some(order) => order.encode(key, &mut sorted),
        }
        let result = combiner.take(&sorted, key, value, self.to);
        combiner.sorted = sorted;
        result
    }

    fn count(&mut self, name: &str, by: u64) {
        self.to.count(name, by);
    }
}
