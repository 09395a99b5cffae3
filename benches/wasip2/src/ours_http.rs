//! `mini_http` as a component of `wasi:http`, with the same response as `http.rs`, which uses the bindings alone.

use std::future::{Ready, ready};

use mini_http::http::Request;
use mini_http::{Incoming, Response};
use response::BODY;

mini_http::export!(serve_async: respond);

fn respond(_request: Request<Incoming>) -> Ready<Response<String>> {
    ready(Response::new(BODY.into()))
}
