//! Patterns of ids: every character means itself, and `*` any number of any.

/// Whether the text is as the pattern says. Takes time in proportion to the product of both at most.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    // Behind the last star, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, in_text));
        } else if pattern.get(at) == text.get(in_text) {
            (at, in_text) = (at + 1, in_text + 1);
        } else if let Some((behind, taken)) = star {
            // The star takes one more. That an earlier star would take more never helps.
            star = Some((behind, taken + 1));
            (at, in_text) = (behind, taken + 1);
        } else {
            return false;
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (pattern, yes, no) in [
            ("alice", &["alice"][..], &["Alice", "alice2", "alic", ""][..]),
            ("alice-*", &["alice-", "alice-1", "alice-*"], &["alice", "malice-1"]),
            ("*", &["", "anything", "é"], &[]),
            ("*@example.org", &["a@example.org", "@example.org"], &["a@example.org.evil", "example.org"]),
            ("a*b*c", &["abc", "aXbYc", "abbcbc"], &["ab", "acb", "abcd"]),
            ("", &[""], &["a"]),
            ("a?b.[c]", &["a?b.[c]"], &["axb.c"]),
        ] {
            assert!(yes.iter().all(|text| matches(pattern, text)), "{pattern}");
            assert!(!no.iter().any(|text| matches(pattern, text)), "{pattern}");
        }
    }

    fn simple(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => simple(&pattern[1..], text) || (!text.is_empty() && simple(pattern, &text[1..])),
            (Some(a), Some(b)) => a == b && simple(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn says_what_the_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), simple(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
