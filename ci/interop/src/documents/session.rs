//! [`Session`]: a bash in which the commands of a page run one after the other, and the server beside it.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::page::{Block, How};
use crate::curl::Scratch;
use crate::{Outcome, ensure};

/// How long a block may take, and a server until it listens. On a new machine, runtimes are installed first.
const LIMIT: Duration = Duration::from_secs(1500);
/// How long to wait for a port that another process uses, such as a check in another checkout.
const PORT_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two attempts to connect to a port.
const PAUSE: Duration = Duration::from_millis(50);

/// A bash, whose folder, variables and functions are kept from block to block.
#[derive(Debug)]
pub(super) struct Session {
    bash: Group,
    input: ChildStdin,
    /// The folder that the bash is in, after each block.
    folders: Receiver<PathBuf>,
    folder: PathBuf,
    server: Option<Group>,
    /// The blocks, and what they have printed.
    files: Scratch,
}

impl Session {
    /// Starts it in this folder.
    pub(super) fn start(folder: &Path) -> Outcome<Self> {
        let mut command = bash(folder);
        // A command that fails ends it.
        command.args(["-e", "-s"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut bash = Group::spawn(command)?;
        let (input, output) = match (bash.0.stdin.take(), bash.0.stdout.take()) {
            (Some(input), Some(output)) => (input, output),
            _ => return Err("bash has no standard input or output".into()),
        };
        let (sender, folders) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(PathBuf::from(line));
            }
        });
        Ok(Self {
            bash,
            input,
            folders,
            folder: folder.to_owned(),
            server: None,
            files: Scratch::new()?,
        })
    }

    /// Runs a block of commands, and returns what it has printed on standard output; of a server, nothing.
    pub(super) fn run(&mut self, block: &Block, how: &How) -> Outcome<String> {
        let script = self
            .files
            .write(&format!("{}.sh", block.line), &block.text)?;
        match &how.server {
            Some(address) => {
                self.serve(&script, address, how)?;
                Ok(String::new())
            }
            None => self.source(&script, how),
        }
    }

    /// Writes a file, relative to the folder that the commands have changed to.
    pub(super) fn write(&self, path: &str, text: &str) -> Outcome {
        let path = self.folder.join(path);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn source(&mut self, script: &str, how: &How) -> Outcome<String> {
        let (out, err) = (self.files.file("out"), self.files.file("err"));
        let path = path_with(how)?;
        // The block has no input: it would read the next line that is written here.
        let line = format!("PATH='{path}' source '{script}' >'{out}' 2>'{err}' </dev/null\npwd\n");
        self.input
            .write_all(line.as_bytes())
            .map_err(|e| format!("the bash of this page has ended: {e}"))?;
        let arrived = self.folders.recv_timeout(LIMIT);
        let printed =
            |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        match arrived {
            Ok(folder) => self.folder = folder,
            Err(why) => {
                // The bash has ended, or is about to, or is stuck.
                let _ = self.bash.0.try_wait();
                return Err(format!("{why}\n{}{}", printed(&out), printed(&err)));
            }
        }
        Ok(printed(&out))
    }

    fn serve(&mut self, script: &str, address: &str, how: &How) -> Outcome {
        // Ends the server before this one.
        self.server = None;
        let waiting = Instant::now();
        while TcpListener::bind(address).is_err() {
            ensure!(
                waiting.elapsed() < PORT_LIMIT,
                "another program listens at {address}"
            );
            thread::sleep(PAUSE);
        }
        let log = self.files.file("server");
        let file = fs::File::create(&log).map_err(|e| format!("{log}: {e}"))?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        let mut command = bash(&self.folder);
        command.args(["-e", script]).env("PATH", path_with(how)?);
        let command = command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let server = self.server.insert(Group::spawn(command)?);
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.0.try_wait().map_err(|e| e.to_string())?;
            let log = || fs::read_to_string(&log).unwrap_or_default();
            ensure!(ended.is_none(), "the server has ended:\n{}", log());
            ensure!(
                started.elapsed() < LIMIT,
                "nothing listens at {address}:\n{}",
                log()
            );
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// A bash, with the environment of a person, which has none of our variables.
fn bash(folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.current_dir(folder).env("PWD", folder);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = name.starts_with("MINI_HTTP_") && name != "MINI_HTTP_CACHE";
        // Those of the cargo that has started this program.
        let cargos = name.starts_with("CARGO") && name != "CARGO_HOME";
        if ours || cargos || name == "RUST_LOG" {
            command.env_remove(&*name);
        }
    }
    command
}

/// The `PATH`, with the runtime of the block.
fn path_with(how: &How) -> Outcome<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let Some(runtime) = how.runtime else {
        return Ok(path);
    };
    let program = runtime.path()?;
    let folder = program.parent().unwrap_or(&program);
    Ok(format!("{}:{path}", folder.display()))
}

/// A child process and all that it starts, which are killed when this is dropped.
#[derive(Debug)]
struct Group(Child);

impl Group {
    fn spawn(command: &mut Command) -> Outcome<Self> {
        command.process_group(0);
        command
            .spawn()
            .map(Self)
            .map_err(|e| format!("{command:?}: {e}"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let mut kill = Command::new("kill");
        // Usually it has ended already, which `kill` reports.
        kill.args(["-KILL", "--", &group]).stderr(Stdio::null());
        let _ = kill.status();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{Page, What};
    use super::*;
    use crate::Runtime;

    /// Runs the blocks of a page, and returns what the last one has printed.
    fn follow(text: &str) -> Outcome<String> {
        let folder = Scratch::new()?;
        let mut session = Session::start(folder.path())?;
        let mut printed = String::new();
        for block in Page::parse("page.md", text)?.blocks {
            match &block.what {
                What::Commands(how) => printed = session.run(&block, how)?,
                What::File(path) => session.write(path, &block.text)?,
                What::CheckedBy(_) | What::NotRun(_) | What::Output => {}
            }
        }
        Ok(printed)
    }

    #[test]
    fn a_block_continues_where_the_one_before_has_ended() {
        let page = "```sh\nmkdir -p a/src && cd a\nword=hello\n```\n\
                    ```rust,program\nfn main() {}\n```\n\
                    ```sh\necho $word; cat src/main.rs\n```\n";
        assert_eq!(follow(page), Ok("hello\nfn main() {}\n".into()));
    }

    #[test]
    fn a_command_that_fails_is_an_error_with_its_output() {
        let page = "```sh\necho before\nls /there/is/none\necho behind\n```\n";
        let why = follow(page).expect_err("a command that fails");
        assert!(
            why.contains("before") && why.contains("/there/is/none"),
            "{why}"
        );
        assert!(!why.contains("behind"), "{why}");
    }

    #[test]
    fn a_server_that_ends_is_an_error_with_its_output() {
        let port = Runtime::free_port().expect("a free port");
        let page = format!("```sh server at 127.0.0.1:{port}\necho no port\n```\n");
        let why = follow(&page).expect_err("no server");
        assert!(
            why.contains("the server has ended") && why.contains("no port"),
            "{why}"
        );
    }
}
