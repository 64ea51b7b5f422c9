//! What was given, from where: flags come before environment variables, and those before a TOML file. Knows the names,
//! not what they mean.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::str::FromStr;

use lexopt::prelude::*;
use toml::de::{DeTable, DeValue};

use super::table::{CONFIG, Entry, entries};

/// The values that were given, by the names of the options.
#[derive(Debug)]
pub(super) struct Values(BTreeMap<&'static str, Vec<OsString>>);

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Asked {
    Help,
    Version,
    Run(Values),
}

fn entry(name: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.name == name)
}

/// Reads arguments, variables, and the file that they name.
pub(super) fn read(
    args: impl Iterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Asked, lexopt::Error> {
    let mut given: BTreeMap<&str, Vec<OsString>> = BTreeMap::new();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        let known = match arg {
            Short('h') | Long("help") => return Ok(Asked::Help),
            Short('V') | Long("version") => return Ok(Asked::Version),
            Long(name) => entry(name),
            _ => None,
        };
        let Some(entry) = known else { return Err(arg.unexpected()) };
        let values = given.entry(entry.name).or_default();
        if !entry.many {
            values.clear();
        }
        values.push(if entry.is_switch() { "true".into() } else { parser.value()? });
    }
    for entry in entries() {
        // An empty variable is one that is not set: so it is in many a compose file.
        if let Some(value) = variable(entry.variable).filter(|value| !value.is_empty()) {
            given.entry(entry.name).or_insert_with(|| vec![value]);
        }
    }
    if let Some(path) = given.remove(CONFIG).and_then(|mut values| values.pop()) {
        let wrong = |why: String| format!("{}: {why}", Path::new(&path).display());
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        for (entry, values) in file(&text).map_err(wrong)? {
            given.entry(entry.name).or_insert(values);
        }
    }
    Ok(Asked::Run(Values(given)))
}

/// The options of a TOML file.
fn file(text: &str) -> Result<Vec<(&'static Entry, Vec<OsString>)>, String> {
    let table = DeTable::parse(text).map_err(|error| error.to_string().trim_end().to_owned())?.into_inner();
    let mut options = Vec::new();
    for (name, value) in table {
        let name = name.into_inner();
        let Some(entry) = entry(&name).filter(|entry| entry.name != CONFIG) else {
            return Err(format!("there is no option {name:?}"));
        };
        let values = match value.into_inner() {
            DeValue::Array(list) if entry.many => list.into_iter().map(|value| scalar(value.into_inner())).collect(),
            value => scalar(value).map(|value| vec![value]),
        };
        options.push((entry, values.ok_or_else(|| format!("{name} is a text, a number, or true"))?));
    }
    Ok(options)
}

fn scalar(value: DeValue<'_>) -> Option<OsString> {
    match value {
        DeValue::String(text) => Some(text.into_owned().into()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string().into())
        }
        DeValue::Boolean(switch) => Some(switch.to_string().into()),
        _ => None,
    }
}

impl Values {
    pub(super) fn take(&mut self, name: &str) -> Option<OsString> {
        debug_assert!(entry(name).is_some(), "{name} is not in the table");
        self.0.remove(name).and_then(|mut values| values.pop())
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, lexopt::Error> {
        self.take(name).map(OsString::string).transpose()
    }

    pub(super) fn parse<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, lexopt::Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let parsed = value.to_str().and_then(|text| text.parse().ok());
        let wrong = || format!("--{name} is {what}, not {:?}", value.to_string_lossy());
        parsed.map(Some).ok_or_else(|| wrong().into())
    }

    /// Sets what the option is for, where it was given.
    pub(super) fn set<T: FromStr>(&mut self, name: &str, target: &mut T) -> Result<(), lexopt::Error> {
        if let Some(value) = self.parse(name, "a whole number")? {
            *target = value;
        }
        Ok(())
    }

    pub(super) fn switch(&mut self, name: &str) -> Result<bool, lexopt::Error> {
        let on = |text: &OsStr| match text.to_str() {
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off") => Ok(false),
            _ => Err(format!("--{name} is true or false, not {:?}", text.to_string_lossy())),
        };
        Ok(self.take(name).map_or(Ok(false), |text| on(&text))?)
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<String>, lexopt::Error> {
        debug_assert!(entry(name).is_some_and(|entry| entry.many), "{name} is no list in the table");
        let mut list = Vec::new();
        for values in self.0.remove(name).unwrap_or_default() {
            list.extend(values.string()?.split(',').map(|value| value.trim().to_owned()));
        }
        list.retain(|value| !value.is_empty());
        Ok(list)
    }

    /// The same, each of them parsed.
    pub(super) fn parsed<T: FromStr<Err = String>>(&mut self, name: &str) -> Result<Vec<T>, lexopt::Error> {
        let parse = |text: &String| text.parse().map_err(|error| format!("--{name}: {error}"));
        Ok(self.list(name)?.iter().map(parse).collect::<Result<_, _>>()?)
    }

    /// A certificate and its key.
    pub(super) fn pair(
        &mut self,
        cert: &str,
        key: &str,
    ) -> Result<Option<(std::path::PathBuf, std::path::PathBuf)>, lexopt::Error> {
        match (self.take(cert), self.take(key)) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
            _ => Err(format!("--{cert} and --{key} go together").into()),
        }
    }

    /// What nobody has taken. None, unless an option is in the table and nowhere else.
    #[cfg(test)]
    pub(super) fn rest(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn values(text: &str) -> Result<Vec<(&'static str, Vec<OsString>)>, String> {
        Ok(file(text)?.into_iter().map(|(entry, values)| (entry.name, values)).collect())
    }

    #[test]
    fn a_file_has_texts_numbers_switches_and_lists() {
        let text = "port = 0x5_0\nhost = \"localhost\" # here\nno-turn = true\norigin = [\"https://a.example\", \"localhost\"]\n";
        let expected = [
            ("host", vec!["localhost"]),
            ("no-turn", vec!["true"]),
            ("origin", vec!["https://a.example", "localhost"]),
            ("port", vec!["80"]),
        ];
        let expected = expected.map(|(name, values)| (name, values.into_iter().map(Into::into).collect()));
        assert_eq!(values(text), Ok(expected.into()));
        assert_eq!(values(""), Ok(Vec::new()));
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        for (text, why) in [
            ("prot = 80", "\"prot\""),
            ("config = \"other.toml\"", "\"config\""),
            ("port = 99999999999999999999", "port"),
            ("port = [80]", "port"),
            ("port = 1.5", "port"),
            ("origin = [[]]", "origin"),
            ("[turn]\nport = 1", "\"turn\""),
            ("port = ", "line 1"),
            ("port = 1\nport = 2", "line 2"),
        ] {
            let error = values(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
