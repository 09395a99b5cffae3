//! Large files, to the disk and back, by the example `upload`.

use std::fs::{self, File};
use std::io::Write;

use super::get;
use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::random::Random;
use crate::server::peak_memory;
use crate::{Client, Outcome, Program, Runtime, Server, ensure};

pub(super) const NAME: &str = "MiB above idle for a file up and down (at most 20)";

const BLOCK: usize = 1 << 20;
const MOST_ABOVE: u64 = 20;

/// In blocks. An interpreter needs minutes for more.
fn blocks(runtime: Runtime) -> usize {
    match runtime.interprets() {
        true => 50,
        false => 500,
    }
}

pub(super) fn run(runtime: Runtime, release: bool) -> Outcome<String> {
    let program = Program::example(runtime, "upload", release)?;
    let scratch = Scratch::new()?;
    let folder = scratch.file("store");
    fs::create_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
    let server = Server::with_command(runtime, |address| {
        let mut command = program.command(&address.to_string(), &[("RUST_LOG", "warn")])?;
        if runtime != Runtime::Native {
            command.args(["--dir", &folder, "--"]);
        }
        command.arg(&folder);
        Ok(command)
    })?;
    // The first response of a runtime may take memory, too.
    let mut client = Client::connect(server.address)?;
    client.send(get("/missing"))?;
    ensure!(client.answer()?.status == 404, "a file is there");
    let idle = peak_memory(server.pid())?;
    let block = Random::new(7).bytes(BLOCK);
    let count = blocks(runtime);
    // Where the runtime writes no files, it is there already.
    let writes = runtime.writes_files();
    let file = scratch.file(if writes { "file" } else { "store/large" });
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&file)?;
        (0..count).try_for_each(|number| file.write_all(&nth(&block, number)))
    };
    write().map_err(|e| format!("{file}: {e}"))?;
    if writes {
        curl(&["--fail", "-T", &file, &server.url("/large")])?;
    }
    client.send(get("/large"))?;
    let head = client.head_answer()?;
    let length = (count * BLOCK).to_string();
    ensure!(
        head.values("content-length").eq([&*length]),
        "{}",
        head.head
    );
    for number in 0..count {
        same(&client.take(BLOCK)?, &nth(&block, number))?;
    }
    let above = peak_memory(server.pid())? - idle;
    ensure!(
        above <= MOST_ABOVE,
        "it took {above} MiB above {idle}, more than {MOST_ABOVE}"
    );
    server.check_log()?;
    let ways = if writes { "" } else { " down" };
    Ok(format!("{above} ({count} MiB{ways})"))
}

/// The blocks differ in their first bytes.
fn nth(block: &[u8], number: usize) -> Vec<u8> {
    let mut block = block.to_vec();
    block[..8].copy_from_slice(&number.to_le_bytes());
    block
}
