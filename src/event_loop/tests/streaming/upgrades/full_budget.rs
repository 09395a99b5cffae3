//! Upgraded connections and the memory budget.

use super::*;
use crate::event_loop::Worker;
use crate::shares::Pools;

/// Reads a first message. `write` has the program write 1 MiB; otherwise it reads to the end.
async fn read_or_write(mut upgraded: Upgraded) -> io::Result<()> {
    let mut buffer = [0; 5_000];
    let length = read(&mut upgraded, &mut buffer).await?;
    if buffer[..length].starts_with(b"write") {
        return write(&mut upgraded, &[b'x'; 1 << 20]).await;
    }
    while read(&mut upgraded, &mut buffer).await? > 0 {}
    Ok(())
}

/// The program only reads, so nothing that it writes has the loop look at its queue.
#[test]
fn input_goes_on_while_the_budget_is_full() {
    for personality in NOT_BLIND {
        let mut bench = Bench::new(personality);
        bench.settings.limits.max_held = 40_000;
        let (full, reader) = (bench.client(), bench.client());
        full.set_room(1_000);
        full.send(&[UPGRADE, b"write"].concat());
        reader.send(&[UPGRADE, b"read"].concat());
        let (sender, handle) = (reader.clone(), bench.handle.clone());
        bench.at(1_000, move |_| {
            let held = handle.counters().held;
            assert!(held >= 40_000, "{held} bytes are held");
            sender.send(&[b'x'; 100_000]);
        });
        bench.at(4_000, move |_| {
            assert_eq!(reader.unread(), 0);
            reader.end();
        });
        bench.at(4_500, move |_| full.reset());
        bench.stop_at(5_000);
        let (_, seen) = bench.serve_upgraded(read_or_write);
        assert_eq!(seen, ["ok", "ConnectionReset"]);
    }
}

#[test]
fn what_the_program_has_read_is_not_held() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let clients: Vec<Client> = (0..20).map(|_| bench.client()).collect();
        for client in &clients {
            client.send(&[UPGRADE, &[b'x'; 20_000]].concat());
        }
        let handle = bench.handle.clone();
        bench.at(1_000, move |_| {
            let held = handle.counters().held;
            assert!(held < 20 * 1_000, "{held} bytes are held");
            clients.iter().for_each(Client::end);
        });
        bench.stop_at(2_000);
        let (_, seen) = bench.serve_upgraded(read_or_write);
        assert_eq!(seen, ["ok"; 20]);
    }
}

/// The other workers hold all memory.
#[test]
fn output_is_bounded_while_other_workers_fill_the_budget() {
    let mut bench = Bench::new(Personality::STRICT);
    bench.settings.limits.max_held = 200_000;
    let pools = Pools::new(&bench.settings.limits, 2, &bench.handle);
    let others = Rc::new(pools.held());
    bench.settings.worker = Worker {
        number: 0,
        of: 2,
        pools: Some(pools),
    };
    let client = bench.client();
    client.set_room(1_000);
    client.send(UPGRADE);
    // More than once, because the worker gives back its reserve only when another one waits for it.
    for time in [500, 600, 700] {
        let (others, client) = (Rc::clone(&others), client.clone());
        bench.at(time, move |_| {
            others.reach(usize::MAX);
            let has_all = others.want(usize::MAX);
            assert!(!has_all);
            client.send(b"x");
        });
    }
    let handle = bench.handle.clone();
    bench.at(2_000, move |_| {
        let held = handle.counters().held;
        assert!((1_000..8_000).contains(&held), "{held} bytes are held");
        client.reset();
    });
    bench.stop_at(3_000);
    let (_, seen) = bench.serve_upgraded(async |mut upgraded| {
        sleep(Duration::from_secs(1)).await;
        write(&mut upgraded, b"x").await?;
        sleep(Duration::from_millis(100)).await;
        write(&mut upgraded, &[b'x'; 1 << 20]).await
    });
    assert_eq!(seen, ["ConnectionReset"]);
}
