//! Embeds a runtime: runs a component that serves HTTP in this process, on the crate `wasmtime`. The component may
//! listen at one address, and use nothing else of the network.
//!
//! `host COMPONENT.wasm [IP:PORT]`; see README.md. It ends with Ctrl-C.

use std::net::SocketAddr;
use std::process::ExitCode;

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::error::Context;
use wasmtime::{Config, Engine, Result, Store};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(file) = arguments.next() else {
        eprintln!("usage: host COMPONENT.wasm [IP:PORT]");
        return ExitCode::from(2);
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    match run(&file, &address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the component until it ends, or Ctrl-C comes.
async fn run(file: &str, address: &str) -> Result<()> {
    let address = address
        .parse::<SocketAddr>()
        .with_context(|| format!("'{address}' is not an address like 127.0.0.1:3000"))?;
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let component =
        Component::from_file(&engine, file).with_context(|| format!("can't load {file}"))?;

    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    let mut store = Store::new(&engine, Guest::at(address));
    // One step of the epoch stops the component, wherever it is.
    store.set_epoch_deadline(1);
    let command = Command::instantiate_async(&mut store, &component, &linker).await?;

    let mut serving = tokio::spawn(async move {
        let ended = command.wasi_cli_run().call_run(&mut store).await;
        ended?.map_err(|()| wasmtime::format_err!("the component has failed: its output is above"))
    });
    tokio::select! {
        ended = &mut serving => ended?,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            // The first is for a component that computes, the second for one that waits.
            engine.increment_epoch();
            serving.abort();
            let _ = serving.await;
            eprintln!("stopped");
            Ok(())
        }
    }
}

/// All that the component can use outside of its own memory.
struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Guest {
    /// A guest that gets this address in its environment, and may listen there. It sees no files, and no other
    /// variable than `RUST_LOG`.
    fn at(address: SocketAddr) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.inherit_stdout()
            .inherit_stderr()
            .env("MINI_HTTP_ADDR", address.to_string())
            // UDP and the lookup of names stay forbidden.
            .allow_tcp(true)
            .socket_addr_check(move |asked, purpose| {
                Box::pin(async move { is_allowed(address, asked, purpose) })
            });
        if let Ok(level) = std::env::var("RUST_LOG") {
            wasi.env("RUST_LOG", level);
        }
        Self {
            wasi: wasi.build(),
            table: ResourceTable::new(),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Whether a component that serves `address` may use an address for that.
fn is_allowed(address: SocketAddr, asked: SocketAddr, purpose: SocketAddrUse) -> bool {
    match purpose {
        SocketAddrUse::TcpBind => asked == address,
        SocketAddrUse::TcpListen => {
            // With port 0 the system has chosen one.
            let is_ours = asked == address || address.port() == 0 && asked.ip() == address.ip();
            if is_ours {
                println!("http://{asked}");
            }
            is_ours
        }
        // Here it is the client's.
        SocketAddrUse::TcpAccept => true,
        SocketAddrUse::TcpConnect
        | SocketAddrUse::UdpBind
        | SocketAddrUse::UdpSend
        | SocketAddrUse::UdpReceive => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

    #[test]
    fn only_the_chosen_address_is_allowed() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (ours, other) = (address("127.0.0.1:3000"), address("127.0.0.1:3001"));
        for purpose in [SocketAddrUse::TcpBind, SocketAddrUse::TcpListen] {
            assert!(is_allowed(ours, ours, purpose));
            assert!(!is_allowed(ours, other, purpose));
            assert!(!is_allowed(ours, address("0.0.0.0:3000"), purpose));
        }
        assert!(is_allowed(ours, other, SocketAddrUse::TcpAccept));
        assert!(!is_allowed(ours, other, SocketAddrUse::TcpConnect));
        assert!(!is_allowed(ours, ours, SocketAddrUse::UdpBind));

        let any = address("127.0.0.1:0");
        assert!(is_allowed(any, other, SocketAddrUse::TcpListen));
        assert!(!is_allowed(any, other, SocketAddrUse::TcpBind));
    }

    /// wasmtime permits nothing by default. Needs a component: `ci/run host` passes the example `echo`.
    #[tokio::test]
    async fn a_component_without_network_says_what_its_host_has_to_do() {
        let file = std::env::var("COMPONENT").expect("COMPONENT names a component");
        let engine = Engine::default();
        let component = Component::from_file(&engine, file).expect("a component");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("a linker");
        let stderr = MemoryOutputPipe::new(4096);
        let guest = Guest {
            wasi: WasiCtx::builder().stderr(stderr.clone()).build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&engine, guest);
        let command = Command::instantiate_async(&mut store, &component, &linker);
        let command = command.await.expect("an instance");
        let ended = command.wasi_cli_run().call_run(&mut store).await;
        assert!(!matches!(ended, Ok(Ok(()))), "{ended:?}");
        let message = String::from_utf8(stderr.contents().to_vec()).expect("text");
        for part in [
            "can't listen on 127.0.0.1:3000",
            "-S inherit-network",
            "inherit_network of its WasiCtxBuilder",
            "wasi_config_inherit_network",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
