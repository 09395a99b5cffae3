//! Makes a handler of this library a component that exports `wasi:http/incoming-handler`: [`export!`](crate::export).
//!
//! A component has one request at a time, so its loop is small (`exchange.rs`). It is written against a trait
//! (`host::Host`), and tested natively with a scripted host.
//!
//! | file | |
//! |---|---|
//! | `handler.rs` | the exported handler, of any kind |
//! | `exchange.rs` | the loop of one request; every 10 seconds it finds out whether the client is still there |
//! | `upload.rs`, `download.rs` | the bodies of the request and of the response |
//! | `head.rs` | the head of the request; those of responses are made by `conn/hosted.rs` |
//! | `host.rs` | what the loop needs of a host |
//! | `wasi.rs` | the calls of `wasi:http` |

mod download;
mod exchange;
mod handler;
mod head;
mod host;
mod upload;

#[cfg(test)]
mod tests;
#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod wasi;

pub use self::handler::Exported;
#[cfg(all(target_os = "wasi", target_env = "p2"))]
pub(crate) use self::wasi::is_component;
#[cfg(all(target_os = "wasi", target_env = "p2"))]
pub use self::wasi::{IncomingRequest, ResponseOutparam, handle, wasip2};

/// Whether this program is a component that [`export!`](crate::export) has made.
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
pub(crate) const fn is_component() -> bool {
    false
}

/// Exports a handler as a component for hosts of `wasi:http`, such as `wasmtime serve`, Spin and wasmCloud (feature
/// `wasi-http`).
///
/// ```
/// use mini_http::{Incoming, Response, http::Request};
///
/// async fn hello(request: Request<Incoming>) -> Response<String> {
///     Response::new(format!("hello, {}\n", request.uri().path()))
/// }
///
/// mini_http::export!(serve_async: hello);
/// ```
///
/// The crate is a library of the type `cdylib`, built for `wasm32-wasip2`. On other targets the macro only checks that
/// the handler fits. The word before the colon is the name of a method of [`Server`](crate::Server):
///
/// | | takes the handler of |
/// |---|---|
/// | `export!(start: handler)` | [`Server::start`](crate::Server::start) |
/// | `export!(serve: handler)` | [`Server::serve`](crate::Server::serve) |
/// | `export!(serve_async: handler)` | [`Server::serve_async`](crate::Server::serve_async) |
/// | `export!(serve_tower: service)` | `Server::serve_tower` (feature `tower`) |
///
/// The expression is evaluated once in each instance, when the instance gets its first request. It may borrow nothing.
/// An instance has one request at a time, and a host may drop it after each: keep state where instances share it.
///
/// Bodies stream in both directions: the host is read when the handler waits for the request's body, and the response's
/// body is polled when the host has room. [`sleep`](crate::sleep()) works, and so does [`spawn`](crate::spawn()): tasks
/// run until the response is complete, and are then dropped. If the client is gone, the next write fails, and then the
/// future and the body are dropped. If a handler waits and nothing is left that could wake it, that is an error of the
/// handler: the client gets 500, or a truncated response.
///
/// There is no [`PeerAddr`](crate::PeerAddr), and [`upgrade`](crate::upgrade()) fails with
/// [`Unsupported`](crate::ErrorKind::Unsupported). Only one of the [`Limits`](crate::Limits) applies: `max_body` is 16
/// MiB, unless an asynchronous handler sets [`Incoming::limit`](crate::Incoming::limit). All other limits, timers and
/// logs of connections are the host's.
///
/// The macro can be used once in a crate. Crates that forbid `unsafe` code can use it.
// For docs.rs: a macro doesn't get the label of the feature from its module.
#[cfg_attr(docsrs, doc(cfg(feature = "wasi-http")))]
#[macro_export]
macro_rules! export {
    ($kind:ident: $handler:expr $(,)?) => {
        const _: () = {
            fn exported() -> $crate::__wasi_http::Exported {
                $crate::__wasi_http::Exported::$kind($handler)
            }
            $crate::__export_component!(exported);
        };
    };
}

#[cfg(all(target_os = "wasi", target_env = "p2"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($exported:ident) => {
        struct Component;

        impl $crate::__wasi_http::wasip2::exports::http::incoming_handler::Guest for Component {
            fn handle(
                request: $crate::__wasi_http::IncomingRequest,
                response: $crate::__wasi_http::ResponseOutparam,
            ) {
                $crate::__wasi_http::handle(request, response, $exported);
            }
        }

        $crate::__wasi_http::wasip2::http::proxy::export!(
            Component with_types_in $crate::__wasi_http::wasip2
        );
    };
}

/// Only checks the handler: on this target there is no host that could call it.
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($exported:ident) => {
        const _: fn() -> $crate::__wasi_http::Exported = $exported;
    };
}
