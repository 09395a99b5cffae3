//! `may_minihttp` with one worker. It binds its address itself.

use std::io::{self, Read};

use may_minihttp::{HttpServer, HttpService, Request, Response};
use native_servers::{BODY, address};

#[derive(Clone)]
struct Service;

impl HttpService for Service {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        match request.path() {
            "/echo" => {
                let mut body = Vec::new();
                request.body().read_to_end(&mut body)?;
                response.body_vec(body);
            }
            "/" => {
                if request.method() == "POST" {
                    io::copy(&mut request.body(), &mut io::sink())?;
                }
                response.body(BODY);
            }
            _ => {}
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    may::config().set_workers(1);
    let server = HttpServer(Service).start(address()?)?;
    server
        .join()
        .map_err(|_| io::Error::other("the server panicked"))
}
