//! An axum app of one route on tokio and hyper, on the mio shim. It sends the same response as the other servers.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p1")),
    allow(unused, reason = "a program for WASI preview 1 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    let app = Router::new().route("/", get(async || response::BODY));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(mio::preopened_listener()?)?;
        Ok(axum::serve(listener, app).await?)
    })
}
