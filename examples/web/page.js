// SPDX-License-Identifier: MIT
// The page around the model: takes a picture, asks web.wasm (web.cpp) about it, and draws the answer.
"use strict";
const element = id => document.getElementById(id);
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const percent = share => (100 * share).toFixed(1) + " %";

// The model: numbers go in and out through its memory, whose buffer is another one after it has grown.
async function load_model() {
  const response = await fetch("web.wasm");
  if (!response.ok) throw new Error(`web.wasm: the server answers ${response.status}`);
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const imports = {};  // what its C++ library asks of a system when something fails
  for (const { module: from, name } of WebAssembly.Module.imports(module))
    (imports[from] ??= {})[name] = () => { throw new Error(`the model stopped (${name})`); };
  imports.env.emscripten_notify_memory_growth = () => {};
  const code = (await WebAssembly.instantiate(module, imports)).exports;
  code._initialize();
  const bytes = (address, count) => new Uint8Array(code.memory.buffer, address, count);
  const floats = (address, count) => new Float32Array(code.memory.buffer, address, count).slice();
  const text = address => {
    const rest = new Uint8Array(code.memory.buffer, address);
    return new TextDecoder().decode(rest.subarray(0, rest.indexOf(0)));
  };
  const side = code.side(), map_side = code.map_side(), tokens = map_side ** 2, heads = code.heads();
  const names = Array.from({ length: code.classes() }, (_, label) => text(code.class_name(label)));
  return {
    side, map_side, tokens, heads, names, samples: code.samples(),
    /// Sample `number`, as ImageData with its label.
    sample(number) {
      const label = code.sample(number);
      const picture = new ImageData(side, side);
      picture.data.set(bytes(code.picture_room(side, side), 4 * side * side));
      return { picture, label };
    },
    /// What the model says of ImageData of any size.
    look(picture) {
      bytes(code.picture_room(picture.height, picture.width), picture.data.length).set(picture.data);
      const start = performance.now(), label = code.look(picture.height, picture.width), milliseconds = performance.now() - start;
      const input = new ImageData(side, side), seen = bytes(code.input(), 3 * side * side);
      for (let i = 0; i < side * side; ++i) input.data.set([seen[3 * i], seen[3 * i + 1], seen[3 * i + 2], 255], 4 * i);
      const attention = floats(code.attention(), heads * tokens * tokens);
      return {
        label, milliseconds, input,
        confidences: floats(code.confidences(), names.length),
        received: floats(code.received(), tokens),
        /// What `token` takes from each token in head `head`.
        row: (head, token) => attention.subarray((head * tokens + token) * tokens, (head * tokens + token + 1) * tokens),
      };
    },
  };
}

// Pictures.
const kMostPixels = 4096;  // of a side: 64 MB, and no browser's canvas is smaller
/// ImageData of a file; throws what the browser throws if it cannot read it.
async function read_picture(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, kMostPixels / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas_of(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
const canvas_of = (width, height) => make("canvas", { width, height });
function put(canvas, picture) {
  canvas.width = picture.width, canvas.height = picture.height;
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/// A colour for 0 (dark) to 1 (bright): matplotlib's "inferno", every fifth.
const kHeat = [[22, 11, 57], [87, 16, 110], [165, 44, 96], [225, 100, 41], [251, 180, 26], [252, 255, 164]];
function heat_colour(value) {
  const place = Math.min(Math.max(value, 0), 1) * (kHeat.length - 1), below = Math.min(Math.floor(place), kHeat.length - 2);
  return kHeat[below].map((from, c) => from + (place - below) * (kHeat[below + 1][c] - from));
}
/// The picture under a map of weights, of which `top` is the brightest; the token `framed`, if any, in a frame.
function draw_map(canvas, weights, top, framed) {
  const side = canvas.width, map_side = Math.sqrt(weights.length), cell = side / map_side, context = canvas.getContext("2d");
  const under = canvas_of(shown.picture.width, shown.picture.height);
  put(under, shown.picture);
  const cut = Math.min(under.width, under.height);
  context.imageSmoothingEnabled = cut > side / 4;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  context.filter = "saturate(0.3)";
  context.drawImage(under, (under.width - cut) >> 1, (under.height - cut) >> 1, cut, cut, 0, 0, side, side);
  context.filter = "none";
  weights.forEach((weight, token) => {
    const value = Math.min(weight / top, 1);
    context.fillStyle = `rgb(${heat_colour(value).map(Math.round)}, ${0.35 + 0.4 * value})`;  // cold places show the picture, hot ones the colour
    context.fillRect(token % map_side * cell, Math.floor(token / map_side) * cell, cell, cell);
  });
  if (framed === undefined) return;
  context.strokeStyle = "#fff";
  context.lineWidth = side / 80;
  context.strokeRect(framed % map_side * cell, Math.floor(framed / map_side) * cell, cell, cell);
}

// The answer.
let model, shown;  // shown: what `look` gave, with the picture and the token that is chosen
let asked = 0;  // pictures so far: of one that is still being read when the next one comes, nothing is shown
const best_of = numbers => numbers.indexOf(Math.max(...numbers));
const place = token => `row ${Math.floor(token / model.map_side) + 1}, column ${token % model.map_side + 1}`;

/// Asks the model about a picture and shows the answer. `label`: its class where it is known.
function show(picture, label) {
  shown = { ...model.look(picture), picture };
  const { confidences, received } = shown, name = model.names[shown.label];
  element("answer").textContent = `${name}, ${percent(confidences[shown.label])}`;
  element("about").textContent = (label === undefined ? "" : `${label === shown.label ? "Right" : "Wrong"}: the class of this drawing is ${model.names[label]}. `) +
    `Computed here, in ${shown.milliseconds.toFixed(1)} ms.`;
  element("bars").replaceChildren(...model.names.map((word, i) => {
    const bar = make("div");
    bar.style.width = `${100 * confidences[i]}%`;
    return make("tr", i === shown.label ? { class: "best" } : {}, make("th", { scope: "row" }, word),
      make("td", {}, make("div", { class: "bar" }, bar)), make("td", {}, percent(confidences[i])));
  }));
  put(element("input"), shown.input);
  const cut = Math.min(picture.width, picture.height);
  element("input-text").textContent = cut === model.side && picture.width === picture.height ? `What it sees: ${cut} × ${cut} pixels.`
    : `What it sees: of ${picture.width} × ${picture.height} pixels the square in the middle, made ${model.side} × ${model.side}.`;
  const peak = Math.max(...received) * model.tokens;  // 1: a token that is nothing special
  draw_map(element("map"), received, Math.max(peak, 2) / model.tokens);
  element("peak").textContent = `${Math.max(peak, 2).toFixed(1)} × the mean` + (peak < 2 ? ` (the highest here is ${peak.toFixed(1)} ×)` : "");
  [...element("tokens").children].forEach((button, token) => button.setAttribute("aria-label", `${place(token)}: receives ${percent(received[token])}`));
  element("result").hidden = false;
  choose(best_of(received));
}
/// Shows what a token takes from the others.
function choose(token) {
  shown.token = token;
  [...element("tokens").children].forEach((button, i) => {
    button.setAttribute("aria-pressed", i === token);
    button.tabIndex = i === token ? 0 : -1;
  });
  element("token").textContent = `The token in ${place(token)}`;
  [...element("heads").children].forEach((figure, head) => {
    const row = shown.row(head, token), best = best_of(row);
    draw_map(figure.firstChild, row, Math.max(row[best], 2 / model.tokens), token);
    figure.lastChild.textContent = `Head ${head + 1}: most, ${percent(row[best])}, from ${place(best)}`;
  });
}
function mark_sample(number) {
  [...element("samples").children].forEach((button, i) => button.setAttribute("aria-pressed", i === number));
}
function tell(sentence) {
  element("fault").textContent = sentence;
  element("fault").hidden = sentence === "";
}

/// A file that the visitor brought.
async function take(file) {
  const number = ++asked;
  let picture;
  try {
    picture = await read_picture(file);
  } catch {
    if (number === asked) tell(`${file.name || "What you pasted"} cannot be read as a picture. Bring one that your browser shows: PNG, JPEG, WebP or GIF.`);
    return;
  }
  if (number !== asked) return;
  tell("");
  mark_sample(-1);
  try {
    show(picture);
  } catch (error) {
    tell(`The model could not look at it: ${error.message}. Load the page again, and bring a smaller picture.`);
  }
}
function take_from(list) {
  const file = list?.files[0];
  if (file) take(file); else tell("That was no file. Save the picture first, then bring the file.");
}

function set_up() {
  element("knows").textContent = `It has learnt ten drawn shapes from heed's generated sample set: ${model.names.join(", ")}. It knows nothing else: ` +
    "of a photograph it will name one of the ten, too. Of 500 new drawings it names about nine in ten rightly.";
  for (let number = 0; number < model.samples; ++number) {
    const { picture, label } = model.sample(number), canvas = canvas_of(model.side, model.side);
    put(canvas, picture);
    const button = make("button", { type: "button", "aria-label": `Sample: ${model.names[label]}` }, canvas);
    button.addEventListener("click", () => (++asked, tell(""), mark_sample(number), show(picture, label)));
    element("samples").append(button);
  }
  for (let token = 0; token < model.tokens; ++token) {
    const button = make("button", { type: "button" });
    button.addEventListener("click", () => choose(token));
    element("tokens").append(button);
  }
  for (let head = 0; head < model.heads; ++head) {
    const canvas = make("canvas", { width: 256, height: 256, role: "img", "aria-label": `Head ${head + 1}` });
    element("heads").append(make("figure", {}, canvas, make("figcaption")));
  }
  for (let x = 0, context = element("scale").getContext("2d"); x < 128; ++x) {
    context.fillStyle = `rgb(${heat_colour(x / 127)})`;
    context.fillRect(x, 0, 1, 1);
  }
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  element("tokens").addEventListener("keydown", event => {
    if (!steps[event.key]) return;
    event.preventDefault();
    const [row, column] = [Math.floor(shown.token / model.map_side) + steps[event.key][0], shown.token % model.map_side + steps[event.key][1]];
    if (Math.min(row, column) < 0 || Math.max(row, column) >= model.map_side) return;
    choose(row * model.map_side + column);
    element("tokens").children[shown.token].focus();
  });
  element("file").addEventListener("change", event => {
    if (event.target.files.length > 0) take_from(event.target);
    event.target.value = "";  // the same file may be chosen again
  });
  addEventListener("dragover", event => (event.preventDefault(), element("drop").classList.add("over")));
  addEventListener("dragleave", () => element("drop").classList.remove("over"));
  addEventListener("drop", event => (event.preventDefault(), element("drop").classList.remove("over"), take_from(event.dataTransfer)));
  addEventListener("paste", event => event.clipboardData.files.length > 0 && take_from(event.clipboardData));
  element("samples").children[0].click();
}
load_model().then(loaded => (model = loaded, set_up())).catch(error => tell(location.protocol === "file:"
  ? "A page opened as a file may not read web.wasm. Serve the folder, for example with: python3 -m http.server"
  : `The model could not be loaded: ${error.message}. It needs a browser with WebAssembly SIMD (Chrome 91, Firefox 89, Safari 16.4 or newer).`));
