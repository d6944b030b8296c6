//! Numbers as people read them.

use turnmill_analytics::{Answer, Change, Measure, Unit};

/// Returns the unit of the number called `name`.
pub(crate) fn unit(answer: &Answer, name: &str) -> Unit {
    let figure = answer.metric.figures.iter().find(|figure| figure.name == name);
    figure.map_or(answer.metric.unit, |figure| figure.unit)
}

/// Returns a number with its unit. A share or percentile of too little is shown as counts.
pub(crate) fn measure(measure: Measure, unit: Unit) -> String {
    if measure.is_small() {
        return match measure {
            Measure::Share(share) => format!("{} of {}", share.n, share.d),
            Measure::Percentile { count, .. } => format!("of {count} values"),
            _ => "-".to_owned(),
        };
    }
    let Some(value) = measure.value() else { return "-".to_owned() };
    match (measure, unit) {
        (Measure::Count(count), _) => count.to_string(),
        (Measure::Share(share), _) => format!("{value:.1} % ({} of {})", share.n, share.d),
        (_, Unit::Seconds) if value < 1.0 => format!("{:.1} ms", value * 1000.0),
        (_, Unit::Seconds) => format!("{value:.2} s"),
        (_, Unit::Percent) => format!("{value:.1} %"),
        _ => format!("{value:.3}"),
    }
}

/// Returns a change with its unit, or nothing if there is none.
pub(crate) fn change(measure: Measure, change: &Change) -> String {
    let Some(value) = change.value else { return String::new() };
    let unit = if matches!(measure, Measure::Share(_)) { "pp" } else { "%" };
    match change.interval {
        Some((low, high)) => format!("{value:+.1} {unit} ({low:+.1} to {high:+.1})"),
        None => format!("{value:+.1} {unit}"),
    }
}
