//! The names by which scripts ask for other scripts.

use crate::escape::is_unsafe;

/// The longest path of a script that a script may ask for, in bytes.
const MAX_PATH: usize = 256;

/// The one name of the script that a script asks for by this path: relative to the root of the default asset
/// source, without detours, with `/` between its parts.
///
/// # Errors
/// Why it can't be the path of a script, in words.
pub(crate) fn script_name(path: &str) -> Result<String, String> {
    if path.len() > MAX_PATH {
        return Err(format!("of at most {MAX_PATH} bytes, and this one has {}", path.len()));
    }
    if path.contains("://") {
        // What the app has for other things, such as the network, is no source of scripts.
        return Err("of the default source, without `://`".to_owned());
    }
    if path.contains(|c: char| c.is_control() || is_unsafe(c)) {
        return Err("without any control character".to_owned());
    }
    // A label is a part of an asset, and a script has none; a colon stands for a drive or a stream.
    if let Some(strange) = ['#', ':'].into_iter().find(|strange| path.contains(*strange)) {
        return Err(format!("without `{strange}`"));
    }
    let path = path.replace('\\', "/");
    if path.starts_with('/') {
        return Err(OUTSIDE.to_owned());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop().ok_or(OUTSIDE)?,
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err("and it names no file".to_owned());
    }
    Ok(parts.join("/"))
}

const OUTSIDE: &str = "within the asset folder, and it leads outside";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn detours_are_left_out_and_what_leads_nowhere_is_refused() {
        for (path, name) in [
            ("a.luau", Some("a.luau")),
            ("./mods//a.luau", Some("mods/a.luau")),
            ("mods\\.\\x\\..\\a.luau", Some("mods/a.luau")),
            ("mods/../a.luau", Some("a.luau")),
            ("a/b/../../c", Some("c")),
            ("mods/...", Some("mods/...")),
            ("../a", None),
            ("a/../../b", None),
            ("/a", None),
            ("\\a", None),
            ("a/..", None),
            ("", None),
            ("a#b", None),
            ("c:\\a", None),
            ("x://a", None),
            ("a\0b", None),
            ("a\u{202e}b", None),
        ] {
            assert_eq!(script_name(path).ok().as_deref(), name, "{path:?}");
        }
        assert!(script_name(&"x".repeat(MAX_PATH)).is_ok());
        assert!(script_name(&"x".repeat(MAX_PATH + 1)).is_err());
    }

    proptest! {
        #[test]
        fn a_name_is_its_own_name_and_stays_within_the_folder(path in r"[./\\#:a-c\x00é]{0,20}") {
            if let Ok(name) = script_name(&path) {
                prop_assert_eq!(script_name(&name), Ok(name.clone()));
                prop_assert!(!name.split('/').any(|part| matches!(part, "" | "." | "..")));
                prop_assert!(bevy::asset::AssetPath::try_parse(&name).is_ok());
                prop_assert!(!bevy::asset::AssetPath::parse(&name).is_unapproved());
            }
        }
    }
}
