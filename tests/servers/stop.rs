//! A server for tests of stopping, for any runtime. `/stop?MILLISECONDS` logs `working`, sleeps for this time, and then
//! stops the server. `/large` returns 16 MiB, and every other path `hello!`.

use std::thread::sleep;
use std::time::Duration;

use mini_http::{Response, Server};

const LARGE: usize = 16 << 20;

fn main() -> mini_http::Result<()> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let server = Server::new(&addr)?;
    let handle = server.handle();
    server.start(move |request| {
        Response::new(match request.uri().path() {
            "/stop" => {
                log::info!("working");
                let millis = request.uri().query().and_then(|it| it.parse().ok());
                sleep(Duration::from_millis(millis.unwrap_or(0)));
                handle.stop();
                b"stopping".to_vec()
            }
            "/large" => vec![b'x'; LARGE],
            _ => b"hello!".to_vec(),
        })
    })
}
