//! [`Report`]: the figures of all rounds, as a table. Also reads figures from a saved table.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use interop::{Outcome, Runtime, ensure, root};

use crate::cores;
use crate::options::{Extent, Options};

/// The results of a scenario.
#[derive(Debug)]
pub(crate) struct Report {
    suite: &'static str,
    scenario: &'static str,
    /// What is measured, in a sentence or two.
    about: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) goals: Vec<Goal>,
}

/// One server in one setting.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) runtime: Runtime,
    /// The setting, such as the number of idle connections.
    pub(crate) setting: String,
    pub(crate) server: String,
    pub(crate) series: Vec<Series>,
    /// Why there are no more figures, if the server has failed.
    pub(crate) failure: Option<String>,
}

/// One figure in each round.
#[derive(Debug)]
pub(crate) struct Series {
    /// The name, with the unit.
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

/// The highest value that a figure of our server should have.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) text: String,
    pub(crate) figure: f64,
    pub(crate) limit: f64,
}

impl Report {
    pub(crate) fn new(suite: &'static str, scenario: &'static str, about: String) -> Self {
        Self {
            suite,
            scenario,
            about,
            rows: Vec::new(),
            goals: Vec::new(),
        }
    }

    pub(crate) fn scenario(&self) -> &'static str {
        self.scenario
    }

    /// Prints it, and writes it to the folder of `--results`.
    ///
    /// # Errors
    /// A file can't be written. In a smoke run, a server has failed; in other runs that is a
    /// result. With `--assert`, a goal is missed, or there is none.
    pub(crate) fn finish(&self, options: &Options, versions: &[(String, String)]) -> Outcome {
        let circumstances = circumstances(options, versions)?;
        println!("\n{}", self.table(options.extent == Extent::Smoke));
        if options.extent == Extent::Smoke {
            let failure = self.rows.iter().find_map(|row| row.failure.as_ref());
            return failure.map_or(Ok(()), |why| Err(why.clone()));
        }
        if let Some(folder) = &options.results {
            self.write(folder, &circumstances)?;
        }
        if options.assert {
            let goals = self.goals.len();
            ensure!(goals > 0, "{} has no goals for --assert", self.scenario);
            let missed = self.goals.iter().filter(|goal| !goal.is_reached()).count();
            ensure!(missed == 0, "{missed} of {goals} goals are missed");
        }
        Ok(())
    }

    /// Writes it into a folder, as `SUITE-SCENARIO.md`.
    fn write(&self, folder: &Path, circumstances: &[(String, String)]) -> Outcome {
        let path = folder.join(format!("{}-{}.md", self.suite, self.scenario));
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        fs::write(&path, self.markdown(circumstances))
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    fn table(&self, without_goals: bool) -> String {
        let mut text = format!("{} {}: {}\n", self.suite, self.scenario, self.about);
        let mut last = None;
        for row in &self.rows {
            let head = (row.runtime, &row.setting);
            if last != Some(head) {
                let _ = writeln!(text, "\n{}, {}", row.runtime, row.setting);
                last = Some(head);
                let names = row.series.iter().map(|series| series.name);
                let _ = write!(text, "  {:12}", "");
                for name in names {
                    let _ = write!(text, "  {name:>22}");
                }
                text.push('\n');
            }
            let _ = write!(text, "  {:12}", row.server);
            for series in &row.series {
                let _ = write!(text, "  {:>22}", series.shown());
            }
            if let Some(failure) = &row.failure {
                let _ = write!(text, "  FAILED: {}", first_line(failure));
            }
            text.push('\n');
        }
        if without_goals || self.goals.is_empty() {
            return text;
        }
        text.push_str("\ngoals\n");
        for goal in &self.goals {
            let mark = if goal.is_reached() {
                "ok    "
            } else {
                "MISSED"
            };
            let (figure, limit) = (number(goal.figure), number(goal.limit));
            let _ = writeln!(text, "  {mark} {}: {figure}, at most {limit}", goal.text);
        }
        text
    }

    fn markdown(&self, circumstances: &[(String, String)]) -> String {
        let mut text = format!(
            "<!-- Made by the command below; not to be edited. -->\n\n# {} {}\n\n",
            self.suite, self.scenario
        );
        for (name, value) in circumstances {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = write!(
            text,
            "\nMedians, with quartiles in parentheses.\n\n```text\n{}```\n",
            self.table(false)
        );
        text
    }
}

impl Series {
    fn shown(&self) -> String {
        let [q1, median, q3] = quartiles(&self.values).map(number);
        match self.values.len() {
            0 => "-".into(),
            1 | 2 => median,
            _ => format!("{median} ({q1}..{q3})"),
        }
    }
}

impl Goal {
    fn is_reached(&self) -> bool {
        self.figure <= self.limit
    }
}

/// A figure of a server, read from a table that was saved.
#[derive(Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) server: String,
    /// The first quartile, the median and the third. All are the median if there were too few rounds.
    pub(crate) quartiles: [f64; 3],
}

/// Reads the figures of this name from the table of a saved report. Servers without it are left out.
pub(crate) fn cells(report: &str, runtime: Runtime, setting: &str, name: &str) -> Vec<Cell> {
    let head = format!("{runtime}, {setting}");
    let mut lines = report.lines().skip_while(|line| *line != head).skip(1);
    let names = lines.next().map(words).unwrap_or_default();
    let Some(column) = names.iter().position(|it| *it == name) else {
        return Vec::new();
    };
    let rows = lines.take_while(|line| line.starts_with("  ")).map(words);
    let cell = |row: Vec<&str>| {
        Some(Cell {
            server: (*row.first()?).into(),
            quartiles: parsed(row.get(column + 1)?)?,
        })
    };
    rows.filter_map(cell).collect()
}

/// The cells of a line of a table, which are separated by at least two spaces.
fn words(line: &str) -> Vec<&str> {
    let words = line.split("  ").map(str::trim);
    words.filter(|word| !word.is_empty()).collect()
}

/// The figures of [`Series::shown`].
fn parsed(shown: &str) -> Option<[f64; 3]> {
    let Some((median, rest)) = shown.split_once(" (") else {
        return Some([shown.parse().ok()?; 3]);
    };
    let (q1, q3) = rest.strip_suffix(')')?.split_once("..")?;
    Some([q1.parse().ok()?, median.parse().ok()?, q3.parse().ok()?])
}

/// The first quartile, the median and the third, interpolated. NaN for no values.
pub(crate) fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| {
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let at = last as f64 * part;
        let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        below + (above - below) * at.fract()
    })
}

/// The circumstances of the measurement.
fn circumstances(
    options: &Options,
    versions: &[(String, String)],
) -> Outcome<Vec<(String, String)>> {
    let first = |path: &str, start: &str| -> String {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_default()
            .trim_start_matches([' ', '\t', ':'])
            .trim()
            .into()
    };
    let output = |program: &str, arguments: &[&str]| -> Outcome<String> {
        let output: io::Result<_> = Command::new(program)
            .args(arguments)
            .current_dir(root())
            .output();
        let output = output.map_err(|e| format!("{program}: {e}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    };
    let mut all = vec![
        ("command".into(), format!("`{}`", options.command)),
        ("date".into(), output("date", &["-u", "+%F %H:%M UTC"])?),
        (
            "commit".into(),
            output("git", &["describe", "--always", "--dirty"])?,
        ),
        ("kernel".into(), first("/proc/sys/kernel/osrelease", "")),
        ("processor".into(), first("/proc/cpuinfo", "model name")),
        ("cores".into(), cores::describe()?),
        ("load average at the end".into(), first("/proc/loadavg", "")),
        ("rustc".into(), output("rustc", &["--version"])?),
    ];
    if options.extent != Extent::Full {
        all.push(("beware".into(), "a short run".into()));
    }
    all.extend(versions.iter().cloned());
    Ok(all)
}

/// The versions of these packages in the lock file of a workspace of this repository.
pub(crate) fn locked(workspace: &str, packages: &[&str]) -> Outcome<Vec<(String, String)>> {
    let path = root().join(workspace).join("Cargo.lock");
    let lock = read(&path)?;
    let version = |package: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Ok(packages
        .iter()
        .filter_map(|package| Some(((*package).to_owned(), version(package)?)))
        .collect())
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Formats a value with a useful number of digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        nan if nan.is_nan() => "no figure".into(),
        big if big >= 1000.0 => format!("{value:.0}"),
        some if some >= 100.0 => format!("{value:.0}"),
        some if some >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_values() {
        assert_eq!(quartiles(&[5.0, 1.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
        assert!(quartiles(&[])[1].is_nan());
    }

    #[test]
    fn a_saved_figure_is_read_again() {
        let row = |server: &str, values: &[f64]| Row {
            runtime: Runtime::Native,
            setting: "64 busy".into(),
            server: server.into(),
            series: ["requests/s", "CPU µs a request"]
                .map(|name| Series {
                    name,
                    values: values.to_vec(),
                })
                .into(),
            failure: None,
        };
        let mut report = Report::new("native", "close", "about it".into());
        report.rows = vec![
            row("ours", &[1.0, 3.0, 5.0]),
            row("may_minihttp", &[123_456.0, 234_567.0, 345_679.0]),
            row("one round", &[7.5]),
            row("ended", &[]),
        ];
        let text = report.markdown(&[("commit".into(), "abc".into())]);
        let cell = |server: &str, quartiles| Cell {
            server: server.into(),
            quartiles,
        };
        assert_eq!(
            cells(&text, Runtime::Native, "64 busy", "CPU µs a request"),
            [
                cell("ours", [2.0, 3.0, 4.0]),
                cell("may_minihttp", [179_012.0, 234_567.0, 290_123.0]),
                cell("one round", [7.5; 3]),
            ]
        );
        assert_eq!(cells(&text, Runtime::Native, "64 busy", "p99"), []);
        assert_eq!(cells(&text, Runtime::Native, "8 busy", "requests/s"), []);
    }
}
