//! Parses times on the command line.

use chrono::{DateTime, FixedOffset};

/// Parses a time into Unix seconds. Accepts Unix seconds, and a date or a date and time of ISO
/// 8601, in UTC if it has no offset.
///
/// # Errors
///
/// Returns a message with the accepted formats.
pub(crate) fn unix_seconds(text: &str) -> Result<f64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return if seconds.is_finite() { Ok(seconds) } else { Err("not a finite number".into()) };
    }
    let expected = "expected a time like 2026-11-21T14:00:00Z, 2026-11-21, or Unix seconds";
    let time = iso_8601(text).ok_or(expected)?;
    // chrono counts the milliseconds of a leap second from 1000 on. Clocks repeat that second.
    let millis = time.timestamp() * 1000 + i64::from(time.timestamp_subsec_millis() % 1000);
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era are exact")]
    Ok(millis as f64 / 1000.0)
}

/// Parses a date, optionally followed by `T` or a space, a time of day and an offset. Separators
/// inside these are optional: `2026-11-21 14:05+01:00` is `20261121T1405+01`.
///
/// Completes the missing parts, and leaves the rest to chrono's parser of RFC 3339.
fn iso_8601(text: &str) -> Option<DateTime<FixedOffset>> {
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00"));
    // A zone may follow the offset, as in `14:05+01:00[Europe/Berlin]`, and adds nothing to it.
    // A zone without an offset is refused below: its rules are not known here.
    let (clock, zone) = match clock.strip_suffix(']') {
        Some(annotated) => annotated.split_once('[').filter(|(_, zone)| !zone.is_empty())?,
        None => (clock, ""),
    };
    let (clock, offset) = clock.split_at(clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len()));
    let (clock, fraction) = clock.split_at(clock.find(['.', ',']).unwrap_or(clock.len()));

    let date = if date.contains('-') { date.to_owned() } else { separated(date, 4, "-")? };
    let mut clock = if clock.contains(':') { clock.to_owned() } else { separated(clock, 2, ":")? };
    clock.push_str(match clock.len() {
        2 if fraction.is_empty() => ":00:00",
        5 if fraction.is_empty() => ":00",
        8 => "",
        _ => return None,
    });
    let fraction = fraction.replace(',', ".");
    let offset = match offset.split_at_checked(1) {
        None if !zone.is_empty() => return None,
        None => "Z".to_owned(),
        Some((sign, "")) => sign.to_owned(),
        Some((sign, hours)) if hours.len() == 2 => format!("{sign}{hours}:00"),
        Some((sign, hours)) if !hours.contains(':') => format!("{sign}{}", separated(hours, 2, ":")?),
        Some(_) => offset.to_owned(),
    };
    DateTime::parse_from_rfc3339(&format!("{date}T{clock}{fraction}{offset}")).ok()
}

/// Inserts `separator` after the first `width` bytes of `digits`, and after every two bytes that
/// follow.
fn separated(digits: &str, width: usize, separator: &str) -> Option<String> {
    let (first, mut rest) = digits.split_at_checked(width)?;
    let mut text = first.to_owned();
    while !rest.is_empty() {
        let (two, after) = rest.split_at_checked(2)?;
        text.push_str(separator);
        text.push_str(two);
        rest = after;
    }
    Some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_or_unix_seconds() {
        for (text, seconds) in [
            ("0", 0.0),
            ("1795225520.25", 1_795_225_520.25),
            ("2026-11-21T14:05:20Z", 1_795_269_920.0),
            ("2026-11-21T15:05:20.5+01:00", 1_795_269_920.5),
            ("2026-11-21T14:05:20", 1_795_269_920.0),
            ("2026-11-21 14:05", 1_795_269_900.0),
            ("2026-11-21t14z", 1_795_269_600.0),
            ("2026-11-21", 1_795_219_200.0),
            // Without separators.
            ("20261121T140520Z", 1_795_269_920.0),
            ("20261121T1505+01", 1_795_269_900.0),
            ("20261121 083520,25-0530", 1_795_269_920.25),
            // As programs print times of a zone.
            ("2026-11-21T15:05:20+01:00[Europe/Berlin]", 1_795_269_920.0),
            // A leap second is the second before it.
            ("2016-12-31T23:59:60.5Z", 1_483_228_799.5),
        ] {
            assert_eq!(unix_seconds(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "now",
            "inf",
            "21.11.2026",
            "2026-13-01",
            "2026-02-29",
            "2026-11-21T24:00",
            "2026-11-21T14:5",
            "2026-11-21T14:05:2",
            "2026-11-21T14.5",
            "2026-11-21T",
            "2026-11-21T14+1",
            "2026-11-21T14:05Zulu",
            "T14:05",
            "ü",
            "2026-11-21Tü",
            "2026-11-21T14ü",
            "2026-11-21T14+ü",
            "ü026-11-21",
            // Read as UTC it would be an hour off.
            "2026-11-21T15:05:20[Europe/Berlin]",
            "2026-11-21T15:05:20Z[",
            "2026-11-21T15:05:20Z[]",
        ] {
            assert!(unix_seconds(text).is_err(), "{text}");
        }
    }
}
