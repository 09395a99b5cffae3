//! Log lines: the macros of the crate `log`. With the feature `log` off, they have the same names, and do nothing.
//!
//! `mini_http` and `wasip1-poll` write their lines with these macros, so that one feature is for all of them.

#[cfg(feature = "log")]
pub use ::log::{debug, error, info, trace, warn};

#[cfg(not(feature = "log"))]
pub use crate::{
    no_line as debug, no_line as error, no_line as info, no_line as trace, no_line as warn,
};

/// Whether lines at level `trace` are logged for this target. This is one relaxed load, unless some target is at this
/// level; only then the logger is called.
#[must_use]
pub fn is_traced(target: &str) -> bool {
    #[cfg(feature = "log")]
    let enabled = ::log::log_enabled!(target: target, ::log::Level::Trace);
    #[cfg(not(feature = "log"))]
    let enabled = {
        let _ = target;
        false
    };
    enabled
}

/// Takes the arguments of a log line, which are checked, but not evaluated.
#[cfg(not(feature = "log"))]
#[doc(hidden)]
#[macro_export]
macro_rules! no_line {
    (target: $target:expr, $($text:tt)+) => {
        if false {
            let _ = ($target, ::core::format_args!($($text)+));
        }
    };
    ($($text:tt)+) => {
        if false {
            let _ = ::core::format_args!($($text)+);
        }
    };
}

#[cfg(all(test, not(feature = "log")))]
mod tests {
    #[test]
    fn arguments_are_not_evaluated() {
        let mut evaluated = 0;
        let mut evaluate = || {
            evaluated += 1;
            evaluated
        };
        crate::log::error!(target: "mini_http", "{}", evaluate());
        crate::log::trace!("{}", evaluate());
        assert_eq!(evaluated, 0);
        assert!(!crate::log::is_traced("wasi"));
    }
}
