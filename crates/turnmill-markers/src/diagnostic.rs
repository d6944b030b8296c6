//! What is wrong with a set of marker files, and where.

use std::fmt;

use serde::{Serialize, Serializer};

/// A place in a text, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Place {
    /// The beginning of a file.
    pub const START: Place = Place { line: 1, column: 1 };

    /// Of a byte offset in a text.
    pub(crate) fn of(text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Place { line, column: before.get(line_start..).unwrap_or_default().chars().count() + 1 }
    }
}

/// Kinds of errors in marker files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The top level of a file is not a mapping.
    FileNotAMapping,
    /// The same key twice in one mapping.
    DuplicateKeyInYaml,
    /// A marker's name is one of the thirteen tags.
    MarkerNameIsATag,
    /// The same name in two files of the set.
    MarkerNameNotUnique,
    /// A configuration is not a mapping, or has no key, more than two keys, or only a description.
    MarkerConfigNotAMapping,
    /// None of the thirteen tags.
    UnknownTag,
    /// The value under an operator is not a list.
    OperatorNeedsList,
    /// The value under a condition is not a text.
    ConditionNeedsText,
    /// `not`, `at_least_once` or `never` without exactly one sub-marker; another operator without any.
    WrongNumberOfSubMarkers,
    /// The file is no YAML or JSON that can be used.
    InvalidYaml,
    /// The name `<any_marker>`.
    ReservedMarkerName,
    /// A description is neither a text nor null.
    DescriptionNotText,
    /// Nested beyond the limit.
    TooDeep,
    /// Longer, or with its aliases larger, than the limit.
    TooLarge,
    /// A path does not exist or cannot be read.
    PathNotFound,
    /// A file does not end in `.yml` or `.yaml`.
    WrongFileEnding,
    /// A directory without any YAML file.
    NoYamlFiles,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [ErrorKind; 17] = [
        ErrorKind::FileNotAMapping,
        ErrorKind::DuplicateKeyInYaml,
        ErrorKind::MarkerNameIsATag,
        ErrorKind::MarkerNameNotUnique,
        ErrorKind::MarkerConfigNotAMapping,
        ErrorKind::UnknownTag,
        ErrorKind::OperatorNeedsList,
        ErrorKind::ConditionNeedsText,
        ErrorKind::WrongNumberOfSubMarkers,
        ErrorKind::InvalidYaml,
        ErrorKind::ReservedMarkerName,
        ErrorKind::DescriptionNotText,
        ErrorKind::TooDeep,
        ErrorKind::TooLarge,
        ErrorKind::PathNotFound,
        ErrorKind::WrongFileEnding,
        ErrorKind::NoYamlFiles,
    ];

    /// The stable name, as the upload API answers it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::FileNotAMapping => "file_not_a_mapping",
            ErrorKind::DuplicateKeyInYaml => "duplicate_key_in_yaml",
            ErrorKind::MarkerNameIsATag => "marker_name_is_a_tag",
            ErrorKind::MarkerNameNotUnique => "marker_name_not_unique",
            ErrorKind::MarkerConfigNotAMapping => "marker_config_not_a_mapping",
            ErrorKind::UnknownTag => "unknown_tag",
            ErrorKind::OperatorNeedsList => "operator_needs_list",
            ErrorKind::ConditionNeedsText => "condition_needs_text",
            ErrorKind::WrongNumberOfSubMarkers => "wrong_number_of_sub_markers",
            ErrorKind::InvalidYaml => "invalid_yaml",
            ErrorKind::ReservedMarkerName => "reserved_marker_name",
            ErrorKind::DescriptionNotText => "description_not_text",
            ErrorKind::TooDeep => "too_deep",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::PathNotFound => "path_not_found",
            ErrorKind::WrongFileEnding => "wrong_file_ending",
            ErrorKind::NoYamlFiles => "no_yaml_files",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error in a set of marker files. Its text is `file:line:column: message (kind)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{}:{}: {message}{} ({kind})", place.line, place.column, hint(*suggestion))]
pub struct Diagnostic {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The same in words.
    pub message: String,
    /// The marker it is about, if it is about one.
    pub name: Option<String>,
    /// The file, as it was named by the caller.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Place,
    /// What was probably meant.
    pub suggestion: Option<&'static str>,
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// Something that is accepted, and probably not meant. Its text is `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{}:{}: {message}", place.line, place.column)]
pub struct Warning {
    /// What is odd.
    pub message: String,
    /// The marker it is about.
    pub name: Option<String>,
    /// The file, as it was named by the caller.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Place,
}
