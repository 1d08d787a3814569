//! `[access]` of the collector's configuration.

use serde::{Deserialize, Serialize};

/// Hours of the longest session.
const HOURS_MAX: u32 = 720;

/// `[access]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// Whether people and programs have to be known.
    pub required: Required,
    /// A browser has to sign in again after so many hours, and after a quarter of them without a request.
    pub session_hours: u32,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { required: Required::Auto, session_hours: 12 }
    }
}

/// Whether people and programs have to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Required {
    /// Beyond loopback, and everywhere once there is a user.
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "write \"auto\", true or false")]
enum Written {
    Flag(bool),
    Word(String),
}

impl TryFrom<Written> for Required {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Flag(true) => Ok(Self::Yes),
            Written::Flag(false) => Ok(Self::No),
            Written::Word(word) if word == "auto" => Ok(Self::Auto),
            Written::Word(word) => Err(format!("{word:?} is not allowed: write \"auto\", true or false")),
        }
    }
}

impl From<Required> for Written {
    fn from(required: Required) -> Self {
        match required {
            Required::Auto => Self::Word("auto".into()),
            Required::Yes => Self::Flag(true),
            Required::No => Self::Flag(false),
        }
    }
}

impl AccessConfig {
    /// What no type can check.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if (1..=HOURS_MAX).contains(&self.session_hours) {
            return Ok(());
        }
        Err(format!("access.session_hours: {} is not allowed: write 1 to {HOURS_MAX}", self.session_hours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_word_or_a_flag() {
        let read = |text: &str| toml::from_str::<AccessConfig>(text).map(|c| c.required);
        assert_eq!(read("required = \"auto\""), Ok(Required::Auto));
        assert_eq!(read("required = true"), Ok(Required::Yes));
        assert_eq!(read("required = false"), Ok(Required::No));
        let wrong = read("required = \"yes\"").unwrap_err().to_string();
        assert!(wrong.contains("\"yes\" is not allowed: write \"auto\", true or false"), "{wrong}");
        for required in [Required::Auto, Required::Yes, Required::No] {
            let config = AccessConfig { required, ..AccessConfig::default() };
            assert_eq!(toml::from_str(&toml::to_string(&config).unwrap()), Ok(config));
        }
    }

    #[test]
    fn a_session_has_an_end() {
        for (hours, good) in [(0, false), (1, true), (720, true), (721, false)] {
            let config = AccessConfig { session_hours: hours, ..AccessConfig::default() };
            assert_eq!(config.check().is_ok(), good, "{hours}");
        }
    }
}
