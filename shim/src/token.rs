//! [`Token`]: the number by which a user recognises the source of an event.

/// A number that the user chooses for a source. Events of the source have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub usize);

impl From<Token> for usize {
    fn from(token: Token) -> Self {
        token.0
    }
}
