//! [`Report`]: the outcomes of checks, as a table.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use crate::{Outcome, Runtime};

/// The outcomes of a run: a table with a row for each case, and a column for each runtime.
#[derive(Debug)]
pub struct Report {
    title: String,
    columns: Vec<Runtime>,
    rows: Vec<(String, Vec<Option<Cell>>)>,
}

#[derive(Debug, Clone)]
enum Cell {
    Passed(String),
    /// Why, in one line.
    Failed(String),
}

impl Report {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(title: &str, columns: &[Runtime]) -> Self {
        Self {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds an outcome to the table. A success has a few words for the table. A failure is also printed at once, on
    /// standard error.
    pub fn add(&mut self, case: &str, runtime: Runtime, outcome: Outcome<String>) {
        let cell = match outcome {
            Ok(word) => Cell::Passed(word),
            Err(why) => {
                eprintln!(
                    "FAILED on {runtime}: {case}\n    {}",
                    why.replace('\n', "\n    ")
                );
                Cell::Failed(why.lines().next().unwrap_or_default().into())
            }
        };
        let Some(column) = self.columns.iter().position(|column| *column == runtime) else {
            return;
        };
        let row = match self.rows.iter().position(|(name, _)| name == case) {
            Some(row) => row,
            None => {
                self.rows
                    .push((case.into(), vec![None; self.columns.len()]));
                self.rows.len() - 1
            }
        };
        self.rows[row].1[column] = Some(cell);
    }

    /// How many passed, and how many failed. A case that was not run (because the server didn't start)
    /// counts as failed.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let cells = self.rows.iter().flat_map(|(_, cells)| cells);
        let all = cells.clone().count();
        let passed = cells
            .filter(|cell| matches!(cell, Some(Cell::Passed(_))))
            .count();
        (passed, all - passed)
    }

    /// The table, and `N passed, N failed` as its last line.
    #[must_use]
    pub fn table(&self) -> String {
        let shown = |cell: &Option<Cell>| match cell {
            Some(Cell::Passed(word)) => word.clone(),
            Some(Cell::Failed(_)) => "FAILED".into(),
            None => "NOT RUN".into(),
        };
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let first = names.chain([self.title.chars().count()]).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .map(|(_, cells)| shown(&cells[column]).chars().count());
            cells
                .chain([self.columns[column].name().len()])
                .max()
                .unwrap_or(0)
        };
        let mut table = String::new();
        let mut line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            let mut line = format!("{name:first$}");
            for (column, cell) in cells.enumerate() {
                let _ = write!(line, "  {cell:0$}", width(column));
            }
            table.push_str(line.trim_end());
            table.push('\n');
        };
        line(
            &self.title,
            &mut self.columns.iter().map(|column| column.name().to_owned()),
        );
        for (name, cells) in &self.rows {
            line(name, &mut cells.iter().map(shown));
        }
        let (passed, failed) = self.counts();
        let _ = writeln!(table, "{passed} passed, {failed} failed");
        table
    }

    /// Prints the table. Also appends the counts, and what has failed and why, to the file in the variable
    /// `INTEROP_SUMMARY`, so that a script can add up several runs (`ci/lib.sh`). Returns whether everything has
    /// passed.
    #[must_use]
    pub fn finish(&self) -> bool {
        print!("\n{}", self.table());
        let (passed, failed) = self.counts();
        summarize(&self.summary()) && passed > 0 && failed == 0
    }

    /// A line `PASSED 0`, and a line `0 1 WORDS` for each case that has failed, with the first line of why.
    fn summary(&self) -> String {
        let mut summary = format!("{} 0", self.counts().0);
        for (name, cells) in &self.rows {
            for (cell, runtime) in cells.iter().zip(&self.columns) {
                let why = match cell {
                    Some(Cell::Passed(_)) => continue,
                    Some(Cell::Failed(why)) => why,
                    None => "not run",
                };
                let _ = write!(summary, "\n0 1 {}: {name}, {runtime}: {why}", self.title);
            }
        }
        summary
    }
}

/// Says that something isn't run here, and why. A script lists it at its end: see `leave_out` in `ci/lib.sh`.
pub(crate) fn leave_out(why: &str) {
    eprintln!("left out: {why}");
    summarize(&format!("0 0 {why}"));
}

/// Appends a line to the summary, if a script has asked for one. Returns whether that succeeded.
fn summarize(line: &str) -> bool {
    let Some(path) = std::env::var_os("INTEROP_SUMMARY") else {
        return true;
    };
    let options = OpenOptions::new().append(true).create(true).open(&path);
    let written = options.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(e) = &written {
        eprintln!("{}: {e}", path.display());
    }
    written.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_rows_columns_and_counts() {
        let mut report = Report::new("case", &[Runtime::Native, Runtime::Wasmi]);
        report.add("GET", Runtime::Native, Ok("ok".into()));
        report.add("GET", Runtime::Wasmi, Err("no response".into()));
        report.add("a longer name", Runtime::Native, Ok("12.5 ms".into()));
        let expected = "case           native   wasmi\n\
                        GET            ok       FAILED\n\
                        a longer name  12.5 ms  NOT RUN\n\
                        2 passed, 2 failed\n";
        assert_eq!(report.table(), expected);
        let expected =
            "2 0\n0 1 case: GET, wasmi: no response\n0 1 case: a longer name, wasmi: not run";
        assert_eq!(report.summary(), expected);
    }
}
