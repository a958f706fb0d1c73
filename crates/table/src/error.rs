//! What can be wrong with a table that is to be sealed, and what can go wrong while it is.
//!
//! [`InputError`] is the owner's to mend: each variant says where (row, line, column) and, on a line of its own, what to
//! do. Rows are counted from 1 at the first row of data, lines from 1 at the first line of the file. Values are quoted,
//! since the table is the owner's and the error is shown on the owner's machine only.

use crate::schema::SqlType;

/// What is wrong with the table that was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Neither the contents nor the name say which format it is.
    #[error("cannot tell which format `{name}` has\nhint: use a file ending in .csv, .jsonl, .arrow or .parquet")]
    UnknownFormat {
        /// The name that was given.
        name: String,
    },
    /// There is no row of data.
    #[error("the table has no rows\nhint: a header alone cannot be sealed; check that the file is complete")]
    Empty,
    /// There is no header, or a schema without columns.
    #[error("the table has no columns\nhint: the first line of a CSV file must name the columns")]
    NoColumns,
    /// More columns than a table may have.
    #[error("the table has {found} columns, more than the {limit} that are allowed")]
    TooManyColumns {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A column has no name.
    #[error("column {position} has no name\nhint: give every column of the header a name")]
    UnnamedColumn {
        /// Its place, counted from 1.
        position: usize,
    },
    /// A column's name is too long or contains control characters.
    #[error(
        "column {position} has the unusable name `{name}`\nhint: names have at most 1000 bytes and no control characters"
    )]
    BadName {
        /// Its place, counted from 1.
        position: usize,
        /// The name, shortened.
        name: String,
    },
    /// Two columns have the same name.
    #[error("column `{name}` is named twice: columns {first} and {second}\nhint: rename one of them")]
    DuplicateColumn {
        /// The name.
        name: String,
        /// The first place, counted from 1.
        first: usize,
        /// The second place.
        second: usize,
    },
    /// A row has more or fewer fields than the header.
    #[error(
        "row {row} (line {line}) has {found} fields, the header has {expected}\nhint: quote values that contain a comma"
    )]
    Ragged {
        /// The row.
        row: u64,
        /// The line on which the row starts.
        line: u64,
        /// Fields of the row.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A value does not have the type of its column.
    #[error(
        "row {row}{} of column `{column}` is `{value}`, which is not {expected}\nhint: mend the value, or declare another type for the column, such as `{column} = \"text\"`",
        line_of(.line)
    )]
    TypeChanged {
        /// The row.
        row: u64,
        /// The line on which the row starts, where the format has lines.
        line: Option<u64>,
        /// The column.
        column: String,
        /// The value, shortened.
        value: String,
        /// The type that the values before it, or the declaration, gave the column.
        expected: SqlType,
    },
    /// A value is missing in a column that was declared `not null`.
    #[error("row {row} has no value in column `{column}`, which is declared `not null`")]
    Missing {
        /// The row.
        row: u64,
        /// The column.
        column: String,
    },
    /// A value is not UTF-8.
    #[error(
        "row {row} (line {line}) is not UTF-8 in column `{column}`\nhint: convert the file first, such as with `iconv -f latin1 -t utf-8`"
    )]
    NotUtf8 {
        /// The row, 0 for the header.
        row: u64,
        /// The line on which the row starts.
        line: u64,
        /// The column.
        column: String,
    },
    /// A row is longer than the limit; most often a quote is never closed.
    #[error("row {row} is longer than {limit} bytes\nhint: look for a quotation mark that is never closed")]
    RowTooLong {
        /// The row, 0 for the header.
        row: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A line is not JSON.
    #[error("row {row} (line {line}) is not valid JSON at column {at}")]
    NotJson {
        /// The row.
        row: u64,
        /// The line.
        line: u64,
        /// The place in the line, counted from 1.
        at: usize,
    },
    /// A line is JSON but not an object.
    #[error(
        "row {row} (line {line}) is not a JSON object\nhint: JSON lines has one object per line, without a surrounding list"
    )]
    NotAnObject {
        /// The row.
        row: u64,
        /// The line.
        line: u64,
    },
    /// An object names a member twice.
    #[error("row {row} (line {line}) names `{column}` twice")]
    MemberTwice {
        /// The row.
        row: u64,
        /// The line.
        line: u64,
        /// The member.
        column: String,
    },
    /// An object has a member that none of the first rows has.
    #[error(
        "row {row} (line {line}) has the new column `{column}`\nhint: declare its type, such as `{column} = \"text\"`, so that it is known from the start"
    )]
    NewColumn {
        /// The row.
        row: u64,
        /// The line.
        line: u64,
        /// The member.
        column: String,
    },
    /// A column holds lists, structures, bytes or another type that has no SQL word here.
    #[error(
        "column `{column}` has the type {found}, which a sealed table cannot hold\nhint: flatten the column, or seal the file as a blob"
    )]
    Unsupported {
        /// The column.
        column: String,
        /// Its type, as its format names it.
        found: String,
    },
    /// A declared column is not in the table.
    #[error("there is no column `{column}`\nhint: the columns are {columns}")]
    DeclaredMissing {
        /// The declared name.
        column: String,
        /// The table's columns, as a list for people.
        columns: String,
    },
    /// A column's type is declared more than once.
    #[error("the type of column `{column}` is declared twice")]
    DeclaredTwice {
        /// The column.
        column: String,
    },
    /// A type that does not exist.
    #[error(
        "`{text}` is not a type\nhint: types are boolean, smallint, integer, bigint, real, double, decimal(p,s), text, date, timestamp"
    )]
    UnknownType {
        /// What was given.
        text: String,
    },
    /// The schema given for sealing is not that of the table.
    #[error("the table has other columns than the schema that was settled for it")]
    OtherSchema,
    /// The footer of a Parquet file.
    #[error("the footer of the Parquet file cannot be read\nhint: write the file again, with the program that made it")]
    ParquetFooter(#[source] crate::ThriftError),
    /// The Parquet file is encrypted and no key was given.
    #[error("the Parquet file is encrypted\nhint: give its footer key, and its column keys if it has any")]
    KeyNeeded,
    /// A key was given for a Parquet file that is not encrypted.
    #[error(
        "the Parquet file is not encrypted although a key was given\nhint: make sure that it is the file you mean; if so, leave the key out"
    )]
    KeyNotNeeded,
}

/// Why a table was not sealed. Whatever has been written by then must be discarded.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The table itself is wrong.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The input cannot be read.
    #[error("cannot read the table")]
    Read(#[source] std::io::Error),
    /// An Arrow IPC input cannot be decoded.
    #[error("cannot decode the Arrow data")]
    Arrow(#[source] arrow::error::ArrowError),
    /// A Parquet input cannot be decoded, or its keys do not fit.
    #[error("cannot decode the Parquet file")]
    Parquet(#[source] parquet::errors::ParquetError),
    /// The ciphertext cannot be written.
    #[error("cannot write the sealed table\nhint: check that the disk has room, and run the command again")]
    Write(#[source] parquet::errors::ParquetError),
    /// What was written is not encrypted: this program is built wrongly.
    #[error("the written file is not encrypted; it must be deleted\nhint: this build lacks Parquet encryption")]
    NotEncrypted,
    /// The sealed file that was to be exported cannot be opened.
    #[error("cannot open the sealed table")]
    Open(#[from] crate::open::OpenError),
}

fn line_of(line: &Option<u64>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}
