//! `registry.lua` in Rust, with the time as an argument: for the simulation, and to be compared with the real one.

use std::collections::BTreeMap;

use linkup_proto::PeerId;

use super::call::{BUCKETS, Call, Operation};

/// Which of the safeguards are on: a simulation without them must find what they are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) quarantine: bool,
    pub(crate) hold: bool,
}

/// The registry that all brokers share.
pub(crate) struct Model {
    pub(crate) rules: Rules,
    epochs: [Option<(String, u64)>; BUCKETS],
    records: BTreeMap<PeerId, Record>,
}

#[derive(Clone)]
struct Record {
    holder: Option<String>,
    generation: u64,
    since: u64,
    until: u64,
    hold: u64,
    secret: String,
}

/// One call, as its records see it.
struct Now<'a> {
    us: u64,
    ms: u64,
    settled: u64,
    lease: u64,
    broker: &'a str,
    rules: Rules,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            rules: Rules { quarantine: true, hold: true },
            epochs: [const { None }; BUCKETS],
            records: BTreeMap::new(),
        }
    }

    /// `FLUSHALL`.
    pub(crate) fn wipe(&mut self) {
        self.epochs = [const { None }; BUCKETS];
        self.records.clear();
    }

    /// What a snapshot on disk brings back.
    pub(crate) fn snapshot(&self) -> Self {
        Self { rules: self.rules, epochs: self.epochs.clone(), records: self.records.clone() }
    }

    /// Runs the script at `us`, in microseconds since 1970, on a server whose run is `run`.
    pub(crate) fn run(&mut self, call: &Call, broker: &str, lease: u64, run: &str, us: u64) -> Vec<String> {
        let ms = us / 1000;
        let settled = match &self.epochs[call.bucket] {
            Some((born, settled)) if born == run => *settled,
            _ => {
                let settled = if self.rules.quarantine { ms + lease } else { ms };
                self.epochs[call.bucket] = Some((run.to_owned(), settled));
                settled
            }
        };
        let now = Now { us, ms, settled, lease, broker, rules: self.rules };
        let mut answer = vec![format!("{settled} {ms}")];
        for item in &call.items {
            let record = self.records.get(&item.id).and_then(|record| now.read(record));
            let secret = item.secret.map_or_else(|| "-".to_owned(), |secret| secret.to_string());
            let (after, text) = match call.operation {
                Operation::Claim => now.claim(record, item.generation, secret),
                Operation::Renew => now.renew(record, item.generation, item.since, secret),
                Operation::Release => now.release(record, item.generation),
                Operation::Find => (record.clone(), now.find(record.as_ref())),
            };
            match after {
                Some(record) => drop(self.records.insert(item.id.clone(), record)),
                None => drop(self.records.remove(&item.id)),
            }
            answer.push(text);
        }
        answer
    }
}

type Outcome = (Option<Record>, String);

impl Now<'_> {
    fn read(&self, record: &Record) -> Option<Record> {
        let mut record = record.clone();
        if record.until <= self.ms {
            if record.hold <= self.ms {
                return None;
            }
            record.holder = None;
        }
        Some(record)
    }

    fn is_ours(&self, record: &Record, generation: u64) -> bool {
        record.holder.as_deref() == Some(self.broker) && record.generation == generation
    }

    fn hold_of(&self, record: &Record) -> u64 {
        match &record.holder {
            Some(holder) if holder != self.broker && self.rules.hold => record.hold.max(record.until),
            _ => record.hold,
        }
    }

    fn take(&self, generation: u64, since: u64, hold: u64, secret: String) -> Option<Record> {
        let until = self.ms + self.lease;
        Some(Record { holder: Some(self.broker.to_owned()), generation, since, until, hold, secret })
    }

    fn wait(&self) -> Option<String> {
        (self.settled > self.ms).then(|| format!("wait {}", self.settled - self.ms))
    }

    /// Takes a record from whoever has it.
    fn displace(&self, record: &Record, generation: u64, since: u64, secret: String) -> Outcome {
        let holder = record.holder.as_deref().unwrap_or("-");
        let text = format!("granted {since} {holder} {}", record.generation);
        (self.take(generation, since, self.hold_of(record), secret), text)
    }

    fn claim(&self, record: Option<Record>, generation: u64, secret: String) -> Outcome {
        let Some(record) = record else {
            return match self.wait() {
                Some(wait) => (None, wait),
                None => (self.take(generation, self.us, 0, secret), format!("granted {} - 0", self.us)),
            };
        };
        if self.is_ours(&record, generation) {
            let secret = if secret == "-" { record.secret } else { secret };
            return (self.take(generation, record.since, record.hold, secret), format!("granted {} - 0", record.since));
        }
        if secret == "-" || secret != record.secret {
            return (Some(record), "taken".to_owned());
        }
        self.displace(&record, generation, self.us.max(record.since + 1), secret)
    }

    fn renew(&self, record: Option<Record>, generation: u64, since: u64, secret: String) -> Outcome {
        let Some(record) = record else {
            return match self.wait() {
                Some(wait) if since == 0 => (None, wait),
                _ => {
                    let since = if since == 0 { self.us } else { since };
                    (self.take(generation, since, 0, secret), format!("granted {since} - 0"))
                }
            };
        };
        if self.is_ours(&record, generation) {
            let text = format!("granted {} - 0", record.since);
            return (self.take(generation, record.since, record.hold, record.secret), text);
        }
        if since > record.since {
            return self.displace(&record, generation, since, secret);
        }
        let text = if secret != "-" && secret == record.secret { "moved" } else { "lost" };
        (Some(record), text.to_owned())
    }

    fn release(&self, record: Option<Record>, generation: u64) -> Outcome {
        match record {
            Some(record) if self.is_ours(&record, generation) => {
                let kept =
                    (record.hold > self.ms).then_some(Record { holder: None, generation: 0, until: self.ms, ..record });
                (kept, "free".to_owned())
            }
            record => (record, "other".to_owned()),
        }
    }

    fn find(&self, record: Option<&Record>) -> String {
        match record {
            Some(Record { holder: Some(holder), generation, .. }) => format!("at {holder} {generation}"),
            _ => self.wait().unwrap_or_else(|| "none".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::call::{Item, Name, SecretHash, bucket};
    use super::*;

    const LEASE: u64 = 1000;

    /// What a broker is told at a time in milliseconds.
    fn ask(model: &mut Model, ms: u64, broker: u8, operation: Operation, secret: Option<&str>, since: u64) -> String {
        let id = PeerId::new("x").unwrap();
        let secret = SecretHash::new(&id, secret);
        let bucket = bucket(&id);
        let call = Call { operation, bucket, items: vec![Item { id, generation: u64::from(broker), since, secret }] };
        let answer = model.run(&call, &Name([broker; 16]).to_string(), LEASE, "run", ms * 1000);
        answer[1].split(' ').next().unwrap().to_owned()
    }

    fn settled() -> Model {
        let mut model = Model::new();
        assert_eq!(ask(&mut model, 0, 1, Operation::Find, None, 0), "wait");
        model
    }

    use Operation::{Claim, Find, Release, Renew};

    #[test]
    fn a_lease_keeps_others_out_until_it_has_run_out() {
        let mut model = settled();
        assert_eq!(ask(&mut model, 2000, 1, Claim, None, 0), "granted");
        assert_eq!(ask(&mut model, 2999, 2, Claim, None, 0), "taken");
        assert_eq!(ask(&mut model, 2999, 1, Renew, None, 2_000_000), "granted");
        assert_eq!(ask(&mut model, 3998, 2, Claim, Some("s"), 0), "taken");
        assert_eq!(ask(&mut model, 3999, 2, Claim, Some("s"), 0), "granted");
        assert_eq!(ask(&mut model, 4000, 1, Renew, None, 0), "lost");
        assert_eq!(ask(&mut model, 4000, 2, Release, None, 0), "free");
        assert_eq!(ask(&mut model, 4000, 3, Find, None, 0), "none");
    }

    #[test]
    fn in_quarantine_only_holders_come_in() {
        let mut model = settled();
        assert_eq!(ask(&mut model, 999, 1, Claim, None, 0), "wait");
        assert_eq!(ask(&mut model, 1000, 1, Claim, None, 0), "granted");
        model.wipe();
        assert_eq!(ask(&mut model, 1100, 2, Claim, None, 0), "wait");
        assert_eq!(ask(&mut model, 1100, 2, Find, None, 0), "wait");
        // One whose lease has run out is no holder any more.
        assert_eq!(ask(&mut model, 1100, 3, Renew, None, 0), "wait");
        assert_eq!(ask(&mut model, 1200, 1, Renew, None, 1_000_000), "granted");
        assert_eq!(ask(&mut model, 1300, 2, Claim, None, 0), "taken");
        assert_eq!(ask(&mut model, 1300, 2, Find, None, 0), "at");
    }

    #[test]
    fn a_hold_outlives_the_claim_that_displaced_the_holder() {
        let mut model = settled();
        assert_eq!(ask(&mut model, 2000, 1, Claim, Some("s"), 0), "granted");
        assert_eq!(ask(&mut model, 2500, 2, Claim, Some("s"), 0), "granted");
        assert_eq!(ask(&mut model, 2600, 2, Release, None, 0), "free");
        // The first may not have been told, and believes until 3000 to have it.
        assert_eq!(ask(&mut model, 2999, 3, Claim, Some("t"), 0), "taken");
        assert_eq!(ask(&mut model, 2999, 3, Find, None, 0), "none");
        assert_eq!(ask(&mut model, 3000, 3, Claim, Some("t"), 0), "granted");
    }

    #[test]
    fn of_two_holders_at_a_wiped_registry_the_later_has_it() {
        for (first, second) in [(1, 2), (2, 1)] {
            let mut model = settled();
            let since = |broker| 1_500_000 + u64::from(broker);
            assert_eq!(ask(&mut model, 2000, first, Renew, Some("s"), since(first)), "granted");
            let expected = if second == 2 { "granted" } else { "moved" };
            assert_eq!(ask(&mut model, 2000, second, Renew, Some("s"), since(second)), expected);
        }
    }
}
