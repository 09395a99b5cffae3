//! Tests of the reader of cases.

use super::*;

const FILE: &str = "\
# About

Prose about all.

## First

As \u{a7}1 says.

- handler: respond
- settings: body=10, head=20

```http
GET / HTTP/1.1
Host: a

```

```response
100
200 \"{a*3}\"
  Set-Cookie: a
  Set-Cookie: b\\x80
  no Transfer-Encoding
  has Date
400/505 head
close
```

```handler
POST /x \"hi\"
  Host: a
GET /
```

## Second

As \u{a7}2 says.

```http
{a|b}\\
```

```http
{eof}
```

```response
waiting
```
";

#[test]
fn reads_every_part_of_a_case() {
    let cases = parse("file.md", FILE).expect("well-formed");
    let [first, second] = cases.as_slice() else {
        panic!("{cases:?}")
    };
    assert_eq!(
        (first.place.as_str(), first.title.as_str()),
        ("file.md:5", "First")
    );
    assert_eq!(first.handler, Handler::Respond);
    assert_eq!(
        first.settings,
        [("body".to_owned(), 10), ("head".to_owned(), 20)]
    );
    assert_eq!(first.end, End::Close);
    let [go_on, good, bad] = first.responses.as_slice() else {
        panic!("{:?}", first.responses)
    };
    assert_eq!(
        (go_on.status.as_slice(), go_on.form),
        ([100].as_slice(), Form::Message)
    );
    assert_eq!(good.body.as_deref(), Some(b"aaa".as_slice()));
    let cookies = vec![b"a".to_vec(), b"b\x80".to_vec()];
    assert_eq!(
        good.fields[0],
        Field::Lines("Set-Cookie".to_owned(), cookies)
    );
    assert_eq!(
        good.fields[1],
        Field::Absent("Transfer-Encoding".to_owned())
    );
    assert_eq!(good.fields[2], Field::Present("Date".to_owned()));
    assert_eq!(
        (bad.status.as_slice(), bad.form),
        ([400, 505].as_slice(), Form::Head)
    );
    let requests = first.requests.as_deref().expect("a handler block");
    assert_eq!(requests[0].body, b"hi");
    assert_eq!(
        (requests[1].method.as_str(), requests[1].target.as_str()),
        ("GET", "/")
    );
    assert_eq!((second.inputs.len(), second.end), (3, End::Waiting));
    assert!(second.requests.is_none());
}

#[test]
fn refuses_an_unfinished_case() {
    let parts = [
        "As \u{a7}1.\n",
        "```http\n```\n",
        "```response\nopen\n```\n",
    ];
    for without in 0..parts.len() {
        let mut text = "## Title\n".to_owned();
        for (at, part) in parts.iter().enumerate() {
            if at != without {
                text.push_str(part);
            }
        }
        assert!(parse("file.md", &text).is_err(), "{text}");
    }
    assert!(parse("file.md", &format!("## Title\n{}", parts.concat())).is_ok());
}

#[test]
fn checks_fields() {
    let lines = [
        ("A".to_owned(), b"1".to_vec()),
        ("a".to_owned(), b"2".to_vec()),
    ];
    let field = |values: &[&[u8]]| {
        Field::Lines(
            "A".to_owned(),
            values.iter().map(|value| value.to_vec()).collect(),
        )
    };
    assert!(field(&[b"1", b"2"]).check(&lines).is_ok());
    assert!(field(&[b"1"]).check(&lines).is_err());
    assert!(field(&[b"2", b"1"]).check(&lines).is_err());
    assert!(Field::Absent("B".to_owned()).check(&lines).is_ok());
    assert!(Field::Absent("a".to_owned()).check(&lines).is_err());
    assert!(Field::Present("B".to_owned()).check(&lines).is_err());
}
