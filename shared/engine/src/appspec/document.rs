//! From bytes to YAML nodes. Only the first document counts; aliases, tags that make objects, and dates are refused, as
//! the official agent does (`docs/semantics.md#appspec`).

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::Position;
use super::error::{AppSpecError, Problem};
use super::scalar::{self, Kind};
use super::tabs::Tabs;
use super::yaml::{Map, Node, Scalar, Value, excerpt};

const BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 64;
const ENTRIES_MAX: usize = 10_000;

/// How many lines are indented for the parser at most, and how many bytes may be read again for that: each time, the
/// whole text is.
const ROUNDS_MAX: usize = 500;
const WORK_MAX: usize = 8 << 20;
/// Deeper than any block that brackets stand in.
const INDENT_ADDED: usize = 200;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Document {
    /// What stands in the first document; nothing if there is none.
    pub(super) root: Option<Node>,
    /// Where a second document starts, which nobody reads.
    pub(super) second: Option<Position>,
}

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Document, AppSpecError> {
    let text = decode(bytes)?.replace("\r\n", "\n").replace('\r', "\n");
    let mut source = Source::new(&text);
    let mut rounds = ROUNDS_MAX.min(WORK_MAX / bytes.len().max(1));
    loop {
        let line = match read_once(&source.text(), &source) {
            Ok(document) => return Ok(document),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Indentation(line)) => line,
        };
        if rounds == 0 || !source.indent(line) {
            let position = Position { line: number(line), column: 1 }.min(source.end);
            return Err(AppSpecError::new(&Problem::Indentation, Some(position)));
        }
        rounds -= 1;
    }
}

/// Why a round of reading ended early.
enum Stop {
    Error(AppSpecError),
    /// This line, in brackets or quotes, begins left of what surrounds them. YAML 1.1 lets that pass, the parser does not.
    Indentation(usize),
}

impl From<AppSpecError> for Stop {
    fn from(error: AppSpecError) -> Self {
        Self::Error(error)
    }
}

fn read_once(text: &str, source: &Source<'_>) -> Result<Document, Stop> {
    let mut parser = Parser::new_from_str(text);
    let (mut tree, mut tabs, mut flow_start) = (Tree::default(), Tabs::default(), 0);
    let mut second = None;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) if tree.ends_early(&error) => {
                second = Some(source.place(*error.marker()));
                break;
            }
            Err(error) => return Err(syntax(&error, source)),
        };
        let position = source.place(span.start);
        if !tree.in_flow()
            && !matches!(event, Event::SequenceEnd | Event::MappingEnd)
            && let Some(tab) = source.tab_before(span.start)
        {
            return Err(AppSpecError::new(&Problem::Tab, Some(tab)).into());
        }
        if !tree.in_flow() {
            flow_start = span.start.line();
        }
        let flow = tree.in_flow() || source.opens_flow(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd | Event::DocumentEnd => break,
            Event::Alias(_) => {
                let problem = source.star(span.start).unwrap_or(Problem::Alias);
                return Err(AppSpecError::new(&problem, Some(position)).into());
            }
            Event::Scalar(text, style, _, tag) => {
                let is_key = matches!(tree.open.last(), Some((_, Open::Map(_, None), _)));
                if is_key && style == ScalarStyle::Plain && text.is_empty() {
                    return Err(AppSpecError::new(&Problem::NoKey, Some(position)).into());
                }
                tabs.free(span.start.line(), span.end.line());
                if style == ScalarStyle::Plain && !tree.in_flow() {
                    tabs.plain(span.end.line(), tree.block_column());
                }
                let scalar = read_scalar(&text, style, tag.as_deref(), position)?;
                tree.add(Node { position, value: Value::Scalar(scalar) })?;
            }
            Event::SequenceStart(_, tag) => {
                tree.open(position, Open::List(Vec::new()), flow, tag.as_deref())?;
            }
            Event::MappingStart(_, tag) => {
                tree.open(position, Open::Map(Map::default(), None), flow, tag.as_deref())?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let was_in_flow = tree.in_flow();
                tree.close()?;
                if was_in_flow && !tree.in_flow() {
                    tabs.free(flow_start, span.end.line());
                }
            }
        }
    }
    if second.is_none()
        && let Some(Ok((Event::DocumentStart(_), span))) = parser.next_event()
    {
        second = Some(source.place(span.start));
    }
    refuse_tabs(&tabs, source, second)?;
    Ok(Document { root: tree.root, second })
}

/// Refuses a tab on a line without content, up to where the rest is not read.
fn refuse_tabs(
    tabs: &Tabs,
    source: &Source<'_>,
    second: Option<Position>,
) -> Result<(), AppSpecError> {
    let end = second.and_then(|second| usize::try_from(second.line).ok()).unwrap_or(usize::MAX);
    match tabs.first_refused(&source.lines, end) {
        None => Ok(()),
        Some((line, column)) => {
            let position = Position { line: number(line), column: number(column + 1) };
            Err(AppSpecError::new(&Problem::Tab, Some(position)))
        }
    }
}

/// The lines of the text, and how far some of them were indented for the parser's sake.
struct Source<'a> {
    lines: Vec<&'a str>,
    indented: BTreeMap<usize, usize>,
    /// The place right behind the last character, which no place is beyond.
    end: Position,
}

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            lines: text.split_inclusive('\n').collect(),
            indented: BTreeMap::new(),
            end: end_of(text),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            text.extend(std::iter::repeat_n(
                ' ',
                self.indented.get(&(index + 1)).copied().unwrap_or(0),
            ));
            text.push_str(line);
        }
        text
    }

    /// Indents a line; false if that does not help.
    fn indent(&mut self, line: usize) -> bool {
        line <= self.lines.len() && self.indented.insert(line, INDENT_ADDED).is_none()
    }

    /// Whether more brackets open before a line than close; those in quotes and comments count, too.
    fn in_brackets(&self, line: usize) -> bool {
        let before = self.lines.iter().take(line.saturating_sub(1)).flat_map(|line| line.chars());
        let (mut open, mut closed) = (0_usize, 0_usize);
        for character in before {
            open += usize::from(matches!(character, '[' | '{'));
            closed += usize::from(matches!(character, ']' | '}'));
        }
        open > closed
    }

    fn place(&self, marker: Marker) -> Position {
        let column = number(self.column(marker) + 1);
        Position { line: number(marker.line()), column }.min(self.end)
    }

    fn column(&self, marker: Marker) -> usize {
        marker.col().saturating_sub(self.indented.get(&marker.line()).copied().unwrap_or(0))
    }

    fn line(&self, marker: Marker) -> &'a str {
        marker
            .line()
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied()
            .unwrap_or_default()
    }

    /// The tab in what indents this node. YAML 1.1 forbids it, the parser does not always.
    fn tab_before(&self, marker: Marker) -> Option<Position> {
        let mut tab = None;
        for (index, character) in self.line(marker).chars().take(self.column(marker)).enumerate() {
            match character {
                '\t' => tab = tab.or(Some(index + 1)),
                ' ' | '-' | '?' | ':' => {}
                _ => return None,
            }
        }
        tab.map(|column| Position { line: number(marker.line()), column: number(column) })
    }

    /// What begins with `*` here and was meant as a pattern: no alias has such a name.
    fn star(&self, marker: Marker) -> Option<Problem> {
        let rest = self.line(marker).chars().skip(self.column(marker));
        let ends = |c: &char| c.is_whitespace() || matches!(c, ',' | ']' | '}');
        let text: String = rest.take_while(|c| !ends(c)).collect();
        let is_pattern = text.strip_prefix('*').is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(|c: char| !c.is_alphanumeric() && c != '_')
        });
        is_pattern.then(|| Problem::Star { text: excerpt(&text) })
    }

    fn opens_flow(&self, marker: Marker) -> bool {
        matches!(self.line(marker).chars().nth(self.column(marker)), Some('[' | '{'))
    }
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

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn syntax(error: &ScanError, source: &Source<'_>) -> Stop {
    let line = error.marker().line();
    let problem = match error.info() {
        "invalid indentation" | "invalid indentation in flow construct" => {
            return Stop::Indentation(line);
        }
        // The error is at the opening quote; some line behind it begins too far left.
        "invalid indentation in quoted scalar" => {
            let following = (line + 1..).find(|line| !source.indented.contains_key(line));
            return Stop::Indentation(following.unwrap_or(line));
        }
        info if info.starts_with("tabs disallowed") && source.in_brackets(line) => {
            return Stop::Indentation(line);
        }
        info if info.starts_with("tabs disallowed") => Problem::Tab,
        info if info.contains("anchor") => {
            let unknown = info.ends_with("unknown anchor").then_some(Problem::Alias);
            let other = || Problem::Syntax { info: info.to_owned() };
            source.star(*error.marker()).or(unknown).unwrap_or_else(other)
        }
        "recursion limit exceeded" => Problem::TooDeep { limit: DEPTH_MAX },
        info => Problem::Syntax { info: info.to_owned() },
    };
    AppSpecError::new(&problem, Some(source.place(*error.marker()))).into()
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
    /// With its place, and whether it is in brackets.
    open: Vec<(Position, Open, bool)>,
    entries: usize,
}

enum Open {
    List(Vec<Node>),
    /// A mapping and the key that waits for its value.
    Map(Map, Option<Node>),
}

impl Tree {
    fn in_flow(&self) -> bool {
        self.open.last().is_some_and(|(_, _, flow)| *flow)
    }

    /// The column of the block that stands open, from 0.
    fn block_column(&self) -> usize {
        let column =
            self.open.last().map_or(0, |(position, _, _)| position.column.saturating_sub(1));
        usize::try_from(column).unwrap_or(usize::MAX)
    }

    /// Whether the error is about what follows a complete first mapping, which the official agent does not read.
    fn ends_early(&self, error: &ScanError) -> bool {
        let behind = [
            "did not find expected <document start>",
            "missing explicit document end marker before directive",
            "misplaced bracket",
        ];
        self.open.is_empty()
            && self.root.as_ref().is_some_and(|root| root.as_map().is_some())
            && behind.contains(&error.info())
    }

    fn open(
        &mut self,
        position: Position,
        open: Open,
        flow: bool,
        tag: Option<&Tag>,
    ) -> Result<(), AppSpecError> {
        if let Some(tag) = tag {
            refuse_objects(&tag_name(tag), position)?;
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(AppSpecError::new(&Problem::TooDeep { limit: DEPTH_MAX }, Some(position)));
        }
        self.open.push((position, open, flow));
        Ok(())
    }

    fn close(&mut self) -> Result<(), AppSpecError> {
        match self.open.pop() {
            Some((position, Open::List(nodes), _)) => {
                self.add(Node { position, value: Value::List(nodes) })
            }
            Some((position, Open::Map(map, _), _)) => {
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
            Some((_, Open::List(nodes), _)) => nodes.push(node),
            Some((_, Open::Map(_, key @ None), _)) => {
                *key = Some(node);
                self.entries -= 1;
            }
            Some((_, Open::Map(map, key), _)) => {
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
