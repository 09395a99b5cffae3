//! [`Figures`]: records figures in a file, and compares new ones with it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use interop::{Outcome, ensure, root};
use serde_json::{Map, Value, json};

/// Figures of one kind.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The name of the file, and of the check that makes it.
    pub(crate) name: &'static str,
    /// The figures, with their names.
    pub(crate) all: Vec<(String, u64)>,
}

/// How much higher than recorded a figure may be, as a part of the recorded figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// With the same compiler as recorded.
    pub(crate) same_compiler: f64,
    /// With another compiler, which makes different code.
    pub(crate) another_compiler: f64,
}

impl Figures {
    /// Writes the file.
    pub(crate) fn record(&self) -> Outcome {
        let all = self.all.iter();
        let all = all.map(|(name, value)| (name.clone(), json!(value)));
        let recorded = json!({
            "command": format!("ci/run {} --record", self.name),
            "rustc": rustc()?,
            "figures": all.collect::<Map<_, _>>(),
        });
        let path = self.path();
        let text = serde_json::to_string_pretty(&recorded).map_err(|e| e.to_string())?;
        fs::write(&path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
        println!("recorded in {}", path.display());
        Ok(())
    }

    /// Prints the figures with those of the file. Fails if one is higher by more than the tolerance.
    pub(crate) fn check(&self, tolerance: Tolerance) -> Outcome {
        let path = self.path();
        let recorded = fs::read_to_string(&path).map_err(|e| e.to_string());
        let recorded =
            recorded.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()));
        let recorded = recorded.map_err(|e| format!("{}: {e}", path.display()));
        let outcome = recorded.and_then(|recorded| self.compare(&recorded, &rustc()?, tolerance));
        let table = outcome.map_err(|why| {
            format!(
                "{why}\nIf the cost is worth it, record the new figures: `ci/run {} --record`.",
                self.name
            )
        })?;
        println!("{table}");
        Ok(())
    }

    fn compare(&self, recorded: &Value, rustc: &str, tolerance: Tolerance) -> Outcome<String> {
        let mut table = String::new();
        let compiler = recorded["rustc"].as_str().unwrap_or("an unknown compiler");
        let tolerance = if compiler == rustc {
            tolerance.same_compiler
        } else {
            let tolerance = tolerance.another_compiler;
            let percent = tolerance * 100.0;
            let _ = writeln!(
                table,
                "Recorded with {compiler}, and this is {rustc}: {percent} % more are allowed."
            );
            tolerance
        };
        let figures = recorded["figures"].as_object();
        let figures = figures.ok_or("no figures are recorded")?;
        let names = self.all.iter().map(|(name, _)| name);
        ensure!(
            names.clone().count() == figures.len()
                && names.clone().all(|name| figures.contains_key(name)),
            "the recorded figures have other names than those that were counted"
        );
        let mut is_over = false;
        for (name, now) in &self.all {
            let then = figures[name]
                .as_u64()
                .ok_or(format!("no number is recorded for {name}"))?;
            let (now, then) = (*now as f64, then as f64);
            let over = now > then * (1.0 + tolerance);
            is_over |= over;
            let mark = if over { "MORE" } else { "ok" };
            let change = now - then;
            let _ = writeln!(
                table,
                "{mark:5} {name:40} {now:8} recorded {then:8} {change:+8}"
            );
        }
        ensure!(
            !is_over,
            "more than recorded, by over {} %:\n{table}",
            tolerance * 100.0
        );
        Ok(table)
    }

    fn path(&self) -> PathBuf {
        root().join(format!("benches/results/{}.json", self.name))
    }
}

fn rustc() -> Outcome<String> {
    let output = Command::new("rustc").arg("--version").output();
    let output = output.map_err(|e| format!("rustc: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        same_compiler: 0.03,
        another_compiler: 0.1,
    };

    fn compare(now: u64, recorded: &Value) -> Outcome<String> {
        let figures = Figures {
            name: "test",
            all: vec![("one".into(), 100), ("two".into(), now)],
        };
        figures.compare(recorded, "rustc 1", TOLERANCE)
    }

    #[test]
    fn a_figure_above_the_allowance_fails() {
        let recorded = json!({ "rustc": "rustc 1", "figures": { "one": 100, "two": 100 } });
        assert!(compare(50, &recorded).is_ok());
        assert!(compare(103, &recorded).is_ok());
        let why = compare(104, &recorded).expect_err("4 % more");
        assert!(
            why.contains("MORE  two") && why.contains("ok    one"),
            "{why}"
        );
    }

    #[test]
    fn another_compiler_has_its_own_tolerance() {
        let recorded = json!({ "rustc": "rustc 2", "figures": { "one": 100, "two": 100 } });
        assert!(compare(110, &recorded).is_ok());
        assert!(compare(111, &recorded).is_err());
    }

    #[test]
    fn figures_that_are_not_compared_fail() {
        let unknown = json!({ "rustc": "rustc 1", "figures": { "one": 100 } });
        assert!(compare(100, &unknown).is_err());
        let renamed = json!({ "rustc": "rustc 1", "figures": { "one": 100, "three": 100 } });
        assert!(compare(100, &renamed).is_err());
        assert!(compare(100, &json!({})).is_err());
    }
}
