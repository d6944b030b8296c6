//! Names for files that cannot be read, with a remedy for each.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memmem};

use crate::container::byte_order_mark;
use crate::detect::Keys;
use crate::scan::Scanner;
use crate::table::Columns;

/// Maximum number of keys that a message names.
const MOST_KEYS: usize = 8;
/// How many bytes of a file are examined to name it.
const HEAD_BYTES: usize = 64 << 10;

/// What a file is that has no readable records, and what to do instead.
///
/// ```
/// use turnmill_source::Foreign;
/// let zip = Foreign::of(b"PK\x03\x04\x14\x00\x00\x00").map(|foreign| foreign.to_string());
/// assert_eq!(zip.as_deref(), Some("a zip archive: unpack it, and name the files in it"));
/// assert_eq!(Foreign::of(br#"{"sender_id": "u1", "event": "restart"}"#), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What the file looks like, with an article: `a zip archive`.
    pub kind: Cow<'static, str>,
    /// The remedy, in the imperative.
    pub remedy: Cow<'static, str>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.remedy)
    }
}

const EXPORT_TABLE: &str = "export the table `events` as CSV with a header, or as JSON lines";
const UNPACK: &str = "unpack it, and name the files in it";
const MONGOEXPORT: &str = "`mongoexport --db=rasa --collection=conversations` writes JSON that can be read";

/// Files that their first bytes identify.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"PK\x05\x06", "an empty zip archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"BZh", "a bzip2 file", "decompress it with `bunzip2`; gzip and Zstandard are read as they are"),
    (b"\xfd7zXZ\x00", "an xz file", "decompress it with `unxz`; gzip and Zstandard are read as they are"),
    (
        b"\x04\x22\x4d\x18",
        "an lz4 file",
        "decompress it with `unlz4`; gzip and Zstandard are read as they are",
    ),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy file", "decompress it; gzip and Zstandard are read as they are"),
    (b"\x1f\x9d", "a file of `compress`", "decompress it with `uncompress`"),
    (
        b"PGDMP",
        "a pg_dump archive in the custom format",
        "`pg_restore --data-only --table=events --file=events.sql FILE` writes SQL that can be read",
    ),
    (b"PAR1", "a Parquet file", EXPORT_TABLE),
    (b"Obj\x01", "an Avro file", "write its records as JSON lines, as with `avro-tools tojson`"),
    (b"ORC", "an ORC file", EXPORT_TABLE),
    (b"ARROW1", "an Arrow file", EXPORT_TABLE),
    (
        b"REDIS0",
        "a dump of a Redis server",
        "start a server on it, and write the trackers with \
         `redis-cli --scan --pattern 'tracker:*' | while read -r key; do redis-cli GET \"$key\"; done`",
    ),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Microsoft Office", EXPORT_TABLE),
    (b"%PDF-", "a PDF document", EXPORT_TABLE),
    (b"\x89PNG", "a picture", "name a file of events"),
    (b"\xff\xd8\xff", "a picture", "name a file of events"),
    (b"\x7fELF", "a program", "name a file of events"),
    (b"\x80\x04\x95", "a pickle of Python", "write it with `json.dump` instead"),
    (b"\x80\x05\x95", "a pickle of Python", "write it with `json.dump` instead"),
    (b"\xac\xed\x00\x05", "a stream of serialised Java objects", "write the records as JSON lines"),
    (b"\x00\x00\x00\x14ftyp", "a video", "name a file of events"),
    (b"\x00\x01\x00\x00Standard ", "a Microsoft Access database", EXPORT_TABLE),
    (b"\xff\xfe\x00\x00", "text in UTF-32", "save it as UTF-8"),
    (b"\x00\x00\xfe\xff", "text in UTF-32", "save it as UTF-8"),
];

impl Foreign {
    fn new(kind: impl Into<Cow<'static, str>>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: kind.into(), remedy: remedy.into() }
    }

    /// Names a file that begins with the uncompressed bytes `content`. Returns `None` if it is
    /// unknown or can be read.
    #[must_use]
    pub fn of(content: &[u8]) -> Option<Self> {
        let head = &content[..content.len().min(HEAD_BYTES)];
        Self::binary(head).or_else(|| Self::text(head))
    }

    /// Returns the first keys of the first JSON object of `content`, for a message about a file
    /// without events.
    #[must_use]
    pub fn first_keys(content: &[u8]) -> Vec<String> {
        let mut keys = Vec::new();
        let mut scanner = Scanner::new(content, byte_order_mark(content));
        while matches!(scanner.peek(), Ok(b'[')) {
            scanner.at += 1;
        }
        if scanner.peek() == Ok(b'{') {
            let _ = scanner.object(|scanner, key| {
                if keys.len() < MOST_KEYS {
                    keys.push(String::from_utf8_lossy(key.span.of(content)).chars().take(40).collect());
                }
                scanner.value().map(drop)
            });
        }
        keys
    }

    /// Like [`Self::of`], for binary files only. `first` has at least a few hundred bytes, or all
    /// of the file.
    pub(crate) fn binary(first: &[u8]) -> Option<Self> {
        if let Some((_, what, remedy)) = MAGIC.iter().find(|(magic, ..)| first.starts_with(magic)) {
            if first.starts_with(b"PK") && memmem::find(first, b"[Content_Types].xml").is_some() {
                return Some(Self::new("a workbook or document of an office program", EXPORT_TABLE));
            }
            return Some(Self::new(*what, *remedy));
        }
        if first.get(257..262) == Some(b"ustar") {
            return Some(Self::new("a tar archive", UNPACK));
        }
        if first.get(8..12) == Some(b"DUCK") {
            return Some(Self::new("a DuckDB database", EXPORT_TABLE));
        }
        if is_bson(first) {
            let remedy = "`bsondump FILE > conversations.json` writes JSON that can be read";
            return Some(Self::new("a BSON dump of `mongodump`", remedy));
        }
        if is_kafka_segment(first) {
            return Some(Self::new("a segment of a Kafka log", "name the topic: `kafka:TOPIC`"));
        }
        None
    }

    fn text(head: &[u8]) -> Option<Self> {
        let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        let text = &String::from_utf8_lossy(start);
        let line = text.lines().next().unwrap_or_default();
        if start.contains(&0) {
            return Some(Self::new("a binary file", "write the events as JSON lines"));
        }
        of_sql(text)
            .or_else(|| of_markup(text))
            .or_else(|| of_other_bots(text))
            .or_else(|| of_notation(text))
            .or_else(|| of_json(text))
            .or_else(|| of_log(text, line))
            .or_else(|| of_table(text, line))
    }
}

/// Returns whether there is a document's length, and a first element with a known type and a key.
fn is_bson(first: &[u8]) -> bool {
    let Some(&[a, b, c, d, kind]) = first.first_chunk::<5>() else { return false };
    let length = u32::from_le_bytes([a, b, c, d]);
    let key = &first[5..first.len().min(64)];
    let end = memchr(0, key);
    let named = end.is_some_and(|end| end > 0 && key[..end].iter().all(u8::is_ascii_graphic));
    (16..=16 << 20).contains(&length) && matches!(kind, 1..=0x13) && named
}

/// Returns whether there is a batch of records: base offset, length, and version of the format.
fn is_kafka_segment(first: &[u8]) -> bool {
    let Some(head) = first.first_chunk::<17>() else { return false };
    head[..4] == [0; 4] && head[16] == 2 && head[8] == 0 && head[9..12] != [0; 3] && first.len() > 60
}

fn of_sql(text: &str) -> Option<Foreign> {
    let sql = ["--", "SET ", "PRAGMA ", "BEGIN", "/*", "CREATE ", "INSERT INTO", "DROP ", "USE ", "LOCK "]
        .iter()
        .any(|begin| text.starts_with(begin))
        && ["INSERT INTO", "CREATE TABLE", "dump", "COPY "].iter().any(|word| text.contains(word));
    if !sql {
        return None;
    }
    if text.lines().any(|line| Columns::of_copy(line.as_bytes()).is_some()) {
        // The table is in the dump, without rows.
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let remedy = if lower.contains("mysql") || lower.contains("mariadb") || text.contains('`') {
        "restore it, and write the table with `mysql --batch rasa -e 'SELECT * FROM events ORDER BY id' > events.tsv`"
    } else if text.starts_with("PRAGMA") {
        "restore it with `sqlite3 tracker.db < FILE`, and name the database file"
    } else {
        "a plain `pg_dump --table=events` with its COPY block is read; else restore it, and write the table with \
         `psql rasa -c \"\\copy events TO 'events.csv' CSV HEADER\"`"
    };
    Some(Foreign::new("an SQL dump without a COPY block of the table `events`", remedy))
}

fn of_markup(text: &str) -> Option<Foreign> {
    let begins = |begin: &str| text.get(..begin.len()).is_some_and(|text| text.eq_ignore_ascii_case(begin));
    if begins("<!doctype html") || begins("<html") {
        let remedy = "it is probably an error or a log-in page in place of a download: open it, and fetch the file again";
        return Some(Foreign::new("an HTML page", remedy));
    }
    if begins("<?xml") || begins("<") && text.trim_end().ends_with('>') {
        return Some(Foreign::new("an XML document", EXPORT_TABLE));
    }
    let listed = text.strip_prefix("- ").and_then(|rest| rest.split_once(':'));
    let listed =
        listed.is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    let yaml = ["---\n", "---\r\n", "version:", "stories:", "nlu:", "- story:", "sender_id:", "events:"];
    if listed || yaml.iter().any(|begin| text.starts_with(begin)) {
        return Some(Foreign::new("YAML", "write the trackers as JSON"));
    }
    // Expanded output of psql or mysql's `\G`, and columns drawn below each other.
    let mut lines = text.lines();
    let (_, below) = (lines.next(), lines.next().unwrap_or_default().trim());
    let ruled = below.starts_with("---") && below.bytes().all(|byte| matches!(byte, b'-' | b'+'));
    let drawn = ["+--", "┌", "-[ RECORD ", "*****"].iter().any(|begin| text.starts_with(begin)) || ruled;
    if drawn {
        let remedy =
            "ask the tool for data: `rabbitmqadmin --format=raw_json`, `mysql --batch`, `psql --csv`";
        return Some(Foreign::new("a table drawn with lines", remedy));
    }
    None
}

/// Logs of other assistants' platforms.
fn of_other_bots(text: &str) -> Option<Foreign> {
    let has = |word: &str| text.contains(word);
    if has("messageVersion") || has("inputTranscript") || has("aws/lex/") {
        let remedy = "but whole log objects of Lex V2 have `sessionState`, `interpretations` or `bot`; \
                      name the format with `--decoder lex` to read those among other lines";
        return Some(Foreign::new("a log of Amazon Lex", remedy));
    }
    let telemetry =
        ["customDimensions", "BotMessageReceived", "BotMessageSend", "Microsoft.ApplicationInsights"];
    if telemetry.iter().any(|word| has(word)) {
        let remedy = "only Rasa's events are read so far";
        return Some(Foreign::new("telemetry of a Bot Framework or Copilot Studio bot", remedy));
    }
    let activities = has("channelId") && (has("\"from\"") || has("\"recipient\"") || has("\"activities\""));
    if activities || has("conversationtranscriptid") {
        let remedy = "only Rasa's events are read so far";
        return Some(Foreign::new("a transcript of a Bot Framework or Copilot Studio bot", remedy));
    }
    None
}

/// Names notations that resemble JSON.
fn of_notation(text: &str) -> Option<Foreign> {
    let call = [
        "ObjectId(",
        "NumberInt(",
        "NumberLong(",
        "NumberDecimal(",
        "ISODate(",
        "Timestamp(",
        "Int32(",
        "Double(",
    ];
    if text.starts_with("1) \"") {
        let remedy = "write it with `redis-cli --raw`, or into a file or pipe from the start";
        return Some(Foreign::new("output of redis-cli for a terminal", remedy));
    }
    if text.starts_with("//") || text.starts_with("# ") && text.contains("\n{") {
        return Some(Foreign::new("JSON with comments", "take the comments out, for example with `json5`"));
    }
    let open = text.trim_start_matches(['[', ' ', '\n', '\r', '\t']);
    let object = open.strip_prefix('{').map(str::trim_start);
    if text.starts_with(['{', '[']) && call.iter().any(|call| text.contains(call)) {
        return Some(Foreign::new(
            "output of the mongo shell, which is no JSON (`ObjectId(…)`)",
            MONGOEXPORT,
        ));
    }
    let object = object?;
    let python = object.starts_with('\'') || object.starts_with("u'");
    let literals = [": None", ": True", ": False", "OrderedDict(", "datetime.datetime("];
    if python || object.starts_with('"') && literals.iter().any(|word| text.contains(word)) {
        let what = if python && object.trim_start_matches('\'').starts_with("_id") {
            "a dict as Python or a JavaScript shell prints it, which is no JSON"
        } else {
            "a dict as Python prints it, which is no JSON"
        };
        return Some(Foreign::new(what, "write it with `json.dumps`"));
    }
    if text.starts_with(['{', '['])
        && object.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
    {
        let what = "an object as a JavaScript shell prints it (keys without quotes), which is no JSON";
        return Some(Foreign::new(
            what,
            "write it with `JSON.stringify`, or with `mongoexport` if it comes from MongoDB",
        ));
    }
    if object.starts_with("//") || object.starts_with("/*") {
        return Some(Foreign::new("JSON with comments", "take the comments out, for example with `json5`"));
    }
    None
}

/// Names JSON that has no events.
fn of_json(text: &str) -> Option<Foreign> {
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    let inside = text.trim_start_matches(['[', ' ', '\n', '\r', '\t']);
    if !inside.starts_with('{') {
        return None;
    }
    if has("log") && has("stream") && has("time") {
        let remedy = "these are the lines that the program printed; its events are at its event broker or tracker store";
        return Some(Foreign::new("a log file of Docker", remedy));
    }
    if has("sender_id") && has("data") && (text.contains("{\"0\"") || has("columns") && has("index")) {
        let remedy = "write it with `to_json(orient=\"records\")`";
        return Some(Foreign::new("a table of pandas that is written by columns", remedy));
    }
    // Trackers or events as texts under other keys: dumps of Redis, queues, loaders.
    let mut keys = Keys::default();
    let mut scanner = Scanner::new(inside.as_bytes(), 0);
    // The keys before a fault are enough.
    let _ = Keys::read(&mut scanner, &mut keys);
    let texts = text.replace(": \"", ":\"");
    let holds = |key: &&str| text.contains(&format!("\\\"{key}\\\""));
    if keys.container().is_none()
        && !has("sender_id")
        && texts.contains(":\"{\\\"")
        && ["events", "sender_id", "event"].iter().any(holds)
    {
        let remedy = "take them out: `jq -r '.. | strings | select(startswith(\"{\"))' FILE > events.jsonl`";
        return Some(Foreign::new("JSON that holds the records as texts", remedy));
    }
    let types = ["\"S\"", "\"N\"", "\"M\"", "\"L\""].iter().filter(|name| text.contains(**name)).count();
    if types >= 2 {
        let remedy = "no item has a list `events`: export the table of the DynamoTrackerStore";
        return Some(Foreign::new("typed JSON of DynamoDB", remedy));
    }
    if has("intents") && has("responses") || has("rasa_nlu_data") {
        return Some(Foreign::new("a domain or training data", "name a file of events"));
    }
    if has("logStreamName") || has("logEvents") || has("@message") {
        return Some(Foreign::new(
            "a log of CloudWatch",
            "only conversation logs of Amazon Lex V2 are read of those",
        ));
    }
    if has("resourceSpans") || has("resourceLogs") {
        return Some(Foreign::new("telemetry of OpenTelemetry", "only Rasa's events are read"));
    }
    if has("error") && !has("event") || has("status") && has("message") && has("reason") {
        let remedy = "it is probably the answer of a server that failed: open it, and fetch the data again";
        return Some(Foreign::new("an error message", remedy));
    }
    None
}

fn of_table(text: &str, head: &str) -> Option<Foreign> {
    if Columns::head(head.as_bytes()).is_some() {
        // The head is right, but there are no rows, or rows with other columns.
        return None;
    }
    if text.starts_with("\"{\"\"") {
        let remedy = "write it without: `psql -At -c 'SELECT row_to_json(e) FROM events e'`";
        return Some(Foreign::new("rows as JSON in the quotes of CSV", remedy));
    }
    let number = head.split([',', ';', '\t', '|']).next().unwrap_or_default().trim_matches('"');
    if !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && head.contains('{')
        && head.len() > number.len()
    {
        let remedy =
            "write it with them: `\\copy events TO 'events.csv' CSV HEADER`, `.headers on` of sqlite3";
        return Some(Foreign::new("the table `events` without the names of its columns", remedy));
    }
    let first = text.split([',', ';', '\t', '|']).next()?;
    // Some lines have as many columns as the first one.
    for (delimiter, name) in [('\t', "tabs"), (',', "commas"), (';', "semicolons"), ('|', "bars")] {
        let count = head.matches(delimiter).count();
        let same =
            text.lines().skip(1).take(5).filter(|line| line.matches(delimiter).count() >= count).count();
        if count >= 1
            && first.len() < 64
            && !head.trim_start_matches('"').starts_with(['{', '['])
            && (same >= 1 || text.lines().count() == 1)
        {
            let what = format!(
                "CSV, columns between {name}, whose first line does not name the columns of the table `events`"
            );
            let remedy = "the first line has to name `sender_id` and `data` (and `id` and `timestamp`): \
                           `psql rasa -c \"\\copy events TO 'events.csv' CSV HEADER\"`";
            return looks_like_names(head, delimiter).then(|| Foreign::new(what, remedy));
        }
    }
    None
}

/// Returns whether the line has column names, and is not a line of a log with a comma.
fn looks_like_names(head: &str, delimiter: char) -> bool {
    head.split(delimiter).all(|name| {
        let name = name.trim().trim_matches('"');
        !name.is_empty() && name.len() < 64 && name.split_whitespace().count() <= 3
    })
}

fn of_log(text: &str, line: &str) -> Option<Foreign> {
    let digits = |text: &str| text.len() >= 4 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    let first = line.split_whitespace().next().unwrap_or_default();
    let dated = digits(first) && first.contains(['-', '/', ':'])
        || first.starts_with('[') && line.contains(':') && !line.starts_with("[{");
    let level = ["INFO", "DEBUG", "WARNING", "ERROR"].iter().any(|level| line.contains(level));
    let web = line.contains("HTTP/1.") || line.contains("HTTP/2");
    let syslog = line.split_whitespace().nth(2).is_some_and(|time| time.matches(':').count() == 2);
    if !(dated || level || web || syslog) {
        return None;
    }
    let what = if web { "a log of a web server" } else { "a log of another program" };
    let embedded = text.contains("{\"event\":") || text.contains("\"sender_id\":");
    let remedy = if embedded {
        "remove the text before each event, so that every line begins with `{`"
    } else {
        "what a program prints has no events; they are at its event broker or in its tracker store"
    };
    Some(Foreign::new(what, remedy))
}
