"""Drives a headless Chromium for the check `browser`.

It reads commands from standard input, one a line, and writes a line for each: `ok VALUE` or `error TEXT`.

    open URL               opens a tab, waits until the page is loaded; its number
    eval TAB SCRIPT        the value of an expression of JavaScript
    wait TAB MS SCRIPT     waits until the expression is true; its value. After that time, an error
    file TAB ID PATH       chooses a file in the input with this id
    upload-rate TAB BYTES  bytes per second that the tab sends at most
    close TAB              closes the tab

At the end of its input it ends the browser. The browser speaks its DevTools protocol over a pipe: JSON texts with a
NUL behind each (https://chromedevtools.github.io/devtools-protocol/).
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

NAMES = ["chromium", "chromium-browser", "google-chrome"]

OPTIONS = [
    "--headless=new",
    "--remote-debugging-pipe",
    # In a container, root has no sandbox, and /dev/shm is small.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-proxy-server",
    # Otherwise tabs that aren't on top would run slowly.
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
]

# How long the browser may take for one command, in seconds.
PATIENCE = 120


class Failed(Exception):
    pass


class Browser:
    def __init__(self, profile):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            raise Failed(f"there is none of {', '.join(NAMES)}")
        commands, self.commands = os.pipe()
        self.replies, replies = os.pipe()
        self.log = open(os.path.join(profile, "log"), "w+")
        self.process = subprocess.Popen(
            # The pipe's ends have to be the file descriptors 3 and 4.
            ["sh", "-c", f'exec "$@" 3<&{commands} 4>&{replies}', "sh", program, *OPTIONS]
            + [f"--user-data-dir={profile}", "about:blank"],
            pass_fds=[commands, replies],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        os.close(commands)
        os.close(replies)
        self.sent = 0
        self.received = b""

    def call(self, method, session=None, **parameters):
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            # Events, which have no id, aren't needed.
            reply = self.receive(end)
            if reply.get("id") != self.sent:
                continue
            if "error" in reply:
                raise Failed(f"{method}: {reply['error']['message']}")
            return reply["result"]

    def receive(self, end):
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.replies], [], [], max(0, end - time.monotonic()))
            data = os.read(self.replies, 1 << 16) if ready else b""
            if not data:
                self.log.seek(0)
                what = "says nothing" if not ready else "has ended"
                raise Failed(f"the browser {what}; its log: {self.log.read()[-2000:]}")
            self.received += data
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def end(self):
        try:
            self.call("Browser.close")
            self.process.wait(5)
        except (Failed, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


class Tab:
    def __init__(self, browser, url):
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        navigated = self.call("Page.navigate", url=url)
        if "errorText" in navigated:
            raise Failed(f"{url}: {navigated['errorText']}")
        self.wait(10_000, "document.readyState === 'complete' && location.href !== 'about:blank'")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def eval(self, script):
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in result:
            raise Failed(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, milliseconds, script):
        end = time.monotonic() + milliseconds / 1000
        while True:
            value = self.eval(script)
            if value:
                return value
            if time.monotonic() > end:
                text = self.eval("document.body.innerText")
                raise Failed(f"after {milliseconds} ms {script} is {value!r}; the page: {text!r}")
            time.sleep(0.02)

    def choose_file(self, element, path):
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        found = self.call("DOM.querySelector", nodeId=document, selector=f"#{element}")
        self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[path])

    def set_upload_rate(self, rate):
        self.call("Network.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=rate,
        )


def run(browser, tabs, line):
    command, rest = line.split(" ", 1)
    if command == "open":
        tabs.append(Tab(browser, rest))
        return len(tabs) - 1
    number, _, rest = rest.partition(" ")
    tab = tabs[int(number)]
    if command == "eval":
        return tab.eval(rest)
    if command == "wait":
        milliseconds, script = rest.split(" ", 1)
        return tab.wait(int(milliseconds), script)
    if command == "file":
        return tab.choose_file(*rest.split(" ", 1))
    if command == "upload-rate":
        return tab.set_upload_rate(int(rest))
    if command == "close":
        browser.call("Target.closeTarget", targetId=tab.target)
        return None
    raise Failed(f"no command is called {command}")


def main():
    with tempfile.TemporaryDirectory(prefix="interop-browser-", ignore_cleanup_errors=True) as profile:
        browser, tabs = None, []
        for line in sys.stdin:
            try:
                browser = browser or Browser(profile)
                value = run(browser, tabs, line.rstrip("\n"))
                text = "" if value is None else str(value)
                reply = f"ok {text}"
            except Failed as error:
                reply = f"error {error}"
            print(reply.replace("\n", " "), flush=True)
        if browser:
            browser.end()


main()
