//! The cases: what a person does with the pages of the examples, and what the pages must show then.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Site;
use super::driver::{Browser, Tab};
use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::random::Random;
use crate::{Outcome, ensure};

pub(super) fn events(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tab = clock(site, browser)?;
    let before = tab.text("clock")?;
    tab.click("start")?;
    let steps: Vec<_> = (1..=40).map(|step| step.to_string()).collect();
    tab.wait("document.getElementById('steps').innerText.endsWith(' 40')")?;
    let shown = tab.text("steps")?;
    ensure!(shown.trim() == steps.join(" "), "the steps are {shown}");
    ensure!(tab.text("clock")? != before, "the clock stood still");
    // Nothing comes after the end, nor again.
    sleep(Duration::from_millis(100));
    ensure!(tab.text("steps")? == shown, "steps came again");
    Ok("ok".into())
}

pub(super) fn reconnect(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tab = clock(site, browser)?;
    site.kill();
    tab.wait_text("state", "connecting")?;
    let before = tab.text("clock")?;
    site.start_again()?;
    let started = Instant::now();
    tab.wait_text("state", "connected")?;
    tab.wait(&format!(
        "document.getElementById('clock').innerText !== {before:?}"
    ))?;
    Ok(format!("{} ms", started.elapsed().as_millis()))
}

pub(super) fn closed_tab(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tab = clock(site, browser)?;
    let stays = clock(site, browser)?;
    let connections = site.connections("GET /clock")?;
    ensure!(connections.len() == 2, "streams of {connections:?}");
    drop(tab);
    let took = site.wait_closed(&connections[0], || Ok(()))?;
    let log = site.server()?.log();
    ensure!(
        !log.contains(&format!("conn {}: closed", connections[1])),
        "the other tab's stream has ended, too"
    );
    stays.wait_text("state", "connected")?;
    Ok(format!("{} ms", took.as_millis()))
}

/// A tab with the page of `sse`, when its clock runs.
fn clock(site: &Site, browser: &Browser) -> Outcome<Tab> {
    let tab = browser.open(&site.url("/"))?;
    tab.wait_text("state", "connected")?;
    tab.wait("document.getElementById('clock').innerText !== 'not known yet'")?;
    Ok(tab)
}

pub(super) fn chat(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tabs = [room(site, browser)?, room(site, browser)?];
    for number in 0..10 {
        say(&tabs[number % 2], number)?;
    }
    for tab in &tabs {
        wait_messages(tab, 10)?;
    }
    // HTML in a message is shown as text.
    curl(&["-d", "<b id=injected>10</b>", &site.url("/messages")])?;
    for tab in &tabs {
        tab.wait("document.getElementById('messages').lastChild.textContent.startsWith('<b ')")?;
        let injected = tab.eval("document.getElementById('injected') === null")?;
        ensure!(injected == "True", "a message became a part of the page");
    }
    let connections = site.connections("GET /events")?;
    ensure!(connections.len() == 2, "streams of {connections:?}");
    let [tab, _stays] = tabs;
    drop(tab);
    // The server writes to both.
    site.wait_closed(&connections[0], || {
        curl(&["-d", "still there?", &site.url("/messages")])?;
        Ok(())
    })?;
    Ok("ok".into())
}

pub(super) fn chat_restart(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tab = room(site, browser)?;
    say(&tab, 0)?;
    wait_messages(&tab, 1)?;
    site.kill();
    tab.wait_text("state", "connecting")?;
    site.start_again()?;
    // The tab has not reconnected yet: it must get this message later.
    curl(&["-d", "1", &site.url("/messages")])?;
    tab.wait_text("state", "connected")?;
    wait_messages(&tab, 2)?;
    say(&tab, 2)?;
    wait_messages(&tab, 3)?;
    Ok("ok".into())
}

pub(super) fn sockets(site: &mut Site, browser: &Browser) -> Outcome<String> {
    const MESSAGES: usize = 200;
    let tabs = [room(site, browser)?, room(site, browser)?];
    // A burst of one tab: it waits for nothing between its messages.
    tabs[0].eval(&format!(
        "Array.from({{ length: {MESSAGES} }}, (_, it) => socket.send(String(it))).length"
    ))?;
    for tab in &tabs {
        wait_messages(tab, MESSAGES)?;
    }
    for number in MESSAGES..MESSAGES + 10 {
        say(&tabs[number % 2], number)?;
        // Another tab's next message must come behind it.
        wait_messages(&tabs[(number + 1) % 2], number + 1)?;
    }
    for tab in &tabs {
        wait_messages(tab, MESSAGES + 10)?;
    }
    // HTML in a message is shown as text.
    tabs[0].eval("socket.send('<b id=injected>1</b>')")?;
    for tab in &tabs {
        tab.wait("document.getElementById('messages').lastChild.textContent.startsWith('<b ')")?;
        let injected = tab.eval("document.getElementById('injected') === null")?;
        ensure!(injected == "True", "a message became a part of the page");
    }
    Ok("ok".into())
}

pub(super) fn sockets_restart(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tabs = [room(site, browser)?, room(site, browser)?];
    say(&tabs[0], 0)?;
    for tab in &tabs {
        wait_messages(tab, 1)?;
    }
    site.kill();
    for tab in &tabs {
        tab.wait_text("state", "not connected")?;
    }
    site.start_again()?;
    let started = Instant::now();
    for tab in &tabs {
        tab.wait_text("state", "connected")?;
    }
    let took = started.elapsed();
    say(&tabs[1], 1)?;
    for tab in &tabs {
        wait_messages(tab, 2)?;
    }
    Ok(format!("{} ms", took.as_millis()))
}

pub(super) fn closed_socket(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let tab = room(site, browser)?;
    let stays = room(site, browser)?;
    let connections = site.connections("GET /all")?;
    ensure!(connections.len() == 2, "WebSockets of {connections:?}");
    drop(tab);
    let took = site.wait_closed(&connections[0], || Ok(()))?;
    let log = site.server()?.log();
    ensure!(
        !log.contains(&format!("conn {}: closed", connections[1])),
        "the other tab's WebSocket is closed, too"
    );
    say(&stays, 0)?;
    wait_messages(&stays, 1)?;
    Ok(format!("{} ms", took.as_millis()))
}

/// A tab with the page of `chat` or `websocket`, when it is connected.
fn room(site: &Site, browser: &Browser) -> Outcome<Tab> {
    let tab = browser.open(&site.url("/"))?;
    tab.wait_text("state", "connected")?;
    Ok(tab)
}

/// Types a number as a message, and waits until it is sent.
fn say(tab: &Tab, number: usize) -> Outcome {
    tab.eval(&format!(
        "document.getElementById('text').value = '{number}', document.getElementById('form').requestSubmit()"
    ))?;
    tab.wait("document.getElementById('text').value === ''")?;
    Ok(())
}

/// Waits until the tab shows this many messages, which must be the numbers from 0 on.
fn wait_messages(tab: &Tab, count: usize) -> Outcome {
    tab.wait(&format!(
        "document.querySelectorAll('#messages li').length >= {count}"
    ))?;
    let shown = tab.eval(
        "Array.from(document.querySelectorAll('#messages li'), it => it.textContent).join()",
    )?;
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    ensure!(shown == expected.join(","), "the messages are {shown}");
    Ok(())
}

/// In bytes per second: the upload takes about a second, in which the browser reports its progress several times.
const UPLOAD_RATE: u32 = 4 << 20;
const UPLOAD: usize = 4 << 20;

pub(super) fn progress(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let file = Random::new(11).bytes(UPLOAD);
    let source = Scratch::new()?;
    let tab = upload(site, browser, &source, &file)?;
    tab.wait("document.getElementById('state').innerText.startsWith('Saved')")?;
    tab.wait_text("state", "Saved: picture.png")?;
    let shown = tab.eval("window.shown.join()")?;
    let shown: Vec<u32> = shown.split(',').filter_map(|it| it.parse().ok()).collect();
    let between = shown
        .iter()
        .filter(|&&percent| percent > 0 && percent < 100);
    ensure!(
        shown.is_sorted() && between.clone().count() >= 2 && shown.last() == Some(&100),
        "the progress was {shown:?}"
    );
    same(&site.scratch.read("picture.png")?, &file)?;
    Ok(format!("{} steps", between.count()))
}

pub(super) fn closed_during_upload(site: &mut Site, browser: &Browser) -> Outcome<String> {
    let source = Scratch::new()?;
    let tab = upload(site, browser, &source, &vec![0; 4 * UPLOAD])?;
    tab.wait("window.shown.some(percent => percent > 0)")?;
    let files = || -> Outcome<usize> {
        let entries = fs::read_dir(site.scratch.path()).map_err(|e| e.to_string())?;
        Ok(entries.count())
    };
    ensure!(files()? == 1, "{} files instead of a partial one", files()?);
    drop(tab);
    let started = Instant::now();
    while files()? > 0 {
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "the partial file is still there:\n{}",
            site.server()?.log_end(10)
        );
        sleep(Duration::from_millis(20));
    }
    Ok(format!("{} ms", started.elapsed().as_millis()))
}

/// A tab that uploads a file. What it shows of its progress is in `window.shown`.
fn upload(site: &Site, browser: &Browser, source: &Scratch, file: &[u8]) -> Outcome<Tab> {
    let path = source.write("picture.png", file)?;
    let tab = browser.open(&site.url("/"))?;
    tab.eval(
        "window.shown = [], new MutationObserver(() => { \
         const percent = parseInt(document.getElementById('state').innerText); \
         if (percent >= 0) window.shown.push(percent) \
         }).observe(document.getElementById('state'), { childList: true }), 0",
    )?;
    tab.set_upload_rate(UPLOAD_RATE)?;
    tab.choose_file("files", &path)?;
    tab.eval("document.getElementById('form').requestSubmit()")?;
    Ok(tab)
}
