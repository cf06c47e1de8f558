//! What stands for reading and writing Parquet files in a program that was built without: nothing can be opened.

use crate::form::Codec;
use crate::formats::schema::Schema;
use crate::objects::OpenObject;

use super::{ParquetProblem, RowForm, Wanted, WriteProblem};

/// What is said of every file.
const WITHOUT: &str = "this program was built without Parquet (its feature `parquet`)";

/// No file can be opened.
#[derive(Debug)]
pub enum ParquetFile {}

/// There are no rows.
#[derive(Debug)]
pub enum GroupRows {}

/// No file can be written.
#[derive(Debug)]
pub enum ParquetWriter {}

/// Whether files can be compressed so.
pub fn compresses_with(_codec: Codec) -> bool {
    false
}

impl ParquetFile {
    /// Opens nothing.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn open(_object: Box<dyn OpenObject>, _size: u64, _memory: u64) -> Result<Self, ParquetProblem> {
        Err(ParquetProblem::Damaged { row_group: None, column: None, reason: WITHOUT.to_owned() })
    }

    /// Not called.
    pub fn schema(&self) -> &Schema {
        match *self {}
    }

    /// Not called.
    pub fn with_object<T>(&self, _f: impl FnOnce(&dyn OpenObject) -> T) -> T {
        match *self {}
    }

    /// Not called.
    pub fn groups_in(&self, _start: u64, _end: u64) -> Vec<usize> {
        match *self {}
    }

    /// Not called.
    pub fn rows_before(&self, _group: usize) -> u64 {
        match *self {}
    }

    /// Not called.
    pub fn rows_of(&self, _group: usize) -> u64 {
        match *self {}
    }

    /// Not called.
    pub fn stored_place(&self, _group: usize) -> (u64, u64) {
        match *self {}
    }

    /// Not called.
    pub fn page_bytes(&self) -> u64 {
        match *self {}
    }

    /// Not called.
    pub fn read_group(&self, _group: usize, _wanted: &Wanted, _form: RowForm) -> Result<GroupRows, ParquetProblem> {
        match *self {}
    }
}

impl GroupRows {
    /// Not called.
    pub fn fill(&mut self, _out: &mut Vec<u8>, _most: usize) -> Result<usize, ParquetProblem> {
        match *self {}
    }
}

impl ParquetWriter {
    /// Opens nothing.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new(_schema: &Schema, _codec: Option<Codec>) -> Result<Self, WriteProblem> {
        Err(WriteProblem::File { reason: WITHOUT.to_owned() })
    }

    /// Not called.
    pub fn write_group(&mut self, _rows: &[u8], _out: &mut Vec<u8>) -> Result<(), WriteProblem> {
        match *self {}
    }

    /// Not called.
    pub fn finish(self, _out: &mut Vec<u8>) -> Result<(), WriteProblem> {
        match self {}
    }
}
