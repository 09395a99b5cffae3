//! Dates of lines, in UTC. The text is made once a second.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// The last second with a year of four digits.
const YEAR_9999: u64 = 253_402_300_799;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Year, month and day of a day since 1 January 1970. Years are counted from March on, so that the day that some years
/// have more is the last one; 400 such years have 146,097 days.
fn date_of(day: u64) -> (u64, usize, u64) {
    // From 1 March of the year 0 to 1 January 1970.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days, and so have the next five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    (era * 400 + year + next, month as usize, day)
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
