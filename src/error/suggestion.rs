//! Names that were most likely meant.

/// The name among `names` that `name` was most likely meant to be.
///
/// Similarity is that of Jaro and Winkler; below 0.7 nothing is suggested.
pub(crate) fn suggest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    // Nobody misspelt that; comparing would take long.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase();
    names
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn a_misspelt_name_gets_the_nearest_one_suggested() {
        let names = ["translation", "rotation", "scale"];
        assert_eq!(suggest("tranlation", names.into_iter()), Some("translation".to_owned()));
        assert_eq!(suggest("Rotation", names.into_iter()), Some("rotation".to_owned()));
        assert_eq!(suggest("zzz", names.into_iter()), None);
    }
}
