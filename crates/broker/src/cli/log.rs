//! The log on stderr: one line an event, as text or as JSON. Nothing in a line ends it, whoever has chosen its content.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, Write as _};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Which events are logged: a level, and other levels for parts of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    level: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| format!("the log filter {part:?} is neither a level, such as info, nor target=level");
        let level = |part: &str| match part {
            // Which tracing takes for `error`.
            "" => Err(wrong(text)),
            _ => part.parse::<LevelFilter>().map_err(|_| wrong(text)),
        };
        let mut filter = Self { level: LevelFilter::OFF, targets: Vec::new() };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(("", _)) => return Err(wrong(text)),
                Some((target, name)) => filter.targets.push((target.to_owned(), level(name)?)),
                None => filter.level = level(part)?,
            }
        }
        // The longest name that fits decides.
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }
}

impl Filter {
    fn level(&self, target: &str) -> LevelFilter {
        let fits = |part: &str| target.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        self.targets.iter().find(|(part, _)| fits(part)).map_or(self.level, |(_, level)| *level)
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("--log-format is text or json, not {text:?}")),
        }
    }
}

impl Format {
    /// An event as a line, at a time since the Unix epoch.
    fn line(self, now: Duration, event: &Event<'_>) -> String {
        let mut fields = Fields::default();
        event.record(&mut fields);
        match self {
            Self::Text => fields.text(now, event.metadata()),
            Self::Json => fields.json(now, event.metadata()),
        }
    }
}

/// Logs from now on. Where the process that offers the command has a log of its own, that one hears it.
pub(super) fn start(filter: Filter, format: Format) {
    let hear = move |event: &Event<'_>| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // One call: lines of several threads do not mix. A closed stderr is no reason not to run.
        let _ = io::stderr().write_all(format.line(now, event).as_bytes());
    };
    let _ = tracing::subscriber::set_global_default(Log { filter, hear });
}

/// Has `hear` hear of the events that pass.
struct Log<F> {
    filter: Filter,
    hear: F,
}

impl<F: Fn(&Event<'_>) + 'static> Subscriber for Log<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.filter.level(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.filter.targets.iter().map(|(_, level)| *level).chain([self.filter.level]).max()
    }

    fn event(&self, event: &Event<'_>) {
        (self.hear)(event);
    }

    // There are no spans in the broker.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The fields of one event, in order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push((name, format!("{value:?}").into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }
}

impl Fields {
    fn text(&self, now: Duration, metadata: &Metadata<'_>) -> String {
        let mut line = format!("{} {:>5} {}", Time(now), metadata.level(), self.message);
        for (name, value) in &self.others {
            // Writing to a String does not fail.
            let _ = match value {
                Value::String(text) => write!(line, " {name}={text}"),
                value => write!(line, " {name}={value}"),
            };
        }
        let mut safe = String::with_capacity(line.len() + 1);
        for character in line.chars() {
            if character.is_control() { safe.extend(character.escape_default()) } else { safe.push(character) }
        }
        safe + "\n"
    }

    fn json(self, now: Duration, metadata: &Metadata<'_>) -> String {
        let mut object = Map::new();
        object.insert("time".into(), Time(now).to_string().into());
        object.insert("level".into(), metadata.level().as_str().to_lowercase().into());
        object.insert("target".into(), metadata.target().into());
        object.insert("message".into(), self.message.into());
        for (name, value) in self.others {
            object.insert(name.into(), value);
        }
        Value::Object(object).to_string() + "\n"
    }
}

/// A time since 1970, as RFC 3339 writes it, in UTC.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut days, second) = (self.0.as_secs() / 86_400, self.0.as_secs() % 86_400);
        let mut year = 1970;
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        while days >= 365 + u64::from(leap(year)) {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let february = 28 + u64::from(leap(year));
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        let millisecond = self.0.subsec_millis();
        write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}.{millisecond:03}Z", days + 1, second % 60)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn writes_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Time(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!(Time(Duration::from_millis(1_007)).to_string(), "1970-01-01T00:00:01.007Z");
    }

    #[test]
    fn filters_by_level_and_target() {
        let filter: Filter = "info, linkup_broker::turn=debug,linkup_broker=warn".parse().unwrap();
        assert_eq!(filter.level("hyper"), LevelFilter::INFO);
        assert_eq!(filter.level("linkup_broker::server"), LevelFilter::WARN);
        assert_eq!(filter.level("linkup_broker::turn::udp"), LevelFilter::DEBUG);
        assert_eq!(filter.level("linkup_brokers"), LevelFilter::INFO);
        assert_eq!("off".parse::<Filter>().unwrap().level("a"), LevelFilter::OFF);
        for wrong in ["", "loud", "a=b=c", "a=", "=info", "info,"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }

    /// What an event becomes.
    fn line(format: Format, emit: impl FnOnce()) -> String {
        use std::sync::{Arc, Mutex};
        let written = Arc::new(Mutex::new(String::new()));
        let line = written.clone();
        let hear = move |event: &Event<'_>| *line.lock().unwrap() = format.line(Duration::ZERO, event);
        tracing::subscriber::with_default(Log { filter: "trace".parse().unwrap(), hear }, emit);
        let line = written.lock().unwrap();
        line.clone()
    }

    #[test]
    fn an_event_is_one_line() {
        let emit = || {
            let (id, evil) = ("é\"", "a\nb\u{1b}[2J");
            tracing::warn!(count = 3, taken = true, ?id, why = %evil, text = evil, "it\nhappened: {evil}");
        };
        let text = line(Format::Text, emit);
        let start =
            "1970-01-01T00:00:00.000Z  WARN it\\nhappened: a\\nb\\u{1b}[2J count=3 taken=true id=\"é\\\"\" why=a\\nb";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        let json = line(Format::Json, emit);
        assert_eq!(json.matches('\n').count(), 1);
        let object: Value = serde_json::from_str(&json).unwrap();
        let fields = ["level", "message", "count", "taken", "id", "why", "text", "target"].map(|name| &object[name]);
        let evil = "a\nb\u{1b}[2J";
        let target = module_path!();
        let id = "\"é\\\"\"";
        let happened = format!("it\nhappened: {evil}");
        let expected = serde_json::json!(["warn", happened, 3, true, id, evil, evil, target]);
        assert_eq!(serde_json::json!(fields), expected);
    }
}
