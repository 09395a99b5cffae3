//! The command line.

use std::time::Duration;

use wasip1_host::Host;

/// What the command line says to do.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Box<Host>),
    Help,
    Version,
}

/// Reads the command line, without the program's own name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut words = Words(arguments.into_iter().collect::<Vec<_>>().into_iter());
    let mut settings: Vec<Setting> = Vec::new();
    let mut is_first = true;
    let module = loop {
        let Some(word) = words.0.next() else {
            return Err("which module? See --help".to_owned());
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            // As in wasmtime and wasmi.
            "run" if is_first => {}
            "--" => match words.0.next() {
                Some(module) => break module,
                None => return Err("which module? See --help".to_owned()),
            },
            option if option.starts_with('-') && option.len() > 1 => {
                settings.extend(words.option(option)?);
            }
            _ => break word,
        }
        is_first = false;
    };
    let host = settings
        .into_iter()
        .fold(Host::new(module), |host, set| set(host));
    let host = words.0.fold(host, |host, argument| host.arg(&argument));
    Ok(Command::Run(Box::new(host)))
}

/// What an option does to the host.
type Setting = Box<dyn FnOnce(Host) -> Host>;

/// The words that haven't been read.
struct Words(std::vec::IntoIter<String>);

impl Words {
    /// The settings of an option. Its value is the next word, or follows a `=`.
    fn option(&mut self, option: &str) -> Result<Vec<Setting>, String> {
        let (name, attached) = match option.split_once('=') {
            Some((name, value)) if option.starts_with("--") => (name, Some(value.to_owned())),
            _ => (option, None),
        };
        if let Some(flag) = flag(name) {
            return match attached {
                Some(_) => Err(format!("{name} takes no value")),
                None => Ok(vec![flag]),
            };
        }
        // The value of a short option may follow at once.
        let (name, attached) = match name.strip_prefix("-S") {
            Some(value) if !value.is_empty() => ("-S", Some(value.to_owned())),
            _ => (name, attached),
        };
        if !OPTIONS.contains(&name) {
            return Err(format!("there is no option {name}: see --help"));
        }
        let value = attached.or_else(|| self.0.next());
        let value = value.ok_or_else(|| format!("{name} needs a value"))?;
        if name == "-S" {
            let each = value.split(',').map(wasmtime_setting);
            return Ok(each
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect());
        }
        Ok(vec![with_value(name, &value)?])
    }
}

/// The options that have a value.
const OPTIONS: [&str; 10] = [
    "--listen",
    "--dir",
    "--env",
    "--instances",
    "--grace",
    "--memory",
    "--max-spin",
    "--max-open",
    "--metrics",
    "-S",
];

fn flag(name: &str) -> Option<Setting> {
    Some(match name {
        "--listenfd" => Box::new(|host: Host| host.inherit_listeners(true)),
        "--sockets-first" => Box::new(|host: Host| host.sockets_first(true)),
        "--nonblock" => Box::new(|host: Host| host.nonblock(true)),
        "--edge" => Box::new(|host: Host| host.edge(true)),
        "--reuse-port" => Box::new(|host: Host| host.reuse_port(true)),
        "--no-restart" => Box::new(|host: Host| host.restart(false)),
        "--no-cache" => Box::new(|host: Host| host.cache(false)),
        "--trace" => Box::new(|host: Host| host.trace(true)),
        _ => return None,
    })
}

fn with_value(name: &str, value: &str) -> Result<Setting, String> {
    let text = value.to_owned();
    Ok(match name {
        "--listen" => Box::new(move |host| host.listen(&text)),
        "--metrics" => Box::new(move |host| host.metrics(&text)),
        "--dir" => Box::new(move |host| {
            let (here, guest) = text.split_once("::").unwrap_or((&text, &text));
            host.dir(here, guest)
        }),
        "--env" => match value.split_once('=') {
            Some(_) => Box::new(move |host| {
                let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                host.env(name, value)
            }),
            None => {
                let value = std::env::var(value);
                let value = value.map_err(|_| format!("--env {text}: it isn't set here"))?;
                Box::new(move |host| host.env(&text, &value))
            }
        },
        "--instances" => {
            let count = number(name, value)?;
            if count == 0 {
                return Err("--instances 0: there must be one at least".to_owned());
            }
            Box::new(move |host| host.instances(count))
        }
        "--max-open" => {
            let count = number(name, value)?;
            Box::new(move |host| host.max_open(count))
        }
        "--memory" => {
            let bytes = size(value)?;
            Box::new(move |host| host.memory(bytes))
        }
        "--grace" => {
            let time = time(value)?;
            Box::new(move |host| host.grace(time))
        }
        "--max-spin" => {
            let time = match value {
                "none" => None,
                _ => Some(time(value)?),
            };
            Box::new(move |host| host.max_spin(time))
        }
        _ => return Err(format!("there is no option {name}: see --help")),
    })
}

/// One of the `-S` of wasmtime 36.
fn wasmtime_setting(setting: &str) -> Result<Option<Setting>, String> {
    let (name, value) = setting.split_once('=').unwrap_or((setting, "y"));
    let is_on = matches!(value, "y" | "yes" | "true");
    match name {
        "tcplisten" if !setting.contains('=') => Err("-S tcplisten needs an address".to_owned()),
        "tcplisten" => Ok(Some(with_value("--listen", value)?)),
        "listenfd" if is_on => Ok(flag("--listenfd")),
        // This host always behaves like that.
        "listenfd" | "preview2" | "cli" | "common" => Ok(None),
        _ => Err(format!(
            "-S {setting} isn't known here: there are tcplisten=ADDRESS, listenfd=y and preview2=n"
        )),
    }
}

fn number(name: &str, value: &str) -> Result<usize, String> {
    value
        .parse()
        .map_err(|_| format!("{name} {value}: it should be a number"))
}

/// Bytes, like `65536`, `64K`, `64M` or `1G`.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor: usize = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return Err(format!("{text} is not a size like 64M")),
    };
    let bytes = digits
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    bytes.ok_or_else(|| format!("{text} is not a size like 64M"))
}

/// A time, like `500ms`, `10s`, `2m`, or `10` for seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let millis: u64 = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        _ => return Err(format!("{text} is not a time like 10s")),
    };
    let time = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(millis));
    let time = time.map(Duration::from_millis);
    time.ok_or_else(|| format!("{text} is not a time like 10s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<String, String> {
        match parse(line.split_whitespace().map(str::to_owned))? {
            Command::Run(host) => Ok(format!("{host:?}")),
            Command::Help => Ok("help".to_owned()),
            Command::Version => Ok("version".to_owned()),
        }
    }

    #[test]
    fn options_are_parsed() {
        let host = run(
            "--listen a=127.0.0.1:1 --listen [::1]:2 --env A=1=2 --dir x::/y --memory 64M \
                        --max-spin=500ms m.wasm --listen x",
        )
        .expect("a line");
        for part in [
            r#"arguments: ["m.wasm", "--listen", "x"]"#,
            r#"env: [("A", "1=2")]"#,
            r#"dirs: [("x", "/y")]"#,
            "memory: 67108864",
            "max_spin: Some(500ms)",
            r#"name: Some("a"), address: "127.0.0.1:1""#,
            r#"name: None, address: "[::1]:2""#,
        ] {
            assert!(host.contains(part), "{part} is missing in {host}");
        }
    }

    #[test]
    fn options_of_wasmtime_are_parsed() {
        for line in [
            "run -S preview2=n -S tcplisten=127.0.0.1:1 m.wasm",
            "run -Spreview2=n,tcplisten=127.0.0.1:1 m.wasm",
            "--listen=127.0.0.1:1 -- m.wasm",
        ] {
            let host = run(line).expect("a line");
            assert!(host.contains(r#"address: "127.0.0.1:1""#), "{host}");
        }
        assert!(run("run -S inherit-network m.wasm").is_err());
    }

    #[test]
    fn errors_name_the_argument_at_fault() {
        for (line, why) in [
            ("", "which module?"),
            ("--listen", "--listen needs a value"),
            ("--liste x m.wasm", "there is no option --liste"),
            ("--edge=1 m.wasm", "--edge takes no value"),
            ("--memory 64X m.wasm", "64X is not a size"),
            ("--memory 99999999999G m.wasm", "is not a size"),
            ("--max-spin soon m.wasm", "soon is not a time"),
            ("--instances 0 m.wasm", "--instances 0"),
            ("-S tcplisten m.wasm", "-S tcplisten needs an address"),
        ] {
            let error = run(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
        assert_eq!(run("--help").expect("help"), "help");
    }
}
