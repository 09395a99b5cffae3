//! A client in words, for a person who replays a seed.

use super::peer::Peer;

impl Peer {
    /// What a person needs to know of it.
    pub(super) fn describe(&self) -> String {
        let numbers = self.plan.requests.iter();
        let numbers: Vec<_> = numbers.map(|it| (it.number, it.last)).take(8).collect();
        let stolen = self.is_stolen();
        format!(
            "client {numbers:?} connected {} accepted {:?} closed {:?} fd {:?}\n  {:?} {:?} {:?} stubborn {}\n  sent {} of {}, begun {:?} sent {:?} ended {:?} broken {:?} (stolen {stolen}) faulted {} reset {}\n  responded {} {:?} refusal {:?} cut short {:?} written {}",
            self.connected_at,
            self.client.accepted_at(),
            self.client.closed_at(),
            self.client.fd(),
            self.plan.manner,
            self.plan.reading,
            self.plan.ending,
            self.plan.is_stubborn,
            self.sent,
            self.plan.most_sent,
            self.begun_at.iter().take(8).collect::<Vec<_>>(),
            self.sent_at.iter().take(8).collect::<Vec<_>>(),
            self.ended_at,
            self.broken_at,
            self.client.is_faulted(),
            self.client.is_reset(),
            self.responded,
            self.responded_at.iter().take(8).collect::<Vec<_>>(),
            self.refusal,
            self.cut_short_at,
            self.client.written_at(),
        )
    }
}
