//! [`Choices`]: the part of a fuzz input that decides what happens, apart from the bytes of HTTP.

/// Decisions, read one by one. When they are used up, each further one is 0, which is the simplest choice.
#[derive(Clone, Debug)]
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Splits an input into the bytes of HTTP and the decisions after them, whose number is the last byte. The bytes
    /// of HTTP come first, so that a seed looks like what a client sends.
    pub(crate) fn split(data: &'a [u8]) -> (&'a [u8], Self) {
        let Some((&count, rest)) = data.split_last() else {
            return (data, Self(&[]));
        };
        let at = rest.len().saturating_sub(usize::from(count));
        let (bytes, choices) = rest.split_at(at);
        (bytes, Self(choices))
    }

    /// Makes an input. The reverse of [`split`](Self::split).
    pub(crate) fn join(bytes: &[u8], choices: &[u8]) -> Vec<u8> {
        let choices = &choices[..choices.len().min(255)];
        let count = u8::try_from(choices.len()).unwrap_or(u8::MAX);
        [bytes, choices, &[count]].concat()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound.max(1)
    }

    /// One of `values`. The first is the simplest choice.
    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(self.next()) % values.len()]
    }
}
