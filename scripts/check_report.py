#!/usr/bin/python3
"""Opens reports in a real browser and checks what a reader would see.

    scripts/check_report.py PAGE... [--pictures FOLDER]

For every page, at 400 and 1600 pixels, light and dark: no error on the console, no request, every figure there and not
empty, no text over other text, nothing wider than the window, words for every picture, readable contrast; then the slider,
the tables and the arrow keys are used. Needs chromium and python3-websocket (Debian).
"""

import argparse
import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

MOST_BYTES = 3_000_000

# What is wrong with a page as it is laid out now: a list of sentences.
LOOK = r"""
(() => {
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth + 1)
    wrong.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) wrong.push(`two things are called ${id}`);
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.querySelector(link.getAttribute("href"))) wrong.push(`${link.getAttribute("href")} leads nowhere`);
  const shown = (e) => e.checkVisibility({ visibilityProperty: true });
  for (const figure of document.querySelectorAll("figure")) {
    const name = figure.id || figure.textContent.trim().slice(0, 40);
    const pictures = [...figure.querySelectorAll("svg[role=img], img")];
    if (!pictures.length) wrong.push(`${name} has no picture`);
    for (const picture of pictures) {
      if (!(picture.getAttribute("aria-label") || picture.alt || "").trim()) wrong.push(`${name} has a picture without words`);
      if (!shown(picture)) continue;
      const box = picture.getBoundingClientRect();
      if (box.width < 20 || box.height < 20) wrong.push(`${name} has a picture of ${box.width} x ${box.height}`);
      if (picture.tagName === "IMG") { if (!picture.naturalWidth) wrong.push(`${name} has an image that does not load`); continue; }
      const shapes = [...picture.querySelectorAll("path, circle, rect, line:not(.grid):not(.cursor):not(.axis)")];
      const drawn = shapes.filter((s) => { const b = s.getBoundingClientRect(); return b.width > 0.5 || b.height > 0.5; });
      if (!drawn.length) wrong.push(`${name} has nothing in its picture`);
      if (/NaN|Infinity/.test(picture.outerHTML)) wrong.push(`${name} has a place that is no number`);
    }
  }
  // Text over text: the boxes of all words that are seen, cut where something cuts them.
  const words = [];
  const cut = (rect, element) => {
    let [l, t, r, b] = [rect.left, rect.top, rect.right, rect.bottom];
    for (let e = element; e && e !== document.body; e = e.parentElement) {
      if (getComputedStyle(e).overflow === "visible" || e.tagName === "svg") continue;
      const box = e.getBoundingClientRect();
      [l, t, r, b] = [Math.max(l, box.left), Math.max(t, box.top), Math.min(r, box.right), Math.min(b, box.bottom)];
    }
    return { l, t, r, b };
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, title, desc, .skip, .sr, .tip, option") || !shown(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = cut(rect, parent);
      if (box.r - box.l > 1 && box.b - box.t > 1) words.push({ ...box, node, text: node.data.trim().slice(0, 30) });
    }
  }
  words.sort((a, b) => a.t - b.t);
  words.forEach((a, i) => {
    for (let j = i + 1; j < words.length && words[j].t < a.b; j++) {
      const b = words[j];
      if (a.node === b.node || a.node.parentElement.parentElement === b.node.parentElement || b.node.parentElement.parentElement === a.node.parentElement) continue;
      const across = Math.min(a.r, b.r) - Math.max(a.l, b.l), down = Math.min(a.b, b.b) - Math.max(a.t, b.t);
      if (across > 1.5 && down > 3.5) wrong.push(`"${a.text}" and "${b.text}" lie over each other (${across.toFixed(0)} x ${down.toFixed(0)})`);
    }
  });
  // Contrast of words on the ground behind them.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (c) => { const [r, g, b] = [...c].slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const seen = new Set();
  for (const { node, text } of words) {
    const parent = node.parentElement;
    if (parent.closest("svg")) continue;
    let ground = parent;
    while (ground && rgb(getComputedStyle(ground).backgroundColor)[3] < 255) ground = ground.parentElement;
    const [a, b] = [light(rgb(getComputedStyle(parent).color)), light(rgb(getComputedStyle(ground || document.body).backgroundColor))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), key = parent.className + parent.tagName;
    if (contrast < 4.5 && !seen.has(key)) { seen.add(key); wrong.push(`"${text}" has a contrast of ${contrast.toFixed(1)}`); }
  }
  return [...new Set(wrong)];
})()
"""

# Uses what can be used; what does not do what it should is told.
USE = r"""
(async () => {
  const wrong = [];
  const slider = document.getElementById("epoch");
  if (slider) {
    const state = () => [...document.querySelectorAll(".supernet [data-edge]")].map((p) => p.style.strokeWidth + p.getAttribute("class")).join();
    const before = state();
    slider.value = 0;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    if (Number(slider.max) > 0 && state() === before) wrong.push("the slider moves nothing");
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    if (state() !== before) wrong.push("the slider does not come back to what was written");
  }
  const plot = document.querySelector(".plot[tabindex]");
  if (plot) {
    plot.focus();
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true }));
    const tip = document.querySelector(".tip");
    if (tip.hidden || !tip.textContent.trim()) wrong.push("the arrow keys tell nothing about a chart");
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    plot.blur();
  }
  for (const details of document.querySelectorAll("details")) {
    details.open = true;
    if (!details.textContent.trim() || details.getBoundingClientRect().height < 20) wrong.push("something opens to nothing");
  }
  return wrong;
})()
"""


class Browser:
    """Chromium, spoken to by its DevTools protocol."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="check-report-")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--no-first-run", "--disable-extensions", "--remote-debugging-port=0", f"--user-data-dir={self.folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = pathlib.Path(self.folder, "DevToolsActivePort")
        for _ in range(600):
            if port.is_file() and port.read_text().count("\n"):
                break
            if self.process.poll() is not None:
                sys.exit("chromium does not start")
            time.sleep(0.1)
        number = port.read_text().split("\n")[0]
        targets = json.load(urllib.request.urlopen(f"http://127.0.0.1:{number}/json"))
        page = next(t for t in targets if t["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], suppress_origin=True, timeout=120)
        self.number, self.events = 0, []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def evaluate(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            return [f"the check itself fails: {result['exceptionDetails']['exception'].get('description')}"]
        return result["result"].get("value")

    def open(self, address, width, dark):
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        for _ in range(600):
            if self.evaluate("document.readyState") == "complete" and self.evaluate("location.href") != "about:blank":
                break
            time.sleep(0.05)
        self.evaluate("document.fonts.ready.then(() => true)")

    def picture(self, path):
        whole = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": whole["width"], "height": min(whole["height"], 16000), "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self, address):
        """Errors that the page made and requests other than for itself."""
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                yield f"an exception: {params['exceptionDetails'].get('exception', {}).get('description')}"
            if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                yield f"on the console: {[a.get('value') for a in params['args']]}"
            if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                yield f"on the console: {params['entry']['text']}"
            if method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if url.split("#")[0] != address and not url.startswith("data:"):
                    yield f"a request for {url}"

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", metavar="PAGE", type=pathlib.Path)
    parser.add_argument("--pictures", metavar="FOLDER", type=pathlib.Path, help="leave a picture of each page as it was seen")
    given = parser.parse_args()
    browser, wrong = Browser(), []
    try:
        for page in given.pages:
            address = page.resolve().as_uri()
            if page.stat().st_size > MOST_BYTES:
                wrong.append(f"{page}: {page.stat().st_size} bytes")
            figures = 0
            for width in (400, 1600):
                for dark in (False, True):
                    browser.open(address, width, dark)
                    name = f"{page.name} at {width}{', dark' if dark else ''}"
                    found = list(browser.evaluate(LOOK))
                    if given.pictures:
                        given.pictures.mkdir(parents=True, exist_ok=True)
                        browser.picture(given.pictures / f"{page.stem}-{width}-{'dark' if dark else 'light'}.png")
                    if not dark:
                        found += browser.evaluate(USE)
                        found += [f"opened: {w}" for w in browser.evaluate(LOOK)]
                    found += browser.complaints(address)
                    figures = browser.evaluate("document.querySelectorAll('figure').length")
                    wrong += [f"{name}: {w}" for w in dict.fromkeys(found)]
            print(f"{page}: {figures} figures, {page.stat().st_size} bytes")
            if not figures:
                wrong.append(f"{page}: no figure")
    finally:
        browser.close()
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
