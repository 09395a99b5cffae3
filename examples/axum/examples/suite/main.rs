//! The server of `ci/run axum`: the app of this package and the routes of `routes.rs`, on this library; natively, with
//! `MINI_HTTP_SUITE=tokio` in the environment, on tokio and hyper. `ci/interop/src/axum` compares the responses.

mod routes;

use std::error::Error;

use axum::Router;
use mini_http::Server;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let app = axum_api::app().merge(routes::routes());
    if std::env::var("MINI_HTTP_SUITE").is_ok_and(|on| on == "tokio") {
        return on_tokio(&addr, app);
    }
    Ok(Server::new(&addr)?.serve_tower(app)?)
}

#[cfg(not(target_os = "wasi"))]
fn on_tokio(addr: &str, app: Router) -> Result<(), Box<dyn Error>> {
    use std::net::SocketAddr;

    use axum::extract::{ConnectInfo, Request};
    use axum::middleware::map_request;
    use mini_http::PeerAddr;

    // The app expects the client's address as this library passes it.
    let app = app.layer(map_request(
        async |ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request| {
            request.extensions_mut().insert(PeerAddr(peer));
            request
        },
    ));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(addr).await?;
        Ok(axum::serve(listener, app).await?)
    })
}

#[cfg(target_os = "wasi")]
fn on_tokio(_: &str, _: Router) -> Result<(), Box<dyn Error>> {
    Err("tokio is for the native program".into())
}
