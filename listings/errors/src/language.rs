//! The languages that callers read.

use tonic::metadata::MetadataMap;

use crate::error::Error;

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

// ANCHOR: tell
impl Language {
    /// What whoever sits before a screen is told.
    pub fn tell(self, error: &Error) -> String {
        match (self, error) {
            (Self::English, Error::NotFound { name, .. }) => {
                format!("We know nobody called {name}.")
            }
            (Self::Chinese, Error::NotFound { name, .. }) => format!("没有叫{name}的人。"),
            (Self::English, Error::Invalid(_)) => "Please look through what you filled in.".into(),
            (Self::Chinese, Error::Invalid(_)) => "请检查填写的内容。".into(),
            (Self::English, Error::Busy { .. }) => "We are busy. Please wait a moment.".into(),
            (Self::Chinese, Error::Busy { .. }) => "系统繁忙，请稍候。".into(),
            (Self::English, Error::Damaged { .. } | Error::Storage { .. }) => {
                "Something is wrong on our side.".into()
            }
            (Self::Chinese, Error::Damaged { .. } | Error::Storage { .. }) => "系统出错了。".into(),
        }
    }
}
// ANCHOR_END: tell
