//! The table: what was found, and how it is shown.

use std::fmt::Write;

/// How the table is shown.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Text,
    Markdown,
    Json,
}

/// The rows, by sections.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    section: &'static str,
}

struct Row {
    section: &'static str,
    /// What was tried.
    behaviour: String,
    /// What the text of preview 1 says of it.
    text: &'static str,
    /// What this runtime does.
    runtime: String,
    /// What `mini_http` does about it.
    mini_http: &'static str,
}

impl Row {
    const NAMES: [&str; 4] = [
        "behaviour",
        "the text of WASI says",
        "this runtime",
        "mini_http",
    ];

    fn cells(&self) -> [&str; 4] {
        [&self.behaviour, self.text, &self.runtime, self.mini_http]
    }
}

impl Table {
    pub(crate) fn section(&mut self, name: &'static str) {
        self.section = name;
    }

    pub(crate) fn row(
        &mut self,
        behaviour: impl Into<String>,
        text: &'static str,
        runtime: impl Into<String>,
        mini_http: &'static str,
    ) {
        self.rows.push(Row {
            section: self.section,
            behaviour: behaviour.into(),
            text,
            runtime: runtime.into(),
            mini_http,
        });
    }

    pub(crate) fn show(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Markdown => self.markdown(),
            Format::Json => self.json(),
        }
    }

    /// A block for each row: the cells are too long to stand side by side on a terminal.
    fn text(&self) -> String {
        let mut out = String::new();
        for section in self.sections() {
            let _ = writeln!(out, "\n== {}", section[0].section);
            for row in section {
                let [behaviour, text, runtime, mini_http] = row.cells();
                let _ = writeln!(out, "{behaviour}");
                let _ = writeln!(out, "    text       {text}");
                let _ = writeln!(out, "    runtime    {runtime}");
                let _ = writeln!(out, "    mini_http  {mini_http}");
            }
        }
        out
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        for section in self.sections() {
            let _ = writeln!(out, "\n## {}\n", section[0].section);
            let _ = writeln!(out, "| {} |\n|---|---|---|---|", Row::NAMES.join(" | "));
            for row in section {
                let cells = row.cells().map(|cell| cell.replace('|', "\\|"));
                let _ = writeln!(out, "| {} |", cells.join(" | "));
            }
        }
        out
    }

    /// An array of objects.
    fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let names = ["behaviour", "text", "runtime", "mini_http"];
            let fields = [("section", row.section)]
                .into_iter()
                .chain(names.into_iter().zip(row.cells()));
            let fields: Vec<_> = fields
                .map(|(name, value)| format!("{name:?}: {}", quoted(value)))
                .collect();
            format!("  {{{}}}", fields.join(", "))
        });
        format!("[\n{}\n]\n", rows.collect::<Vec<_>>().join(",\n"))
    }

    fn sections(&self) -> impl Iterator<Item = &[Row]> {
        self.rows.chunk_by(|a, b| a.section == b.section)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out + "\""
}
