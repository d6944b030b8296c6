//! Prometheus's classic text format, which every scraper can parse.

/// Converts OpenMetrics text to the classic format.
///
/// There, `# TYPE` and `# HELP` of a counter have the `_total` suffix of its samples, and there is
/// neither `# UNIT` nor `# EOF`.
pub(super) fn classic(open: &str) -> String {
    let counters: Vec<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open.len() + 1024);
    for line in open.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let described =
            ["# TYPE ", "# HELP "].iter().find_map(|head| Some((*head, line.strip_prefix(head)?)));
        match described.and_then(|(head, rest)| Some((head, rest.split_once(' ')?))) {
            Some((head, (name, rest))) if counters.contains(&name) => {
                text.extend([head, name, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}
