//! Dates of lines, in UTC. The text is made once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::http_date;

/// The texts of one second: the last one that was needed.
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
        let second = since.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            // `Fri, 27 Nov 2026 18:25:43 GMT`, in other orders.
            let date = http_date(time);
            let (day, name, year, clock) =
                (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
            let months = [
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ];
            let month = 1 + months.iter().take_while(|month| **month != name).count();
            self.common = format!("{day}/{name}/{year}:{clock} +0000");
            self.json = format!("{year}-{month:02}-{day}T{clock}");
        }
        since.subsec_micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_of_both_formats() {
        let mut text = DateText::default();
        let time = UNIX_EPOCH + Duration::new(1_795_803_943, 123_456_789);
        assert_eq!(text.common(time), "27/Nov/2026:18:25:43 +0000");
        assert_eq!(text.json(time), ("2026-11-27T18:25:43", 123_456));
        assert_eq!(
            text.json(UNIX_EPOCH - Duration::from_secs(1)).0,
            "1970-01-01T00:00:00"
        );
        let late = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(text.json(late).0, "9999-12-31T23:59:59");
    }
}
