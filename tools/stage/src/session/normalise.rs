//! What differs from run to run becomes what the page shows.

use std::sync::LazyLock;

use regex::Regex;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// Replaces what differs from run to run: addresses, by those on the page; times, by one moment;
/// durations, and random numbers.
pub fn normalise(output: &str, addresses: &[(String, String)]) -> String {
    static PATTERNS: LazyLock<[(Regex, &str); 10]> = LazyLock::new(|| {
        [
            (
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
                "2026-01-01T00:00:00.000000Z",
            ),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-01T00:00:00Z"),
            // What is left of five seconds.
            (r"\bgrpc-timeout: 49\d{5}u", "grpc-timeout: 4999990u"),
            (r"\belapsed=[\d.]+(ns|µs|ms|s)", "elapsed=1ms"),
            (r"\b(latency|stream_duration)=\d+ ms", "$1=1 ms"),
            (
                r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
                "00000000-0000-4000-8000-000000000000",
            ),
            (r"\bpid=\d+", "pid=4711"),
            (
                r"\bserial=[0-9a-f]{2}(:[0-9a-f]{2})*",
                "serial=00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
            ),
            // What rustls says of the time.
            (
                r"verification time \d+ \(UNIX\), but certificate is not valid after \d+ \(\d+ seconds ago\)",
                "verification time 1767225600 (UNIX), but certificate is not valid after 1767139200 (86400 seconds ago)",
            ),
            (
                r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
                "Thu, 01 Jan 2026 00:00:00 GMT",
            ),
        ]
        .map(|(pattern, shown)| (regex(pattern), shown))
    });
    let mut output = output.to_owned();
    for (real, shown) in addresses {
        output = output.replace(real, shown);
    }
    for (pattern, shown) in PATTERNS.iter() {
        output = pattern.replace_all(&output, *shown).into_owned();
    }
    output
}

/// Leaves out the numbers of system errors, which differ between systems.
pub fn mask_os_error_codes(text: &str) -> String {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"os error \d+"));
    NUMBER.replace_all(text, "os error").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_addresses_times_and_numbers() {
        let addresses = [("127.0.0.1:43211".to_owned(), "127.0.0.1:50051".to_owned())];
        let output = "2026-11-22T17:05:50.679326Z  INFO on 127.0.0.1:43211\ndate: Sun, 22 Nov 2026 17:05:50 GMT\n";
        assert_eq!(
            normalise(output, &addresses),
            "2026-01-01T00:00:00.000000Z  INFO on 127.0.0.1:50051\ndate: Thu, 01 Jan 2026 00:00:00 GMT\n"
        );
        let shown = normalise("pid=123 serial=5a:00:ff x", &[]);
        assert!(shown.starts_with("pid=4711 serial=00:00:00:"), "{shown}");
        assert!(shown.ends_with(":00 x"), "{shown}");
        let output = "at 2026-11-22T17:05:50Z elapsed=1.5µs latency=0 ms stream_duration=12 ms \
                      3f2b8c1e-9d4a-4c6e-8f10-0a1b2c3d4e5f";
        assert_eq!(
            normalise(output, &[]),
            "at 2026-01-01T00:00:00Z elapsed=1ms latency=1 ms stream_duration=1 ms \
             00000000-0000-4000-8000-000000000000"
        );
    }
}
