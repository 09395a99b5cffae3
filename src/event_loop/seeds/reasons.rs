//! Checks the server's counters, above all the close reasons, against what has happened to its clients.

use super::book::Book;
use super::peer::Peer;
use super::plan::Kind;
use super::verdict::Reasons;
use crate::conn::CloseReason;
use crate::counters::Counters;

/// How many connections may have been closed for each reason, and how many must.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: u64,
    /// How many of the accepted connections the loop may never have taken.
    doubtful: u64,
    least: [u64; CloseReason::ALL.len()],
    most: [u64; CloseReason::ALL.len()],
}

impl Tally {
    /// Adds a client's connection, which was closed for one of these reasons. They are empty if it had none.
    pub(super) fn add(&mut self, peer: &Peer, reasons: &Reasons) {
        // Its file descriptor was closed behind the poller's back, perhaps before the loop took it.
        let is_doubtful = peer.was_stolen() && peer.responded == 0;
        self.add_reasons(is_doubtful, reasons);
    }

    /// Adds a connection that was closed for one of these reasons. It is doubtful if the loop may never have taken it.
    pub(super) fn add_reasons(&mut self, is_doubtful: bool, reasons: &Reasons) {
        self.accepted += u64::from(!reasons.is_empty());
        self.doubtful += u64::from(!reasons.is_empty() && is_doubtful);
        for &reason in reasons {
            self.most[reason] += 1;
            self.least[reason] += u64::from(reasons.len() == 1);
        }
    }

    pub(super) fn check(&self, counters: &Counters, book: &Book, kind: Kind) {
        // A future may be dropped before it has called the handler.
        let uncalled = match kind {
            Kind::Whole => 0,
            Kind::Streams => self.accepted,
        };
        let requests = book.seen..=book.seen + uncalled;
        assert!(
            requests.contains(&counters.requests),
            "{} requests, not {requests:?}",
            counters.requests
        );
        self.check_closes(counters);
    }

    /// Checks all that doesn't depend on requests.
    pub(super) fn check_closes(&self, counters: &Counters) {
        let accepted = self.accepted - self.doubtful..=self.accepted;
        assert!(
            accepted.contains(&counters.accepted),
            "{} accepted, not {accepted:?}",
            counters.accepted
        );
        assert_eq!(counters.closed_in_all(), counters.accepted);
        let mut refused = 0;
        for (index, &reason) in CloseReason::ALL.iter().enumerate() {
            let closed = counters.closed(reason);
            let may = self.least[index]..=self.most[index];
            assert!(
                may.contains(&closed),
                "{closed} for {reason:?}, not {may:?}"
            );
            refused += if reason.is_refusal() { closed } else { 0 };
        }
        assert_eq!(counters.refused, refused);
    }
}
