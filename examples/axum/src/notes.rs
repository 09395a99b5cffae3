//! The notes, and the handlers for them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The state of the app: all notes, shared by the clones of the app.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    last: u64,
    notes: BTreeMap<u64, String>,
}

/// The most notes. With their longest texts they take 4 MiB.
const MOST: usize = 1024;

/// The most notes of one response. It is in memory until its client has taken it, so with all of them some thousand
/// clients that are slow would take some GiB. With this number it has 200 KiB at most.
const MOST_LISTED: usize = 50;

/// What a client sends.
#[derive(Deserialize)]
pub(crate) struct NewNote {
    text: String,
}

/// What a client gets.
#[derive(Serialize)]
pub(crate) struct Note {
    id: u64,
    text: String,
}

/// Which notes are listed: those after a note, those that contain a text, and how many at most.
#[derive(Deserialize)]
pub(crate) struct Filter {
    after: Option<u64>,
    contains: Option<String>,
    limit: Option<usize>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        // A handler that panics changes nothing halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn list(
    State(notes): State<Notes>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Vec<Note>>, Error> {
    let Query(Filter {
        after,
        contains,
        limit,
    }) = filter?;
    let after = (Bound::Excluded(after.unwrap_or(0)), Bound::Unbounded);
    let limit = limit.unwrap_or(MOST_LISTED).min(MOST_LISTED);
    let contains = contains.unwrap_or_default();
    let stored = notes.lock();
    let wanted = stored
        .notes
        .range(after)
        .filter(|(_, text)| text.contains(&contains));
    let wanted = wanted.take(limit).map(|(&id, text)| Note {
        id,
        text: text.clone(),
    });
    Ok(Json(wanted.collect()))
}

pub(crate) async fn add(
    State(notes): State<Notes>,
    note: Result<Json<NewNote>, JsonRejection>,
) -> Result<impl IntoResponse, Error> {
    let Json(NewNote { text }) = note?;
    let mut stored = notes.lock();
    if stored.notes.len() == MOST {
        let text = "there are too many notes: delete some";
        return Err(Error::new(StatusCode::INSUFFICIENT_STORAGE, text));
    }
    stored.last += 1;
    let id = stored.last;
    stored.notes.insert(id, text.clone());
    let location = [(LOCATION, format!("/notes/{id}"))];
    Ok((StatusCode::CREATED, location, Json(Note { id, text })))
}

pub(crate) async fn show(
    State(notes): State<Notes>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<Note>, Error> {
    let Path(id) = id?;
    let text = notes.lock().notes.get(&id).cloned();
    let text = text.ok_or_else(|| no_note(id))?;
    Ok(Json(Note { id, text }))
}

pub(crate) async fn remove(
    State(notes): State<Notes>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Error> {
    let Path(id) = id?;
    let removed = notes.lock().notes.remove(&id);
    removed.map_or_else(|| Err(no_note(id)), |_| Ok(StatusCode::NO_CONTENT))
}

fn no_note(id: u64) -> Error {
    Error::not_found(format!("there is no note {id}"))
}
