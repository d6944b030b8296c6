//! Tests that no character of the data is interpreted by a terminal.

use proptest::prelude::*;
use turnmill_text::{escaped, escaped_bytes, escaped_lines};

#[test]
fn what_a_terminal_obeys_is_escaped() {
    for (text, shown) in [
        ("plain, caf\u{e9}, \u{1f600}, \\n", "plain, caf\u{e9}, \u{1f600}, \\n"),
        ("\u{1b}[31mRED", r"\u{1b}[31mRED"),
        ("\u{1b}]0;pwned\u{7}", r"\u{1b}]0;pwned\u{7}"),
        ("a\r\nERROR fake", r"a\r\nERROR fake"),
        ("\u{9b}1m\u{85}", r"\u{9b}1m\u{85}"),
        ("\u{7f}\0", r"\u{7f}\u{0}"),
        ("\u{202e}evil\u{2066}\u{2069}\u{200f}\u{61c}", r"\u{202e}evil\u{2066}\u{2069}\u{200f}\u{61c}"),
        ("a\u{200b}b\u{feff}\u{2060}", r"a\u{200b}b\u{feff}\u{2060}"),
        ("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}"),
    ] {
        assert_eq!(escaped(text).to_string(), shown);
    }
    assert_eq!(escaped_lines("a\n\tb\r\u{1b}").to_string(), "a\n\tb\\r\\u{1b}");
    assert_eq!(escaped_bytes(b"a\xc3\xa9\xffb\n").to_string(), r"aé\xffb\n");
    assert_eq!(
        format!("{:<6}|{:>6}|{:.2}", escaped("a\t"), escaped("b"), escaped("abc")),
        "a\\t   |     b|ab"
    );
}

proptest! {
    #[test]
    fn whatever_the_data(bytes in prop::collection::vec(any::<u8>(), 0..60), text in any::<String>()) {
        for shown in [escaped_bytes(&bytes).to_string(), escaped(&text).to_string()] {
            prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
        prop_assert!(!escaped_lines(&text).to_string().chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    }
}
