//! TOML with positions: typed access to tables and values, each of which knows where it stands.
//!
//! The parser gives spans; this module gives each error a [`Place`] and asks every table for the list of its known keys before anything
//! in it is read, so that a misspelt key is reported as such and not as a missing one.

use std::{fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{shape::deceives, words::quoted};

/// A mistake in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlError {
    /// Where.
    pub place: Box<Place>,
    /// What.
    pub problem: Problem,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The whole line, made harmless to show, cut when long.
    pub text: String,
    /// How many characters are meant, at least 1.
    pub width: usize,
}

/// What is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Not TOML.
    Syntax(String),
    /// Larger than any such file.
    TooLarge(usize),
    /// Not UTF-8.
    NotText,
    /// A key that means nothing here.
    UnknownKey {
        /// As written.
        key: String,
        /// The nearest key that means something.
        nearest: Option<String>,
        /// All that do.
        known: Vec<String>,
    },
    /// A key that must be there.
    MissingKey {
        /// The table; empty for the whole file.
        table: String,
        /// The key.
        key: String,
        /// How it is written.
        example: &'static str,
    },
    /// A value of the wrong type.
    WrongType {
        /// The key, with its tables.
        key: String,
        /// What is expected, with article.
        expected: &'static str,
        /// What is there, with article.
        found: &'static str,
    },
    /// A name that is not one of a list.
    UnknownName {
        /// What is named.
        what: &'static str,
        /// As written.
        name: String,
        /// The nearest.
        nearest: Option<String>,
        /// The list.
        known: Vec<String>,
    },
    /// A value that cannot be meant.
    Value {
        /// The key, with its tables.
        key: String,
        /// What is wrong, said of the key: `must be …`.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A value that a document's own check refuses.
    Refused {
        /// The key, with its tables.
        key: String,
        /// What is wrong, as a sentence.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Columns of the table without a rule.
    ColumnsWithoutRule(Vec<String>),
    /// A file that cannot be read or used.
    File {
        /// The path, as written.
        path: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A signed document that is not what its owner signed.
    Signature {
        /// What is meant: the file or the key, as it is shown.
        what: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// A parsed file.
pub struct Document<'i> {
    file: &'i str,
    text: &'i str,
    root: Spanned<DeTable<'i>>,
}

/// A table in a file.
#[derive(Clone)]
pub struct Table<'d, 'i> {
    document: &'d Document<'i>,
    path: String,
    span: Range<usize>,
    entries: &'d DeTable<'i>,
}

/// A value in a file.
#[derive(Clone)]
pub struct Value<'d, 'i> {
    document: &'d Document<'i>,
    path: String,
    span: Range<usize>,
    value: &'d DeValue<'i>,
}

impl<'i> Document<'i> {
    /// Parses a file of at most 512 KiB; `file` is its name in errors.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn parse(file: &'i str, bytes: &'i [u8]) -> Result<Document<'i>, TomlError> {
        let nowhere = |problem| TomlError { place: place(file, "", 0..0), problem };
        if bytes.len() > MAX_FILE {
            return Err(nowhere(Problem::TooLarge(bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| nowhere(Problem::NotText))?;
        let root = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            TomlError { place: place(file, text, span), problem: Problem::Syntax(error.message().to_owned()) }
        })?;
        Ok(Document { file, text, root })
    }

    /// The outermost table.
    pub fn root(&self) -> Table<'_, 'i> {
        Table { document: self, path: String::new(), span: 0..0, entries: self.root.get_ref() }
    }

    fn error(&self, span: Range<usize>, problem: Problem) -> TomlError {
        TomlError { place: place(self.file, self.text, span), problem }
    }
}

impl<'d, 'i> Table<'d, 'i> {
    /// Refuses every key that is not in the list.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn only(&self, known: &[&str]) -> Result<(), TomlError> {
        match self.entries.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some(key) => {
                let written = key.get_ref().to_string();
                let problem = Problem::UnknownKey {
                    nearest: nearest(&written, known),
                    known: known.iter().map(|key| (*key).to_owned()).collect(),
                    key: written,
                };
                Err(self.document.error(key.span(), problem))
            }
        }
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<Value<'d, 'i>> {
        self.values().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of a key that must be there; `example` is a line to write.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn need(&self, key: &str, example: &'static str) -> Result<Value<'d, 'i>, TomlError> {
        self.get(key).ok_or_else(|| {
            let problem = Problem::MissingKey { table: self.path.clone(), key: key.to_owned(), example };
            self.document.error(self.span.clone(), problem)
        })
    }

    /// All entries, by key.
    pub fn values(&self) -> impl Iterator<Item = (String, Value<'d, 'i>)> + use<'d, 'i> {
        let (document, path) = (self.document, self.path.clone());
        self.entries.iter().map(move |(key, value)| {
            let name = key.get_ref().to_string();
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            // A sub-table without a header of its own has no place; its key has one.
            let span = if value.span().is_empty() { key.span() } else { value.span() };
            (name, Value { document, path, span, value: value.get_ref() })
        })
    }

    pub(crate) fn place(&self) -> Box<Place> {
        place(self.document.file, self.document.text, self.span.clone())
    }
}

impl<'d, 'i> Value<'d, 'i> {
    /// A text.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn string(&self) -> Result<&'d str, TomlError> {
        match self.value {
            DeValue::String(text) => Ok(text),
            other => Err(self.wrong_type("a text in quotes", other)),
        }
    }

    /// A whole number between two bounds.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn integer(&self, least: u64, most: u64) -> Result<u64, TomlError> {
        let DeValue::Integer(number) = self.value else {
            return Err(self.wrong_type("a whole number", self.value));
        };
        let number = i128::from_str_radix(number.as_str(), number.radix()).ok().and_then(|n| u64::try_from(n).ok());
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.value_error(format!("must be a whole number from {least} to {most}"), None)),
        }
    }

    /// A finite number, whole or not.
    pub(crate) fn number(&self) -> Result<f64, TomlError> {
        let number = match self.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<f64>().ok(),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            other => return Err(self.wrong_type("a number", other)),
        };
        match number {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(self.value_error("must be a finite number".to_owned(), None)),
        }
    }

    /// A date with time and offset, bare or in quotes, as its text.
    pub(crate) fn time_text(&self) -> Result<String, TomlError> {
        match self.value {
            DeValue::Datetime(time) => Ok(time.to_string()),
            DeValue::String(text) => Ok(text.to_string()),
            other => Err(self.wrong_type("a date with time and offset", other)),
        }
    }

    /// A table.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn table(&self) -> Result<Table<'d, 'i>, TomlError> {
        match self.value {
            DeValue::Table(entries) => {
                Ok(Table { document: self.document, path: self.path.clone(), span: self.span.clone(), entries })
            }
            other => Err(self.wrong_type("a table", other)),
        }
    }

    /// A list, each with its own place.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn list(&self) -> Result<Vec<Value<'d, 'i>>, TomlError> {
        let DeValue::Array(items) = self.value else {
            return Err(self.wrong_type("a list in brackets", self.value));
        };
        let item = |item: &'d Spanned<DeValue<'i>>| Value {
            document: self.document,
            path: self.path.clone(),
            span: if item.span().is_empty() { self.span.clone() } else { item.span() },
            value: item.get_ref(),
        };
        Ok(items.iter().map(item).collect())
    }

    pub(crate) fn strings(&self) -> Result<Vec<String>, TomlError> {
        self.list()?.iter().map(|item| item.string().map(str::to_owned)).collect()
    }

    /// The last part of the value's path.
    pub(crate) fn key(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is a text.
    pub const fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn boolean(&self) -> Result<bool, TomlError> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(self.wrong_type("`true` or `false`", other)),
        }
    }

    /// One of a closed list of names.
    ///
    /// # Errors
    /// [`TomlError`], with the place.
    pub fn choice<T: Copy>(&self, what: &'static str, choices: &[(&str, T)]) -> Result<T, TomlError> {
        let written = self.string()?;
        let known: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        match choices.iter().find(|(name, _)| *name == written) {
            Some((_, choice)) => Ok(*choice),
            None => Err(self.unknown_name(what, written, &known)),
        }
    }

    pub(crate) fn unknown_name(&self, what: &'static str, name: &str, known: &[&str]) -> TomlError {
        self.error(Problem::UnknownName {
            what,
            name: name.to_owned(),
            nearest: nearest(name, known),
            known: known.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    pub(crate) fn parsed<T: std::str::FromStr<Err: fmt::Display>>(&self) -> Result<T, TomlError> {
        self.string()?.parse().map_err(|error: T::Err| self.fault(error))
    }

    /// An error of a document's own check, split into what is wrong and its hint.
    pub(crate) fn fault(&self, error: impl fmt::Display) -> TomlError {
        let (reason, hint) = split_hint(&error.to_string());
        self.error(Problem::Refused { key: self.path.clone(), reason, hint })
    }

    /// An error about this value: what it must be, and what to do.
    pub fn value_error(&self, reason: String, hint: Option<String>) -> TomlError {
        self.error(Problem::Value { key: self.path.clone(), reason, hint })
    }

    pub(crate) fn file_error(&self, path: &str, error: impl fmt::Display) -> TomlError {
        let (reason, hint) = split_hint(&error.to_string());
        self.error(Problem::File { path: path.to_owned(), reason, hint })
    }

    /// What this value names is not what its owner signed.
    pub(crate) fn unsigned(&self, file: Option<&str>, error: impl fmt::Display) -> TomlError {
        let (reason, hint) = split_hint(&error.to_string());
        let what = file.map_or_else(|| quoted(&self.path), |file| format!("the file {}", quoted(file)));
        self.error(Problem::Signature { what, reason, hint })
    }

    pub(crate) fn error(&self, problem: Problem) -> TomlError {
        self.document.error(self.span.clone(), problem)
    }

    pub(crate) fn place(&self) -> Box<Place> {
        place(self.document.file, self.document.text, self.span.clone())
    }

    fn wrong_type(&self, expected: &'static str, found: &DeValue<'_>) -> TomlError {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(Problem::WrongType { key: self.path.clone(), expected, found })
    }
}

impl TomlError {
    /// Whether the file is well written and something that it names is not what its owner signed.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.problem, Problem::Signature { .. })
    }
}

impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TomlError { place, problem } = self;
        let Place { file, line, column, text, width } = place.as_ref();
        let margin = line.to_string().len();
        write!(f, "{} line {line}, column {column}: {problem}", quoted(file))?;
        if !text.is_empty() {
            let (gap, marks) = (" ".repeat(column.saturating_sub(1)), "^".repeat(*width));
            write!(f, "\n  {line} | {text}")?;
            if *column <= text.chars().count() {
                write!(f, "\n  {:margin$} | {gap}{marks}", "")?;
            }
        }
        problem.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for TomlError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Syntax(message) => {
                write!(f, "this is not TOML: {}", message.replace('\n', "; "))
            }
            Problem::TooLarge(bytes) => write!(f, "the file has {bytes} bytes; at most {MAX_FILE} are read"),
            Problem::NotText => f.write_str("the file is not UTF-8 text"),
            Problem::UnknownKey { key, nearest: _, known: _ } => write!(f, "unknown key {}", quoted(key)),
            Problem::MissingKey { table, key, example: _ } if table.is_empty() => {
                write!(f, "the key `{key}` is missing")
            }
            Problem::MissingKey { table, key, example: _ } => {
                write!(f, "the key `{key}` is missing in {}", quoted(table))
            }
            Problem::WrongType { key, expected, found } => {
                write!(f, "{} must be {expected}, not {found}", quoted(key))
            }
            Problem::UnknownName { what, name, nearest: _, known: _ } => {
                write!(f, "{} is not {what}", quoted(name))
            }
            Problem::Value { key, reason, hint: _ } => write!(f, "{} {reason}", quoted(key)),
            Problem::Refused { key, reason, hint: _ } => write!(f, "{}: {reason}", quoted(key)),
            Problem::ColumnsWithoutRule(columns) => {
                let columns = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>();
                write!(f, "no rule for the table's columns {}", columns.join(", "))
            }
            Problem::File { path, reason, hint: _ } => write!(f, "the file {}: {reason}", quoted(path)),
            Problem::Signature { what, reason, hint: _ } => write!(f, "{what}: {reason}"),
        }
    }
}

impl Problem {
    fn hint(&self) -> Option<String> {
        match self {
            Problem::Syntax(_) | Problem::TooLarge(_) => None,
            Problem::NotText => Some("save it as UTF-8".to_owned()),
            Problem::UnknownKey { key: _, nearest, known }
            | Problem::UnknownName { what: _, name: _, nearest, known } => Some(match (nearest, known.as_slice()) {
                (_, [one]) if one.contains([';', '\t', '|']) => {
                    format!("the table has one column, {}: the separator must be a comma", quoted(one))
                }
                (Some(nearest), _) => format!("did you mean `{nearest}`?"),
                (None, _) => {
                    format!("known here: {}", known.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", "))
                }
            }),
            Problem::MissingKey { table: _, key: _, example } => Some(format!("add `{example}`")),
            Problem::WrongType { key: _, expected, found: _ } => match *expected {
                "a text in quotes" => Some("put it in quotes".to_owned()),
                "a date with time and offset" => Some("write it as `2027-06-30T00:00:00Z`".to_owned()),
                "a whole number" | "a number" => Some("write it without quotes".to_owned()),
                "a list in brackets" => Some("put it in brackets, as `[\"one\", \"two\"]`".to_owned()),
                _ => None,
            },
            Problem::Value { key: _, reason: _, hint }
            | Problem::Refused { key: _, reason: _, hint }
            | Problem::File { path: _, reason: _, hint }
            | Problem::Signature { what: _, reason: _, hint } => hint.clone(),
            Problem::ColumnsWithoutRule(_) => Some(
                "give each a rule under `[columns]`, or set `other_columns = \"hidden\"` in `[dataset]`".to_owned(),
            ),
        }
    }
}

/// The name that a person most likely meant.
pub(crate) fn nearest(written: &str, known: &[&str]) -> Option<String> {
    if written.len() > crate::shape::MAX_COLUMN {
        return None;
    }
    let distances = known.iter().map(|name| (strsim::damerau_levenshtein(written, name), *name));
    let (distance, name) = distances.min()?;
    (distance <= (name.chars().count() / 3).max(1)).then(|| name.to_owned())
}

fn split_hint(message: &str) -> (String, Option<String>) {
    match message.split_once("\nhint: ") {
        Some((reason, hint)) => (reason.to_owned(), Some(hint.to_owned())),
        None => (message.to_owned(), None),
    }
}

fn place(file: &str, text: &str, span: Range<usize>) -> Box<Place> {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = text.get(line_start..).unwrap_or("");
    let whole = rest.lines().next().unwrap_or("");
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    let meant = text.get(span).unwrap_or("").lines().next().unwrap_or("").chars().count();
    let shown: String = whole.chars().take(MAX_LINE).map(|c| if deceives(c) { ' ' } else { c }).collect();
    let room = shown.chars().count().saturating_sub(column - 1);
    Box::new(Place {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column,
        text: shown,
        width: meant.clamp(1, room.max(1)),
    })
}

/// What is read takes up to eighty times as much memory.
const MAX_FILE: usize = 512 << 10;
const MAX_LINE: usize = 120;
