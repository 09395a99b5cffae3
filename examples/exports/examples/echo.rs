//! The example `echo` as a component.

#[expect(dead_code, reason = "its main function is for sockets")]
#[path = "../../echo.rs"]
mod echo;

mini_http::export!(start: echo::respond);
