//! Strings from the other end of a connection, on their way to a terminal.

/// `text` with its control characters escaped, for instance as `\n` or `\u{1b}`.
///
/// A terminal obeys control characters: a message with some in it could clear
/// the screen, or print a line that looks like one of ours. Printable characters
/// of every script stay as they are.
pub fn escape(text: &str) -> String {
    // `escape_debug` escapes quotes too, as a literal needs it. Here they are
    // harmless, and names have them.
    let escaped = text.escape_debug().to_string();
    escaped.replace("\\'", "'").replace("\\\"", "\"")
}
