//! What happens to a fleet under load, and how its requests are judged.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::instances::{Instances, NAMES};
use super::proxy::Proxy;
use crate::load::{Kind, Load, Sent};
use crate::{Outcome, ensure};

const KINDS: [Kind; 3] = [
    Kind {
        clients: 3,
        method: "GET",
        keeps: true,
    },
    Kind {
        clients: 3,
        method: "GET",
        keeps: false,
    },
    Kind {
        clients: 3,
        method: "POST",
        keeps: false,
    },
];

/// How long each client pauses after a response. Six fleets share the machine.
const PAUSE: Duration = Duration::from_millis(30);

/// How long one instance is stopped by SIGSTOP.
const STALL: Duration = Duration::from_secs(10);

/// A request that took this long has waited on the instance that was stopped.
const LONG: Duration = Duration::from_secs(5);

/// How many requests may be sent again, because they were sent just when the connection was closed: nginx closes idle
/// connections when it reloads.
const MOST_AGAIN: usize = 2;

/// The instances that are killed and stopped.
const KILLED: usize = 1;
const STALLED: usize = 2;

/// How long before and after each scene the load goes on undisturbed.
const REST: Duration = Duration::from_millis(500);

/// Runs all scenes.
pub(super) fn run(instances: &mut Instances, proxy: &mut dyn Proxy) -> Outcome<String> {
    let load = Load::start(proxy.address(), &KINDS, PAUSE);
    let happened = happen(instances, proxy);
    let sent = load.end()?;
    let kill = happened?;
    proxy.check()?;
    judge(&sent, &kill, &instances.log()?)?;
    let count = |is_so: &dyn Fn(&Sent) -> bool| sent.iter().filter(|it| is_so(it)).count();
    Ok(format!(
        "{} requests, {} lost by the kill, {} waited, {} sent again, {:.1} MiB each",
        sent.len(),
        count(&|it| it.outcome.is_err()),
        count(&|it| has_waited(it)),
        count(&|it| it.again),
        instances.memory()?,
    ))
}

/// Since when the instance that was killed sent no response, and when it had ended.
struct Kill {
    begun: Instant,
    ended: Instant,
}

fn happen(instances: &mut Instances, proxy: &mut dyn Proxy) -> Outcome<Kill> {
    for number in 0..NAMES.len() {
        sleep(REST);
        proxy.drain(number)?;
        instances.stop(number)?;
        instances.restart(number)?;
        proxy.readmit(number)?;
    }
    sleep(REST);
    let begun = Instant::now();
    instances.kill(KILLED, REST)?;
    let kill = Kill {
        begun,
        ended: Instant::now(),
    };
    // The proxy finds out by itself.
    sleep(REST * 4);
    instances.restart(KILLED)?;
    sleep(REST);
    instances.suspend(STALLED, STALL)?;
    sleep(REST * 2);
    Ok(kill)
}

fn judge(sent: &[Sent], kill: &Kill, log: &str) -> Outcome {
    let was_killed = |it: &&Sent| it.begun <= kill.ended && it.ended >= kill.begun;
    let failed = sent.iter().filter(|it| it.outcome.is_err());
    let other: Vec<_> = failed.filter(|it| !was_killed(it)).collect();
    ensure!(
        other.is_empty(),
        "{} of {} requests failed, like {:?}",
        other.len(),
        sent.len(),
        other[0]
    );
    let again = sent.iter().filter(|it| it.again && !was_killed(it)).count();
    ensure!(again <= MOST_AGAIN, "{again} requests were sent again");
    for name in NAMES {
        let body = Ok(format!("{name}\n"));
        let served = sent.iter().filter(|it| it.outcome == body).count();
        ensure!(served > 0, "{name} has served nothing");
    }
    let waited: Vec<_> = sent.iter().filter(|it| has_waited(it)).collect();
    let stalled = Ok(format!("{}\n", NAMES[STALLED]));
    ensure!(
        !waited.is_empty(),
        "no request has waited on the stopped instance"
    );
    let elsewhere = waited.iter().find(|it| it.outcome != stalled);
    ensure!(elsewhere.is_none(), "after a long wait: {elsewhere:?}");
    posts_are_served_once(sent, log)
}

fn has_waited(sent: &Sent) -> bool {
    sent.ended.saturating_duration_since(sent.begun) >= LONG
}

/// Each POST is in the logs of all instances together once, or not at all if it has failed.
fn posts_are_served_once(sent: &[Sent], log: &str) -> Outcome {
    let mut served: HashMap<&str, usize> = HashMap::new();
    for line in log.lines() {
        if let Some((_, path)) = line.split_once(" POST ") {
            *served.entry(path).or_default() += 1;
        }
    }
    for post in sent.iter().filter(|it| it.method == "POST") {
        let times = served.get(post.path.as_str()).copied().unwrap_or(0);
        let least = usize::from(post.outcome.is_ok());
        ensure!(
            (least..=1).contains(&times),
            "a POST was served {times} times: {post:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    /// Requests of a good run: one served by each instance, one that has waited, and a POST that was lost by the kill.
    fn good() -> (Vec<Sent>, Kill) {
        let start = Instant::now();
        let sent = |number: u32, method, took, outcome| Sent {
            path: format!("/load/{number}"),
            method,
            begun: start + STEP * number,
            ended: start + STEP * number + took,
            again: false,
            outcome,
        };
        let names = NAMES.iter().map(|name| Ok(format!("{name}\n")));
        let mut all: Vec<_> = (0..)
            .zip(names)
            .map(|(number, name)| sent(number, "GET", STEP / 10, name))
            .collect();
        all.push(sent(10, "POST", STEP, Err("502".into())));
        all.push(sent(20, "POST", LONG, Ok(format!("{}\n", NAMES[STALLED]))));
        let kill = Kill {
            begun: start + STEP * 10,
            ended: start + STEP * 11,
        };
        (all, kill)
    }

    const LOG: &str = "[INFO  service] one: GET /load/0\n[INFO  service] three: POST /load/20\n";

    #[test]
    fn a_good_run_passes() {
        let (sent, kill) = good();
        judge(&sent, &kill, LOG).expect("nothing is wrong");
    }

    #[test]
    fn failed_repeated_or_lost_requests_fail_the_run() {
        type Spoil = fn(&mut Vec<Sent>);
        let spoilt: [(&str, Spoil); 6] = [
            ("failed", |sent| sent[0].outcome = Err("502".into())),
            ("failed", |sent| sent[4].begun += STEP * 3),
            ("sent again", |sent| {
                let mut again = sent[0].clone();
                again.again = true;
                sent.extend(vec![again; MOST_AGAIN + 1]);
            }),
            ("served nothing", |sent| {
                sent[3].outcome = sent[0].outcome.clone()
            }),
            ("no request has waited", |sent| {
                sent[5].ended = sent[5].begun
            }),
            ("after a long wait", |sent| {
                sent[5].outcome = sent[0].outcome.clone()
            }),
        ];
        for (why, spoil) in spoilt {
            let (mut sent, kill) = good();
            spoil(&mut sent);
            sent[4].ended = sent[4].ended.max(sent[4].begun);
            let error = judge(&sent, &kill, LOG).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_post_that_is_served_twice_or_never_fails() {
        let (sent, kill) = good();
        let again = LOG.replace("one: GET /load/0", "one: POST /load/20");
        for log in [
            &again,
            "",
            "[INFO  service] one: POST /load/10\n[INFO  service] two: POST /load/10\n",
        ] {
            let error = judge(&sent, &kill, log).expect_err("it isn't once");
            assert!(error.contains("a POST was served"), "{error}");
        }
    }
}
