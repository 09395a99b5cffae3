//! For tests with bounds on time.

/// Passes if one of several attempts does: other processes can slow down some of them. A fault of the server fails all.
pub(crate) fn in_a_quiet_moment(attempt: impl Fn() -> Result<(), String>) {
    const ATTEMPTS: usize = 5;
    let mut failed = Vec::new();
    while failed.len() < ATTEMPTS {
        match attempt() {
            Ok(()) => return,
            Err(why) => failed.push(why),
        }
    }
    panic!("in none of the attempts: {failed:?}");
}

/// An error with this text, unless the condition holds.
pub(crate) fn check(condition: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why()) }
}
