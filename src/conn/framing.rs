//! The length of a request's body: the algorithm of RFC 9112 §6.3, step by step.

use http::{HeaderMap, Version, header};

use super::grammar::{is_token, trim_ows};
use super::head::elements;
use super::refusal::Refusal;

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`: this many bytes, more than 0 (RFC 9112 §6.2).
    Length(u64),
    /// The chunked transfer coding (RFC 9112 §7.1).
    Chunked,
}

impl Framing {
    /// Determines the framing from a request's fields. Ambiguous framing is refused: requests can be
    /// smuggled when two recipients find different ends of one message (RFC 9112 §11.2).
    ///
    /// # Errors
    /// A [`Refusal`] with status 400, or 501 for an unknown transfer coding before `chunked`.
    pub fn of_request(version: Version, fields: &HeaderMap) -> Result<Self, Refusal> {
        let has_transfer_encoding = fields.contains_key(header::TRANSFER_ENCODING);
        let has_content_length = fields.contains_key(header::CONTENT_LENGTH);

        // 1. (Responses to HEAD, 1xx, 204 and 304: not for requests.)
        // 2. (Responses to CONNECT: not for requests.)
        // 3. Transfer-Encoding with Content-Length: "ought to be handled as an error". And §6.1:
        //    Transfer-Encoding in HTTP/1.0 is faulty framing.
        if has_transfer_encoding && has_content_length {
            return Err(Refusal::malformed(
                "both Transfer-Encoding and Content-Length are given",
            ));
        }
        if has_transfer_encoding && version < Version::HTTP_11 {
            return Err(Refusal::malformed("Transfer-Encoding is given in HTTP/1.0"));
        }
        // 4. Transfer-Encoding whose final coding is chunked. A request with another final coding
        //    is refused, and so are codings before it, because none is implemented.
        if has_transfer_encoding {
            return transfer_coding(fields);
        }
        if has_content_length {
            // 5. An invalid Content-Length is an unrecoverable error. 6. A valid one is the length.
            return Ok(match content_length(fields)? {
                0 => Self::None,
                length => Self::Length(length),
            });
        }
        // 7. A request with neither has no body.
        Ok(Self::None)
        // 8. (A body that ends with the connection: not for requests.)
    }
}

/// `Transfer-Encoding` must be `chunked` alone, across all its field lines.
fn transfer_coding(fields: &HeaderMap) -> Result<Framing, Refusal> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_unknown = |coding: &[u8]| {
        let name = coding.split(|&byte| byte == b';').next().map(trim_ows);
        name.is_some_and(|name| is_token(name) && !is_chunked(name))
    };
    let mut last: Option<&[u8]> = None;
    let (mut is_alone, mut are_others_unknown) = (true, true);
    for coding in elements(fields, &header::TRANSFER_ENCODING) {
        if let Some(other) = last.replace(coding) {
            is_alone = false;
            are_others_unknown &= is_unknown(other);
        }
    }
    if !last.is_some_and(is_chunked) {
        return Err(Refusal::malformed(
            "the last transfer coding is not chunked",
        ));
    }
    match (is_alone, are_others_unknown) {
        (true, _) => Ok(Framing::Chunked),
        // The codings before the last one: none is implemented, so they are unknown (RFC 9112 §6.1)
        // or invalid.
        (false, true) => Err(Refusal::not_implemented(
            "the only transfer coding this server knows is chunked",
        )),
        (false, false) => Err(Refusal::malformed(
            "Transfer-Encoding is not chunked, once and alone",
        )),
    }
}

/// `Content-Length` must be a single field line of digits. RFC 9112 §6.3 also permits a repeated
/// identical value. That is refused here: such a message was damaged on its way, and recipients may
/// disagree about it.
fn content_length(fields: &HeaderMap) -> Result<u64, Refusal> {
    let mut lines = fields.get_all(header::CONTENT_LENGTH).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Refusal::malformed("Content-Length is given more than once"));
    };
    let digits = trim_ows(line.as_bytes());
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::malformed("Content-Length is not a decimal number"));
    }
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .ok_or(Refusal::malformed("Content-Length does not fit in 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn framing(version: Version, fields: &[(&'static str, &[u8])]) -> Result<Framing, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                *name,
                HeaderValue::from_bytes(value).expect("a valid value"),
            );
        }
        Framing::of_request(version, &map).map_err(|fault| fault.status().as_u16())
    }

    const CL: &str = "content-length";
    const TE: &str = "transfer-encoding";

    #[test]
    fn content_length_is_one_decimal_number() {
        let length = |value: &'static str| framing(Version::HTTP_11, &[(CL, value.as_bytes())]);
        assert_eq!(framing(Version::HTTP_11, &[]), Ok(Framing::None));
        assert_eq!(length("0"), Ok(Framing::None));
        assert_eq!(length("5"), Ok(Framing::Length(5)));
        assert_eq!(
            length("18446744073709551615"),
            Ok(Framing::Length(u64::MAX))
        );
        for bad in [
            "",
            "+5",
            "-5",
            "5a",
            "0x5",
            "5 5",
            "5,5",
            "5, 5",
            "1e1",
            "18446744073709551616",
        ] {
            assert_eq!(length(bad), Err(400), "{bad:?}");
        }
        assert_eq!(
            framing(Version::HTTP_11, &[(CL, b"5"), (CL, b"5")]),
            Err(400)
        );
        assert_eq!(
            framing(Version::HTTP_11, &[(CL, b"5"), (CL, b"6")]),
            Err(400)
        );
    }

    #[test]
    fn transfer_encoding_is_chunked_alone() {
        let coded = |value: &'static str| framing(Version::HTTP_11, &[(TE, value.as_bytes())]);
        assert_eq!(coded("chunked"), Ok(Framing::Chunked));
        assert_eq!(coded("CHUNKED"), Ok(Framing::Chunked));
        for bad in [
            "",
            ",",
            "chunked,",
            "chunked, chunked",
            "chunked;a=b",
            "\"chunked\"",
        ] {
            assert_eq!(coded(bad), Err(400), "{bad:?}");
        }
        for last in ["identity", "xchunked", "chunked, gzip", "gzip;q=1"] {
            assert_eq!(coded(last), Err(400), "{last:?}");
        }
        for unknown in ["gzip, chunked", "a;b=c, identity , Chunked"] {
            assert_eq!(coded(unknown), Err(501), "{unknown:?}");
        }
        assert_eq!(
            framing(Version::HTTP_11, &[(TE, b"chunked"), (TE, b"chunked")]),
            Err(400)
        );
        assert_eq!(
            framing(Version::HTTP_11, &[(TE, b"gzip"), (TE, b"chunked")]),
            Err(501)
        );
        assert_eq!(
            framing(Version::HTTP_11, &[(TE, b"chunked"), (CL, b"5")]),
            Err(400)
        );
        assert_eq!(framing(Version::HTTP_10, &[(TE, b"chunked")]), Err(400));
    }
}
