//! The header `grpc-timeout`, value by value.

use std::time::Duration;

use deadlines::grpc_timeout::{MAX_DIGITS, ParseTimeoutError, parse};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use tonic::Request;

const UNITS: [(char, Duration); 6] = [
    ('H', Duration::from_secs(3600)),
    ('M', Duration::from_secs(60)),
    ('S', Duration::from_secs(1)),
    ('m', Duration::from_millis(1)),
    ('u', Duration::from_micros(1)),
    ('n', Duration::from_nanos(1)),
];

#[test]
fn each_unit_is_read() {
    for (unit, one) in UNITS {
        assert_eq!(parse(format!("1{unit}").as_bytes()), Ok(one));
        assert_eq!(parse(format!("0{unit}").as_bytes()), Ok(Duration::ZERO));
        assert_eq!(parse(format!("00000007{unit}").as_bytes()), Ok(one * 7));
        // The longest one: 11,000 years, in hours.
        let most = parse(format!("99999999{unit}").as_bytes());
        assert_eq!(most, Ok(one * 99_999_999));
    }
}

#[test]
fn all_else_is_refused() {
    use ParseTimeoutError::{Digits, Empty, TooLong, Unit};
    for (value, error) in [
        ("", Empty),
        ("5", Unit),
        ("5s", Unit),
        ("5h", Unit),
        ("5ms", Unit),
        ("5 ", Unit),
        ("５", Unit),
        ("S", Digits),
        ("-1S", Digits),
        ("+1S", Digits),
        (" 1S", Digits),
        ("1 S", Digits),
        ("1.5S", Digits),
        ("1e3S", Digits),
        ("0x1S", Digits),
        ("1_0S", Digits),
        ("５S", Digits),
        ("1,2S", Digits),
        ("123456789S", TooLong),
        ("000000001S", TooLong),
    ] {
        assert_eq!(parse(value.as_bytes()), Err(error), "{value:?}");
    }
}

/// What tonic writes for a budget, and the unit that it chose.
fn written(budget: Duration) -> (String, Duration) {
    let mut request = Request::new(());
    request.set_timeout(budget);
    let value = request.metadata().get("grpc-timeout");
    let value = value.and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().to_owned();
    let unit = UNITS.iter().find(|(unit, _)| value.ends_with(*unit));
    (value, unit.map_or(Duration::MAX, |(_, one)| *one))
}

proptest! {
    #[test]
    fn every_number_of_every_unit_is_read(number in 0..=99_999_999_u32, unit in 0..6_usize) {
        let (letter, one) = UNITS[unit];
        prop_assert_eq!(parse(format!("{number}{letter}").as_bytes()), Ok(one * number));
    }

    /// A chain never gets longer by a rounding.
    #[test]
    fn what_tonic_writes_is_read_as_no_more_than_it_was(nanos in any::<u64>()) {
        let budget = Duration::from_nanos(nanos);
        let (value, unit) = written(budget);
        let read = parse(value.as_bytes());
        prop_assert!(read.is_ok(), "{:?} is {:?}", value, read);
        let read = read.unwrap_or_default();
        prop_assert!(read <= budget && budget - read < unit, "{:?} for {:?}", value, budget);
    }

    #[test]
    fn nothing_else_is_read(value in any::<Vec<u8>>()) {
        if let Ok(read) = parse(&value) {
            prop_assert!((2..=MAX_DIGITS + 1).contains(&value.len()));
            // Digits and a unit, and these say the same.
            let text = String::from_utf8(value).unwrap_or_default();
            let (digits, letter) = text.split_at(text.len() - 1);
            let number: u32 = digits.parse().unwrap_or(u32::MAX);
            let unit = UNITS.iter().find(|(unit, _)| letter.starts_with(*unit));
            prop_assert_eq!(unit.map(|(_, one)| *one * number), Some(read));
        }
    }
}
