//! What the commands print: tables for people, JSON for programs; colours only on a terminal.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::cli::Format;

/// A column of a table: its heading, and where its value stands in each row (a JSON pointer, RFC 6901).
pub type Column = (&'static str, &'static str);

/// The narrowest terminal, in columns, that tables are fitted to.
const NARROWEST: u16 = 60;

/// Prints what was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    colours: bool,
}

impl Output {
    /// Prints to standard output in a format.
    pub fn new(format: Format) -> Self {
        // https://no-color.org
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Output { format, colours: wanted && io::stdout().is_terminal() }
    }

    /// Whether programs read it.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Rows of a list.
    pub fn rows(self, rows: &[Value], columns: &[Column]) -> io::Result<()> {
        if self.is_json() {
            return self.json(&Value::Array(rows.to_vec()));
        }
        if rows.is_empty() {
            return line("none");
        }
        let mut table = self.table(columns.iter().map(|(heading, _)| *heading));
        for row in rows {
            table.add_row(columns.iter().map(|(_, pointer)| self.cell(&text(row.pointer(pointer)))));
        }
        line(&table.to_string())
    }

    /// One thing, a line for each of its parts.
    pub fn one(self, thing: &Value, columns: &[Column]) -> io::Result<()> {
        if self.is_json() {
            return self.json(thing);
        }
        let width = columns.iter().map(|(heading, _)| heading.len()).max().unwrap_or_default();
        for (heading, pointer) in columns {
            line(&format!("{heading:width$}  {}", text(thing.pointer(pointer))))?;
        }
        Ok(())
    }

    /// Something that was done, said in words, or what the API answered.
    pub fn done(self, words: &str, answer: &Value) -> io::Result<()> {
        if self.is_json() { self.json(answer) } else { line(words) }
    }

    /// What the API answered.
    pub fn json(self, value: &Value) -> io::Result<()> {
        line(&format!("{value:#}"))
    }

    /// An empty table in the style of all tables.
    pub fn table(self, headings: impl IntoIterator<Item = &'static str>) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        // Squeezed into less than this, or into a terminal that does not say, words fall apart.
        if table.width().is_some_and(|width| width >= NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(headings.into_iter().map(|heading| {
            let cell = Cell::new(heading);
            if self.colours { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        table
    }

    /// A cell; words that say how something is have a colour.
    pub fn cell(self, text: &str) -> Cell {
        let colour = match text.to_ascii_lowercase().as_str() {
            "up" | "healthy" | "completed" | "connected" | "active" => Some(Color::Green),
            "starting" | "degraded" | "processing" | "queued" | "pending" | "unknown" => Some(Color::Yellow),
            "down" | "unhealthy" | "failed" | "error" | "out_of_service" | "disconnected" => Some(Color::Red),
            _ => None,
        };
        match colour {
            Some(colour) if self.colours => Cell::new(text).fg(colour),
            _ => Cell::new(text),
        }
    }

    /// A heading between parts of the output.
    pub fn heading(self, words: &str) -> io::Result<()> {
        if self.colours { line(&format!("\n\u{1b}[1m{words}\u{1b}[0m")) } else { line(&format!("\n{words}")) }
    }
}

/// A line to standard output.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Text from elsewhere, as a terminal may show it: without the control characters that could command it.
pub fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')).collect()
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(Value::Array(items)) => items.iter().map(|item| text(Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        let row = json!({"name": "a\u{1b}[31mb", "tags": ["x", "y"], "gone": null, "count": 3});
        let shown: Vec<String> =
            ["/name", "/tags", "/gone", "/missing", "/count"].iter().map(|at| text(row.pointer(at))).collect();
        assert_eq!(shown, ["a[31mb", "x, y", "-", "-", "3"]);
    }

    #[test]
    fn no_colours_unless_a_terminal_shows_them() {
        let output = Output { format: Format::Table, colours: false };
        let mut table = output.table(["status"]);
        table.add_row([output.cell("healthy")]);
        assert!(!table.to_string().contains('\u{1b}'));
    }
}
