//! Large files, to the disk by the example `upload`, and back by `download`.

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

pub(super) fn run(runtime: Runtime) -> Outcome<String> {
    let scratch = Scratch::new()?;
    let folder = scratch.file("store");
    fs::create_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
    let block = Random::new(7).bytes(BLOCK);
    let count = blocks(runtime);
    // Where the runtime can't write files, `download` gets a file that is there already.
    let writes = runtime.writes_files();
    let file = scratch.file(if writes { "file" } else { "store/large" });
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&file)?;
        (0..count).try_for_each(|number| file.write_all(&nth(&block, number)))
    };
    write().map_err(|e| format!("{file}: {e}"))?;
    let up = match writes {
        true => format!("{} up, ", upload(runtime, &folder, &file)?),
        false => String::new(),
    };
    let down = download(runtime, &folder, &block)?;
    Ok(format!("{up}{down} down ({count} MiB)"))
}

/// Sends the file as a form, by curl. Returns the memory that it took, in MiB above idle.
fn upload(runtime: Runtime, folder: &str, file: &str) -> Outcome<u64> {
    let server = start(runtime, "upload", folder)?;
    // The first response of a runtime may take memory, too.
    curl(&["--fail", &server.url("/")])?;
    let idle = peak_memory(server.pid())?;
    let form = format!("file=@{file};filename=large");
    curl(&["--fail", "-F", &form, &server.url("/")])?;
    took(&server, idle)
}

/// Compares what comes. Returns the memory that it took, in the same way.
fn download(runtime: Runtime, folder: &str, block: &[u8]) -> Outcome<u64> {
    let server = start(runtime, "download", folder)?;
    let mut client = Client::connect(server.address)?;
    client.send(get("/missing"))?;
    ensure!(client.response()?.status == 404, "a file is there");
    let idle = peak_memory(server.pid())?;
    client.send(get("/large"))?;
    let head = client.response_head()?;
    let length = (blocks(runtime) * BLOCK).to_string();
    ensure!(
        head.values("content-length").eq([&*length]),
        "{}",
        head.head
    );
    for number in 0..blocks(runtime) {
        same(&client.take(BLOCK)?, &nth(block, number))?;
    }
    took(&server, idle)
}

fn start(runtime: Runtime, name: &str, folder: &str) -> Outcome<Server> {
    let program = Program::package(runtime, name)?;
    Server::with_command(runtime, |address| {
        program.command_with_folder(&address.to_string(), &[("RUST_LOG", "warn")], folder)
    })
}

/// The memory above `idle`, in MiB.
fn took(server: &Server, idle: u64) -> Outcome<u64> {
    let above = peak_memory(server.pid())? - idle;
    ensure!(
        above <= MOST_ABOVE,
        "it took {above} MiB above {idle}, more than {MOST_ABOVE}"
    );
    server.check_log()?;
    Ok(above)
}

/// The blocks differ in their first bytes.
fn nth(block: &[u8], number: usize) -> Vec<u8> {
    let mut block = block.to_vec();
    block[..8].copy_from_slice(&number.to_le_bytes());
    block
}
