//! A minimal component of `wasi:http`, with the same response as the other servers, for `wasmtime serve`. The host
//! implements HTTP.

#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod component {
    #![allow(unsafe_code, reason = "the bindings export functions")]

    use response::BODY;
    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types::{
        Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    };

    struct Component;

    impl Guest for Component {
        fn handle(_request: IncomingRequest, out: ResponseOutparam) {
            let fields = Fields::new();
            let length = BODY.len().to_string().into_bytes();
            fields
                .set("content-length", &[length])
                .expect("a well-formed field");
            let response = OutgoingResponse::new(fields);
            let body = response.body().expect("the first call");
            ResponseOutparam::set(out, Ok(response));
            let stream = body.write().expect("the first call");
            stream
                .blocking_write_and_flush(BODY.as_bytes())
                .expect("a client");
            drop(stream);
            OutgoingBody::finish(body, None).expect("a whole body");
        }
    }

    wasip2::http::proxy::export!(Component);
}
