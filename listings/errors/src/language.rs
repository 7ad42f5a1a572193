//! The languages that callers read.

use tonic::metadata::MetadataMap;

// ANCHOR: language
/// A language that the registry can speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// For everybody else.
    #[default]
    English,
    /// Simplified.
    Chinese,
}

impl Language {
    /// The first one in `accept-language` that the registry speaks. (The weights
    /// of RFC 9110, section 12.5.4, are left out: most send their languages in
    /// order.)
    pub fn asked_for(metadata: &MetadataMap) -> Self {
        let header = metadata.get("accept-language");
        let header = header.and_then(|value| value.to_str().ok());
        header
            .unwrap_or_default()
            .split(',')
            .find_map(|range| match range.trim().split(['-', ';']).next()? {
                "en" => Some(Self::English),
                "zh" => Some(Self::Chinese),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// Its name after BCP 47.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }
}
// ANCHOR_END: language
