# SPDX-License-Identifier: MIT
"""The page of examples/web in headless Chromium, at the width of a desk and of a telephone. Usage: web_in_browser.py PAGE ANSWERS FRAMES LABELS CHROMIUM FOLDER

PAGE is the folder that examples/web/build leaves, ANSWERS the native program heed_web_answers, FRAMES and LABELS what embed_train has written. The folder is served
from this machine. A script beside a copy of the page does as a visitor would and says what came of it: pictures that are dropped or chosen get the native answers,
tokens show their rows, nothing else is fetched, nothing fails, and the page is not wider than the window. All frames go through the model, too. Pictures of
the page stay in FOLDER."""
import functools
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading

page, answers, frames, labels, browser, folder = sys.argv[1:]
page, folder = pathlib.Path(page).resolve(), pathlib.Path(folder).resolve()
OWN = {"/index.html", "/style.css", "/page.js", "/web.wasm"}
SECONDS = 120  # the visit takes 5; other programs may hold the machine
CLASSES, TOKENS = 10, 64

VISIT = """
"use strict";
const told = {errors: [], wide: 0};
const failed = words => told.errors.push(String(words));
addEventListener("error", e => failed(e.message));
addEventListener("unhandledrejection", e => failed(e.reason));
addEventListener("securitypolicyviolation", e => failed("refused: " + e.blockedURI));
console.error = console.warn = (...words) => failed(words.join(" "));
const until = async condition => { while (!condition()) await new Promise(done => setTimeout(done, 5)); };
const looks = () => told.wide = Math.max(told.wide, document.documentElement.scrollWidth - document.documentElement.clientWidth);

/// A file as a visitor has it: the picture of a frame, each pixel `scale` x `scale`, with `margin` pixels of something else left and right.
async function file_of(frame, scale, margin) {
  const side = 32 * scale, canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = side + 2 * margin, canvas.height = side;
  const picture = context.createImageData(canvas.width, side);
  for (let y = 0; y < side; ++y)
    for (let x = 0; x < canvas.width; ++x) {
      const inside = x >= margin && x < margin + side, from = 3 * (32 * Math.floor(y / scale) + Math.floor((x - margin) / scale));
      const colour = inside ? [frame[from], frame[from + 1], frame[from + 2]] : [255, x % 256, 0];
      picture.data.set([...colour, 255], 4 * (y * canvas.width + x));
    }
  context.putImageData(picture, 0, 0);
  return new File([await new Promise(done => canvas.toBlob(done, "image/png"))], "frame.png", {type: "image/png"});
}
function drop(file) {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  element("drop").dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
}
function pick(file) {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  element("file").files = dataTransfer.files;
  element("file").dispatchEvent(new Event("change", {bubbles: true}));
}
const difference = (a, b) => a.length === b.length ? a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0) : Infinity;

async function visit() {
  await until(() => typeof shown === "object" || !element("fault").hidden);
  told.width = innerWidth;
  told.first = element("answer").textContent;
  told.samples = [...element("samples").children].map(button => (button.click(), looks(), element("answer").textContent));
  told.sample_pressed = element("samples").querySelectorAll("[aria-pressed=true]").length;

  const expected = await (await fetch("answers.json")).json(), frames = new Uint8Array(await (await fetch("frames.rgb")).arrayBuffer());
  const frame = i => frames.subarray(3072 * i, 3072 * (i + 1));
  told.page_faults = [];
  for (let i = 0; i < 20; ++i) {
    const before = shown, given = expected[i + 100];
    const file = await file_of(frame(i + 100), [1, 4, 7][i % 3], [0, 36, 5][i % 3]);
    (i % 2 ? drop : pick)(file);
    await until(() => shown !== before);
    looks();
    const [name, confidence] = element("answer").textContent.split(", ");
    if (name !== model.names[given.label] || Math.abs(parseFloat(confidence) - 100 * Math.max(...given.confidences)) > 0.06 ||
        difference(shown.confidences, given.confidences) > 1e-4 || difference(shown.received, given.received) > 1e-4)
      told.page_faults.push(`frame ${i + 100}: ${element("answer").textContent} for ${model.names[given.label]}`);
    const bars = [...document.querySelectorAll("#bars tr")].map(row => parseFloat(row.lastChild.textContent));
    if (difference(bars, given.confidences.map(x => 100 * x)) > 0.06) told.page_faults.push(`frame ${i + 100}: bars ${bars}`);
    const widths = [...document.querySelectorAll(".bar > div")].map(bar => bar.getBoundingClientRect().width / bar.parentNode.getBoundingClientRect().width);
    if (difference(widths, given.confidences) > 0.02) told.page_faults.push(`frame ${i + 100}: widths of bars ${widths}`);
  }
  told.sample_left = element("samples").querySelectorAll("[aria-pressed=true]").length;

  // Tokens: the first choice is the one that receives most; a click and an arrow key change it; each row of a head is shown.
  const tokens = [...element("tokens").children], pressed = () => tokens.findIndex(button => button.getAttribute("aria-pressed") === "true");
  const drawn = () => [...document.querySelectorAll("#heads canvas")].map(canvas => canvas.toDataURL());
  told.most = shown.received[pressed()] === Math.max(...shown.received);
  const other = (pressed() + 20) % 64, before = drawn();
  tokens[other].click();
  told.token = pressed() === other && drawn().every((picture, head) => picture !== before[head]);
  told.rows = [0, 1, 2, 3].every(head => Math.abs(shown.row(head, other).reduce((sum, x) => sum + x, 0) - 1) < 1e-4);
  const most = [...document.querySelectorAll("#heads figcaption")].map(node => parseFloat(node.textContent.match(/most, ([0-9.]+)/)[1]));
  told.heads = difference(most, [0, 1, 2, 3].map(head => 100 * Math.max(...shown.row(head, other)))) < 0.06;
  const step = other % 8 < 7 ? ["ArrowRight", 1] : ["ArrowLeft", -1];
  tokens[other].dispatchEvent(new KeyboardEvent("keydown", {key: step[0], bubbles: true, cancelable: true}));
  told.key = pressed() === other + step[1] && document.activeElement === tokens[other + step[1]];
  told.one_stop = tokens.filter(button => button.tabIndex === 0).length;

  // What is no picture gets a sentence and leaves the answer as it is; the next picture takes the sentence away.
  const answer = element("answer").textContent;
  drop(new File(["no picture"], "letter.txt", {type: "text/plain"}));
  await until(() => !element("fault").hidden);
  looks();
  told.fault = element("fault").textContent;
  told.answer_stays = answer === element("answer").textContent;
  element("samples").children[0].click();
  told.fault_goes = element("fault").hidden;

  // A file that is still being read when a sample is chosen does not come after it.
  drop(await file_of(frame(106), 7, 0));
  element("samples").children[0].click();
  const chosen = shown;
  await new Promise(done => setTimeout(done, 300));
  told.late = shown === chosen && element("samples").querySelectorAll("[aria-pressed=true]").length === 1;

  told.all = expected.length, told.same = 0, told.difference = 0;
  for (const [i, given] of expected.entries()) {
    const picture = new ImageData(32, 32);
    for (let p = 0; p < 1024; ++p) picture.data.set([...frame(i).subarray(3 * p, 3 * p + 3), 255], 4 * p);
    const found = model.look(picture);
    told.same += found.label === given.label;
    told.difference = Math.max(told.difference, difference(found.confidences, given.confidences), difference(found.received, given.received));
  }
}
addEventListener("load", () => visit().catch(failed).then(() => fetch("told", {method: "POST", body: JSON.stringify(told)})));
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, writes down what is asked for, and hears what the visit tells."""

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def do_POST(self):
        self.server.told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.heard.set()

    def log_message(self, *_):
        pass


def serve(content):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=content))
    server.asked, server.told, server.heard = [], None, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


faults = []
shutil.rmtree(folder, ignore_errors=True)
visited = folder / "visited"
shutil.copytree(page, visited)
found = {"/" + path.name for path in page.iterdir()}
if found != OWN:
    faults.append(f"the page is made of {sorted(found)}, expected {sorted(OWN)}")

# The native answers, and whether they are right.
lines = subprocess.run([answers], stdin=open(frames, "rb"), capture_output=True, text=True, check=True).stdout.splitlines()
expected = []
for line in lines:
    label, *numbers = line.split()
    numbers = list(map(float, numbers))
    expected.append({"label": int(label), "confidences": numbers[:CLASSES], "received": numbers[CLASSES:]})
right = sum(answer["label"] == int(label) for answer, label in zip(expected, open(labels)))
print(f"native: {right} of {len(expected)} right")
if len(expected) != 500 or right < 425 or any(len(answer["received"]) != TOKENS for answer in expected):
    faults.append("the native answers are not those that were expected")  # 462 when it was written; chance gives 50
(visited / "answers.json").write_text(json.dumps(expected))
shutil.copy(frames, visited / "frames.rgb")
(visited / "visit.js").write_text(VISIT)
index = (page / "index.html").read_text()
mark = "<title>"  # before all that the page asks for
if index.count(mark) != 1:
    faults.append(f"index.html: expected once {mark}")
(visited / "visited.html").write_text(index.replace(mark, '<script src="visit.js"></script>\n' + mark))

if shutil.which("wasm-dis"):  # comes with emscripten
    code = subprocess.run(["wasm-dis", page / "web.wasm"], capture_output=True, text=True, check=True).stdout
    print(f"web.wasm: {(page / 'web.wasm').stat().st_size} bytes, {code.count('f32x4.mul')} f32x4.mul")
    if code.count("f32x4.mul") < 100:
        faults.append("web.wasm has no vectors")

for width, height in ((1280, 900), (390, 800)):
    tall = 2300 if width < 700 else 1560  # for the pictures: the whole page
    for name, inside in (("visit", "visited.html"), ("plain", "index.html")):  # no window is narrower than 500 pixels, but a frame is
        high = height if name == "visit" else tall
        frame = f'<iframe src="{inside}" width="{width}" height="{high}" style="border: 0; display: block"></iframe>'
        (visited / f"{name}.html").write_text(f'<!DOCTYPE html><link rel="icon" href="data:,"><body style="margin: 0">{frame}')
    usual = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    server = serve(visited)
    visitor = subprocess.Popen([*usual, f"--user-data-dir={folder}/profile-{width}", f"--window-size={width},{height}", "--remote-debugging-port=0",
                                f"http://127.0.0.1:{server.server_port}/visit.html"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.heard.wait(SECONDS)
    visitor.terminate()
    visitor.wait()
    server.shutdown()
    told = server.told
    if not told:
        faults.append(f"{width} pixels: the visit did not end; asked for: {server.asked}")
        continue
    print(width, told)
    here = [f"{what} failed" for what in ("most", "token", "rows", "heads", "key", "answer_stays", "fault_goes", "late") if not told.get(what)]
    here += [f"{what}: {told[what]}" for what in ("errors", "page_faults") if told.get(what)]
    if told.get("width") != width or told["wide"] > 0:
        here.append(f"{told.get('width')} pixels wide, {told['wide']} too many")
    if (told.get("sample_pressed"), told.get("sample_left"), told.get("one_stop")) != (1, 0, 1):
        here.append("a wrong number of samples or tokens is marked")
    if len(told.get("samples", [])) != CLASSES or told["samples"][0] != told["first"]:
        here.append("the samples are not those that were expected")
    if not told.get("fault", "").startswith("letter.txt cannot be read as a picture"):
        here.append(f"a file of text gave: {told.get('fault')}")
    if told.get("same") != len(expected) or told["difference"] > 1e-4:  # float sums of another order: 4e-7 when it was written
        here.append(f"{told.get('same')} of {len(expected)} classes are the native ones, numbers differ by {told.get('difference')}")
    others = set(server.asked) - OWN - {"/visit.html", "/visited.html", "/visit.js", "/answers.json", "/frames.rgb"}
    if others:
        here.append(f"it asked for {sorted(others)}")
    faults += [f"{width} pixels: {fault}" for fault in here]

    server = serve(visited)
    for scheme in ("dark", "light"):
        subprocess.run([*usual, f"--window-size={width},{tall}", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
                        "--virtual-time-budget=10000", f"--screenshot={folder}/web-{width}-{scheme}.png", f"http://127.0.0.1:{server.server_port}/plain.html"],
                       capture_output=True, check=True, timeout=SECONDS)
    server.shutdown()
    if set(server.asked) != OWN | {"/plain.html"}:
        faults.append(f"{width} pixels: the page asked for {sorted(set(server.asked))}, expected {sorted(OWN)}")
for fault in faults:
    print("FAULT:", fault)
print(f"web_in_browser: {len(faults)} faults")
sys.exit(bool(faults))
