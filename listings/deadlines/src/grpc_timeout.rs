//! The header `grpc-timeout`, exactly as gRPC's document "gRPC over HTTP2" has
//! it: one to eight digits and a unit.

use std::time::Duration;

use thiserror::Error;

/// A value with more digits than these is not a timeout.
pub const MAX_DIGITS: usize = 8;

// ANCHOR: error
/// Why a value is not a timeout.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseTimeoutError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// The last byte is not one of `H`, `M`, `S`, `m`, `u`, `n`.
    #[error("it does not end in one of the units H, M, S, m, u and n")]
    Unit,
    /// There is no digit in front of the unit, or something else is.
    #[error("it has something else than digits in front of its unit")]
    Digits,
    /// There are more than [`MAX_DIGITS`].
    #[error("it has more than {MAX_DIGITS} digits")]
    TooLong,
}
// ANCHOR_END: error

// ANCHOR: parse
/// Reads the value of a `grpc-timeout`. Zero is one: others send it when their
/// time is up.
///
/// # Errors
///
/// Says in what way the value is not a timeout.
pub fn parse(value: &[u8]) -> Result<Duration, ParseTimeoutError> {
    let (&unit, digits) = value.split_last().ok_or(ParseTimeoutError::Empty)?;
    let nanoseconds: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return Err(ParseTimeoutError::Unit),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseTimeoutError::Digits);
    }
    if digits.len() > MAX_DIGITS {
        return Err(ParseTimeoutError::TooLong);
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    // Eight digits of hours are more nanoseconds than a u64 holds, and a Duration
    // holds all of them.
    Ok(Duration::from_nanos(nanoseconds) * number)
}
// ANCHOR_END: parse
