//! What an offer means in the light of what is already there with its sender. The one place of these rules; knows
//! nothing of how they are carried out.
//!
//! Two peers that call each other at once must end with one connection, and both must pick the same one without
//! asking: the offer of the smaller id, byte for byte, wins. The rest follows from the broker's keeping the order
//! of what one peer sends to another:
//!
//! - The loser sends its offer before it hears ours, and its answer after. So once our call is answered, another
//!   offer of that peer is no leftover: the peer has begun anew.
//! - An offer that wins but never left is worth nothing: then theirs is taken, whatever the ids.

use linkup_proto::PeerId;

use crate::link::{Link, State};

/// What to do with an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is nothing with this peer: a call.
    Fresh,
    /// This very offer is there already.
    Repeated,
    /// Both call, ours wins: the other side answers it.
    Ours,
    /// We want this peer, too: take the offer under the name of our own call.
    Theirs,
    /// The peer has begun anew, and what there was with it is over.
    Anew,
}

/// See the module. `current` is the link with `remote` that is an attempt or open.
pub(crate) fn judge(own: &PeerId, remote: &PeerId, session: &str, current: Option<&Link>) -> Verdict {
    let Some(link) = current else { return Verdict::Fresh };
    if link.session == session {
        return Verdict::Repeated;
    }
    match link.state {
        State::Calling if link.has_called() && own < remote => Verdict::Ours,
        State::Open | State::Resuming { .. } | State::Closing | State::Leaving { .. } => Verdict::Anew,
        _ if link.wanted => Verdict::Theirs,
        _ => Verdict::Anew,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ConnectionId;
    use linkup_proto::signal::Body;

    fn link(state: State, wanted: bool, called: bool) -> Link {
        let mut link = Link::new(ConnectionId(1), PeerId::new("m").unwrap(), wanted);
        link.session = "ours".into();
        link.state = state;
        if called {
            link.local.said.push(Body::Offer { sdp: String::new() });
            link.local.passed = 1;
        }
        link
    }

    fn verdict(own: &str, state: State, wanted: bool, called: bool) -> Verdict {
        let (own, remote) = (PeerId::new(own).unwrap(), PeerId::new("m").unwrap());
        judge(&own, &remote, "theirs", Some(&link(state, wanted, called)))
    }

    #[test]
    fn the_smaller_id_wins_once_its_offer_is_out() {
        assert_eq!(verdict("a", State::Calling, true, true), Verdict::Ours);
        assert_eq!(verdict("z", State::Calling, true, true), Verdict::Theirs);
        assert_eq!(verdict("a", State::Calling, true, false), Verdict::Theirs);
        assert_eq!(verdict("a", State::Waiting, true, false), Verdict::Theirs);
    }

    #[test]
    fn after_the_answer_an_offer_is_a_new_beginning() {
        assert_eq!(verdict("a", State::Connecting, true, true), Verdict::Theirs);
        assert_eq!(verdict("a", State::Answering, true, true), Verdict::Theirs);
        assert_eq!(verdict("a", State::Answering, false, true), Verdict::Anew);
        assert_eq!(verdict("a", State::Asking { sdp: String::new() }, false, false), Verdict::Anew);
        assert_eq!(verdict("a", State::Open, true, true), Verdict::Anew);
    }

    #[test]
    fn the_same_offer_twice_is_one() {
        let (own, remote) = (PeerId::new("a").unwrap(), PeerId::new("m").unwrap());
        assert_eq!(judge(&own, &remote, "ours", Some(&link(State::Open, false, true))), Verdict::Repeated);
        assert_eq!(judge(&own, &remote, "theirs", None), Verdict::Fresh);
    }
}
