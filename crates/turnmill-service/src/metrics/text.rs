//! Prometheus's older text format, which every scraper reads.

/// Makes OpenMetrics text into Prometheus text: there a counter's `# TYPE` and `# HELP` carry the `_total` of its samples, and
/// there is neither `# UNIT` nor `# EOF`.
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
