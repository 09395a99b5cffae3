//! Runs cases against a subject, and checks that the outcome is what the case expects.

use super::cases::{Case, End, Field, Form, Handler, Request};
use super::notation::{self, Step};
use super::responses;

/// Something that serves connections: the connection's state machine by itself, or a server behind a socket.
pub(crate) trait Subject {
    /// Serves one new connection, on which the client takes these steps in order.
    ///
    /// Fails if the connection breaks in a way that a server must prevent, such as a reset.
    fn run(&mut self, steps: &[Step], setup: &Setup<'_>) -> Result<Outcome, String>;
}

/// The server that a case needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) handler: Handler,
    pub(crate) settings: &'a [(String, u64)],
    /// The expected state. From it, a subject behind a socket knows how long to wait.
    pub(crate) end: End,
    /// How many responses are expected, for the same purpose.
    pub(crate) responses: usize,
}

/// What has happened on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) responded: Vec<u8>,
    /// The requests that the handler saw. `None` if the subject can't know that.
    pub(crate) seen: Option<Vec<Seen>>,
    /// Whether the server has closed the connection, or closes it when its last bytes are taken.
    pub(crate) closed: bool,
}

/// A request that the handler saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// The response body of the handler `echo`: the body of the request, or `hello!` if it has none.
pub(crate) fn echo(body: &[u8]) -> &[u8] {
    if body.is_empty() { b"hello!" } else { body }
}

/// A request after the input of the case. It gets a normal response only if the connection is in a good state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    None,
    /// A request that leaves the connection open.
    Staying,
    /// A request that asks for a close, so that a client knows when it has received everything.
    Closing,
}

impl Probe {
    pub(crate) fn bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Staying => b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n",
            Self::Closing => b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n",
        }
    }
}

/// Checks that an outcome is the one that a case expects.
pub(crate) fn check(case: &Case, outcome: &Outcome, probe: Probe) -> Result<(), String> {
    let mut read = read_all(case, &outcome.responded)?;
    let mut closed = outcome.closed;
    let responses_probe = probe != Probe::None && case.end == End::Open;
    if responses_probe && read.len() == case.responses.len() + 1 {
        let last = read.pop().ok_or("no response")?;
        if last.status != 200 || last.says_close() != (probe == Probe::Closing) {
            return Err(format!("the next request gets {}", last.status));
        }
        if probe == Probe::Closing && !std::mem::take(&mut closed) {
            return Err("the connection is left open after a request that closes it".to_owned());
        }
    } else if responses_probe {
        let statuses: Vec<_> = read.iter().map(|response| response.status).collect();
        return Err(format!(
            "with one more request, the responses are {statuses:?}"
        ));
    }
    let expected = case.responses.len();
    for (response, wanted) in read.iter().zip(&case.responses) {
        if !wanted.status.contains(&response.status) {
            return Err(format!(
                "the status is {}, not {:?}",
                response.status, wanted.status
            ));
        }
        if let Some(body) = &wanted.body
            && *body != response.body
        {
            let (found, wanted) = (notation::show(&response.body), notation::show(body));
            return Err(format!("the body is \"{found}\", not \"{wanted}\""));
        }
        check_fields(&wanted.fields, &response.fields)?;
    }
    if read.len() != expected {
        let statuses: Vec<_> = read.iter().map(|response| response.status).collect();
        return Err(format!(
            "{expected} responses are expected, but the statuses are {statuses:?}"
        ));
    }
    check_closing(case, &read, closed)?;
    if let Some(seen) = &outcome.seen {
        check_seen(
            case,
            &seen[..seen.len().saturating_sub(usize::from(responses_probe))],
        )?;
    }
    Ok(())
}

/// The parts of an outcome that must be the same for each way to cut the input: the statuses, the bodies from the
/// handler, and the requests that it saw. The text of a refusal may depend on how the input was cut.
pub(crate) fn events(case: &Case, outcome: &Outcome) -> Result<Events, String> {
    let read = read_all(case, &outcome.responded)?;
    let own = |response: responses::Response| {
        let body = if response.status < 400 {
            response.body
        } else {
            Vec::new()
        };
        (response.status, body)
    };
    Ok((read.into_iter().map(own).collect(), outcome.seen.clone()))
}

/// See [`events`].
pub(crate) type Events = (Vec<(u16, Vec<u8>)>, Option<Vec<Seen>>);

fn read_all(case: &Case, mut bytes: &[u8]) -> Result<Vec<responses::Response>, String> {
    let mut read = Vec::new();
    while !bytes.is_empty() {
        let wanted = case.responses.get(read.len());
        let form = wanted.map_or(Form::Message, |wanted| wanted.form);
        let (response, rest) = responses::read_as(bytes, form)?;
        read.push(response);
        bytes = rest;
    }
    Ok(read)
}

/// Checks that the last response says close if the server closes by itself, and that no other response does.
fn check_closing(case: &Case, read: &[responses::Response], closed: bool) -> Result<(), String> {
    let wanted = case.end == End::Close;
    if closed != wanted {
        let state = if closed { "closed" } else { "left open" };
        return Err(format!(
            "the connection is {state}, and should be {:?}",
            case.end
        ));
    }
    let (last, before) = match read.split_last() {
        Some((last, before)) => (Some(last), before),
        None => (None, read),
    };
    if let Some(early) = before.iter().find(|response| response.says_close()) {
        return Err(format!(
            "{} says close, but another response follows",
            early.status
        ));
    }
    let Some(last) = last else { return Ok(()) };
    if last.says_close() && !wanted {
        return Err(format!(
            "{} says close, but the connection is left open",
            last.status
        ));
    }
    // If the client ends the stream or sends nothing more, the server has responded before it could know that.
    let steps = case.inputs.iter().flatten();
    let is_late = steps
        .into_iter()
        .any(|step| matches!(step, Step::Eof | Step::Wait(_)));
    let upgrades = (case.responses.last()).is_some_and(|response| response.form == Form::Upgrades);
    let must_say = wanted && (!is_late || last.status >= 400) && !upgrades;
    if must_say && !last.says_close() {
        return Err(format!(
            "{} doesn't say close, but the connection is closed",
            last.status
        ));
    }
    Ok(())
}

fn check_seen(case: &Case, seen: &[Seen]) -> Result<(), String> {
    let shown: Vec<_> = seen
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.target))
        .collect();
    let Some(wanted) = &case.requests else {
        let own = |status: &u16| match case.handler {
            Handler::Echo | Handler::Complete => (200..400).contains(status),
            Handler::Respond => *status >= 200,
            Handler::Upgrade => *status == 101 || *status >= 200,
        };
        let handled = case
            .responses
            .iter()
            .filter(|response| response.status.iter().any(own))
            .count();
        if handled == seen.len() {
            return Ok(());
        }
        return Err(format!(
            "{handled} requests are for the handler, and it saw {shown:?}"
        ));
    };
    if wanted.len() != seen.len() {
        return Err(format!(
            "{} requests are for the handler, and it saw {shown:?}",
            wanted.len()
        ));
    }
    for (seen, wanted) in seen.iter().zip(wanted) {
        check_request(seen, wanted)?;
    }
    Ok(())
}

fn check_request(seen: &Seen, wanted: &Request) -> Result<(), String> {
    if (&seen.method, &seen.target) != (&wanted.method, &wanted.target) {
        return Err(format!(
            "the handler saw {} {}, not {} {}",
            seen.method, seen.target, wanted.method, wanted.target
        ));
    }
    if seen.body != wanted.body {
        let (found, wanted) = (notation::show(&seen.body), notation::show(&wanted.body));
        return Err(format!(
            "the handler saw the body \"{found}\", not \"{wanted}\""
        ));
    }
    check_fields(&wanted.fields, &seen.fields)
}

fn check_fields(wanted: &[Field], lines: &[(String, Vec<u8>)]) -> Result<(), String> {
    wanted.iter().try_for_each(|field| field.check(lines))
}

/// The ways to cut an input into pieces. Each is a list of offsets at which to cut.
///
/// Up to 1,500 bytes: whole, byte by byte, and in two at every offset. Longer ones: whole; in pieces of 61
/// bytes, but single bytes at both ends; in two around the first and last 20 line ends; and in two at up to 200 other
/// offsets.
pub(crate) fn ways_to_cut(input: &[Step]) -> Vec<Vec<usize>> {
    const SHORT: usize = 1_500;
    let bytes = bytes(input);
    let mut ways = vec![Vec::new()];
    if bytes.len() < 2 {
        return ways;
    }
    let inner = 1..bytes.len();
    if bytes.len() <= SHORT {
        ways.push(inner.clone().collect());
        ways.extend(inner.map(|at| vec![at]));
        return ways;
    }
    let ends = |at: &usize| *at < SHORT / 2 || bytes.len() - at < SHORT / 2;
    ways.push(
        inner
            .clone()
            .filter(|at| ends(at) || at % 61 == 0)
            .collect(),
    );
    let line_ends: Vec<usize> = inner.clone().filter(|&at| bytes[at - 1] == b'\n').collect();
    let outer = line_ends.len().saturating_sub(20);
    let some = line_ends
        .iter()
        .enumerate()
        .filter(|(nth, _)| *nth < 20 || *nth >= outer);
    let mut places: Vec<usize> = some
        .flat_map(|(_, &at)| at.saturating_sub(2)..=at + 1)
        .collect();
    places.extend(inner.step_by(bytes.len().div_ceil(200)));
    places.retain(|at| (1..bytes.len()).contains(at));
    places.sort_unstable();
    places.dedup();
    ways.extend(places.into_iter().map(|at| vec![at]));
    ways
}

/// The same steps, with the bytes cut at these offsets.
pub(crate) fn cut(input: &[Step], places: &[usize]) -> Vec<Step> {
    let mut pieces = Vec::new();
    let mut passed = 0;
    for step in input {
        let Step::Bytes(bytes) = step else {
            pieces.push(step.clone());
            continue;
        };
        let mut from = 0;
        let here = places
            .iter()
            .filter(|&&at| passed < at && at < passed + bytes.len());
        for at in here.map(|at| at - passed).chain([bytes.len()]) {
            pieces.push(Step::Bytes(bytes[from..at].to_vec()));
            from = at;
        }
        passed += bytes.len();
    }
    pieces
}

/// The steps, and then these bytes.
pub(crate) fn followed_by(input: &[Step], bytes: &[u8]) -> Vec<Step> {
    let mut steps = input.to_vec();
    steps.push(Step::Bytes(bytes.to_vec()));
    steps
}

/// Whether the client can send more after its steps.
pub(crate) fn can_go_on(input: &[Step]) -> bool {
    !input.contains(&Step::Eof)
}

/// All bytes of an input.
pub(crate) fn bytes(input: &[Step]) -> Vec<u8> {
    input
        .iter()
        .flat_map(|step| content(step).iter().copied())
        .collect()
}

fn content(step: &Step) -> &[u8] {
    match step {
        Step::Bytes(bytes) => bytes,
        Step::Wait(_) | Step::Eof => &[],
    }
}

/// A report of a case that has failed.
pub(crate) fn report(
    case: &Case,
    way: &str,
    steps: &[Step],
    outcome: &str,
    problem: &str,
) -> String {
    let mut text = format!("{}: {} ({way})\n  {problem}\n", case.place, case.title);
    for step in steps.iter().take(12) {
        let shown = match step {
            Step::Bytes(bytes) => notation::show(bytes),
            Step::Wait(time) => format!("{{wait {}s}}", time.as_secs()),
            Step::Eof => "{eof}".to_owned(),
        };
        text.push_str(&format!("  > {shown}\n"));
    }
    text.push_str(&format!("  < {outcome}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::super::cases;
    use super::*;

    const HELLO: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                         Content-Length: 6\r\n\r\nhello!";

    fn case(response: &str, handler: &str) -> Case {
        let text = format!(
            "## Title\n\u{a7}1\n```http\nGET / HTTP/1.1\n\n```\n```response\n{response}\n```\n{handler}"
        );
        cases::parse("file.md", &text)
            .expect("well-formed")
            .remove(0)
    }

    fn hello(times: usize) -> Outcome {
        let seen = |target: &str| Seen {
            method: "GET".to_owned(),
            target: target.to_owned(),
            fields: vec![("Host".to_owned(), b"a".to_vec())],
            body: Vec::new(),
        };
        Outcome {
            responded: HELLO.repeat(times).into_bytes(),
            seen: Some((0..times).map(|_| seen("/")).collect()),
            closed: false,
        }
    }

    #[test]
    fn an_outcome_as_the_case_expects_passes() {
        let handler = "```handler\nGET /\n  Host: a\n  no X\n```";
        for handler in ["", handler] {
            let case = case("200 \"hello!\"\n  Content-Length: 6\nopen", handler);
            assert_eq!(check(&case, &hello(1), Probe::None), Ok(()));
            assert_eq!(check(&case, &hello(2), Probe::Staying), Ok(()));
        }
    }

    #[test]
    fn every_difference_is_an_error() {
        let good = "200 \"hello!\"\nopen";
        for (response, handler, times) in [
            ("201 \"hello!\"\nopen", "", 1),
            ("200 \"hello\"\nopen", "", 1),
            ("200 \"hello!\"\nclose", "", 1),
            ("200 head\nopen", "", 1),
            ("200\n  Content-Length: 7\nopen", "", 1),
            ("200\n  no Date\nopen", "", 1),
            (good, "", 0),
            (good, "", 2),
            (good, "```handler\n```", 1),
            (good, "```handler\nGET /x\n```", 1),
            (good, "```handler\nPOST /\n```", 1),
            (good, "```handler\nGET / \"a\"\n```", 1),
            (good, "```handler\nGET /\n  Host: b\n```", 1),
        ] {
            let outcome = hello(times);
            assert!(
                check(&case(response, handler), &outcome, Probe::None).is_err(),
                "{response} {handler}"
            );
        }
        let mut outcome = hello(1);
        outcome.closed = true;
        assert!(check(&case(good, ""), &outcome, Probe::None).is_err());
        assert!(
            check(&case("200\nclose", ""), &outcome, Probe::None).is_err(),
            "close isn't said"
        );
        outcome.responded = HELLO
            .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
            .into_bytes();
        assert_eq!(
            check(&case("200\nclose", ""), &outcome, Probe::None),
            Ok(())
        );
        outcome.closed = false;
        assert!(
            check(&case(good, ""), &outcome, Probe::None).is_err(),
            "close is said"
        );
    }

    #[test]
    fn cutting_keeps_all_bytes() {
        let input = vec![
            Step::Bytes(b"abc".to_vec()),
            Step::Wait(std::time::Duration::ZERO),
            Step::Bytes(b"de".to_vec()),
            Step::Eof,
        ];
        let ways = ways_to_cut(&input);
        assert_eq!(ways.len(), 1 + 1 + 4);
        assert_eq!(cut(&input, &[]), input);
        assert_eq!(cut(&input, &[1, 2, 3, 4]).len(), 3 + 1 + 2 + 1);
        let long = vec![Step::Bytes(b"0123456789\r\n".repeat(1_000))];
        for way in ways_to_cut(&long) {
            let cut = cut(&long, &way);
            assert_eq!(cut.len(), way.len() + 1);
            let whole: Vec<u8> = cut.iter().flat_map(|step| content(step).to_vec()).collect();
            assert_eq!(vec![Step::Bytes(whole)], long);
        }
    }
}
