//! Logs the calls to a runtime, one line for each, like strace: `name(arguments) = value <duration>`.
//!
//! The WASI reactors pass the names, arguments and values; this module has what all lines share. When
//! their level is off, a call costs one relaxed atomic load more, and the clock is not read.

use std::fmt::{self, Display, Formatter};

/// The log target of the lines; their level is `trace`.
pub const TARGET: &str = "wasi";

/// How many items of a list one line shows. At half, lines are cut that are still easy to read; at double, they
/// are too long to compare by eye.
const SHOWN: usize = 32;

/// Makes a call, and logs it if that is enabled. `name` writes the name with the arguments, `value` the result.
/// `now` reads a clock in nanoseconds.
pub fn call<T>(
    now: impl Fn() -> u64,
    run: impl FnOnce() -> T,
    name: impl Fn(&mut Formatter<'_>) -> fmt::Result,
    value: impl Fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> T {
    if !is_on() {
        return run();
    }
    let start = now();
    let result = run();
    let took = now().saturating_sub(start);
    let value = Shown(|f: &mut Formatter<'_>| value(&result, f));
    log_line(&Shown(name), &value, Took(took));
    result
}

/// Whether lines are logged, see [`is_traced`](crate::log::is_traced).
#[must_use]
pub fn is_on() -> bool {
    crate::log::is_traced(TARGET)
}

/// Writes a list in brackets, with at most 32 items. `count` is the length of `items`.
///
/// # Errors
/// Those of the formatter.
pub fn list<T: Display>(
    f: &mut Formatter<'_>,
    items: impl Iterator<Item = T>,
    count: usize,
) -> fmt::Result {
    f.write_str("[")?;
    for (at, item) in items.take(SHOWN).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        write!(f, "{separator}{item}")?;
    }
    if count > SHOWN {
        write!(f, ", {} more", count - SHOWN)?;
    }
    f.write_str("]")
}

/// A value that is displayed by a function.
#[derive(Debug)]
pub struct Shown<F>(pub F);

impl<F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for Shown<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

/// Not generic, so that the compiled program contains it once, and not for each call.
#[cold]
fn log_line(name: &dyn Display, value: &dyn Display, took: Took) {
    crate::log::trace!(target: TARGET, "{name} = {value} <{took}>");
}

/// A duration in nanoseconds, shown in microseconds.
struct Took(u64);

impl Display for Took {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // With integers: the code that formats floats would add 10 kB to a wasm module.
        let tenths = self.0.saturating_add(50) / 100;
        write!(f, "{}.{}us", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_decimal() {
        let shown = |nanos| Took(nanos).to_string();
        assert_eq!(shown(0), "0.0us");
        assert_eq!(shown(949), "0.9us");
        assert_eq!(shown(950), "1.0us");
        assert_eq!(shown(1_952_815_449), "1952815.4us");
    }

    #[test]
    fn long_lists_are_cut() {
        let shown =
            |count| Shown(move |f: &mut Formatter<'_>| list(f, 0..count, count)).to_string();
        assert_eq!(shown(0), "[]");
        assert_eq!(shown(2), "[0, 1]");
        assert!(shown(32).ends_with(", 31]"));
        assert!(shown(40).ends_with(", 31, 8 more]"));
    }
}
