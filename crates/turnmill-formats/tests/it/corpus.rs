//! Replays the committed fuzzing corpus through the functions that the fuzzer runs.

use std::path::Path;

#[path = "../../../../fuzz/src/bodies.rs"]
pub(crate) mod bodies;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 10, "only {files} files in {}", folder.display());
}

#[test]
fn rasa_decoder() {
    replay("rasa_decoder", bodies::rasa_decoder);
}

#[test]
fn lex_log() {
    replay("lex_log", bodies::lex_log);
}

#[test]
fn json_canonical() {
    replay("json_canonical", bodies::json_canonical);
}
