//! Transitions of the state graph.

use super::*;

#[test]
fn a_persistent_connection_returns_to_idle() {
    let mut state = State::new();
    state.head_began();
    state.request_done();
    state.responded();
    assert_eq!(
        (state.reading(), state.writing(), state.keep_alive()),
        (Reading::Idle, Writing::Open, KeepAlive::Persist)
    );
}

#[test]
fn the_first_reason_to_close_stays() {
    let mut state = State::new();
    state.head_began();
    state.request_done();
    state.will_close(CloseReason::ClientAskedClose);
    state.will_close(CloseReason::Stopped);
    state.responded();
    assert_eq!(state.close_reason(), Some(CloseReason::ClientAskedClose));
    assert_eq!(state.reading(), Reading::Discarding);
    assert_eq!(state.writing(), Writing::Closing);
}

#[test]
fn lingers_until_the_clients_stream_ends() {
    let mut state = State::new();
    state.last_response_queued(CloseReason::BadRequest);
    state.all_sent();
    assert_eq!(state.writing(), Writing::Lingering);
    state.input_ended();
    assert_eq!(state.writing(), Writing::Closed);
}

#[test]
fn closes_without_lingering_if_the_clients_stream_has_ended() {
    let mut state = State::new();
    state.input_ended();
    assert_eq!(state.writing(), Writing::Closing);
    state.all_sent();
    assert_eq!(state.writing(), Writing::Closed);
    assert_eq!(state.close_reason(), Some(CloseReason::ClientClosed));
}

#[test]
fn a_failure_replaces_the_reason_that_the_client_asked_to_close() {
    let mut state = State::new();
    state.head_began();
    state.request_done();
    state.will_close(CloseReason::ClientAskedClose);
    state.failed(CloseReason::HandlerFailed);
    state.all_sent();
    state.lingered();
    assert_eq!(state.close_reason(), Some(CloseReason::HandlerFailed));
    assert_eq!(state.writing(), Writing::Closed);
}

/// Each failure after each reason, in each state of the output.
#[test]
fn a_failure_replaces_a_planned_reason_until_all_is_sent() {
    let (timeout, reset) = (CloseReason::WriteTimeout, CloseReason::IoError);
    for failure in [timeout, reset] {
        for &earlier in CloseReason::ALL {
            let is_replaced = earlier.is_planned();
            for (writing, is_replaced) in [
                (Writing::Open, is_replaced),
                (Writing::Closing, is_replaced),
                (Writing::Lingering, false),
                (Writing::Closed, false),
            ] {
                let mut state = ending(earlier, writing);
                state.closed(failure);
                let reason = if is_replaced { failure } else { earlier };
                assert_eq!(
                    state.close_reason(),
                    Some(reason),
                    "{failure:?} behind {earlier:?} in {writing:?}"
                );
                assert_eq!(state.writing(), Writing::Closed);
                // The first failure stays.
                state.closed(CloseReason::Evicted);
                assert_eq!(state.close_reason(), Some(reason));
            }
        }
    }
    let planned = [
        CloseReason::ClientClosed,
        CloseReason::ClientAskedClose,
        CloseReason::Http10,
        CloseReason::HandlerAskedClose,
        CloseReason::Stopped,
        CloseReason::BodyUnread,
        CloseReason::Upgraded,
    ];
    let all = CloseReason::ALL.iter().copied();
    assert!(all.filter(|reason| reason.is_planned()).eq(planned));
}

/// A connection that is to close for this reason, and has got as far as this.
fn ending(reason: CloseReason, writing: Writing) -> State {
    let mut state = State::new();
    state.head_began();
    state.request_done();
    state.will_close(reason);
    if writing == Writing::Open {
        return state;
    }
    state.responded();
    if writing == Writing::Closing {
        return state;
    }
    state.all_sent();
    if writing == Writing::Closed {
        state.lingered();
    }
    assert_eq!(state.writing(), writing);
    state
}
