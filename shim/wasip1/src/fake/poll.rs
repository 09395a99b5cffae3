//! `poll_oneoff` of the fake runtime.

use super::Fake;
use super::personality::Nbytes;
use super::world::{Object, World};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription};

impl Fake {
    pub(super) fn poll(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno> {
        let (cost, personality) = {
            let mut world = self.0.borrow_mut();
            world.counts.all += 1;
            world.counts.polls += 1;
            world.counts.subscriptions += subscriptions.len() as u64;
            let costs = world.personality.costs;
            let cost = costs.poll + costs.subscription * subscriptions.len() as u64;
            (cost, world.personality)
        };
        self.pass(cost);
        if subscriptions.is_empty()
            || events.len() < subscriptions.len()
            || subscriptions.len() > personality.most_subscriptions
        {
            return Err(Errno::INVAL);
        }
        self.0.borrow_mut().record_use_of_closed(subscriptions);
        if personality.bad_fd_fails_all && self.0.borrow().has_bad_fd(subscriptions) {
            return Err(Errno::BADF);
        }
        let faults = personality.faults;
        let failures = [
            Errno::INTR,
            Errno::NOMEM,
            Errno::IO,
            Errno::AGAIN,
            Errno::BADF,
        ];
        self.0.borrow_mut().inject(faults.poll_fails, &failures)?;
        if self.0.borrow_mut().chance(faults.poll_is_empty) {
            return Ok(0);
        }
        let started = self.now();
        let clock = subscriptions
            .iter()
            .filter(|subscription| subscription.kind() == EventKind::Clock)
            .map(|subscription| subscription.timeout())
            .min();
        let deadline = clock.map(|timeout| started.saturating_add(timeout));
        if personality.blind {
            let until = deadline.expect("a blind poll without a clock never ends");
            self.pass(until - started);
        } else {
            let tick = |at: u64| match personality.tick {
                0 => at,
                tick => started + ((at - started) / tick + 1) * tick,
            };
            self.wait_until(subscriptions, deadline.map(tick));
        }
        let count = self.0.borrow_mut().report(subscriptions, deadline, events);
        Ok(count)
    }

    /// Lets time pass until something is ready, or until the deadline. Panics if neither can happen.
    fn wait_until(&self, subscriptions: &[Subscription], deadline: Option<u64>) {
        loop {
            let next = {
                let mut world = self.0.borrow_mut();
                if world.any_ready(subscriptions) {
                    return;
                }
                let action = world.next_action_at();
                let late = world.next_visible(subscriptions);
                let next = action.into_iter().chain(late).min();
                match (next, deadline) {
                    (Some(at), Some(deadline)) if at > deadline => {
                        world.set_now(deadline);
                        return;
                    }
                    (Some(at), _) => at,
                    (None, Some(deadline)) => {
                        world.set_now(deadline);
                        return;
                    }
                    (None, None) => panic!("poll_oneoff would never return"),
                }
            };
            self.run_script(next);
            self.0.borrow_mut().set_now(next);
        }
    }
}

/// What one subscription would report.
enum State {
    NotReady,
    Ready(Event),
}

impl World {
    fn has_bad_fd(&self, subscriptions: &[Subscription]) -> bool {
        subscriptions
            .iter()
            .filter_map(Subscription::fd)
            .any(|fd| self.peek(fd).is_none())
    }

    /// Records a violation for each subscription to a file descriptor that the server has closed.
    fn record_use_of_closed(&mut self, subscriptions: &[Subscription]) {
        for fd in subscriptions.iter().filter_map(Subscription::fd) {
            self.object(fd, "poll_oneoff");
        }
    }

    /// The next time at which polls will report something that has already arrived.
    fn next_visible(&self, subscriptions: &[Subscription]) -> Option<u64> {
        let visible_from = |subscription: &Subscription| match self.peek(subscription.fd()?)? {
            Object::Stream { socket, .. } => Some(socket.borrow().visible_from),
            Object::Directory(_) | Object::Listener { .. } => None,
        };
        subscriptions
            .iter()
            .filter_map(visible_from)
            .filter(|at| *at > self.now())
            .min()
    }

    fn any_ready(&self, subscriptions: &[Subscription]) -> bool {
        subscriptions.iter().any(|subscription| {
            subscription.kind() != EventKind::Clock
                && matches!(self.state(subscription), State::Ready(_))
        })
    }

    /// Writes the events. Returns how many there are.
    fn report(
        &mut self,
        subscriptions: &[Subscription],
        deadline: Option<u64>,
        events: &mut [Event],
    ) -> usize {
        let any_ready = self.personality.blind || self.any_ready(subscriptions);
        let clock_ran_out = deadline.is_some_and(|deadline| self.now() >= deadline);
        let faults = self.personality.faults;
        let mut count = 0;
        for subscription in subscriptions {
            let event = match subscription.kind() {
                EventKind::Clock => {
                    let is_reported =
                        clock_ran_out && (!any_ready || self.personality.clock_with_fds);
                    is_reported.then(|| Event::new(subscription.userdata(), EventKind::Clock))
                }
                EventKind::Read | EventKind::Write => match self.state(subscription) {
                    State::Ready(event) => Some(event),
                    State::NotReady => {
                        let spurious = self.chance(faults.spurious);
                        let is_reported = any_ready && self.personality.reports_all || spurious;
                        is_reported.then(|| self.ready(subscription, 0))
                    }
                },
                EventKind::Unknown => None,
            };
            if let Some(mut event) = event {
                if event.kind() == EventKind::Read && self.chance(faults.wrong_nbytes) {
                    event.nbytes = self.rng.below(3);
                }
                if event.kind() != EventKind::Clock && self.chance(faults.event_error) {
                    let errnos = [Errno::IO, Errno::NOTSUP, Errno::INTR, Errno::NOMEM];
                    event.error = errnos[self.rng.below(4) as usize];
                }
                events[count] = event;
                count += 1;
            }
        }
        count
    }

    fn state(&self, subscription: &Subscription) -> State {
        let Some(object) = subscription.fd().map(|fd| self.peek(fd)) else {
            return State::NotReady;
        };
        let failed = |errno| {
            let event = Event::new(subscription.userdata(), subscription.kind());
            State::Ready(event.with_error(errno))
        };
        let reading = subscription.kind() == EventKind::Read;
        if self.personality.blind {
            return match object {
                None => failed(Errno::BADF),
                Some(_) if reading => State::Ready(self.ready(subscription, 0)),
                Some(_) => failed(Errno::NOTSUP),
            };
        }
        match object {
            None => failed(Errno::BADF),
            Some(Object::Directory(_)) => State::Ready(self.ready(subscription, 0)),
            Some(Object::Listener {
                backlog, canceled, ..
            }) => {
                if reading && *canceled && backlog.is_empty() {
                    failed(Errno::CANCELED)
                } else if reading && !backlog.is_empty() {
                    State::Ready(self.ready(subscription, 0))
                } else {
                    State::NotReady
                }
            }
            Some(Object::Stream { socket, .. }) => {
                let socket = socket.borrow();
                if socket.reset {
                    return failed(Errno::IO);
                }
                let ready = if reading {
                    socket.is_reported_readable(self.now())
                } else {
                    socket.is_reported_writable(self.personality.reports_room_late)
                };
                if !ready {
                    return State::NotReady;
                }
                let bytes = if reading {
                    socket.to_server.len() as u64
                } else {
                    0
                };
                let event = self.ready(subscription, bytes);
                State::Ready(if socket.hangup() {
                    event.with_hangup()
                } else {
                    event
                })
            }
        }
    }

    fn ready(&self, subscription: &Subscription, bytes: u64) -> Event {
        let nbytes = match (subscription.kind(), self.personality.nbytes) {
            (EventKind::Read, Nbytes::AtLeastOne) => bytes.max(1),
            (EventKind::Read, Nbytes::Exact) => bytes,
            _ => 0,
        };
        Event::new(subscription.userdata(), subscription.kind()).with_nbytes(nbytes)
    }
}
