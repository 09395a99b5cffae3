//! The example `upload` as a component. The host has to pass the folder as `/uploads`:
//! `wasmtime serve -S cli --dir FOLDER::/uploads upload-http.wasm`.

#[expect(dead_code, reason = "its main function is for sockets")]
#[path = "../../upload/src/main.rs"]
mod upload;

mini_http::export!(serve_async: upload::app("/uploads".into()));
