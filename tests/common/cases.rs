//! Reads the cases from the Markdown files. `tests/conformance/README.md` describes the format.

use super::notation::{self, Step};
use std::collections::HashSet;
use std::path::Path;

/// One case: inputs that all have the same outcome.
#[derive(Debug)]
pub(crate) struct Case {
    /// File and line of the title, in the form that editors understand.
    pub(crate) place: String,
    pub(crate) title: String,
    pub(crate) handler: Handler,
    /// Limits that differ from the defaults, by name; `proxy` is 1 if there is a header of the PROXY protocol.
    pub(crate) settings: Vec<(String, u64)>,
    pub(crate) inputs: Vec<Vec<Step>>,
    pub(crate) responses: Vec<Response>,
    pub(crate) end: End,
    /// The requests that the handler must see. If `None`, only their number is checked.
    pub(crate) requests: Option<Vec<Request>>,
}

/// One of the handlers that `tests/conformance/README.md` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    Echo,
    Respond,
    /// It gets complete requests.
    Complete,
    /// It needs bodies that stream.
    Upgrade,
}

/// The state of the connection after the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ready for a next request.
    Open,
    /// In the middle of a message.
    Waiting,
    /// Closed by the server.
    Close,
}

/// A response that a case expects.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The statuses that are permitted.
    pub(crate) status: Vec<u16>,
    pub(crate) form: Form,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) fields: Vec<Field>,
}

/// What follows the head of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// A body, as the head says.
    #[default]
    Message,
    /// Nothing: it is the response to HEAD.
    Head,
    /// All that the connection carries afterwards, as another protocol.
    Upgrades,
}

/// A request that a case expects the handler to see.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) fields: Vec<Field>,
}

/// What a message must have, or must not have, for one field name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The values of all its field lines, in order.
    Lines(String, Vec<Vec<u8>>),
    Present(String),
    Absent(String),
}

impl Field {
    /// Checks the field lines of a message. The error says what is wrong.
    pub(crate) fn check(&self, lines: &[(String, Vec<u8>)]) -> Result<(), String> {
        let of = |name: &str| -> Vec<&[u8]> {
            let same = lines
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            same.map(|(_, value)| value.as_slice()).collect()
        };
        let shown = |values: &[&[u8]]| {
            let each: Vec<_> = values.iter().map(|value| notation::show(value)).collect();
            format!("{each:?}")
        };
        match self {
            Self::Lines(name, wanted) => {
                let found = of(name);
                if found == *wanted {
                    return Ok(());
                }
                let wanted: Vec<_> = wanted.iter().map(Vec::as_slice).collect();
                Err(format!(
                    "{name} should be {}, is {}",
                    shown(&wanted),
                    shown(&found)
                ))
            }
            Self::Present(name) if of(name).is_empty() => Err(format!("no {name}")),
            Self::Absent(name) if !of(name).is_empty() => Err(format!(
                "{name} should not be there, is {}",
                shown(&of(name))
            )),
            Self::Present(_) | Self::Absent(_) => Ok(()),
        }
    }
}

/// Reads all cases from the Markdown files of a directory, except the README, in the order of the files' names.
pub(crate) fn load(directory: &Path) -> Vec<Case> {
    let entries = std::fs::read_dir(directory).expect("the directory of the cases");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.retain(|path| path.file_name().is_some_and(|name| name != "README.md"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable UTF-8");
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        cases.extend(parse(&name, &text).unwrap_or_else(|problem| panic!("{problem}")));
    }
    let mut titles = HashSet::new();
    for case in &cases {
        assert!(
            titles.insert(case.title.as_str()),
            "{}: another case has this title",
            case.place
        );
    }
    cases
}

/// Reads the cases of one file.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let mut draft: Option<Draft<'_>> = None;
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let place = || format!("{file}:{}", at + 1);
        if let Some(title) = line.strip_prefix("## ") {
            if let Some(done) = draft.replace(Draft::new(place(), title)) {
                cases.push(done.finish()?);
            }
        } else if let Some(kind) = line.strip_prefix("```") {
            let mut block = Vec::new();
            loop {
                match lines.next() {
                    None => return Err(format!("{}: the block has no end", place())),
                    Some((_, "```")) => break,
                    Some((_, line)) => block.push(line),
                }
            }
            let draft = draft
                .as_mut()
                .ok_or_else(|| format!("{}: no title yet", place()))?;
            let problem = |problem| format!("{}: {problem}", place());
            draft.block(kind, &block).map_err(problem)?;
        } else if let Some(draft) = &mut draft {
            draft
                .prose(line)
                .map_err(|problem| format!("{}: {problem}", place()))?;
        }
    }
    if let Some(done) = draft {
        cases.push(done.finish()?);
    }
    Ok(cases)
}

/// The handler of this name; echo if it is empty.
pub(crate) fn handler(name: &str) -> Result<Handler, String> {
    match name {
        "" | "echo" => Ok(Handler::Echo),
        "respond" => Ok(Handler::Respond),
        "complete" => Ok(Handler::Complete),
        "upgrade" => Ok(Handler::Upgrade),
        other => Err(format!("no such handler: {other}")),
    }
}

/// Parses settings as they are in a case: `body=100, fields=3`.
pub(crate) fn settings(text: &str) -> Result<Vec<(String, u64)>, String> {
    let settings = text.split(", ").filter(|setting| !setting.is_empty());
    let parse = |setting: &str| {
        let parsed = setting.split_once('=');
        let parsed = parsed.and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        parsed.ok_or_else(|| format!("not a setting: {setting}"))
    };
    settings.map(parse).collect()
}

/// A case that is being read.
struct Draft<'a> {
    place: String,
    title: &'a str,
    cites: bool,
    handler: Handler,
    settings: Vec<(String, u64)>,
    inputs: Vec<Vec<Step>>,
    outcome: Option<(Vec<Response>, End)>,
    requests: Option<Vec<Request>>,
}

impl<'a> Draft<'a> {
    fn new(place: String, title: &'a str) -> Self {
        Self {
            place,
            title,
            cites: false,
            handler: Handler::Echo,
            settings: Vec::new(),
            inputs: Vec::new(),
            outcome: None,
            requests: None,
        }
    }

    fn prose(&mut self, line: &str) -> Result<(), String> {
        if let Some(name) = line.strip_prefix("- handler: ") {
            self.handler = handler(name)?;
        } else if let Some(text) = line.strip_prefix("- settings: ") {
            self.settings.extend(settings(text)?);
        } else if line.starts_with("- ") {
            return Err(format!("an unknown property: {line}"));
        }
        self.cites |= line.contains('\u{a7}');
        Ok(())
    }

    fn block(&mut self, kind: &str, lines: &[&str]) -> Result<(), String> {
        match kind {
            "http" if self.outcome.is_none() => self.inputs.extend(notation::block(lines)?),
            "response" if self.outcome.is_none() => self.outcome = Some(responses(lines)?),
            "handler" if self.requests.is_none() => self.requests = Some(requests(lines)?),
            other => {
                return Err(format!(
                    "a block of this kind is not permitted here: {other}"
                ));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Case, String> {
        let missing = |what: &str| format!("{}: {what} is missing", self.place);
        if !self.cites {
            return Err(missing("the section of the RFC (\u{a7})"));
        }
        if self.inputs.is_empty() {
            return Err(missing("the input"));
        }
        let (responses, end) = self.outcome.ok_or_else(|| missing("the outcome"))?;
        Ok(Case {
            title: self.title.to_owned(),
            handler: self.handler,
            settings: self.settings,
            inputs: self.inputs,
            responses,
            end,
            requests: self.requests,
            place: self.place,
        })
    }
}

fn responses(lines: &[&str]) -> Result<(Vec<Response>, End), String> {
    let (last, lines) = lines.split_last().ok_or("an outcome ends with a state")?;
    let end = match *last {
        "open" => End::Open,
        "waiting" => End::Waiting,
        "close" => End::Close,
        other => return Err(format!("neither open, waiting nor close: {other}")),
    };
    let mut responses: Vec<Response> = Vec::new();
    for line in lines {
        if let Some(said) = line.strip_prefix("  ") {
            let response = responses.last_mut().ok_or("a field before any response")?;
            field(&mut response.fields, said)?;
            continue;
        }
        let (status, rest) = line.split_once(' ').unwrap_or((line, ""));
        let status: Result<Vec<u16>, _> = status.split('/').map(str::parse).collect();
        let (form, body) = match rest.strip_prefix("upgrades") {
            Some(rest) => (Form::Upgrades, rest.trim_start()),
            None if rest == "head" => (Form::Head, ""),
            None => (Form::Message, rest),
        };
        responses.push(Response {
            status: status.map_err(|_| format!("not a status: {line}"))?,
            form,
            body: match body {
                "" => None,
                body => Some(quoted(body)?),
            },
            fields: Vec::new(),
        });
    }
    Ok((responses, end))
}

fn requests(lines: &[&str]) -> Result<Vec<Request>, String> {
    let mut requests: Vec<Request> = Vec::new();
    for line in lines {
        if let Some(said) = line.strip_prefix("  ") {
            let request = requests.last_mut().ok_or("a field before any request")?;
            field(&mut request.fields, said)?;
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(format!("a request has a method and a target: {line}"));
        };
        requests.push(Request {
            method: method.to_owned(),
            target: target.to_owned(),
            body: words.next().map_or(Ok(Vec::new()), quoted)?,
            fields: Vec::new(),
        });
    }
    Ok(requests)
}

fn field(fields: &mut Vec<Field>, said: &str) -> Result<(), String> {
    if let Some(name) = said.strip_prefix("no ") {
        fields.push(Field::Absent(name.to_owned()));
        return Ok(());
    }
    if let Some(name) = said.strip_prefix("has ") {
        fields.push(Field::Present(name.to_owned()));
        return Ok(());
    }
    let (name, value) = said
        .split_once(':')
        .ok_or_else(|| format!("not a field: {said}"))?;
    let value = notation::text(value.strip_prefix(' ').unwrap_or(value))?;
    for known in fields.iter_mut() {
        if let Field::Lines(other, values) = known
            && other == name
        {
            values.push(value);
            return Ok(());
        }
    }
    fields.push(Field::Lines(name.to_owned(), vec![value]));
    Ok(())
}

fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let inside = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    notation::text(inside.ok_or_else(|| format!("not in quotation marks: {text}"))?)
}

#[cfg(test)]
mod tests;
