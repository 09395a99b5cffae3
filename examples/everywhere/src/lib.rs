//! The handler as a component, for hosts of `wasi:http`.

mod handler;

mini_http::export!(serve_async: handler::handle);
