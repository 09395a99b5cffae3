//! Dates of lines, in UTC. The text is made once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::calendar::{MONTHS, YEAR_9999, date_of};

/// The text of the second that was asked for last.
#[derive(Debug, Default)]
pub(super) struct DateText {
    second: Option<u64>,
    common: String,
    json: String,
}

impl DateText {
    /// As in the Common format: `27/Nov/2026:18:25:43 +0000`.
    pub(super) fn common(&mut self, time: SystemTime) -> &str {
        self.set(time);
        &self.common
    }

    /// As in RFC 3339, up to the seconds: `2026-11-27T18:25:43`, and the microseconds.
    pub(super) fn json(&mut self, time: SystemTime) -> (&str, u32) {
        let micros = self.set(time);
        (&self.json, micros)
    }

    /// Makes the texts for this time, and returns its microseconds.
    fn set(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(YEAR_9999);
        if self.second != Some(second) {
            self.second = Some(second);
            let (year, month, day) = date_of(second / 86_400);
            let name = MONTHS[month - 1];
            let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
            let time = format!("{hour:02}:{minute:02}:{second:02}");
            self.common = format!("{day:02}/{name}/{year:04}:{time} +0000");
            self.json = format!("{year:04}-{month:02}-{day:02}T{time}");
        }
        since.subsec_micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_httpdate() {
        let mut text = DateText::default();
        // Each day at another time, up to the year 2106.
        for day in 0..50_000u64 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day * 7919 % 86_400);
            let expected = httpdate::fmt_http_date(time);
            let words: Vec<&str> = expected.split(' ').collect();
            let [_, day, month, year, clock, _] = words[..] else {
                panic!("{expected}");
            };
            assert_eq!(
                text.common(time),
                format!("{day}/{month}/{year}:{clock} +0000")
            );
        }
    }

    #[test]
    fn json_dates_have_microseconds() {
        let mut text = DateText::default();
        let time = UNIX_EPOCH + Duration::new(1_795_803_943, 123_456_789);
        assert_eq!(text.json(time), ("2026-11-27T18:25:43", 123_456));
        assert_eq!(
            text.json(UNIX_EPOCH - Duration::from_secs(1)).0,
            "1970-01-01T00:00:00"
        );
        let late = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(text.json(late).0, "9999-12-31T23:59:59");
    }
}
