//! The staged parts of one attempt beside its first one: those of named outputs, any number of them up to a bound, in
//! memory and open files that do not grow with it; and the places of further parts of the main output. What is pending
//! of all of them is counted together.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gristmill_common::compression::EncodedPart;
use gristmill_common::durable::{NotDurable, force_all};
use gristmill_common::failure::Failure;
use gristmill_common::output_name::{MAX_NAMES, MAX_NAMES_BYTES, OutputName, OutputNameError};
use gristmill_common::part_name::PartName;
use gristmill_common::removal::remove_tree;
use gristmill_common::size::ByteSize;
use gristmill_common::task::NamedPart;
use xxhash_rust::xxh3::Xxh3;

use super::coding::{Coding, StoredAs};
use super::rows::{RowEncoder, RowFormat};
use crate::engine::failures;

/// The part of an attempt's memory that pending records may take, and as much again for what is known of
/// each name. Both fit into the quarter of it that tables and sort buffers leave.
const SHARE: usize = 16;

/// The most bytes of pending records. More make writes larger than file systems care about.
const MAX_PENDING_BYTES: usize = 8 << 20;

/// Memory of one name: the state of its checksum, its text, its place in the list.
const NAME_BYTES: usize = 1 << 10;

/// Pending bytes of one part that are written without waiting for others.
const PIECE_BYTES: usize = 256 << 10;

/// The most memory for what formats have to remember of the pieces of all parts: tables of frames. Beyond,
/// parts are written without, and each is read by one task.
const MAX_TABLE_BYTES: usize = 1 << 20;

/// Files kept open. More save opening a file again for a write where records of many names alternate;
/// every attempt that runs at the same time has as many.
const OPEN_FILES: usize = 16;

/// Why no record can be put to a name.
#[derive(Debug)]
pub(in crate::engine) enum Unnameable {
    /// No output can have it.
    Wrong(OutputNameError),
    /// There are too many.
    TooMany(Failure),
}

/// The named parts of one attempt, known by number in the order of their first record. Removed when
/// dropped before [`finish`](Self::finish).
#[derive(Debug)]
pub(in crate::engine) struct NamedParts {
    /// Made with the first file in it.
    folder: PathBuf,
    header: Vec<u8>,
    /// What becomes of the rows that are pending, if rows are.
    format: Option<RowFormat>,
    limits: Limits,
    stored_as: StoredAs,
    /// Made with the first write.
    coding: Option<Coding>,
    /// What the parts' formats have to remember, all together.
    table_bytes: usize,
    /// The part of each output that is written now.
    numbers: HashMap<OutputName, usize>,
    parts: Vec<Part>,
    names_bytes: usize,
    /// The part that was put to last: the next record is likely to be of the same.
    last: usize,
    /// Memory that what is pending takes.
    held: usize,
    /// Parts whose files are open, the one written to longest ago first.
    open: VecDeque<usize>,
    keep: bool,
    /// Whether they lie in scratch.
    spooled: bool,
}

/// How much an attempt of this memory may have.
#[derive(Debug, Clone, Copy)]
struct Limits {
    attempt: ByteSize,
    pending: usize,
    /// Of one part, which is then written without waiting for others.
    piece: usize,
    names: usize,
}

/// What a part holds that was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) records: u64,
    pub(super) hash: Box<Xxh3>,
}

/// One part.
struct Part {
    name: PartName,
    pending: Vec<u8>,
    /// Takes rows, once there are some.
    encoder: Option<RowEncoder>,
    file: Option<File>,
    /// Whether its file is there.
    created: bool,
    /// Whether it is whole, or written elsewhere.
    ended: bool,
    encoded: Option<EncodedPart>,
    bytes: u64,
    records: u64,
    hash: Box<Xxh3>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("records", &self.records).finish_non_exhaustive()
    }
}

impl Limits {
    fn of(attempt: ByteSize, format: Option<&RowFormat>) -> Self {
        let share = attempt.as_usize() / SHARE;
        let pending = share.min(MAX_PENDING_BYTES);
        let (piece, name) =
            format.map_or((PIECE_BYTES, 0), |format| (format.batch_bytes().min(pending / 2), format.file_bytes()));
        let names = (share / (NAME_BYTES + name)).clamp(1, MAX_NAMES);
        Self { attempt, pending, piece, names }
    }

    /// The same, where no more of a part is to be pending than makes one.
    fn in_parts_of(self, part_bytes: u64) -> Self {
        let most = usize::try_from(part_bytes).unwrap_or(usize::MAX);
        Self { piece: self.piece.min(most), ..self }
    }

    /// Why there can be no further name.
    fn exceeded(&self, names: usize, names_bytes: usize) -> Option<Failure> {
        if names_bytes > MAX_NAMES_BYTES {
            let message = format!("the names of an attempt's named outputs take more than {MAX_NAMES_BYTES} bytes");
            return Some(failures::user_error(message));
        }
        if names < self.names {
            return None;
        }
        let (most, memory) = (self.names, self.attempt);
        let way_out = if most < MAX_NAMES { "raise --memory or " } else { "" };
        let message = format!(
            "an attempt with {memory} of memory cannot write to more than {most} named outputs or further parts \
             ({way_out}divide the names among more tasks, or raise --part-size)"
        );
        Some(failures::user_error(message))
    }
}

impl NamedParts {
    /// None yet: their files go into `folder`, which is not there, and begin with `header`, or as a format says.
    pub(super) fn new(folder: PathBuf, header: Vec<u8>, format: Option<RowFormat>, stored_as: StoredAs) -> Self {
        Self {
            folder,
            header,
            limits: Limits::of(stored_as.attempt_bytes, format.as_ref()).in_parts_of(stored_as.part_bytes),
            format,
            stored_as,
            coding: None,
            table_bytes: 0,
            numbers: HashMap::new(),
            parts: Vec::new(),
            names_bytes: 0,
            last: 0,
            held: 0,
            open: VecDeque::new(),
            keep: false,
            spooled: false,
        }
    }

    /// The same; `spooled` says that they lie in scratch, to be sent to a store.
    pub(super) fn in_scratch(mut self, spooled: bool) -> Self {
        self.spooled = spooled;
        self
    }

    /// The number of the part of this name, to put a record to at once.
    #[inline]
    pub(super) fn number(&mut self, name: &str) -> Result<usize, Unnameable> {
        if self.parts.get(self.last).is_some_and(|part| part.name.output() == Some(name) && !part.ended) {
            return Ok(self.last);
        }
        self.last = match self.numbers.get(name) {
            Some(&number) => self.unended(number).map_err(Unnameable::TooMany)?,
            None => self.begin(name.parse().map_err(Unnameable::Wrong)?).map_err(Unnameable::TooMany)?,
        };
        Ok(self.last)
    }

    /// The part of a named output that takes the next record: this one, or, if it is whole, another one behind it.
    fn unended(&mut self, number: usize) -> Result<usize, Failure> {
        let Part { name, ended, .. } = &self.parts[number];
        if !*ended {
            return Ok(number);
        }
        let next = self.add(name.next())?;
        if let Some(output) = self.parts[number].name.output()
            && let Some(number) = self.numbers.get_mut(output)
        {
            *number = next;
        }
        Ok(next)
    }

    /// Begins a named output.
    fn begin(&mut self, output: OutputName) -> Result<usize, Failure> {
        let number = self.add(output.clone().into())?;
        self.numbers.insert(output, number);
        Ok(number)
    }

    fn add(&mut self, name: PartName) -> Result<usize, Failure> {
        let (number, names_bytes) = (self.parts.len(), self.names_bytes + name.to_string().len());
        if let Some(failure) = self.limits.exceeded(number, names_bytes) {
            return Err(failure);
        }
        self.names_bytes = names_bytes;
        let (pending, hash) = (self.header.clone(), Box::new(Xxh3::new()));
        self.held += pending.capacity();
        let (encoder, file, created, ended, encoded) = (None, None, false, false, None);
        self.parts.push(Part { name, pending, encoder, file, created, ended, encoded, bytes: 0, records: 0, hash });
        Ok(number)
    }

    /// Makes the file of a further part of the main output, which is written elsewhere: its number, and the file.
    ///
    /// # Errors
    ///
    /// If there are too many parts, or the file cannot be made.
    pub(super) fn begin_elsewhere(&mut self, name: PartName) -> Result<(usize, File), Failure> {
        let number = self.add(name)?;
        let part = &mut self.parts[number];
        self.held -= part.pending.capacity();
        part.pending = Vec::new();
        (part.created, part.ended) = (true, true);
        let path = self.folder.join(number.to_string());
        let made = create_folder(&self.folder).and_then(|()| File::create(&path));
        made.map(|file| (number, file)).map_err(|error| self.failed(number, &error))
    }

    /// Says what a part holds that was written elsewhere.
    pub(super) fn end_elsewhere(&mut self, number: usize, written: Written) {
        let part = &mut self.parts[number];
        (part.bytes, part.records, part.hash) = (written.bytes, written.records, written.hash);
    }

    /// What to say of a part written elsewhere that cannot be written.
    pub(super) fn failed_elsewhere(&self, number: usize, error: &io::Error) -> Failure {
        self.failed(number, error)
    }

    /// Puts one record, which `write` appends.
    #[inline]
    pub(super) fn put(
        &mut self,
        number: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let part = &mut self.parts[number];
        let before = part.pending.capacity();
        write(&mut part.pending)?;
        part.records += 1;
        self.held = self.held - before + part.pending.capacity();
        if part.pending.len() >= self.limits.piece {
            return self.write(number);
        }
        if self.held > self.limits.pending { self.make_room() } else { Ok(()) }
    }

    /// Puts one record that was written elsewhere to the part of a name.
    pub(in crate::engine) fn append(&mut self, name: &OutputName, record: &[u8]) -> Result<(), Failure> {
        let number = match self.numbers.get(name.as_str()) {
            Some(&number) => self.unended(number)?,
            None => self.begin(name.clone())?,
        };
        self.put(number, |pending| {
            pending.extend_from_slice(record);
            Ok(())
        })
    }

    /// Writes every part that holds at least half of an even share of what is pending; that is at least half
    /// of it all, so that looking at all parts costs little for each byte.
    #[cold]
    fn make_room(&mut self) -> Result<(), Failure> {
        let least = self.held / (2 * self.parts.len());
        for number in 0..self.parts.len() {
            if self.parts[number].pending.capacity() >= least.max(1) {
                self.write(number)?;
            }
        }
        Ok(())
    }

    /// Writes what is pending of one part, and gives its memory back. It ends if it has the size of a part.
    fn write(&mut self, number: usize) -> Result<(), Failure> {
        let content = self.take_content(number)?;
        self.store(number, &content, false).map_err(|error| self.failed(number, &error))?;
        if self.parts[number].bytes >= self.stored_as.part_bytes { self.end(number) } else { Ok(()) }
    }

    /// Writes what is left of one part, and what ends it.
    fn end(&mut self, number: usize) -> Result<(), Failure> {
        let mut content = self.take_content(number)?;
        if let Some(encoder) = self.parts[number].encoder.take() {
            encoder.finish(&mut content)?;
        }
        self.store(number, &content, true).map_err(|error| self.failed(number, &error))?;
        self.open.retain(|other| *other != number);
        (self.parts[number].file, self.parts[number].ended) = (None, true);
        Ok(())
    }

    /// What is pending of one part, as it is stored.
    fn take_content(&mut self, number: usize) -> Result<Vec<u8>, Failure> {
        let part = &mut self.parts[number];
        let mut pending = std::mem::take(&mut part.pending);
        self.held -= pending.capacity();
        let Some(format) = &self.format else { return Ok(pending) };
        if pending.is_empty() && part.encoder.is_some() {
            return Ok(pending);
        }
        let mut content = Vec::new();
        let mut encoder = part.encoder.take().map_or_else(|| format.begin(&mut content), Ok)?;
        encoder.encode(&mut pending, &mut content)?;
        part.encoder = Some(encoder);
        Ok(content)
    }

    /// Writes what stands for some content of a part, and for its end if it `ends`.
    fn store(&mut self, number: usize, content: &[u8], ends: bool) -> io::Result<()> {
        self.open(number)?;
        let coding = match &mut self.coding {
            Some(coding) => coding,
            none => none.insert(Coding::new(self.stored_as)?),
        };
        let Part { file, created, encoded, bytes, hash, .. } = &mut self.parts[number];
        if !*created {
            *encoded = coding.begin();
            *created = true;
        }
        let Some(file) = file else { return Err(io::Error::other("its file is not open")) };
        let memory = |encoded: &Option<EncodedPart>| encoded.as_ref().map_or(0, EncodedPart::memory);
        let before = memory(encoded);
        let mut write = |stored: &[u8]| {
            hash.update(stored);
            *bytes += stored.len() as u64;
            file.write_all(stored)
        };
        coding.store(encoded, content, &mut write)?;
        if ends {
            coding.end(encoded, &mut write)?;
        }
        self.table_bytes = self.table_bytes + memory(encoded) - before;
        if self.table_bytes > MAX_TABLE_BYTES {
            // So many small pieces that nobody would be helped by finding them.
            self.parts.iter_mut().filter_map(|part| part.encoded.as_mut()).for_each(EncodedPart::give_up_table);
            self.table_bytes = 0;
        }
        Ok(())
    }

    /// The file of a part, opened where it ends. Another one may be closed for it.
    fn open(&mut self, number: usize) -> io::Result<&File> {
        let path = self.folder.join(number.to_string());
        let part = &mut self.parts[number];
        let file = match part.file.take() {
            Some(file) => {
                self.open.retain(|other| *other != number);
                file
            }
            None if part.created => File::options().append(true).open(path)?,
            None => {
                create_folder(&self.folder)?;
                File::create(path)?
            }
        };
        if self.open.len() == OPEN_FILES
            && let Some(oldest) = self.open.pop_front()
        {
            self.parts[oldest].file = None;
        }
        self.open.push_back(number);
        Ok(self.parts[number].file.insert(file))
    }

    fn failed(&self, number: usize, error: &io::Error) -> Failure {
        let name = &self.parts[number].name;
        let what = match name.output() {
            Some(output) => format!("the part of named output {output:?}"),
            None => format!("further part {}", name.number()),
        };
        failures::staging_failed(&what, &self.folder.join(number.to_string()), error, self.spooled)
    }

    /// Writes what is left and says what the parts hold.
    pub(super) fn finish(mut self, fsync: bool) -> Result<Box<[NamedPart]>, Failure> {
        for number in 0..self.parts.len() {
            let Part { pending, encoder, created, ended, .. } = &self.parts[number];
            let is_open = !created || !pending.is_empty() || encoder.is_some() || self.stored_as.codec.is_some();
            if is_open && !ended {
                self.end(number)?;
            }
        }
        if fsync && !self.parts.is_empty() {
            let files = (0..self.parts.len()).map(|number| self.folder.join(number.to_string()));
            let paths: Vec<PathBuf> = files.chain([self.folder.clone()]).collect();
            force_all(&paths)
                .map_err(|NotDurable { path, error }| failures::write_failed("named output", &path, &error))?;
        }
        self.keep = true;
        let summary = |Part { name, bytes, records, hash, .. }: Part| {
            let checksum = hash.digest();
            NamedPart { name, bytes, records, checksum, upload: None }
        };
        Ok(std::mem::take(&mut self.parts).into_iter().map(summary).collect())
    }
}

impl Drop for NamedParts {
    fn drop(&mut self) {
        if !self.keep && !self.parts.is_empty() {
            // The job's undo removes whatever this cannot.
            let _ = remove_tree(&self.folder);
        }
    }
}

/// Makes a folder unless it is there; not those above it, which are gone once a job is over.
fn create_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
