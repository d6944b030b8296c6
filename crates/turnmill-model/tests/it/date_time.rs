//! Tests the conversions between event times and chrono's date-times.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use turnmill_model::{EARLIEST_SECONDS, EventTime, LATEST_SECONDS, Micros, TimeOutOfRange};

const NANOS: i64 = 1_000_000_000;
const FIRST: i64 = 946_684_800;
const LAST: i64 = 4_102_444_800;

fn event_time(time: DateTime<Utc>) -> Result<EventTime, TimeOutOfRange> {
    EventTime::try_from(time)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whole_microseconds_come_back(micros in FIRST * 1_000_000..=LAST * 1_000_000) {
        let date_time = DateTime::from_timestamp_micros(micros).unwrap();
        let time = event_time(date_time).unwrap();
        prop_assert_eq!(time.micros(), micros);
        prop_assert_eq!(DateTime::from(time), date_time);
        // The expected floats are those of Python's `datetime.timestamp()`, which Rasa writes.
        prop_assert_eq!(time.seconds().to_bits(), (micros as f64 / 1e6).to_bits());
    }

    #[test]
    fn an_event_time_is_the_microsecond_of_the_tables(seconds in EARLIEST_SECONDS..=LATEST_SECONDS) {
        let time = EventTime::from_seconds(seconds).unwrap();
        let date_time = DateTime::<Utc>::from(time);
        prop_assert_eq!(Micros::from(date_time), Micros(time.micros()));
        prop_assert_eq!(date_time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(), time.to_string());
        prop_assert_eq!(event_time(date_time).unwrap().micros(), time.micros());
    }

    #[test]
    fn nanoseconds_become_the_nearest_float(nanos in FIRST * NANOS..=LAST * NANOS) {
        let float = event_time(DateTime::from_timestamp_nanos(nanos)).unwrap().seconds();
        let error = |float: f64| {
            // Exact: floats from 2^29 on are multiples of 2^-23.
            let scaled = i128::from((float * 8_388_608.0) as i64) * i128::from(NANOS);
            (scaled - i128::from(nanos) * 8_388_608).abs()
        };
        prop_assert!(error(float) <= error(float.next_up()) && error(float) <= error(float.next_down()));
    }

    #[test]
    fn any_microsecond_is_a_date_and_time_or_refused(micros: i64) {
        match DateTime::<Utc>::try_from(Micros(micros)) {
            Ok(time) => prop_assert_eq!(Micros::from(time), Micros(micros)),
            Err(error) => {
                prop_assert_eq!(error, TimeOutOfRange::NoDateTime(Micros(micros)));
                prop_assert!(micros.unsigned_abs() > 8_200_000_000_000_000_000);
            }
        }
    }

    #[test]
    fn other_centuries_are_refused(seconds in -8_000_000_000_000..8_000_000_000_000_i64) {
        let time = DateTime::from_timestamp(seconds, 0).unwrap();
        prop_assert_eq!(event_time(time).is_ok(), (FIRST..=LAST).contains(&seconds));
    }
}

#[test]
fn bounds_are_inclusive() {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    assert_eq!(event_time(at(FIRST)), Ok(EventTime::EARLIEST));
    assert_eq!(event_time(at(LAST)).unwrap().seconds(), LATEST_SECONDS);
    for outside in [
        at(FIRST) - TimeDelta::microseconds(1),
        at(LAST) + TimeDelta::microseconds(1),
        DateTime::<Utc>::MIN_UTC,
        DateTime::<Utc>::MAX_UTC,
    ] {
        assert_eq!(event_time(outside), Err(TimeOutOfRange::NoEventTime(outside)));
    }
}

#[test]
fn a_leap_second_is_the_next_second() {
    let leap: DateTime<Utc> = "2016-12-31T23:59:60.25Z".parse().unwrap();
    assert_eq!(event_time(leap).unwrap().to_string(), "2017-01-01 00:00:00.250000");
}

#[test]
fn errors_name_the_time() {
    let early: DateTime<Utc> = "1999-12-31T23:59:59Z".parse().unwrap();
    assert_eq!(
        event_time(early).unwrap_err().to_string(),
        "1999-12-31 23:59:59 UTC is no time of an event: expected 2000-01-01 to 2100-01-01, UTC"
    );
    assert_eq!(
        DateTime::<Utc>::try_from(Micros(i64::MAX)).unwrap_err().to_string(),
        "9223372036854775807 microseconds since 1970 are beyond the calendar"
    );
}
