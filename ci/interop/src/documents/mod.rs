//! Checks that the commands in the documents work as they stand there.
//!
//! Each page of the checkout is followed as a reader would: its blocks of commands run in their order, in the checkout
//! or next to it. `page.rs` describes what the first line of a block can say.

mod page;
mod session;

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::program::share_build;
use crate::report::leave_out;
use crate::{Outcome, Report, Runtime, command_line, ensure, root};
use page::{Block, How, Page, What};
use session::Session;

/// Follows all pages whose names contain `only`.
#[must_use]
pub fn run(runtimes: &[Runtime], only: &str) -> Report {
    let mut report = Report::new("documents", runtimes);
    for &runtime in runtimes {
        follow_all(&mut report, runtime, only);
    }
    report
}

fn follow_all(report: &mut Report, runtime: Runtime, only: &str) {
    let place = Place::new();
    let pages = match pages() {
        Ok(pages) => pages,
        Err(why) => {
            report.add("all pages", runtime, Err(why));
            return;
        }
    };
    for page in pages.iter().filter(|page| page.name.contains(only)) {
        let outcome = place
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|place| follow(page, place));
        report.add(&page.name, runtime, outcome);
    }
}

/// The pages that have commands: of all Markdown files of the checkout.
fn pages() -> Outcome<Vec<Page>> {
    let mut pages = Vec::new();
    for name in files()?.iter().filter(|name| name.ends_with(".md")) {
        let text = fs::read_to_string(root().join(name)).map_err(|e| format!("{name}: {e}"))?;
        pages.push(Page::parse(name, &text)?);
    }
    pages.retain(Page::has_commands);
    for block in pages.iter().flat_map(|page| &page.blocks) {
        if let What::CheckedBy(check) = &block.what {
            ensure!(
                command_line::has_check(check),
                "line {}: no check is called '{check}'",
                block.line
            );
        }
    }
    Ok(pages)
}

/// The files of the checkout that git doesn't ignore.
fn files() -> Outcome<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let output = git
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    ensure!(output.status.success(), "git ls-files: {}", output.status);
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    // A file that was removed is still in the index.
    let there = names.lines().filter(|name| root().join(name).is_file());
    Ok(there.map(str::to_owned).collect())
}

/// Follows a page. Returns how many blocks were run, are run by other checks, and are not run.
fn follow(page: &Page, place: &Place) -> Outcome<String> {
    let mut session = Session::start(&place.clone)?;
    let (mut ran, mut elsewhere, mut left) = (0, 0, 0);
    let mut printed = String::new();
    for block in &page.blocks {
        let at = |why| format!("{}:{}: {why}", page.name, block.line);
        match &block.what {
            What::Commands(How {
                needs: Some(program),
                ..
            }) if is_missing(program) => {
                leave_out(&at(format!("it needs {program}")));
                left += 1;
            }
            What::Commands(how) => {
                printed = session.run(block, how).map_err(at)?;
                ran += 1;
            }
            What::CheckedBy(_) => elsewhere += 1,
            What::NotRun(reason) => {
                println!("{}", at(format!("not run: {reason}")));
                left += 1;
            }
            What::Output => compare(block, &printed).map_err(at)?,
            What::File(path) => session.write(path, &block.text).map_err(at)?,
        }
    }
    Ok(format!(
        "{ran} run, {elsewhere} in other checks, {left} not run"
    ))
}

fn is_missing(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_err()
}

/// Compares without the end of the last line, which curl doesn't add.
fn compare(block: &Block, printed: &str) -> Outcome {
    ensure!(
        printed.trim_end() == block.text.trim_end(),
        "the commands before it have printed:\n{printed}"
    );
    Ok(())
}

/// A folder with nothing in it but the checkout, by a link. So what the pages make next to the clone doesn't stay, and
/// what cargo has built in the checkout isn't built again.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    clone: PathBuf,
}

impl Place {
    fn new() -> Outcome<Self> {
        // Always the same one, so that cargo finds what it has built for a package in it before.
        let mut hasher = DefaultHasher::new();
        root().hash(&mut hasher);
        let folder = std::env::temp_dir().join(format!("documents-{:016x}", hasher.finish()));
        let clone = folder.join("mini_http");
        let _ = fs::remove_dir_all(&folder);
        share_build(&folder)?;
        symlink(root(), &clone).map_err(|e| format!("{}: {e}", clone.display()))?;
        Ok(Self { folder, clone })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // If this fails, it stays in the system's temporary folder until the next time.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_of_commands_is_run_or_says_why_not() {
        let pages = pages().expect("pages that are understood");
        assert!(pages.iter().any(|page| page.name == "README.md"));
        for page in &pages {
            // Only what a block of commands prints that isn't a server is compared with the output after it.
            let mut shell = None;
            for block in &page.blocks {
                match &block.what {
                    What::Commands(how) => shell = Some(how.server.is_none()),
                    What::CheckedBy(_) | What::NotRun(_) => shell = None,
                    What::Output => assert_eq!(shell, Some(true), "{}:{}", page.name, block.line),
                    What::File(_) => {}
                }
            }
        }
    }

    #[test]
    fn only_a_program_that_is_there_is_not_missing() {
        assert!(!is_missing("bash"));
        assert!(is_missing("a-program-that-nobody-has"));
    }

    #[test]
    fn other_output_than_the_page_shows_is_an_error() {
        let page = Page::parse("page.md", "```text output\nhello\n```\n").expect("a page");
        assert_eq!(compare(&page.blocks[0], "hello"), Ok(()));
        assert!(compare(&page.blocks[0], "hallo\n").is_err());
        assert!(compare(&page.blocks[0], "").is_err());
    }
}
