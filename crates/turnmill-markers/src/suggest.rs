//! "Did you mean".

/// Returns the candidate that is nearest to the text, if it is near enough to be what was meant.
pub(crate) fn closest(
    text: &str,
    candidates: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    // A long text is no misspelling, and comparing takes the product of the lengths.
    if text.len() > 64 {
        return None;
    }
    let distance = |candidate: &&'static str| strsim::damerau_levenshtein(text, candidate);
    let nearest = candidates.into_iter().min_by_key(distance)?;
    let allowed = (nearest.len() / 3).max(1);
    (distance(&nearest) <= allowed).then_some(nearest)
}
