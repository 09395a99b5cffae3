//! [`Browser`] and its [`Tab`]s: a headless Chromium, driven by `browser/driver.py`.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::runtime::script;
use crate::{Outcome, ensure, root};

/// The longest that a page may take to show something. A restarted runtime compiles its module first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser, which ends when this is dropped. It starts with its first tab.
#[derive(Debug, Clone)]
pub(super) struct Browser(Rc<RefCell<Driver>>);

#[derive(Debug)]
struct Driver {
    child: Child,
    /// `None` when it is to end.
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Browser {
    pub(super) fn start() -> Outcome<Self> {
        // Where Google Chrome is, Debian's package isn't needed.
        if Command::new("google-chrome")
            .arg("--version")
            .output()
            .is_err()
        {
            script("ci/apt", "chromium")?;
        }
        let mut command = Command::new("python3");
        command
            .arg(root().join("ci/interop/browser/driver.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("python3: {e}"))?;
        let (Some(commands), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("python3 has no pipes".into());
        };
        Ok(Self(Rc::new(RefCell::new(Driver {
            child,
            commands: Some(commands),
            replies: BufReader::new(replies),
        }))))
    }

    /// A new tab, when its page is loaded.
    pub(super) fn open(&self, url: &str) -> Outcome<Tab> {
        let number = self.call(&format!("open {url}"))?;
        Ok(Tab {
            browser: self.clone(),
            number,
        })
    }

    fn call(&self, command: &str) -> Outcome<String> {
        let driver = &mut *self.0.borrow_mut();
        let commands = driver.commands.as_mut().ok_or("the driver has ended")?;
        writeln!(commands, "{command}").map_err(|e| format!("the driver: {e}"))?;
        let mut reply = String::new();
        let read = driver.replies.read_line(&mut reply);
        read.map_err(|e| format!("the driver: {e}"))?;
        match reply.trim_end_matches('\n').split_once(' ') {
            Some(("ok", value)) => Ok(value.to_owned()),
            Some((_, why)) => Err(why.to_owned()),
            None => Err(format!("the driver has ended: {reply}")),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // At the end of its input it ends the browser.
        self.commands = None;
        let _ = self.child.wait();
    }
}

/// A tab, which is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Tab {
    browser: Browser,
    number: String,
}

impl Tab {
    /// The value of an expression of JavaScript, as text.
    pub(super) fn eval(&self, script: &str) -> Outcome<String> {
        self.call("eval", script)
    }

    /// The value of an expression, as soon as it is true.
    pub(super) fn wait(&self, script: &str) -> Outcome<String> {
        self.call("wait", &format!("{} {script}", PATIENCE.as_millis()))
    }

    /// Waits until the element with this id has this text.
    pub(super) fn wait_text(&self, id: &str, text: &str) -> Outcome {
        self.wait(&format!("{} === {text:?}", text_of(id)))?;
        Ok(())
    }

    /// The text of the element with this id.
    pub(super) fn text(&self, id: &str) -> Outcome<String> {
        self.eval(&text_of(id))
    }

    /// Clicks on the element with this id.
    pub(super) fn click(&self, id: &str) -> Outcome {
        self.eval(&format!("document.getElementById({id:?}).click()"))?;
        Ok(())
    }

    /// Chooses a file in the input with this id.
    pub(super) fn choose_file(&self, id: &str, path: &str) -> Outcome {
        self.call("file", &format!("{id} {path}"))?;
        Ok(())
    }

    /// Limits what the tab sends, in bytes per second.
    pub(super) fn set_upload_rate(&self, rate: u32) -> Outcome {
        self.call("upload-rate", &rate.to_string())?;
        Ok(())
    }

    fn call(&self, command: &str, arguments: &str) -> Outcome<String> {
        ensure!(!arguments.contains('\n'), "more than a line: {arguments}");
        let number = &self.number;
        self.browser
            .call(&format!("{command} {number} {arguments}"))
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // If this fails, the browser has ended.
        let _ = self.browser.call(&format!("close {} ", self.number));
    }
}

fn text_of(id: &str) -> String {
    format!("document.getElementById({id:?}).innerText")
}
