//! Tests of the app, without a server and without tokio.

use axum_api::app;
use mini_http::http::{Request, StatusCode};
use mini_http::{Bytes, Incoming, PeerAddr, Response};
use serde_json::{Value, json};
use tower::ServiceExt;

/// The response of an app to a request.
fn respond<B: Into<Incoming>>(app: &axum::Router, request: Request<B>) -> Response<Bytes> {
    mini_http::test::run(|request| app.clone().oneshot(request), request)
}

fn get(target: &str) -> Request<()> {
    Request::get(target).body(()).expect("a valid target")
}

fn post(note: &Value) -> Request<String> {
    let request = Request::post("/notes").header("content-type", "application/json");
    request.body(note.to_string()).expect("valid fields")
}

fn value(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).expect("JSON")
}

#[test]
fn a_note_is_kept() {
    let app = app();
    let added = respond(&app, post(&json!({ "text": "buy milk" })));
    assert_eq!(added.status(), StatusCode::CREATED);
    assert_eq!(added.headers()["location"], "/notes/1");
    let note = json!({ "id": 1, "text": "buy milk" });
    assert_eq!(value(&added), note);
    assert_eq!(value(&respond(&app, get("/notes/1"))), note);
    assert_eq!(
        value(&respond(&app, get("/notes?contains=milk"))),
        json!([note])
    );
    assert_eq!(
        value(&respond(&app, get("/notes?contains=bread"))),
        json!([])
    );
}

/// A client that is slow must not hold a copy of all notes.
#[test]
fn a_list_has_a_bound() {
    let app = app();
    for _ in 0..60 {
        respond(&app, post(&json!({ "text": "a note" })));
    }
    let ids = |target: &str| -> Vec<_> {
        let list = value(&respond(&app, get(target)));
        let notes = list.as_array().expect("a list").iter();
        notes.filter_map(|note| note["id"].as_u64()).collect()
    };
    assert!(ids("/notes").into_iter().eq(1..=50));
    assert!(ids("/notes?limit=1000").into_iter().eq(1..=50));
    assert!(ids("/notes?after=50").into_iter().eq(51..=60));
    assert_eq!(ids("/notes?after=57&limit=2"), [58, 59]);
    assert!(ids("/notes?after=18446744073709551615").is_empty());
}

#[test]
fn an_error_is_json() {
    let missing = respond(&app(), get("/notes/7"));
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let expected = json!({ "status": 404, "error": "there is no note 7" });
    assert_eq!(value(&missing), expected);
    let wrong = respond(&app(), post(&json!({ "txt": "?" })));
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(value(&wrong)["status"], 422);
}

#[test]
fn the_client_has_an_address() {
    let mut request = get("/me");
    assert_eq!(
        value(&respond(&app(), get("/me"))),
        json!({ "address": null })
    );
    let peer = PeerAddr(([192, 0, 2, 1], 4711).into());
    request.extensions_mut().insert(peer);
    let response = respond(&app(), request);
    assert_eq!(value(&response), json!({ "address": "192.0.2.1" }));
}
