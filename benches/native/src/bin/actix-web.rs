//! actix-web with one worker. (It has another thread that accepts connections.)

use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::web::{self, Bytes, PayloadConfig};
use actix_web::{App, HttpResponse, HttpServer};
use native_servers::{BODY, listener};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(|| {
        App::new()
            .app_data(PayloadConfig::new(2 << 20))
            .route("/", web::get().to(hello))
            .route("/", web::post().to(hello_after))
            .route("/echo", web::post().to(echo))
    })
    .workers(1)
    // Idle connections must stay open during the whole benchmark.
    .keep_alive(KeepAlive::Timeout(Duration::from_secs(3600)))
    .listen(listener()?)?
    .run()
    .await
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().body(BODY)
}

/// Returns the same, but takes a body.
async fn hello_after(_body: Bytes) -> HttpResponse {
    hello().await
}

async fn echo(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().body(body)
}
