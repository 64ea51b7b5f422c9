//! The sessions of callers that were answered and are over: an offer that comes again is nobody's call.

use std::collections::{HashSet, VecDeque};

use linkup_proto::PeerId;

/// So many are remembered; who repeats an older one still lacks the private half of its DTLS certificate.
const MEMORY: usize = 1024;

type Session = (PeerId, String);

/// See the module.
#[derive(Default)]
pub(crate) struct Answered {
    known: HashSet<Session>,
    oldest_first: VecDeque<Session>,
}

impl Answered {
    pub(crate) fn has(&self, remote: &PeerId, session: &str) -> bool {
        self.known.contains(&(remote.clone(), session.to_owned()))
    }

    pub(crate) fn add(&mut self, remote: PeerId, session: String) {
        let session = (remote, session);
        if !self.known.insert(session.clone()) {
            return;
        }
        self.oldest_first.push_back(session);
        if self.oldest_first.len() > MEMORY
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
