//! axum on tokio's `current_thread`.

use native_servers::{app, listener};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    axum::serve(TcpListener::from_std(listener()?)?, app()).await
}
