//! CSV (RFC 4180) with a header: rows with their numbers, so that an error can say where it is.
//!
//! A byte order mark is dropped, quoted values may span lines, blank lines are skipped, and an empty field is a missing
//! value except in text columns, where it is an empty text. A row may not exceed [`MAX_ROW`], since a quotation mark that
//! is never closed would otherwise read the rest of the file into memory.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use csv::{ByteRecord, ReaderBuilder};

use crate::{
    cells::{Inference, Place, Rows, classify},
    error::{InputError, SealError},
    schema::{Declared, Schema, check_names},
    source::{BUFFER, Batches, INFERENCE_ROWS, MAX_ROW, Stream},
};

/// The schema that the first rows suggest.
pub(crate) fn infer(stream: Stream, declared: &Declared) -> Result<Schema, SealError> {
    let mut reader = Reader::new(stream)?;
    let mut inference = Inference::new(reader.header.clone());
    while inference.rows() < INFERENCE_ROWS {
        let Some(place) = reader.next()? else { break };
        inference.row();
        for index in 0..reader.header.len() {
            let value = reader.value(index, place)?;
            if let Some(class) = classify(value) {
                inference.observe(index, class, value, place, declared)?;
            }
        }
    }
    Ok(inference.finish(declared)?)
}

/// All rows as batches of `schema`, whose columns must be the header's.
pub(crate) fn batches(stream: Stream, schema: &Schema) -> Result<Batches, SealError> {
    let mut reader = Reader::new(stream)?;
    if !schema.columns().iter().map(|column| &column.name).eq(&reader.header) {
        return Err(InputError::OtherSchema.into());
    }
    let mut rows = Rows::new(schema);
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            match reader.append_row(&mut rows) {
                Ok(Step::More) => {}
                Ok(Step::Full) => return Some(rows.finish()),
                Ok(Step::End) => return (!rows.is_empty()).then(|| rows.finish()),
                Err(error) => return Some(Err(error)),
            }
        }
    })))
}

enum Step {
    More,
    Full,
    End,
}

struct Reader {
    rows: csv::Reader<Metered>,
    unread: Rc<Cell<u64>>,
    header: Vec<String>,
    record: ByteRecord,
    row: u64,
}

impl Reader {
    fn new(stream: Stream) -> Result<Reader, SealError> {
        let unread = Rc::new(Cell::new(0));
        let metered = Metered { stream, since: Rc::clone(&unread) };
        let rows = ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(BUFFER).from_reader(metered);
        let mut reader = Reader { rows, unread, header: Vec::new(), record: ByteRecord::new(), row: 0 };
        if !reader.read()? {
            return Err(InputError::NoColumns.into());
        }
        for (index, name) in reader.record.iter().enumerate() {
            let name = std::str::from_utf8(name);
            let column = (index + 1).to_string();
            reader.header.push(name.map_err(|_| InputError::NotUtf8 { row: 0, line: 1, column })?.trim().to_owned());
        }
        check_names(reader.header.iter().map(String::as_str))?;
        Ok(reader)
    }

    /// Reads the next row, which then has as many fields as the header.
    fn next(&mut self) -> Result<Option<Place>, SealError> {
        if !self.read()? {
            return Ok(None);
        }
        self.row += 1;
        let line = self.record.position().map_or(0, csv::Position::line);
        let (found, expected) = (self.record.len(), self.header.len());
        if found != expected {
            return Err(InputError::Ragged { row: self.row, line, found, expected }.into());
        }
        Ok(Some(Place { row: self.row, line }))
    }

    fn value(&self, index: usize, place: Place) -> Result<&str, InputError> {
        std::str::from_utf8(self.record.get(index).unwrap_or_default()).map_err(|_| InputError::NotUtf8 {
            row: place.row,
            line: place.line,
            column: self.header.get(index).cloned().unwrap_or_default(),
        })
    }

    fn append_row(&mut self, rows: &mut Rows) -> Result<Step, SealError> {
        let Some(place) = self.next()? else { return Ok(Step::End) };
        for index in 0..self.header.len() {
            rows.append(index, Some(self.value(index, place)?), place)?;
        }
        Ok(if rows.end_row() { Step::Full } else { Step::More })
    }

    fn read(&mut self) -> Result<bool, SealError> {
        let read = self.rows.read_byte_record(&mut self.record);
        let too_long = self.unread.replace(0) > MAX_ROW;
        match read {
            Ok(more) => Ok(more),
            Err(_) if too_long => {
                Err(InputError::RowTooLong { row: self.row + u64::from(!self.header.is_empty()), limit: MAX_ROW }
                    .into())
            }
            Err(error) => Err(SealError::Read(match error.into_kind() {
                csv::ErrorKind::Io(error) => error,
                _ => io::ErrorKind::InvalidData.into(),
            })),
        }
    }
}

/// Fails once a single row has taken more than [`MAX_ROW`] bytes.
struct Metered {
    stream: Stream,
    since: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since.get() > MAX_ROW {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.stream.read(buffer)?;
        self.since.set(self.since.get() + read as u64);
        Ok(read)
    }
}
