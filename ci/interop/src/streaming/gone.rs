//! Two clients that reset their connections while the server doesn't read them: one has ended its stream before, the
//! other has sent more than is kept. Their futures must be dropped soon, on WASI after about ten seconds. The other
//! cases run meanwhile.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{get, number};
use crate::client::PATIENCE;
use crate::server::Busy;
use crate::{Client, Outcome, Program, Runtime, Server, ensure};

pub(super) const NAME: &str = "resets of connections that aren't read";

/// On WASI such connections are checked every ten seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(12);

/// The server, and when the connections were reset.
pub(super) struct Gone {
    server: Server,
    since: Instant,
    busy: Busy,
}

pub(super) fn begin(runtime: Runtime, release: bool) -> Outcome<Gone> {
    let program = Program::example(runtime, "async_server", release)?;
    let settings = [("RUST_LOG", "info"), ("HALF_CLOSED_TIMEOUT", "60000")];
    let server = Server::start(&program, &settings)?;
    let mut other = Client::connect(server.address)?;
    let (mut ended, mut eager) = (
        Client::connect(server.address)?,
        Client::connect(server.address)?,
    );
    ended.send(get("/wait"))?;
    ended.half_close()?;
    eager.send(get("/wait").repeat(4_000))?;
    let started = Instant::now();
    while number(&mut other, "/waiting")? != 2 {
        let lasts = started.elapsed();
        ensure!(lasts < PATIENCE, "they don't wait");
        sleep(Duration::from_millis(10));
    }
    // Until the end of the stream, and as much input as is kept, was read.
    sleep(Duration::from_millis(200));
    ended.reset()?;
    eager.reset()?;
    Ok(Gone {
        since: Instant::now(),
        busy: Busy::begin(&server),
        server,
    })
}

impl Gone {
    pub(super) fn end(mut self) -> Outcome<String> {
        let mut other = Client::connect(self.server.address)?;
        // There, only the next write would find it.
        if self.server.runtime.is_blind() {
            return Ok("not found".into());
        }
        loop {
            let waiting = number(&mut other, "/waiting")?;
            if waiting == 0 {
                break;
            }
            ensure!(
                self.since.elapsed() < FOUND_WITHIN + self.busy.so_far(&self.server),
                "after {FOUND_WITHIN:?}, {waiting} of 2 wait still"
            );
            sleep(Duration::from_millis(100));
        }
        self.server.check_log()?;
        Ok("found".into())
    }
}
