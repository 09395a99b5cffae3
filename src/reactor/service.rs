//! Reports to systemd (`sd_notify(3)`): the server is ready, it stops, and its loop still turns.

use std::io;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The messages of one reactor.
#[derive(Debug)]
pub(super) struct Service {
    is_ready: bool,
    watchdog: Option<Watchdog>,
}

/// When the next sign of life is due. It is sent before a wait, so a loop that is stuck sends none.
#[derive(Debug)]
struct Watchdog {
    /// Half of the time after which systemd restarts the service.
    period: Duration,
    next: Instant,
}

impl Service {
    /// `None` if there is nobody to report to: `NOTIFY_SOCKET` isn't set.
    pub(super) fn from_env() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = sd_notify::watchdog_enabled().map(|limit| Watchdog {
            period: limit / 2,
            next: Instant::now(),
        });
        Some(Self {
            is_ready: false,
            watchdog,
        })
    }

    /// Sends what is due. Returns how long the wait may take, so that the next message is sent in time.
    pub(super) fn before_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.is_ready {
            self.is_ready = true;
            if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
                log::warn!(target: "mini_http", "can't report to systemd that it is ready: {error}");
            }
        }
        let Some(watchdog) = &mut self.watchdog else {
            return timeout;
        };
        let left = watchdog.turn(Instant::now());
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    pub(super) fn stopping(&self) {
        log_failure(sd_notify::notify(&[NotifyState::Stopping]));
    }
}

impl Watchdog {
    /// Sends a sign of life if it is due. Returns the time until the next one.
    fn turn(&mut self, now: Instant) -> Duration {
        if now >= self.next {
            log_failure(sd_notify::notify(&[NotifyState::Watchdog]));
            self.next = now + self.period;
        }
        self.next - now
    }
}

/// At `debug`, because it isn't a fault: a process that has started this one may be gone.
fn log_failure(sent: io::Result<()>) {
    if let Err(error) = sent {
        log::debug!(target: "mini_http", "can't report to systemd: {error}");
    }
}
