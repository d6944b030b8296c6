//! Reads the times of log objects and envelopes.

use turnmill_model::EventTime;
use turnmill_model::json::Raw;

/// Numbers from here on are milliseconds, below seconds.
const MILLISECONDS: f64 = 1e11;

/// Returns the usable time that `value` is: a text, or a number.
pub(super) fn of_json(value: Raw<'_>) -> Option<EventTime> {
    match value.as_number() {
        Some(number) => of_number(number),
        None => of_text(&value.as_text()?),
    }
}

/// Returns the usable time that `text` is: ISO 8601, or a number.
pub(super) fn of_text(text: &str) -> Option<EventTime> {
    let text = text.trim_ascii();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.parse().ok().and_then(of_number);
    }
    iso(text).and_then(|micros| EventTime::from_seconds(micros as f64 / 1e6))
}

/// Returns the usable time that `number` is, in seconds or milliseconds.
fn of_number(number: f64) -> Option<EventTime> {
    let seconds = if number >= MILLISECONDS { number / 1e3 } else { number };
    let micros = EventTime::from_seconds(seconds)?.micros();
    EventTime::from_seconds(micros as f64 / 1e6)
}

/// Returns the microseconds since 1970 of `YYYY-MM-DDTHH:MM:SS`, perhaps with decimals and a zone.
/// A space may stand for the `T`; without a zone it is UTC.
fn iso(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let marks = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    if marks.iter().any(|(at, any)| bytes.get(*at).is_none_or(|byte| !any.as_bytes().contains(byte))) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => {
            let end = rest.bytes().take_while(u8::is_ascii_digit).count();
            (micros_of(rest.get(..end)?)?, rest.get(end..)?)
        }
        None => (0, rest),
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - zone_seconds(zone.trim_ascii())?) * 1_000_000 + fraction)
}

/// Returns the microseconds of the decimals of a second, rounded half to even.
fn micros_of(decimals: &str) -> Option<i64> {
    if decimals.is_empty() {
        return None;
    }
    let six = decimals.get(..decimals.len().min(6))?;
    let micros = six.parse::<i64>().ok()? * 10_i64.pow(6 - u32::try_from(six.len()).ok()?);
    let rest = decimals.get(six.len()..)?;
    let (Some(first), Some(more)) = (rest.as_bytes().first(), rest.get(1..)) else { return Some(micros) };
    let above_half = *first > b'5' || *first == b'5' && more.bytes().any(|digit| digit != b'0');
    let at_half = *first == b'5' && !above_half;
    Some(micros + i64::from(above_half || at_half && micros % 2 == 1))
}

/// Returns the offset of a zone: nothing or `Z`, `+02:00`, `-0330`, `+02`.
fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z" | "UTC") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 =
        digits.get(2..).filter(|minutes| !minutes.is_empty()).map_or(Some(0), |m| m.parse().ok())?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days since 1970 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        of_text(text).map(EventTime::micros)
    }

    #[test]
    fn times_of_all_spellings() {
        let expected = Some(1_709_560_166_014_000);
        for text in [
            "2024-03-04T13:49:26.014Z",
            "2024-03-04 13:49:26.014",
            "2024-03-04T13:49:26.014",
            "2024-03-04T13:49:26.0140000Z",
            "2024-03-04T15:49:26.014+02:00",
            "2024-03-04T10:19:26.014-0330",
            "1709560166014",
            "1709560166.014",
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
        assert_eq!(micros("2024-03-04T13:49:26"), Some(1_709_560_166_000_000));
    }

    #[test]
    fn decimals_round_half_to_even() {
        let end = |decimals: &str| micros(&format!("2024-03-04T13:49:26.{decimals}Z")).unwrap() % 1_000_000;
        assert_eq!(end("0000005"), 0);
        assert_eq!(end("0000015"), 2);
        assert_eq!(end("00000050000001"), 1);
        assert_eq!(end("9999999"), 0, "the next second");
        assert_eq!(end("1"), 100_000);
    }

    #[test]
    fn others_are_none() {
        for text in [
            "",
            "now",
            "2024-02-30T00:00:00Z",
            "2024-03-04",
            "1999-12-31T23:59:59Z",
            "2024-03-04T13:49:26.Z",
            "2024-03-04T25:49:26Z",
            "5",
            "2024-03-04T13:49:26Z tail",
            "2024-03-04T13:4é:26Z",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
