//! Buckets and ranges against a naive oracle, around changes of clocks.

use chrono::{DateTime, Datelike as _, NaiveDateTime, TimeDelta, Timelike as _};
use proptest::prelude::*;
use turnmill_analytics::{Bucket, Compare, Extent, Last, Range, Span, Zone, parse_time};
use turnmill_model::Micros;

/// Zones with what is hard about them.
const ZONES: [&str; 13] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    // Off the full hour by 45 and by 30 minutes.
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Pacific/Chatham",
    // Changes by half an hour.
    "Australia/Lord_Howe",
    // Changed a minute past midnight until 2011, off by half an hour.
    "America/St_Johns",
    // Skipped midnight until 2019.
    "America/Sao_Paulo",
    // Has midnight twice.
    "America/Havana",
    // Skipped the thirtieth of December 2011.
    "Pacific/Apia",
    // Changes by two hours.
    "Antarctica/Troll",
    // Pauses summer time in Ramadan.
    "Africa/Casablanca",
];

const MINUTE: i64 = 60_000_000;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn at(text: &str) -> Micros {
    parse_time(text, Zone::default()).unwrap()
}

/// Returns the local times of a day at which a bucket begins.
fn aligned(bucket: Bucket, local: NaiveDateTime) -> bool {
    let midnight = local.hour() == 0 && local.minute() == 0;
    match bucket {
        Bucket::Minute => true,
        Bucket::FiveMinutes => local.minute().is_multiple_of(5),
        Bucket::Hour => local.minute() == 0,
        Bucket::TwoHours => local.minute() == 0 && local.hour().is_multiple_of(2),
        Bucket::SixHours => local.minute() == 0 && local.hour().is_multiple_of(6),
        Bucket::Day => midnight,
        Bucket::Week => midnight && local.weekday().num_days_from_monday() == 0,
        Bucket::Month => midnight && local.day() == 1,
    }
}

/// Returns the boundaries of a bucket between two instants by looking at the clock each minute.
fn oracle(bucket: Bucket, from: Micros, to: Micros, zone: Zone) -> Vec<Micros> {
    let mut boundaries = Vec::new();
    // The latest time that the clock has shown: a time that comes twice is the first.
    let start = from.0.div_euclid(MINUTE) - 4 * 1440;
    let mut shown = zone.local(Micros(start * MINUTE));
    for minute in start + 1..=to.0.div_euclid(MINUTE) {
        let instant = Micros(minute * MINUTE);
        let local = zone.local(instant);
        let begins = if bucket <= Bucket::Hour {
            // By the clock: each time that it shows one.
            aligned(bucket, local)
        } else {
            // By the wall clock: the first time that it is at or past one. Everything between the
            // latest time shown and this one has been skipped.
            let mut passed = shown + TimeDelta::minutes(1);
            let mut any = false;
            while passed <= local && !any {
                any = aligned(bucket, passed);
                passed += TimeDelta::minutes(1);
            }
            any
        };
        shown = shown.max(local);
        if begins && instant >= from && instant <= to {
            boundaries.push(instant);
        }
    }
    boundaries
}

/// Instants near a change of the zone's clock, found by halving: a year is drawn, then a change.
fn instants() -> impl Strategy<Value = (usize, i64)> {
    (0..ZONES.len(), 2001_i64..2030, 0_i64..366 * 24, -3000_i64..3000).prop_map(
        |(zone_index, year, hour, minutes)| {
            let zone = zone(ZONES[zone_index]);
            let start = DateTime::parse_from_rfc3339(&format!("{year}-01-01T00:00:00Z")).unwrap();
            let offset = |hour: i64| {
                let instant = Micros(start.timestamp_micros() + hour * 60 * MINUTE);
                zone.local(instant).and_utc().timestamp_micros() - instant.0
            };
            let near = (hour..366 * 24).find(|hour| offset(*hour) != offset(hour + 1)).unwrap_or(hour);
            (zone_index, start.timestamp_micros() + near * 60 * MINUTE + minutes * MINUTE)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn boundaries_are_those_that_the_clock_shows(
        (zone_index, from) in instants(),
        hours in 1_i64..100,
        bucket in prop::sample::select(&Bucket::ALL[1..]),
    ) {
        let zone = zone(ZONES[zone_index]);
        let to = Micros(from + hours * 60 * MINUTE);
        let from = Micros(from);
        let extent = Extent { first: from, newest: to };
        let span = Span { from: Some(from), to: Some(to) };
        let list = bucket.list(span, extent, zone).unwrap();
        let mut expected: Vec<Micros> = oracle(bucket, from, to, zone);
        expected.retain(|boundary| *boundary > from && *boundary < to);
        let inner: Vec<Micros> = list.iter().skip(1).map(|range| range.from).collect();
        prop_assert_eq!(&inner, &expected, "{} {}", ZONES[zone_index], bucket);
        // The list covers the span without gaps.
        prop_assert_eq!(list.first().unwrap().from, from);
        prop_assert_eq!(list.last().unwrap().to, to);
        for pair in list.windows(2) {
            prop_assert_eq!(pair[0].to, pair[1].from);
        }
        prop_assert!(list.iter().all(|range| range.from < range.to));
    }

    #[test]
    fn an_open_list_is_of_whole_buckets((zone_index, first) in instants(), hours in 0_i64..60, bucket in prop::sample::select(&Bucket::ALL[2..])) {
        let zone = zone(ZONES[zone_index]);
        let extent = Extent { first: Micros(first), newest: Micros(first + hours * 60 * MINUTE) };
        let list = bucket.list(Span::default(), extent, zone).unwrap();
        let (begin, end) = (list.first().unwrap(), list.last().unwrap());
        prop_assert!(begin.from <= extent.first && extent.first < begin.to);
        prop_assert!(end.from <= extent.newest && extent.newest < end.to);
        prop_assert_eq!(begin.from, bucket.start_of(begin.from, zone), "a whole first bucket");
        prop_assert_eq!(end.to, bucket.start_of(end.to, zone), "a whole last bucket");
        prop_assert_eq!(bucket.start_of(end.from, zone), end.from);
        prop_assert_eq!(bucket.end_after(end.from, zone), end.to);
    }

    #[test]
    fn the_instant_of_a_wall_clock_is_the_first_at_or_past_it((zone_index, instant) in instants()) {
        let zone = zone(ZONES[zone_index]);
        let local = Micros(instant).0;
        let local = DateTime::from_timestamp_micros(local).unwrap().naive_utc();
        let found = zone.instant(local);
        prop_assert!(zone.local(found) >= local);
        // No instant of the two days before shows it or a later time, except where a clock went
        // back over it, which is then the first.
        for minutes in 1..2 * 1440 {
            let before = zone.local(Micros(found.0 - minutes * MINUTE));
            prop_assert!(before < local, "{} minutes before: {before} for {local}", minutes);
        }
    }

    #[test]
    fn the_finest_bucket_is_the_first_of_at_most_120((zone_index, first) in instants(), minutes in 0_i64..6_000_000) {
        let zone = zone(ZONES[zone_index]);
        let extent = Extent { first: Micros(first), newest: Micros(first + minutes * MINUTE) };
        let finest = Bucket::finest(Span::default(), extent, zone);
        for bucket in Bucket::ALL {
            let few = bucket.list(Span::default(), extent, zone).is_ok_and(|list| list.len() <= 120);
            if bucket < finest {
                prop_assert!(!few, "{bucket} is finer than {finest}");
            } else if bucket == finest && bucket != Bucket::Month {
                prop_assert!(few, "{bucket}");
            }
        }
    }
}

fn hours(list: &[Range]) -> Vec<f64> {
    list.iter().map(|range| (range.to.0 - range.from.0) as f64 / 3_600_000_000.0).collect()
}

fn day(zone_name: &str, day: &str, bucket: Bucket) -> Vec<Range> {
    let zone = zone(zone_name);
    let from = parse_time(day, zone).unwrap();
    let span = Span { from: Some(from), to: Some(Bucket::Day.end_after(from, zone)) };
    bucket.list(span, Extent { first: from, newest: from }, zone).unwrap()
}

#[test]
fn days_with_a_change_have_the_hours_that_they_have() {
    assert_eq!(day("America/New_York", "2026-11-01", Bucket::Hour).len(), 25);
    assert_eq!(day("America/New_York", "2026-03-08", Bucket::Hour).len(), 23);
    // 00 to 02 has three hours, as 01 comes twice.
    assert_eq!(hours(&day("America/New_York", "2026-11-01", Bucket::TwoHours))[..2], [3.0, 2.0]);
    // 02 is skipped: the block begins at 03 and has one hour.
    assert_eq!(hours(&day("America/New_York", "2026-03-08", Bucket::TwoHours))[..3], [2.0, 1.0, 2.0]);
    // From 01:00 the next full hour is 03:00, an hour and a half later.
    assert_eq!(hours(&day("Australia/Lord_Howe", "2026-10-04", Bucket::Hour))[..3], [1.0, 1.5, 1.0]);
}

#[test]
fn midnights_that_are_skipped_or_come_twice() {
    // Sao Paulo went from 23:59:59 to 01:00.
    let skipped = day("America/Sao_Paulo", "2018-11-04", Bucket::Day);
    assert_eq!(skipped[0].from, at("2018-11-04 03:00:00Z"));
    assert_eq!(hours(&skipped), [23.0]);
    // Havana goes from 00:59:59 back to 00:00. The day begins with the first.
    let doubled = day("America/Havana", "2026-11-01", Bucket::Day);
    assert_eq!(doubled[0].from, at("2026-11-01 04:00:00Z"));
    assert_eq!(hours(&doubled), [25.0]);
    // Apia had no thirtieth of December: the days around it follow each other.
    let zone = zone("Pacific/Apia");
    let extent = Extent { first: at("2011-12-29 12:00:00Z"), newest: at("2011-12-30 12:00:00Z") };
    assert_eq!(hours(&Bucket::Day.list(Span::default(), extent, zone).unwrap()), [24.0, 24.0]);
}

#[test]
fn a_range_is_compared_with_the_one_before_in_local_days() {
    let zone = zone("America/New_York");
    let time = |text| parse_time(text, zone).unwrap();
    let range = |from, to| Range { from: time(from), to: time(to) };
    let span = |from, to| Span { from: Some(time(from)), to: Some(time(to)) };
    let compare = |compare: Compare, from, to| compare.range(span(from, to), zone).unwrap();

    // Seven days, one of which has 25 hours, are compared with seven days.
    assert_eq!(compare(Compare::Previous, "2026-11-01", "2026-11-08"), range("2026-10-25", "2026-11-01"));
    // Other ends are hours apart.
    assert_eq!(
        compare(Compare::Previous, "2026-11-01 00:30", "2026-11-01 12:00"),
        Range { from: at("2026-10-31 16:00:00Z"), to: time("2026-11-01 00:30") }
    );
    assert_eq!(compare(Compare::Week, "2026-11-03", "2026-11-05"), range("2026-10-27", "2026-10-29"));
    assert_eq!(compare(Compare::Month, "2026-03-29", "2026-03-31"), range("2026-02-28", "2026-02-28"));
    assert_eq!(compare(Compare::Year, "2024-02-29", "2024-03-01"), range("2023-02-28", "2023-03-01"));
    assert_eq!(
        compare(Compare::Month, "2026-11-08 02:30", "2026-11-09 02:30"),
        range("2026-10-08 02:30", "2026-10-09 02:30")
    );
    assert_eq!(Compare::Week.range(Span { from: Some(time("2026-11-03")), to: None }, zone), None);
}

#[test]
fn the_last_of_a_store_ends_with_what_holds_its_newest_event() {
    let newest = at("2026-11-22 01:46:23.268698Z");
    let zone = zone("America/New_York");
    let last = |text: &str| {
        let span = text.parse::<Last>().unwrap().span(newest, zone);
        (zone.local(span.from.unwrap()).to_string(), zone.local(span.to.unwrap()).to_string())
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(last("1d"), pair("2026-11-21 00:00:00", "2026-11-22 00:00:00"));
    assert_eq!(last("28d"), pair("2026-10-25 00:00:00", "2026-11-22 00:00:00"));
    assert_eq!(last("2w"), pair("2026-11-09 00:00:00", "2026-11-23 00:00:00"));
    assert_eq!(last("2m"), pair("2026-10-01 00:00:00", "2026-12-01 00:00:00"));
    assert_eq!(last("3h"), pair("2026-11-21 18:00:00", "2026-11-21 21:00:00"));
    for bad in ["", "d", "0d", "28", "-1d", "28y", "1.5d"] {
        assert!(bad.parse::<Last>().is_err(), "{bad}");
    }
}

#[test]
fn times_are_read_as_written() {
    let zone = zone("Asia/Kathmandu");
    let time = |text| parse_time(text, zone).unwrap().to_string();
    assert_eq!(time("2026-11-21"), "2026-11-20 18:15:00.000000");
    assert_eq!(time("2026-11-21 06:00"), "2026-11-21 00:15:00.000000");
    assert_eq!(time("2026-11-21T06:00:00.25"), "2026-11-21 00:15:00.250000");
    assert_eq!(time("2026-11-21 01:45:57.718244Z"), "2026-11-21 01:45:57.718244");
    assert_eq!(time("2026-11-21T01:45:57+01:00"), "2026-11-21 00:45:57.000000");
    for bad in ["", "yesterday", "2026-13-01", "2026-11-21 25:00"] {
        assert!(parse_time(bad, zone).is_err(), "{bad}");
    }
}

#[test]
fn a_list_without_end_is_refused() {
    let extent = Extent { first: at("2001-01-01"), newest: at("2026-01-01") };
    assert!(Bucket::Minute.list(Span::default(), extent, Zone::default()).is_err());
    assert_eq!(Bucket::Month.list(Span::default(), extent, Zone::default()).unwrap().len(), 301);
}
