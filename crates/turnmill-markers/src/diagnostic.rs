//! Errors and warnings about marker files, with their locations.

use std::fmt;

use serde::{Serialize, Serializer};

/// A location in a text, counted from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Location {
    /// The beginning of a file.
    pub const START: Location = Location { line: 1, column: 1 };

    /// Returns the location of a byte offset in a text.
    pub(crate) fn of(text: &str, offset: usize) -> Location {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Location { line, column: before.get(line_start..).unwrap_or_default().chars().count() + 1 }
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
    /// The key is none of the thirteen tags.
    UnknownTag,
    /// The value of an operator is not a list.
    OperatorNeedsList,
    /// The value of a condition is not a text.
    ConditionNeedsText,
    /// `not`, `at_least_once` or `never` does not have exactly one sub-marker, or another operator
    /// has none.
    WrongNumberOfSubMarkers,
    /// The file is not valid YAML or JSON.
    InvalidYaml,
    /// The marker has the reserved name `<any_marker>`.
    ReservedMarkerName,
    /// A description is neither a text nor null.
    DescriptionNotText,
    /// The nesting exceeds the limit.
    TooDeep,
    /// The file, or its values with aliases expanded, exceeds the limit.
    TooLarge,
    /// A path does not exist or cannot be read.
    PathNotFound,
    /// A file does not end in `.yml` or `.yaml`.
    WrongFileEnding,
    /// A directory without any YAML file.
    NoYamlFiles,
}

impl ErrorKind {
    /// All kinds.
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

    /// Returns the stable name, as the upload API answers it.
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
#[error("{file}:{}:{}: {message}{} ({kind})", location.line, location.column, hint(*suggestion))]
pub struct Diagnostic {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The error in words.
    pub message: String,
    /// The marker with the error, if there is one.
    pub name: Option<String>,
    /// The file, as the caller named it.
    pub file: String,
    /// The location in the file.
    #[serde(flatten)]
    pub location: Location,
    /// What was probably meant.
    pub suggestion: Option<&'static str>,
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// Something that is accepted but probably a mistake. Its text is `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{}:{}: {message}", location.line, location.column)]
pub struct Warning {
    /// The problem in words.
    pub message: String,
    /// The marker with the problem.
    pub name: Option<String>,
    /// The file, as the caller named it.
    pub file: String,
    /// The location in the file.
    #[serde(flatten)]
    pub location: Location,
}
