//! Requests that vary like those of real clients, but are the same in each run.

use interop::random::Random;

/// The fields of a request, as three kinds of clients send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// `Host` alone.
    Host,
    /// The three of curl.
    Curl,
    /// The eight of a browser.
    Browser,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [Self::Host, Self::Curl, Self::Browser];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "Host only",
            Self::Curl => "curl's 3 fields",
            Self::Browser => "a browser's 8",
        }
    }

    /// Field names, each with the values that it has in turn.
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Host => &[HOST],
            Self::Curl => &[
                HOST,
                ("User-Agent", &["curl/7.88.1", "curl/8.5.0", "curl/8.14.1"]),
                ("Accept", &["*/*", "application/json", "text/html"]),
            ],
            Self::Browser => &[
                HOST,
                ("Connection", &["keep-alive"]),
                ("Upgrade-Insecure-Requests", &["1"]),
                (
                    "User-Agent",
                    &[
                        "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
                         Gecko) Chrome/142.0.0.0 Safari/537.36",
                    ],
                ),
                (
                    "Accept",
                    &[
                        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                        "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
                        "*/*",
                    ],
                ),
                ("Accept-Encoding", &["gzip, deflate", "gzip, deflate, br"]),
                (
                    "Accept-Language",
                    &["en-GB,en;q=0.5", "de,en-US;q=0.7,en;q=0.3", "fr"],
                ),
                (
                    "Cookie",
                    &[
                        "session=7f3e21c9a0",
                        "session=0b44d1; theme=dark; seen=1718000000",
                    ],
                ),
            ],
        }
    }
}

type Field = (&'static str, &'static [&'static str]);

const HOST: Field = (
    "Host",
    &[
        "localhost:3000",
        "127.0.0.1:3000",
        "www.example.com",
        "api.example.org:8080",
    ],
);

const PATHS: [&str; 6] = [
    "/",
    "/index.html",
    "/static/app.min.js",
    "/search?q=small+server&page=",
    "/api/v1/users/",
    "/a%20name/with/several/segments/",
];

/// An endless series of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    size: Size,
    random: Random,
}

impl Requests {
    pub(crate) fn new(size: Size) -> Self {
        Self {
            size,
            random: Random::new(1),
        }
    }

    /// The next `count` requests, one after the other.
    pub(crate) fn batch(&mut self, count: usize) -> Vec<u8> {
        let mut batch = String::new();
        for _ in 0..count {
            self.write_next(&mut batch);
        }
        batch.into_bytes()
    }

    fn write_next(&mut self, out: &mut String) {
        let path = self.one_of(&PATHS);
        out.push_str("GET ");
        out.push_str(path);
        if path.ends_with(['=', '/']) && path != "/" {
            out.push_str(&self.random.below(100_000).to_string());
        }
        out.push_str(" HTTP/1.1\r\n");
        let mut fields = self.size.fields().to_vec();
        while !fields.is_empty() {
            let (name, values) = fields.swap_remove(self.random.below(fields.len()));
            let value = self.one_of(values);
            for part in [name, ": ", value, "\r\n"] {
                out.push_str(part);
            }
        }
        out.push_str("\r\n");
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.random.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_vary_but_are_the_same_in_each_run() {
        for size in Size::ALL {
            let mut requests = Requests::new(size);
            let batch = requests.batch(16);
            assert_ne!(batch, requests.batch(16));
            assert_eq!(batch, Requests::new(size).batch(16));
            let text = String::from_utf8(batch).expect("ASCII");
            let lines = 16 * (size.fields().len() + 2);
            assert_eq!(text.matches("\r\n").count(), lines, "{text}");
        }
    }
}
