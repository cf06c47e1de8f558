//! The files in which the AWS tools keep keys and settings by profile (`~/.aws/credentials`,
//! `~/.aws/config`; AWS SDKs and Tools Reference Guide, "Shared config and credentials files"). Parses
//! text; what the settings mean is decided in `s3.rs`.

use std::collections::BTreeMap;

/// The settings of one profile by name.
pub(super) type Settings = BTreeMap<String, String>;

/// The settings of `profile` in the text of such a file; `None` if it has no such profile. In the file
/// of settings, profiles other than `default` are called `[profile NAME]`.
pub(super) fn settings_of(text: &str, profile: &str, is_config: bool) -> Option<Settings> {
    let mut found: Option<Settings> = None;
    let mut inside = false;
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = content.strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default().trim();
            inside = is_profile(name, profile, is_config);
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        // An indented line belongs to the setting above it, such as those of `s3 =`.
        if !inside || line.starts_with([' ', '\t']) {
            continue;
        }
        if let (Some((name, value)), Some(settings)) = (content.split_once('='), &mut found) {
            settings.insert(name.trim().to_ascii_lowercase(), without_comment(value).to_owned());
        }
    }
    found
}

fn is_profile(section: &str, profile: &str, is_config: bool) -> bool {
    if section == profile && (!is_config || profile == "default") {
        return true;
    }
    let named = section.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']));
    is_config && named.is_some_and(|name| name.trim() == profile)
}

/// A comment in a line begins with white space and `#` or `;`.
fn without_comment(value: &str) -> &str {
    let comment = value.char_indices().find(|(at, c)| matches!(c, '#' | ';') && value[..*at].ends_with([' ', '\t']));
    value[..comment.map_or(value.len(), |(at, _)| at)].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, profile: &str, is_config: bool, expect: Option<&[(&str, &str)]>) {
        let found = settings_of(text, profile, is_config);
        let found: Option<Vec<(&str, &str)>> =
            found.as_ref().map(|all| all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect());
        assert_eq!(found.as_deref(), expect, "{profile} in {text:?}");
    }

    #[test]
    fn settings_are_those_of_the_profile() {
        let keys = "[default]\naws_access_key_id = A\naws_secret_access_key=s/+=x\n\n[ann]\n# none\nAWS_ACCESS_KEY_ID=B ; old\n";
        check(keys, "default", false, Some(&[("aws_access_key_id", "A"), ("aws_secret_access_key", "s/+=x")]));
        check(keys, "ann", false, Some(&[("aws_access_key_id", "B")]));
        check(keys, "bob", false, None);
        check("", "default", false, None);
        check("[default]\n", "default", false, Some(&[]));
    }

    #[test]
    fn profiles_of_settings_are_called_so() {
        let config = "[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n[profile ann]\nregion=x\n[ann]\nregion=y\n[sso-session ann]\nregion=z\n";
        check(config, "default", true, Some(&[("region", "eu-west-1"), ("s3", "")]));
        check(config, "ann", true, Some(&[("region", "x")]));
        check("[profile default]\nregion=q#1\n", "default", true, Some(&[("region", "q#1")]));
        check("[profile ann]\nregion=x\n", "ann", false, None);
    }
}
