//! `ci/run runtimes`: the names of runtimes, for scripts and workflows.

use super::call::Call;
use super::check::Check;
use super::find;
use crate::runtime::Wasi;
use crate::{Outcome, Runtime};

/// What `ci/run help` says about it.
pub(super) const USAGE: &str =
    "ci/run runtimes [--json] [--wasi 0|1|2] [--by-default] [CHECK [RUNTIME...]]";

/// The names of all runtimes; or, of a check and the runtimes that are named for it, those on which it would
/// run. With `--by-default` only those of them where it also runs when none is named. `--wasi` leaves those of
/// one version of WASI, where 0 stands for none.
pub(super) fn run(words: &[&str]) -> Outcome<String> {
    let (mut json, mut by_default) = (false, false);
    let mut version = None;
    let mut check = None;
    let mut named = Vec::new();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--json" => json = true,
            "--by-default" => by_default = true,
            "--wasi" => version = Some(wasi(words.next().copied().unwrap_or_default())?),
            _ if word.starts_with('-') => return Err(format!("'{word}' isn't known: {USAGE}")),
            _ if check.is_none() => check = Some(find(word)?),
            _ => named.push(word),
        }
    }
    let runtimes = match check {
        None => Runtime::all().collect(),
        Some(check) if by_default => among_defaults(check, &named)?,
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

/// The named runtimes on which a check runs by default. Those on which it can't run at all are no error.
fn among_defaults(check: &Check, names: &[&str]) -> Outcome<Vec<Runtime>> {
    let mut runtimes = Vec::new();
    for name in names {
        let runtime = name.parse()?;
        if (check.does)(runtime) {
            runtimes.push(runtime);
        }
    }
    Ok(runtimes)
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
    fn a_script_learns_the_names() {
        for (words, names) in [
            (&["test"][..], "native wasmi"),
            (&["--json", "test"], r#"["native", "wasmi"]"#),
            (&["--wasi", "2", "all"], "wasmtime48"),
            (&["test", "wasmtime48", "native"], "wasmtime48 native"),
            (
                &["--by-default", "abuse", "wasmi", "wasmtime36"],
                "wasmtime36",
            ),
            (&["--by-default", "size", "native"], ""),
            (&["seeds"], ""),
        ] {
            assert_eq!(run(words).as_deref(), Ok(names), "{words:?}");
        }
        assert!(run(&["abuse", "wasmer"]).is_err());
        assert!(run(&["--by-default", "abuse", "wasmer"]).is_err());
        assert!(run(&["size", "native"]).is_err());
        assert!(run(&["abuze"]).is_err());
    }
}
