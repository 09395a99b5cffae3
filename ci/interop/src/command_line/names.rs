//! `ci/run runtimes`: the names of runtimes, for scripts and workflows.

use super::call::Call;
use super::check::Check;
use super::{find, table};
use crate::runtime::Wasi;
use crate::{Outcome, Runtime};

/// Its usage, for `ci/run help`.
pub(super) const USAGE: &str = "ci/run runtimes [--json] [--wasi 0|1|2] [CHECK [RUNTIME...]]";

/// Without a check, returns the names of all runtimes. With one, those in which it would run with the
/// same arguments. `--wasi` selects those of one version of WASI; 0 means native.
///
/// `--checks [RUNTIME...]` returns a line for each check: its name, and those of the named runtimes in which it
/// runs by default.
pub(super) fn run(words: &[&str]) -> Outcome<String> {
    if let ["--checks", named @ ..] = words {
        return checks(named);
    }
    let mut json = false;
    let mut version = None;
    let mut check = None;
    let mut named = Vec::new();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--json" => json = true,
            "--wasi" => version = Some(wasi(words.next().copied().unwrap_or_default())?),
            _ if word.starts_with('-') => return Err(format!("'{word}' is unknown: {USAGE}")),
            _ if check.is_none() => check = Some(find(word)?),
            _ => named.push(word),
        }
    }
    let runtimes = match check {
        None => Runtime::all().collect(),
        Some(check) => Call::of(check, &named)?.runtimes,
    };
    let names: Vec<_> = runtimes
        .into_iter()
        .filter(|it| version.is_none_or(|version| it.wasi() == version))
        .map(Runtime::name)
        .collect();
    Ok(match json {
        true => format!("{names:?}"),
        false => names.join(" "),
    })
}

fn checks(names: &[&str]) -> Outcome<String> {
    let named: Vec<Runtime> = names.iter().map(|it| it.parse()).collect::<Outcome<_>>()?;
    let line = |check: &Check| {
        let on = named.iter().filter(|&&it| (check.runs_by_default)(it));
        let names = on.map(|it| it.name());
        let words: Vec<_> = std::iter::once(check.name).chain(names).collect();
        words.join(" ")
    };
    let lines: Vec<_> = table::checks().map(line).collect();
    Ok(lines.join("\n"))
}

fn wasi(version: &str) -> Outcome<Option<Wasi>> {
    match version {
        "0" => Ok(None),
        "1" => Ok(Some(Wasi::Preview1)),
        "2" => Ok(Some(Wasi::Preview2)),
        _ => Err(format!("--wasi can't be '{version}': 0, 1 or 2")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gets_the_names() {
        for (words, names) in [
            (&["test"][..], "native wasmi"),
            (&["--json", "test"], r#"["native", "wasmi"]"#),
            (&["--wasi", "2", "all"], "wasmtime48"),
            (&["test", "wasmtime48", "native"], "wasmtime48 native"),
            (&["seeds"], ""),
        ] {
            assert_eq!(run(words).as_deref(), Ok(names), "{words:?}");
        }
        assert!(run(&["abuse", "wasmer"]).is_err());
        assert!(run(&["size", "native"]).is_err());
        assert!(run(&["abuze"]).is_err());
    }

    #[test]
    fn a_script_gets_the_checks_that_run_in_its_runtimes() {
        let text = run(&["--checks", "wasmi", "wasmtime36"]).expect("lines");
        let lines: Vec<_> = text.lines().collect();
        for line in ["abuse wasmtime36", "idle wasmi wasmtime36", "host", "seeds"] {
            assert!(lines.contains(&line), "{text}");
        }
        assert!(run(&["--checks", "wasmer"]).is_err());
    }
}
