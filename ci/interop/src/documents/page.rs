//! [`Page`]: the blocks of a Markdown page that matter to the check, and what their first lines ask for.

use crate::{Outcome, Runtime, ensure};

/// A page, with its blocks in their order.
#[derive(Debug)]
pub(super) struct Page {
    /// Its path in the checkout.
    pub(super) name: String,
    pub(super) blocks: Vec<Block>,
}

/// A block of code.
#[derive(Debug)]
pub(super) struct Block {
    /// The number of its first line.
    pub(super) line: usize,
    pub(super) what: What,
    pub(super) text: String,
}

/// What the check does with a block: what its first line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// ```` ```sh ````: runs it.
    Commands(How),
    /// ```` ```sh checked by NAME ````: that check of `ci/run` does.
    CheckedBy(String),
    /// ```` ```sh not run: REASON ````: only lists it.
    NotRun(String),
    /// ```` ```text output ````: the block of commands before it must have printed this.
    Output,
    /// ```` ```rust,program ````, ```` ```rust,library ````: writes `src/main.rs` or `src/lib.rs`, in the folder that
    /// the commands before it have changed to.
    File(&'static str),
}

/// How commands are run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct How {
    /// `server`, `server at ADDRESS`: they start a server at this address, which runs until the next one is started or
    /// the page ends.
    pub(super) server: Option<String>,
    /// `with RUNTIME`: it is on the `PATH`.
    pub(super) runtime: Option<Runtime>,
    /// `needs PROGRAM`: they are left out if there is no such program.
    pub(super) needs: Option<String>,
}

/// Where a server of the documents listens unless its block says otherwise.
const ADDRESS: &str = "127.0.0.1:3000";

impl Page {
    /// Parses a page.
    ///
    /// # Errors
    /// When the first line of a block of commands isn't understood.
    pub(super) fn parse(name: &str, text: &str) -> Outcome<Self> {
        let mut blocks = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                continue;
            };
            let body: Vec<&str> = (&mut lines)
                .map(|(_, line)| line)
                .take_while(|line| !line.starts_with("```"))
                .collect();
            let at = |why| format!("{name}:{}: {why}", number + 1);
            if let Some(what) = what(info).map_err(at)? {
                let text = body.iter().flat_map(|line| [line, "\n"]).collect();
                blocks.push(Block {
                    line: number + 1,
                    what,
                    text,
                });
            }
        }
        let name = name.to_owned();
        Ok(Self { name, blocks })
    }

    /// Whether it has commands.
    pub(super) fn has_commands(&self) -> bool {
        self.blocks.iter().any(|block| block.what.is_shell())
    }
}

impl What {
    fn is_shell(&self) -> bool {
        match self {
            Self::Commands(_) | Self::CheckedBy(_) | Self::NotRun(_) => true,
            Self::Output | Self::File(_) => false,
        }
    }
}

/// What is to be done with a block whose first line is this. `None` if nothing is.
fn what(info: &str) -> Outcome<Option<What>> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    match language {
        "sh" => shell(rest).map(Some),
        "bash" | "console" | "shell" => {
            Err(format!("commands are blocks of `sh`, not `{language}`"))
        }
        "text" if rest == "output" => Ok(Some(What::Output)),
        _ => Ok(file(language).map(What::File)),
    }
}

/// The file that a block with these attributes, as of rustdoc, belongs into.
fn file(attributes: &str) -> Option<&'static str> {
    attributes.split(',').find_map(|word| match word {
        "program" => Some("src/main.rs"),
        "library" => Some("src/lib.rs"),
        _ => None,
    })
}

fn shell(rest: &str) -> Outcome<What> {
    if let Some(reason) = rest.strip_prefix("not run: ") {
        return Ok(What::NotRun(reason.to_owned()));
    }
    if let Some(check) = rest.strip_prefix("checked by ") {
        return Ok(What::CheckedBy(check.to_owned()));
    }
    let mut how = How::default();
    let mut words = rest.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "server" => how.server = Some(ADDRESS.to_owned()),
            "at" => {
                ensure!(how.server.is_some(), "`at` is for a server");
                how.server = Some(value(word, words.next())?);
            }
            "with" => how.runtime = Some(value(word, words.next())?.parse()?),
            "needs" => how.needs = Some(value(word, words.next())?),
            _ => return Err(format!("`{word}` isn't known: see `ci/run help documents`")),
        }
    }
    Ok(What::Commands(how))
}

fn value(word: &str, next: Option<&str>) -> Outcome<String> {
    next.map(str::to_owned)
        .ok_or_else(|| format!("`{word}` needs a value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Outcome<What> {
        let mut blocks = Page::parse("page.md", text)?.blocks;
        assert_eq!(blocks.len(), 1);
        Ok(blocks.remove(0).what)
    }

    #[test]
    fn the_first_line_says_what_is_done() {
        let server = How {
            server: Some("127.0.0.1:8080".into()),
            runtime: Some(Runtime::Wasmi),
            needs: None,
        };
        for (text, what) in [
            ("```sh\nls\n```\n", What::Commands(How::default())),
            (
                "```sh server at 127.0.0.1:8080 with wasmi\nx\n```",
                What::Commands(server),
            ),
            (
                "```sh checked by test\nci/test\n```\n",
                What::CheckedBy("test".into()),
            ),
            (
                "```sh not run: as root\nx\n```\n",
                What::NotRun("as root".into()),
            ),
            ("```text output\nx\n```\n", What::Output),
            ("```rust,no_run,program\n```\n", What::File("src/main.rs")),
        ] {
            assert_eq!(one(text), Ok(what), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for text in [
            "```sh sever\n```",
            "```bash\n```",
            "```sh with\n```",
            "```sh with nothing\n```",
            "```sh at x\n```",
        ] {
            let why = Page::parse("page.md", &format!("\n{text}\n")).expect_err(text);
            assert!(why.starts_with("page.md:2: "), "{why}");
        }
    }

    #[test]
    fn other_blocks_are_left_alone() {
        let page = Page::parse("page.md", "```\nx\n```\n```text\n```sh\n```rust\n```\n");
        assert!(!page.expect("a page").has_commands());
    }
}
