//! The example `axum` as a component. Its notes live as long as the instance.

mini_http::export!(serve_tower: axum_api::app());
