# SPDX-License-Identifier: MIT
"""The page of `cifar10 report` in headless Chromium, at the width of a desk, light and dark, and of a telephone. Usage: report_in_browser.py CIFAR10 CHROMIUM FOLDER

A script at the end of a copy of the page clicks as a visitor would and says what came of it: the gallery answers with the row of weights of the token that was
clicked, nothing is fetched, nothing fails, the page is not wider than the window, and words stand out from what is behind them (WCAG 2.1's AA). Pictures of the page stay in FOLDER."""
import html
import json
import pathlib
import re
import subprocess
import sys

program, browser, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
folder.mkdir(parents=True, exist_ok=True)

VISIT = """
<script>
"use strict";
(() => {
  const told = {errors: window.failures || []};
  const rows = () => [...document.querySelectorAll("#gallery [data-head]")].map(head => head.dataset.row);
  const click = node => node.dispatchEvent(new MouseEvent("click", {bubbles: true}));
  const weights = (item, token) => {
    const maps = Uint8Array.from(atob(item.maps), c => c.charCodeAt(0)), all = [];
    for (let h = 0; h < item.heads; ++h) all.push([...maps.subarray((h * 49 + token) * 49, (h * 49 + token + 1) * 49)].join(" "));
    return all;
  };
  const same = (a, b) => a.length > 0 && a.length === b.length && a.every((x, i) => x === b[i]);
  const items = data.runs[0].seen.gallery;
  told.first = same(rows(), weights(items[0], 24));
  click(document.querySelector('#gallery [data-token="3"]'));
  told.token = same(rows(), weights(items[0], 3)) && !same(rows(), weights(items[0], 24));
  const press = key => document.querySelector("#gallery .tokens").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  ["ArrowDown", "ArrowRight", "ArrowUp", "ArrowUp"].forEach(press);  // the last one would leave the picture
  told.keys = same(rows(), weights(items[0], 4)) && document.activeElement.classList.contains("tokens");
  press("ArrowLeft");
  click(document.querySelectorAll("#gallery button")[5]);
  told.picture = same(rows(), weights(items[5], 3)) && document.querySelectorAll("#gallery button")[5].getAttribute("aria-pressed") === "true";
  const select = document.querySelector("select");
  select.value = "1";
  select.dispatchEvent(new Event("change"));
  told.other_run = document.getElementById("gallery") === null;  // one without attention
  select.value = "0";
  select.dispatchEvent(new Event("change"));
  told.fetched = performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:"));
  told.heads = /head 1: [0-9.]+ tokens, .*head 4: [0-9.]+ tokens/.test(document.getElementById("heads").textContent);
  told.arms = data.arms.length === 2 && document.querySelectorAll(".left-out").length === 1 && /^[+-][0-9.]+$/.test(data.arms[1].full_above) && [...document.querySelectorAll("td")].some(cell => cell.textContent === data.arms[1].full_above);
  told.comparison = document.querySelectorAll(".comparison tbody tr").length === 17 && /^[0-9.]+ \\[[0-9.]+, [0-9.]+\\]$/.test(document.querySelector(".comparison td").textContent);
  told.images = [...document.images].every(image => image.complete && image.naturalWidth > 0);
  const channels = colour => (colour.match(/[0-9.]+/g) || []).map(Number);
  const light = colour => channels(colour).slice(0, 3).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor, parts = channels(colour);
      if (parts.length === 3 || parts[3] === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const pale = new Set();
  for (const node of document.querySelectorAll("body *")) {
    const words = [...node.childNodes].filter(child => child.nodeType === 3).map(child => child.textContent.trim()).join("");
    if (words === "" || ["SCRIPT", "STYLE"].includes(node.tagName) || node.getClientRects().length === 0) continue;
    const style = getComputedStyle(node), colour = node instanceof SVGElement ? style.fill : style.color;
    const [dark, bright] = [light(colour), light(behind(node))].sort((a, b) => a - b);
    if ((bright + 0.05) / (dark + 0.05) < 4.5) pale.add(`${colour} on ${behind(node)}: ${words.slice(0, 30)}`);
  }
  told.pale = [...pale].slice(0, 5);
  told.dark = light(getComputedStyle(document.body).backgroundColor) < 0.1;
  told.charts = document.querySelectorAll("svg").length;
  told.too_wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  told.headings = [...document.querySelectorAll("h2")].map(node => node.textContent);
  told.width = innerWidth;
  parent.postMessage(JSON.stringify(told), "*");
})();
</script>
"""


def run(*words):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def random_pictures():
    import random

    random.seed(5)
    data = folder / "part"
    data.mkdir(exist_ok=True)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (data / f"{name}.bin").write_bytes(b"".join(bytes([i % 10]) + random.randbytes(3072) for i in range(50)))
    (data / "batches.meta.txt").write_text("\n".join("airplane automobile bird cat deer dog frog horse ship truck".split()) + "\n")


random_pictures()
for arm in ("full", "none"):
    run(program, "train", "--net", "article", "--attention", arm, "--epochs", "2", "--batch-size", "50", "--data", "part", "--output", arm, "--overwrite")
run(program, "train", "--net", "article", "--attention", "none", "--epochs", "1", "--batch-size", "50", "--data", "part", "--output", "again", "--overwrite")  # not compared
run(program, "evaluate", "full/model.safetensors", "--corruptions", "--images", "20", "--against", "none/model.safetensors", "--data", "part", "--output", "figures.json",
    "--overwrite")
run(program, "report", "full", "none", "again", "--robustness", "figures.json", "--data", "part", "--output", "report.html", "--overwrite")

page = (folder / "report.html").read_text()
faults = []
if len(page) > 3_000_000:
    faults.append(f"the page has {len(page)} bytes, expected less than 3 MB")
watched = page.replace("<main>", "<script>window.failures = []; addEventListener('error', e => failures.push(e.message)); addEventListener('securitypolicyviolation', "
                       "e => failures.push('refused: ' + e.blockedURI));</script>\n<main>", 1)
(folder / "visited.html").write_text(watched.replace("</body>", VISIT + "</body>"))
for width, height, dark in ((1280, 900, False), (1280, 900, True), (390, 800, False)):
    window = f"{width} pixels{', dark' if dark else ''}"
    tall = 4200
    for name, inside, high in (("visit", "visited", height), ("plain", "report", tall)):  # no window is narrower than 500 pixels, but a frame is
        (folder / f"{name}.html").write_text(
            '<!DOCTYPE html><body style="margin: 0"><script>addEventListener("message", e => document.documentElement.dataset.told = e.data)</script>'
            f'<iframe src="{inside}.html" width="{width}" height="{high}" style="border: 0; display: block"></iframe>')
    usual = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000"] + ["--force-dark-mode"] * dark
    found = re.search(r'data-told="([^"]*)"', run(*usual, f"--window-size={width},{height}", "--dump-dom", f"file://{folder}/visit.html"))
    if not found:
        faults.append(f"{window}: the visit did not end")
        continue
    told = json.loads(html.unescape(found.group(1)))
    print(window, told)
    faults += [f"{window}: {what} failed" for what in ("first", "token", "keys", "picture", "other_run", "heads", "arms", "comparison", "images") if not told[what]]
    faults += [f"{window}: {what}: {told[what]}" for what in ("errors", "fetched", "pale") if told[what]]
    if told["dark"] != dark:
        faults.append(f"{window}: the page is {'dark' if told['dark'] else 'light'}")
    if told["charts"] < 8 or told["too_wide"] > 0 or told["width"] != width:
        faults.append(f"{window}: {told['charts']} charts, {told['too_wide']} pixels too wide for {told['width']}")
    run(*usual, f"--window-size={width},{tall}", f"--screenshot={folder}/report-{width}{'-dark' * dark}.png", f"file://{folder}/plain.html")
for fault in faults:
    print("FAULT:", fault)
print(f"report_in_browser: {len(faults)} faults")
sys.exit(bool(faults))
