//! A tree of YAML nodes that know where they stand. Only the first document counts; aliases, tags that make objects, and
//! dates are refused, as the official agent does (`docs/semantics.md#appspec`).

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::Position;
use super::error::{AppSpecError, Problem};
use super::scalar::{self, Kind};

const BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 64;
const ENTRIES_MAX: usize = 10_000;

const START: Position = Position { line: 1, column: 1 };

/// A file that was read.
#[derive(Debug)]
pub(super) struct Document {
    /// What stands in the first document; nothing if there is none.
    pub(super) root: Option<Node>,
    /// Where a second document starts, which nobody reads.
    pub(super) second: Option<Position>,
}

/// A value and where it starts.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// A scalar as written, without quotes, and what it was read as.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// The entries of a mapping. Where a key is given twice, only the last counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
    /// Entries that a later one with the same key replaces, each with the place of the key that replaced it.
    pub(super) replaced: Vec<(Entry, Position)>,
    index: BTreeMap<String, usize>,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
}

impl Map {
    /// The entry with this text as its key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|index| self.entries.get(*index))
    }

    fn insert(&mut self, key: Node, value: Node) {
        if key.as_text() == Some("<<") && self.merge(&value) {
            return;
        }
        let entry = Entry { key, value };
        let Some(name) = entry.key.as_text().map(str::to_owned) else {
            self.entries.push(entry);
            return;
        };
        if let Some(before) = self.index.get(&name).and_then(|index| self.entries.get_mut(*index)) {
            let position = entry.key.position;
            self.replaced.push((std::mem::replace(before, entry), position));
        } else {
            self.index.insert(name, self.entries.len());
            self.entries.push(entry);
        }
    }

    /// Takes over the entries of a merged mapping; in a list of mappings, the first with a key wins.
    fn merge(&mut self, value: &Node) -> bool {
        let sources: Vec<&Self> = match &value.value {
            Value::Map(map) => vec![map],
            Value::List(nodes) => nodes.iter().rev().filter_map(Node::as_map).collect(),
            Value::Scalar(_) => return false,
        };
        for entry in sources.into_iter().flat_map(|map| map.entries.clone()) {
            self.insert(entry.key, entry.value);
        }
        true
    }
}

impl Node {
    /// The text, if it is text and not a number or the like.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind == Kind::Text => Some(&scalar.text),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    /// Whether Ruby takes it for no: null or false.
    pub(super) fn is_falsy(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| matches!(scalar.kind, Kind::Null | Kind::Bool(false)))
    }

    /// The node in a message: what it is and how it begins.
    pub(super) fn describe(&self) -> String {
        let scalar = match &self.value {
            Value::List(_) => return "a list".to_owned(),
            Value::Map(_) => return "a mapping".to_owned(),
            Value::Scalar(scalar) => scalar,
        };
        let text = excerpt(&scalar.text);
        match scalar.kind {
            Kind::Null => "empty".to_owned(),
            Kind::Bool(value) => format!("`{text}` ({value})"),
            Kind::Int(value) if value.to_string() == scalar.text => format!("the number `{text}`"),
            Kind::Int(value) => format!("the number `{text}` ({value})"),
            Kind::Float(_) => format!("the number `{text}`"),
            Kind::Symbol => format!("the symbol `{text}`"),
            Kind::Timestamp => format!("the date `{text}`"),
            Kind::Text => format!("the text `{text}`"),
        }
    }
}

/// The beginning of a text, short enough for a message and on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Document, AppSpecError> {
    let text = decode(bytes)?;
    let mut parser = Parser::new_from_str(text);
    let mut tree = Tree::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        let position = place(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd | Event::DocumentEnd => break,
            Event::Alias(_) => return Err(AppSpecError::new(&Problem::Alias, Some(position))),
            Event::Scalar(text, style, _, tag) => {
                let node = Node {
                    position,
                    value: Value::Scalar(read_scalar(&text, style, tag.as_deref(), position)?),
                };
                tree.add(node)?;
            }
            Event::SequenceStart(_, tag) => {
                tree.open(position, Open::List(Vec::new()), tag.as_deref())?
            }
            Event::MappingStart(_, tag) => {
                tree.open(position, Open::Map(Map::default(), None), tag.as_deref())?
            }
            Event::SequenceEnd | Event::MappingEnd => tree.close()?,
        }
    }
    let second = match parser.next_event() {
        Some(Ok((Event::DocumentStart(_), span))) => Some(place(span.start)),
        _ => None,
    };
    Ok(Document { root: tree.root, second })
}

/// The text, if it is one that YAML allows; without the byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, AppSpecError> {
    if bytes.len() > BYTES_MAX {
        return Err(AppSpecError::new(&Problem::TooLarge { bytes: bytes.len() }, None));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let good = bytes
            .get(..error.valid_up_to())
            .and_then(|good| str::from_utf8(good).ok())
            .unwrap_or_default();
        AppSpecError::new(&Problem::NotUtf8, Some(end_of(good)))
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let allowed = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{FFFD}' | '\u{10000}'..)
            && c != '\u{FEFF}'
    };
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(text),
        Some((index, c)) => {
            let before = text.get(..index).unwrap_or_default();
            Err(AppSpecError::new(&Problem::Character { code: u32::from(c) }, Some(end_of(before))))
        }
    }
}

/// The place right behind a text.
fn end_of(text: &str) -> Position {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let breaks = text.replace("\r\n", "\n");
    let line = breaks.matches(['\n', '\r']).count();
    let column = breaks.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count();
    Position { line: number(line + 1), column: number(column + 1) }
}

fn place(marker: Marker) -> Position {
    Position { line: number(marker.line()), column: number(marker.col() + 1) }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn syntax(error: &ScanError) -> AppSpecError {
    AppSpecError::new(
        &Problem::Syntax { info: error.info().to_owned() },
        Some(place(*error.marker())),
    )
}

fn read_scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    position: Position,
) -> Result<Scalar, AppSpecError> {
    let name = tag.map(tag_name);
    let kind = match name.as_deref() {
        None if style != ScalarStyle::Plain => Kind::Text,
        Some("str") => Kind::Text,
        Some(tag) => {
            refuse_objects(tag, position)?;
            scalar::resolve(text)
        }
        None => scalar::resolve(text),
    };
    if kind == Kind::Timestamp {
        return Err(AppSpecError::new(&Problem::Timestamp { text: excerpt(text) }, Some(position)));
    }
    Ok(Scalar { text: text.to_owned(), kind })
}

/// The tag without what says that it is one of YAML's own or of the file's.
fn tag_name(tag: &Tag) -> String {
    let name = format!("{}{}", tag.handle, tag.suffix);
    let name = name.strip_prefix("tag:yaml.org,2002:").unwrap_or(&name);
    name.trim_start_matches('!').to_owned()
}

/// Ruby makes objects of some tags, which the official agent forbids; it ignores the others.
fn refuse_objects(tag: &str, position: Position) -> Result<(), AppSpecError> {
    let makes_object = ["ruby/", "tag:ruby.yaml.org,2002:", "binary", "struct:", "set"]
        .iter()
        .any(|it| tag.starts_with(it));
    if makes_object {
        return Err(AppSpecError::new(
            &Problem::Tag { tag: format!("!{}", excerpt(tag)) },
            Some(position),
        ));
    }
    Ok(())
}

/// The tree while it grows: the open lists and mappings, outermost first.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<(Position, Open)>,
    entries: usize,
}

enum Open {
    List(Vec<Node>),
    /// A mapping and the key that waits for its value.
    Map(Map, Option<Node>),
}

impl Tree {
    fn open(
        &mut self,
        position: Position,
        open: Open,
        tag: Option<&Tag>,
    ) -> Result<(), AppSpecError> {
        if let Some(tag) = tag {
            refuse_objects(&tag_name(tag), position)?;
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(AppSpecError::new(&Problem::TooDeep { limit: DEPTH_MAX }, Some(position)));
        }
        self.open.push((position, open));
        Ok(())
    }

    fn close(&mut self) -> Result<(), AppSpecError> {
        match self.open.pop() {
            Some((position, Open::List(nodes))) => {
                self.add(Node { position, value: Value::List(nodes) })
            }
            Some((position, Open::Map(map, _))) => {
                self.add(Node { position, value: Value::Map(map) })
            }
            None => Ok(()),
        }
    }

    fn add(&mut self, node: Node) -> Result<(), AppSpecError> {
        self.entries += 1;
        let position = node.position;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((_, Open::List(nodes))) => nodes.push(node),
            Some((_, Open::Map(_, key @ None))) => {
                *key = Some(node);
                self.entries -= 1;
            }
            Some((_, Open::Map(map, key))) => {
                if let Some(key) = key.take() {
                    map.insert(key, node);
                }
            }
        }
        if self.entries > ENTRIES_MAX {
            return Err(AppSpecError::new(
                &Problem::TooManyEntries { limit: ENTRIES_MAX },
                Some(position),
            ));
        }
        Ok(())
    }
}
