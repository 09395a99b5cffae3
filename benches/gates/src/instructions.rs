//! Counts the instructions for a request: those of the server's process, in user space, with valgrind.
//!
//! Two runs of different lengths are counted. The difference of instructions is divided by the difference of requests,
//! so neither the start nor the end counts. The client sends each batch with one write, and waits for all
//! its responses. So the server's reads are the same in each run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use interop::{Client, Outcome, Program, Runtime, Server, ensure, root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::recorded::{Figures, Tolerance};
use crate::requests::{Requests, Size};

/// Requests of the two runs. The first ones fill pools and caches.
const SHORT: usize = 512;
const LONG: usize = SHORT + 4096;

/// How many requests are sent at once.
const DEPTHS: [(usize, &str); 2] = [(1, "one at a time"), (16, "16 at once")];

/// The programs that are counted, each with the prefix of its figures' names.
const SERVERS: [(&str, &str); 2] = [
    ("", "instructions_server"),
    ("async: ", "instructions_server_async"),
];

/// The most that a request with only `Host` should cost, at each depth.
const GOALS: [u64; 2] = [2400, 1900];

/// Two runs differ by less than 0.1 %, however busy the machine is.
const TOLERANCE: Tolerance = Tolerance {
    same_compiler: 0.03,
    another_compiler: 0.1,
};

/// Runs the check, with the rest of the command line.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Outcome {
    let options = Options::of(arguments)?;
    prepare()?;
    let mut figures = Vec::new();
    match &options.program {
        Some(path) => figures.extend(of_program("", path, options.keep.as_deref())?),
        None => {
            for (prefix, name) in SERVERS {
                let program = ours(name)?;
                println!("{name}");
                figures.extend(of_program(prefix, &program, options.keep.as_deref())?);
            }
        }
    }
    if options.program.is_some() {
        return Ok(());
    }
    for ((name, figure), most) in figures.iter().zip(GOALS) {
        let mark = if *figure <= most { "ok" } else { "MISSED" };
        println!("goal: {name}, at most {most}: {figure} {mark}");
    }
    let figures = Figures {
        name: "instructions",
        all: figures,
    };
    if options.record {
        return figures.record();
    }
    figures.check(TOLERANCE)
}

/// The figures of one program, each with its name.
fn of_program(prefix: &str, program: &Path, keep: Option<&Path>) -> Outcome<Vec<(String, u64)>> {
    let mut figures = Vec::new();
    println!(
        "Instructions a request, in user space:\n\n{:16}{:>24}{:>24}",
        "", DEPTHS[0].1, DEPTHS[1].1
    );
    for size in Size::ALL {
        let mut counts = Vec::new();
        for (depth, name) in DEPTHS {
            let count = a_request(program, size, depth, keep)?;
            figures.push((format!("{prefix}{}, {name}", size.name()), count));
            counts.push(count);
        }
        println!("{:16}{:>24}{:>24}", size.name(), counts[0], counts[1]);
    }
    println!();
    Ok(figures)
}

/// Checks that valgrind is installed.
fn prepare() -> Outcome {
    ensure!(
        cfg!(target_os = "linux"),
        "it counts with valgrind on Linux"
    );
    let status = Command::new(root().join("ci/apt")).arg("valgrind").status();
    let status = status.map_err(|e| format!("ci/apt: {e}"))?;
    ensure!(status.success(), "there is no valgrind");
    Ok(())
}

struct Options {
    record: bool,
    /// Count this program, which serves at `MINI_HTTP_ADDR`. Its figures aren't compared.
    program: Option<PathBuf>,
    /// Where valgrind's files are kept, for `callgrind_annotate`.
    keep: Option<PathBuf>,
}

impl Options {
    fn of(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            record: false,
            program: None,
            keep: None,
        };
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--record" => options.record = true,
                "--program" => options.program = Some(value()?.into()),
                "--keep" => options.keep = Some(value()?.into()),
                _ => {
                    return Err(format!(
                        "'{name}' isn't understood; see `ci/run help instructions`"
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn ours(name: &str) -> Outcome<PathBuf> {
    let what = ["--locked", "--package", "gates", "--bin", name];
    Ok(Program::build(Runtime::Native, &root().join("benches"), &what, true)?.path)
}

fn a_request(program: &Path, size: Size, depth: usize, keep: Option<&Path>) -> Outcome<u64> {
    let short = counted(program, size, depth, SHORT, keep)?;
    let long = counted(program, size, depth, LONG, keep)?;
    Ok(long.saturating_sub(short) / (LONG - SHORT) as u64)
}

/// The instructions of a run with this many requests.
fn counted(
    program: &Path,
    size: Size,
    depth: usize,
    count: usize,
    keep: Option<&Path>,
) -> Outcome<u64> {
    let folder = keep.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let file = folder.join(format!(
        "callgrind-{}-{size:?}-{depth}-{count}",
        std::process::id()
    ));
    let mut server = Server::with_command(Runtime::Native, |address| {
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(program)
            .env("MINI_HTTP_ADDR", address.to_string());
        Ok(command)
    })?;
    ask(&server, size, depth, count)?;
    end(&mut server)?;
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    if keep.is_none() {
        fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    total(&text).ok_or(format!("{} has no total", file.display()))
}

/// Sends this many requests on one connection, in batches of `depth`.
fn ask(server: &Server, size: Size, depth: usize, count: usize) -> Outcome {
    let mut client = Client::connect(server.address)?;
    let mut requests = Requests::new(size);
    for _ in 0..count / depth {
        client.send(requests.batch(depth))?;
        for _ in 0..depth {
            client.response()?.check(b"Hello, world!")?;
        }
    }
    Ok(())
}

/// Makes valgrind write its file.
fn end(server: &mut Server) -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(20);
    let pid = Pid::from_raw(i32::try_from(server.pid()).map_err(|e| e.to_string())?);
    kill(pid, Signal::SIGTERM).map_err(|e| format!("the server can't be ended: {e}"))?;
    let since = Instant::now();
    while server.ended().is_none() {
        ensure!(since.elapsed() < PATIENCE, "the server doesn't end");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The sum in a file of callgrind.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line?.trim().parse().ok()
}
