//! The checks, in the order of the help.

mod figures;
mod runtimes;
mod servers;
mod sources;

use super::check::Check;
use crate::Runtime;
use crate::runtime::Wasi;

pub(super) fn checks() -> impl Iterator<Item = &'static Check> {
    let all = [
        servers::CHECKS,
        sources::CHECKS,
        runtimes::CHECKS,
        figures::CHECKS,
    ];
    all.into_iter().flatten()
}

fn any(_: Runtime) -> bool {
    true
}

/// For a check that runs in no runtime.
fn none(_: Runtime) -> bool {
    false
}

/// For the check `fleet`, one of each kind: a native program, a module in an interpreter, a component.
fn is_in_fleets(it: Runtime) -> bool {
    matches!(it, Runtime::Native | Runtime::Wasmi | Runtime::Wasmtime48)
}

/// Has a command that serves components of `wasi:http`. The Python package of wasmtime 46 and 47 has none.
fn serves_wasi_http(it: Runtime) -> bool {
    matches!(it, Runtime::Wasmtime48 | Runtime::Jco)
}

fn is_component_host(it: Runtime) -> bool {
    serves_wasi_http(it) && it.is_usual()
}

fn native(it: Runtime) -> bool {
    it.wasi().is_none()
}

fn in_wasi(it: Runtime) -> bool {
    it.is_usual() && it.wasi().is_some()
}

fn preview1(it: Runtime) -> bool {
    it.wasi() == Some(Wasi::Preview1)
}

fn preview1_in_wasmtime(it: Runtime) -> bool {
    preview1(it) && it.precompiles()
}

fn preview2_in_wasmtime(it: Runtime) -> bool {
    it.wasi() == Some(Wasi::Preview2) && it.precompiles()
}

fn native_or_preview2(it: Runtime) -> bool {
    native(it) || preview2_in_wasmtime(it)
}

/// The shim is for preview 1; natively its programs have the mio of crates.io.
fn on_the_shim(it: Runtime) -> bool {
    native(it) || preview1(it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::check::Run;
    use crate::root;

    #[test]
    fn each_check_has_a_name_of_its_own() {
        let mut names: Vec<_> = checks().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks().count());
    }

    #[test]
    fn a_check_can_run_where_it_does() {
        for check in checks() {
            assert!(check.defaults().all(check.can_run), "{}", check.name);
        }
    }

    #[test]
    fn each_script_exists() {
        for check in checks() {
            if let Run::Script(path) = check.run {
                assert!(root().join(path).is_file(), "{path}");
            }
        }
    }

    /// A check that nothing runs would rot.
    #[test]
    fn ci_runs_each_check() {
        let scripts = [
            ".ci/run",
            "ci/test",
            "ci/checks/shim",
            "ci/checks/probe-docs",
            ".github/workflows/ci.yml",
        ];
        let scripts = scripts.map(|it| std::fs::read_to_string(root().join(it)).expect(it));
        for Check { name, .. } in checks() {
            let called = ["check", "check_beside", "ci/run"].map(|how| format!("{how} {name}"));
            let called = |text: &String| called.iter().any(|it| text.contains(it));
            // `all` is .ci/run, `test` is ci/test, and the pages that probe-docs makes are committed.
            let exempt = ["all", "test", "probe-docs"].contains(name);
            assert!(exempt || scripts.iter().any(called), "{name}");
        }
    }
}
