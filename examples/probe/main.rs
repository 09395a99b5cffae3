//! Examines the WASI preview 1 runtime it runs in: what its sockets, its `poll_oneoff` and its clocks
//! really do, as a table.
//!
//! It needs a listening socket, and a program at the other end that carries out its commands: `ci/run probe RUNTIME`
//! provides both. For a runtime which the scripts don't know, start the module in it by hand, with
//! `--markdown` or `--json` as its argument if the table shouldn't be plain text, and then
//! `ci/run probe --address 127.0.0.1:3000`.
//!
//! It calls the runtime directly, not through `mini_http`: what it shows is the runtime.

#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod clocks;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod costs;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod descriptors;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod lab;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod peer;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod polling;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod table;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod transfer;

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let format = match std::env::args().nth(1).as_deref() {
        None | Some("--text") => table::Format::Text,
        Some("--markdown") => table::Format::Markdown,
        Some("--json") => table::Format::Json,
        Some(other) => {
            return Err(
                format!("unknown argument {other}: use --text, --markdown or --json").into(),
            );
        }
    };
    let mut table = table::Table::default();
    let mut lab = lab::Lab::open(&mut table)?;
    let parts = [
        descriptors::examine,
        polling::examine,
        transfer::examine,
        clocks::examine,
        costs::examine,
    ];
    for part in parts {
        // In a runtime where a part fails, the results of the others are still useful.
        if let Err(why) = part(&mut lab, &mut table) {
            table.row(
                "(the rest of this part)",
                "",
                format!("not tried: {why}"),
                "",
            );
        }
    }
    lab.close()?;
    // In one piece, after all experiments: `ci/run probe` reads the whole standard output as the table.
    std::io::Write::write_all(&mut std::io::stdout(), table.show(format).as_bytes())?;
    Ok(())
}

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() -> Result<(), &'static str> {
    Err("it examines WASI preview 1 runtimes; build it for wasm32-wasip1, see ci/run probe")
}
