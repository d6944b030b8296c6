//! Loading of marker sets from files, with all errors.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::diagnostic::{Diagnostic, ErrorKind, Location, Warning};
use crate::literal::read_json;
use crate::node::{Node, too_deep, wrong_number};
use crate::suggest::closest;
use crate::tag::Tag;
use crate::value::{Data, Key, Unreadable, Value};
use crate::yaml;

/// A marker file's content, and its name in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile<'a> {
    /// The name in messages.
    pub name: String,
    /// The content in UTF-8.
    pub bytes: std::borrow::Cow<'a, [u8]>,
    /// The format of the content.
    pub format: FileFormat,
}

/// The format of a marker file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// YAML 1.2; JSON is accepted with few exceptions.
    Yaml,
    /// Strict JSON.
    Json,
}

impl<'a> SourceFile<'a> {
    /// Returns a file. It is JSON if the name ends in `.json`, otherwise YAML.
    pub fn new(name: impl Into<String>, bytes: impl Into<std::borrow::Cow<'a, [u8]>>) -> Self {
        let name = name.into();
        let format = if name.ends_with(".json") { FileFormat::Json } else { FileFormat::Yaml };
        SourceFile { name, bytes: bytes.into(), format }
    }
}

/// A condition with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The name, unique in its set.
    pub name: String,
    /// The purpose of the marker. It has no effect on evaluation.
    pub description: Option<String>,
    /// The condition.
    pub config: Node,
}

/// Markers in the order of their definition, with unique names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkerSet {
    markers: Vec<Marker>,
}

impl MarkerSet {
    /// Reads a set from its files, in the given order.
    ///
    /// ```
    /// use turnmill_markers::{ErrorKind, MarkerSet, SourceFile};
    ///
    /// let file = SourceFile::new("markers.yml", &b"greeted:\n  intnet: greet\n"[..]);
    /// let errors = MarkerSet::parse(&[file]).unwrap_err();
    /// assert_eq!(errors[0].kind, ErrorKind::UnknownTag);
    /// assert_eq!(errors[0].suggestion, Some("intent"));
    /// assert_eq!((errors[0].location.line, errors[0].location.column), (2, 3));
    /// ```
    ///
    /// # Errors
    ///
    /// All errors with their locations. There is no set then.
    pub fn parse(files: &[SourceFile<'_>]) -> Result<(Self, Vec<Warning>), Vec<Diagnostic>> {
        let mut set = MarkerSet::default();
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let mut seen: HashMap<String, (&str, Location)> = HashMap::new();
        for file in files {
            let mut checker = Checker::new(&file.name);
            match read(file) {
                Ok(value) => checker.file(&value),
                Err(error) => checker.report(error.kind, error.message, error.location, None),
            }
            for (location, marker) in checker.names.drain(..) {
                match seen.entry(marker) {
                    Entry::Vacant(entry) => {
                        entry.insert((&file.name, location));
                    }
                    // The same name twice in one file is reported as a duplicate key.
                    Entry::Occupied(entry) if entry.get().0 != file.name => {
                        let (other, at) = *entry.get();
                        checker.errors.push(Diagnostic {
                            kind: ErrorKind::MarkerNameNotUnique,
                            message: format!("the marker is also in {other}:{}:{}", at.line, at.column),
                            name: Some(entry.key().clone()),
                            file: file.name.clone(),
                            location,
                            suggestion: None,
                        });
                    }
                    Entry::Occupied(_) => {}
                }
            }
            checker.errors.sort_by_key(|error| error.location);
            // Several aliases may refer to the same error.
            checker.errors.dedup();
            errors.append(&mut checker.errors);
            checker.warnings.dedup();
            warnings.append(&mut checker.warnings);
            set.markers.append(&mut checker.markers);
        }
        if errors.is_empty() { Ok((set, warnings)) } else { Err(errors) }
    }

    /// Returns the markers in the order of their definition.
    #[must_use]
    pub fn markers(&self) -> &[Marker] {
        &self.markers
    }
}

fn read(file: &SourceFile<'_>) -> Result<Value, Unreadable> {
    if file.bytes.len() > crate::MAX_FILE_BYTES {
        let message = format!("longer than {} bytes", crate::MAX_FILE_BYTES);
        return Err(Unreadable { kind: ErrorKind::TooLarge, message, location: Location::START });
    }
    let text = std::str::from_utf8(&file.bytes).map_err(|error| {
        let valid = file.bytes.get(..error.valid_up_to()).unwrap_or_default();
        let valid = String::from_utf8_lossy(valid);
        Unreadable::invalid("not UTF-8", Location::of(&valid, valid.len()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match file.format {
        FileFormat::Yaml => yaml::read(text),
        FileFormat::Json => read_json(text),
    }
}

/// Checks one file.
pub(crate) struct Checker<'f> {
    file: &'f str,
    /// The marker that is being checked.
    name: Option<String>,
    markers: Vec<Marker>,
    /// Every name at the top level of the file, also of invalid markers.
    names: Vec<(Location, String)>,
    pub(crate) errors: Vec<Diagnostic>,
    warnings: Vec<Warning>,
}

impl<'f> Checker<'f> {
    pub(crate) fn new(file: &'f str) -> Self {
        Checker {
            file,
            name: None,
            markers: Vec::new(),
            names: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn report(
        &mut self,
        kind: ErrorKind,
        message: impl Into<String>,
        location: Location,
        suggestion: Option<&'static str>,
    ) {
        self.errors.push(Diagnostic {
            kind,
            message: message.into(),
            name: self.name.clone(),
            file: self.file.to_owned(),
            location,
            suggestion,
        });
    }

    fn file(&mut self, value: &Value) {
        let Data::Mapping(entries) = &value.data else {
            let message = format!("a mapping of names to markers is needed, not {}", value.kind_name());
            self.report(ErrorKind::FileNotAMapping, message, value.location, None);
            return;
        };
        self.duplicates(entries);
        for (key, value) in entries.iter() {
            self.name = Some(key.text.as_ref().to_owned());
            self.names.push((key.location, key.text.as_ref().to_owned()));
            if Tag::parse(&key.text).is_some() {
                let message = format!("`{}` is a tag and cannot name a marker", key.text);
                self.report(ErrorKind::MarkerNameIsATag, message, key.location, None);
                // This is probably a marker without a name. Its content would only cause further
                // errors.
                continue;
            } else if &*key.text == "<any_marker>" {
                let message = "the name `<any_marker>` is reserved";
                self.report(ErrorKind::ReservedMarkerName, message, key.location, None);
            }
            if let Some((config, description)) = self.config(value, key.location) {
                let name = key.text.as_ref().to_owned();
                self.markers.push(Marker { name, description, config });
            }
            self.name = None;
        }
    }

    /// Reports duplicate keys of one mapping, not of nested ones.
    fn duplicates(&mut self, entries: &[(Key, Value)]) {
        let mut seen: HashMap<&str, Location> = HashMap::new();
        for (key, _) in entries {
            match seen.entry(&key.text) {
                Entry::Vacant(entry) => {
                    entry.insert(key.location);
                }
                Entry::Occupied(entry) => {
                    let first = entry.get();
                    let message =
                        format!("the key `{}` stands at {}:{}, too", key.text, first.line, first.column);
                    self.report(ErrorKind::DuplicateKeyInYaml, message, key.location, None);
                }
            }
        }
    }

    /// Checks a configuration at the top level. Errors about null are located at its key.
    pub(crate) fn config(&mut self, value: &Value, key: Location) -> Option<(Node, Option<String>)> {
        self.node(value, key, 1)
    }

    fn node(&mut self, value: &Value, parent: Location, depth: usize) -> Option<(Node, Option<String>)> {
        if depth > crate::MAX_DEPTH {
            self.report(ErrorKind::TooDeep, too_deep(), value.location, None);
            return None;
        }
        let Data::Mapping(entries) = &value.data else {
            // An absent value has no location.
            let location = if matches!(value.data, Data::Null) { parent } else { value.location };
            let message = format!("a mapping with one tag is needed, not {}", value.kind_name());
            self.report(ErrorKind::MarkerConfigNotAMapping, message, location, None);
            return None;
        };
        self.duplicates(entries);
        let description = entries.iter().find(|(key, _)| &*key.text == "description");
        let description = description.and_then(|(_, value)| self.description(value));
        let mut tags = entries.iter().filter(|(key, _)| &*key.text != "description");
        let first = tags.next();
        if entries.len() > 2 {
            let message = format!("one tag and perhaps `description` are needed, not {} keys", entries.len());
            self.report(ErrorKind::MarkerConfigNotAMapping, message, value.location, None);
        }
        let Some((key, below)) = first else {
            self.report(ErrorKind::MarkerConfigNotAMapping, "a tag is missing", value.location, None);
            return None;
        };
        if let (2, Some((second, _))) = (entries.len(), tags.next()) {
            self.warnings.push(Warning {
                message: format!("`{}` is ignored, since `{}` is the marker's tag", second.text, key.text),
                name: self.name.clone(),
                file: self.file.to_owned(),
                location: second.location,
            });
        }
        let Some(tag) = Tag::parse(&key.text) else {
            self.unknown(key);
            return None;
        };
        let node = if tag.is_condition() {
            self.condition(tag, key, below)
        } else {
            self.operator(tag, key, below, depth)
        };
        node.map(|node| (node, description))
    }

    fn unknown(&mut self, key: &Key) {
        let shown: String = key.text.chars().take(60).collect();
        let suggestion = Tag::suggest(&key.text).or_else(|| closest(&key.text, ["description"]));
        self.report(ErrorKind::UnknownTag, format!("`{shown}` is no tag"), key.location, suggestion);
    }

    fn description(&mut self, value: &Value) -> Option<String> {
        match &value.data {
            Data::Text(text) => Some(text.as_ref().to_owned()),
            Data::Null => None,
            Data::Other(_) | Data::List(_) | Data::Mapping(_) => {
                let message = format!("`description` needs a text, not {}", value.kind_name());
                self.report(ErrorKind::DescriptionNotText, message, value.location, None);
                None
            }
        }
    }

    fn condition(&mut self, tag: Tag, key: &Key, value: &Value) -> Option<Node> {
        if let Data::Text(text) = &value.data {
            return Node::condition(tag, text.as_ref()).ok();
        }
        let location = if matches!(value.data, Data::Null) { key.location } else { value.location };
        let hint = if matches!(value.data, Data::Other(_)) { "; put it in quotes" } else { "" };
        let message = format!("`{tag}` needs a text, not {}{hint}", value.kind_name());
        self.report(ErrorKind::ConditionNeedsText, message, location, None);
        None
    }

    fn operator(&mut self, tag: Tag, key: &Key, value: &Value, depth: usize) -> Option<Node> {
        let Data::List(values) = &value.data else {
            let location = if matches!(value.data, Data::Null) { key.location } else { value.location };
            let message = format!("`{tag}` needs a list of markers, not {}", value.kind_name());
            self.report(ErrorKind::OperatorNeedsList, message, location, None);
            return None;
        };
        if let Some(message) = wrong_number(tag, values.len()) {
            self.report(ErrorKind::WrongNumberOfSubMarkers, message, value.location, None);
        }
        let subs: Vec<_> = values.iter().map(|sub| self.node(sub, sub.location, depth + 1)).collect();
        let subs: Option<Vec<_>> = subs.into_iter().map(|sub| sub.map(|(node, _)| node)).collect();
        Node::operator(tag, subs?).ok()
    }
}
