//! Dates in UTC, from seconds since 1970.

/// The last second with a year of four digits.
pub(crate) const YEAR_9999: u64 = 253_402_300_799;

pub(crate) const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Year, month and day of a day since 1 January 1970. Years are counted from March on, so that the day that some years
/// have more is the last one; 400 such years have 146,097 days.
pub(crate) fn date_of(day: u64) -> (u64, usize, u64) {
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
