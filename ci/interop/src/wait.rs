//! Waiting for what another process does. No check may assume that it has happened by now: the machine may be busy.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::{Outcome, ensure};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Tries until there is a result, or the time is over.
pub fn within<T>(most: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let since = Instant::now();
    loop {
        let result = attempt();
        if result.is_some() || since.elapsed() > most {
            return result;
        }
        sleep(PAUSE);
    }
}

/// Waits until a condition holds, for at most [`PATIENCE`]. `what` describes the condition.
///
/// # Errors
/// It doesn't hold by then.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Outcome {
    let is_so = within(PATIENCE, || is_so().then_some(()));
    ensure!(is_so.is_some(), "not within {PATIENCE:?}: {what}");
    Ok(())
}

/// How often a case is attempted that other processes can spoil.
const ATTEMPTS: usize = 5;

/// The error of an attempt that proves nothing, because the check itself came too late.
pub const TOO_BUSY: &str = "the machine is too busy for this check";

/// Repeats attempts that prove nothing.
///
/// # Errors
/// The first one that isn't [`TOO_BUSY`]; and [`TOO_BUSY`] if all attempts have failed with it.
pub fn unless_too_busy<T>(mut attempt: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let mut outcome = attempt();
    for _ in 1..ATTEMPTS {
        if !matches!(&outcome, Err(why) if why == TOO_BUSY) {
            break;
        }
        outcome = attempt();
    }
    outcome
}

/// For a case with a bound on time, which other processes can spoil: it passes if one of several attempts does. A
/// server that is too slow fails in each of them.
///
/// # Errors
/// Those of the last attempt.
pub fn in_a_quiet_moment<T>(mut attempt: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(why) => eprintln!("    once more, because {why}"),
            passed => return passed,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attempts_that_prove_nothing_are_repeated() {
        let try_all = |outcomes: &[Outcome]| {
            let mut rest = outcomes.iter().cloned();
            let outcome = unless_too_busy(|| rest.next().expect("no more attempts"));
            (outcome, rest.count())
        };
        let busy = Err(TOO_BUSY.to_owned());
        let other = Err("a fault".to_owned());
        assert_eq!(try_all(&[busy.clone(), Ok(()), Ok(())]), (Ok(()), 1));
        assert_eq!(try_all(&[other.clone(), Ok(())]), (other, 1));
        assert_eq!(try_all(&vec![busy.clone(); 6]), (busy, 1));
    }

    #[test]
    fn an_attempt_in_a_quiet_moment_is_enough_and_none_is_a_failure() {
        let mut left = 3;
        let outcome = in_a_quiet_moment(|| {
            left -= 1;
            ensure!(left == 0, "{left} to go");
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
        let outcome: Outcome = in_a_quiet_moment(|| Err("too slow".into()));
        assert_eq!(outcome, Err("too slow".to_owned()));
    }
}
