//! Texts, compared line by line.

/// The number of the first line in which two texts differ, counted from one; the last line if they
/// differ only in the line break at its end.
pub fn first_difference(expected: &str, actual: &str) -> Option<usize> {
    if expected == actual {
        return None;
    }
    let equal = expected
        .split_inclusive('\n')
        .zip(actual.split_inclusive('\n'))
        .take_while(|(expected, actual)| expected == actual)
        .count();
    Some(equal + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_line_that_differs() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("a\nb", "a\nb\n"), Some(2));
    }
}
