//! What a command says and where: results on standard output, everything else on standard error.
//!
//! A verb returns one [`Report`], which holds the same facts twice: as words and as one JSON document. `--json` chooses. An
//! error is told the same way: `error:` with its causes and hints on standard error, and with `--json` a document on standard
//! output too. Colours appear on terminals only, and never where `NO_COLOR` is set.

use std::{error::Error, io::Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::exit::{CliError, Status};

/// The outcome of a verb.
pub(crate) struct Report {
    /// For people, without a last line feed; may be empty.
    pub(crate) words: String,
    /// For programs; null when everything has been said.
    pub(crate) document: Value,
    /// Done, or refused with an explanation that is the result.
    pub(crate) status: Status,
}

impl Report {
    /// What was done.
    pub(crate) fn done(words: impl Into<String>, document: Value) -> Report {
        Report { words: words.into(), document, status: Status::Done }
    }

    /// A verdict against.
    pub(crate) fn refused(words: impl Into<String>, document: Value) -> Report {
        Report { words: words.into(), document, status: Status::Refused }
    }

    /// Prints it.
    pub(crate) fn print(&self, json: bool) {
        let text = match (json, &self.document) {
            (true, Value::Null) => String::new(),
            (true, document) => pretty(document),
            (false, _) => self.words.clone(),
        };
        if !text.is_empty() {
            // A closed pipe is the reader's choice.
            let _ = writeln!(anstream::stdout(), "{text}");
        }
    }
}

/// Says something to the person in front of the terminal.
pub(crate) fn note(words: impl AsRef<str>) {
    let _ = writeln!(anstream::stderr(), "{}", words.as_ref());
}

/// Warns, in a line of its own.
pub(crate) fn warn(words: impl AsRef<str>) {
    let _ = writeln!(anstream::stderr(), "{WARNING}warning:{WARNING:#} {}", words.as_ref());
}

/// Tells an error, its causes and its hints.
pub(crate) fn fail(error: &CliError, json: bool) {
    let told = Told::of(error);
    let mut stderr = anstream::stderr();
    let _ = writeln!(stderr, "{ERROR}error:{ERROR:#} {}", told.message);
    for cause in &told.because {
        let _ = writeln!(stderr, "  because: {cause}");
    }
    for hint in &told.hints {
        let _ = writeln!(stderr, "{HINT}hint:{HINT:#} {hint}");
    }
    if json {
        let document = json!({
            "error": { "message": told.message, "because": told.because, "hints": told.hints },
            "status": error.status().word(),
        });
        let _ = writeln!(anstream::stdout(), "{}", pretty(&document));
    }
}

/// Text of a stranger's as it may be shown: no control characters, no change of direction.
pub(crate) fn plain(text: &str) -> String {
    let shown = text.chars().flat_map(|c| {
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if hidden { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }
    });
    shown.collect()
}

/// A message with its causes, and the hints of all of them at the end.
struct Told {
    message: String,
    because: Vec<String>,
    hints: Vec<String>,
}

impl Told {
    fn of(error: &dyn Error) -> Told {
        let mut hints = Vec::new();
        let mut texts = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            let mut lines = Vec::new();
            for line in text.lines() {
                match line.trim_start().strip_prefix("hint: ") {
                    Some(hint) if !hints.contains(&hint.to_owned()) => hints.push(hint.to_owned()),
                    Some(_) => {}
                    None => lines.push(line),
                }
            }
            let text = lines.join("\n");
            // Transparent errors say what their source says.
            if texts.last() != Some(&text) && !text.is_empty() {
                texts.push(text);
            }
            next = error.source();
        }
        let mut texts = texts.into_iter();
        Told { message: texts.next().unwrap_or_default(), because: texts.collect(), hints }
    }
}

fn pretty(value: &Value) -> String {
    // In order of the names, whatever other crates of a build ask of the library.
    let mut value = value.clone();
    value.sort_all_objects();
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_come_last_and_causes_do_not_repeat_themselves() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer\nhint: first")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("inner\nhint: second")]
        struct Inner;
        let told = Told::of(&Outer(Inner));
        assert_eq!((told.message.as_str(), told.because), ("outer", vec!["inner".to_owned()]));
        assert_eq!(told.hints, ["first", "second"]);
    }

    #[test]
    fn a_strangers_text_cannot_move_the_cursor_or_turn_the_line() {
        assert_eq!(plain("a\x1b[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(plain("Grüße"), "Grüße");
    }
}
