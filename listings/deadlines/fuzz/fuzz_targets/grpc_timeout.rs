//! `cargo fuzz run grpc_timeout` gives the parser whatever bytes lead it somewhere
//! new, and compares it with a second one, which is slow and plain.

#![no_main]

use std::time::Duration;

use deadlines::grpc_timeout::parse;
use libfuzzer_sys::fuzz_target;

// ANCHOR: plain
fuzz_target!(|value: &[u8]| assert_eq!(parse(value).ok(), plain(value)));

fn plain(value: &[u8]) -> Option<Duration> {
    let text = str::from_utf8(value).ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || digits.contains(|it: char| !it.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<u64>().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
// ANCHOR_END: plain
