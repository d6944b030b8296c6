//! Compares docs/metrics.md with the descriptions. `TURNMILL_TEST_UPDATE=1` writes it.

use std::path::Path;

const BEGIN: &str = "<!-- metrics: generated -->\n";
const END: &str = "<!-- metrics: end -->";

#[test]
fn the_metrics_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}\n{}\n{END}{after}", turnmill_analytics::markdown());
    if std::env::var_os("TURNMILL_TEST_UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == expected, "docs/metrics.md is out of date: run this test with TURNMILL_TEST_UPDATE=1");
}
