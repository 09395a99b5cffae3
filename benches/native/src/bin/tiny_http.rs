//! `tiny_http` with one thread for responses. It has another one for each connection.

use native_servers::{BODY, listener};
use tiny_http::{Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = listener()?;
    listener.set_nonblocking(false)?;
    let server = Server::from_listener(listener, None)?;
    for mut request in server.incoming_requests() {
        let mut body = Vec::new();
        // It fails if the client has gone, which is no reason to end.
        let outcome = request.as_reader().read_to_end(&mut body).and_then(|_| {
            let body = match request.url() {
                "/echo" => body,
                _ => BODY.into(),
            };
            request.respond(Response::from_data(body))
        });
        drop(outcome);
    }
    Ok(())
}
