// Draw a digit and watch the article's network read it. Live in JupyterLab, and without a kernel in the page.
// In this order: words, preparation of the drawing, the network, pictures, the figure itself.

// Every word that a reader sees or hears.
const WORDS = {
  pad: "Drawing pad: draw a digit with mouse, finger or pen. Control Z takes the last stroke back.",
  empty: "Draw a digit here, or choose a sample below.",
  undo: "Undo",
  clear: "Clear",
  corner: "A small seven",
  steps: "On the way from the pad to the network",
  step: { invert: "ink bright, ground dark", scale: "scaled to a box of 20\u00a0×\u00a020",
    average: "averaged to greys", centre: "centre of mass in the middle" },
  samples: "Or choose a digit of MNIST's test set",
  sample: (digit, number) => `Sample ${number + 1}: a ${digit}`,
  prepared: "What the network sees: 28\u00a0×\u00a028\u00a0pixels",
  reading: "The network reads",
  nothing: "–",
  percent: (part) => `${(100 * part).toFixed(1)} %`,
  probabilities: "Probability of each digit",
  heardAnswer: (digit, percent) => `The network reads ${digit}, ${percent}.`,
  heardNothing: "The pad is empty. There is no answer.",
  maps: ["After the first convolution", "After the second convolution", "After pooling"],
  mapSize: (count, size) => `${count} maps of ${size}\u00a0×\u00a0${size}`,
  mapScale: "Dark: no response. Bright: the strongest response of the layer.",
  time: (count, milliseconds) => `${count.toLocaleString("en")} parameters, one pass in ${milliseconds} ms`,
};

const FIELD = 28, BOX = 20; // pixels along a side of an MNIST image, and of the box that its digit fills
const SIZE = 280; // pixels along a side of the pad
const PEN = 22; // width of a stroke on the pad; about that of MNIST's when a digit fills the pad
const CORNER = [[30, 42, 62, 38, 48, 92]]; // a small seven, high and to the left, for those who do not draw
const INK = 0.5; // nothing counts as drawn until a pixel of the prepared image is this bright

// --- Preparation: `prepare_drawing` in digit_pad.py is the same in Python ---

/** Average each of `lines` rows of `length` pixels over cells 1 / `scale` pixels wide; the result is transposed. */
function average(source, lines, length, scale) {
  const cells = Math.ceil(length * scale - 1e-9), result = new Float64Array(cells * lines);
  for (let cell = 0; cell < cells; cell++) {
    const last = Math.min(length, Math.ceil((cell + 1) / scale));
    for (let pixel = Math.floor(cell / scale); pixel < last; pixel++) {
      const overlap = Math.min(cell + 1, (pixel + 1) * scale) - Math.max(cell, pixel * scale);
      if (overlap <= 0) continue;
      for (let line = 0; line < lines; line++) result[cell * lines + line] += overlap * source[line * length + pixel];
    }
  }
  return result;
}

/** Take from each of `lines` rows the pixel in the middle of each cell 1 / `scale` wide; the result is transposed. */
function pick(source, lines, length, scale) {
  const cells = Math.ceil(length * scale - 1e-9), result = new Float64Array(cells * lines);
  for (let cell = 0; cell < cells; cell++) {
    const pixel = Math.min(Math.floor((cell + 0.5) / scale), length - 1);
    for (let line = 0; line < lines; line++) result[cell * lines + line] = source[line * length + pixel];
  }
  return result;
}

/** Turn an ImageData, white ink on black, into MNIST's form: 784 values from 0 to 1; zeros where there is no ink.
 * `leaveOut` holds the steps to do without. */
export function prepare({ data, width, height }, leaveOut = []) {
  const without = (step) => leaveOut.includes(step);
  const field = new Float32Array(FIELD * FIELD);
  let left = width, right = -1, top = height, bottom = -1, mass = 0, momentX = 0, momentY = 0;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const ink = data[4 * (y * width + x)];
    if (!ink) continue;
    left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = y;
    mass += ink; momentX += ink * (2 * x + 1); momentY += ink * (2 * y + 1);
  }
  if (!mass) return field;
  const w = right - left + 1, h = bottom - top + 1;
  const scale = without("scale") ? FIELD / Math.max(width, height) : BOX / Math.max(w, h);
  const box = Float64Array.from({ length: w * h }, (_, i) => data[4 * ((top + Math.floor(i / w)) * width + left + i % w)]);
  const sample = without("average") ? pick : average;
  const small = sample(sample(box, h, w, scale), Math.ceil(w * scale - 1e-9), h, scale);
  const columns = Math.ceil(w * scale - 1e-9), rows = small.length / columns;
  // MNIST moved its digits by whole pixels, until the centre of mass lay in pixel (14, 14).
  const start = (moment, first, last, length, cells) => {
    const centre = (moment - 2 * first * mass) / (2 * mass) * scale;
    const wanted = without("centre") ? Math.trunc((first + last + 1) / (2 * length) * FIELD - cells / 2 + 0.5)
      : FIELD / 2 - Math.floor(centre);
    return Math.min(Math.max(wanted, 0), FIELD - cells);
  };
  const x0 = start(momentX, left, right, width, columns), y0 = start(momentY, top, bottom, height, rows);
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++)
    field[(y0 + y) * FIELD + x0 + x] = Math.min(1, small[y * columns + x] / 255);
  return without("invert") ? field.map((value) => 1 - value) : field;
}

// --- The network: channels last, no padding, as in Keras ---

/** Return the layers from bytes: float32 scales, float32 biases, int8 kernels; a weight is its int8 times its scale. */
export function decode({ buffer, byteOffset, byteLength }, shapes) {
  const bytes = buffer.slice(byteOffset, byteOffset + byteLength);
  const outputs = shapes.reduce((sum, shape) => sum + shape.at(-1), 0);
  const scales = new Float32Array(bytes, 0, outputs), biases = new Float32Array(bytes, 4 * outputs, outputs);
  const weights = new Int8Array(bytes, 8 * outputs);
  let first = 0, channel = 0;
  return shapes.map((shape) => {
    const count = shape.at(-1), size = shape.reduce((product, side) => product * side);
    const scale = scales.subarray(channel, channel + count), bias = biases.slice(channel, channel + count);
    const kernel = Float32Array.from(weights.subarray(first, first + size), (weight, i) => weight * scale[i % count]);
    first += size; channel += count;
    return { kernel, bias, shape };
  });
}

/** Add to `count` outputs from `at` on: the sum of `inputs` times `kernel` rows, both as listed by `taken`. */
function addProducts(output, at, count, kernel, inputs, rows, taken) {
  inputs.fill(0, taken, taken + 3); // up to three products by zero: four at a time halve the time of a pass
  for (let i = 0; i < taken; i += 4) {
    const a = inputs[i], b = inputs[i + 1], c = inputs[i + 2], d = inputs[i + 3];
    const ka = rows[i], kb = rows[i + 1], kc = rows[i + 2], kd = rows[i + 3];
    for (let n = 0; n < count; n++)
      output[at + n] += a * kernel[ka + n] + b * kernel[kb + n] + c * kernel[kc + n] + d * kernel[kd + n];
  }
}

const relu = (values) => { for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0; };

function convolve([input, size, channels], { kernel, bias, shape: [side, , , count] }) {
  const width = size - side + 1, output = new Float32Array(width * width * count), run = side * channels;
  const inputs = new Float32Array(side * run + 3), rows = new Int32Array(side * run + 3);
  for (let y = 0; y < width; y++) for (let x = 0; x < width; x++) {
    let taken = 0; // only what is not zero: ReLU leaves many zeros
    for (let u = 0; u < side; u++) {
      const from = ((y + u) * size + x) * channels;
      for (let i = 0; i < run; i++) if (input[from + i] !== 0) {
        inputs[taken] = input[from + i]; rows[taken++] = (u * run + i) * count;
      }
    }
    const at = (y * width + x) * count;
    output.set(bias, at);
    addProducts(output, at, count, kernel, inputs, rows, taken);
  }
  relu(output);
  return [output, width, count];
}

function pool([input, size, channels]) {
  const width = size >> 1, output = new Float32Array(width * width * channels), line = size * channels;
  for (let y = 0; y < width; y++) for (let x = 0; x < width; x++) for (let n = 0; n < channels; n++) {
    const i = 2 * (y * line + x * channels) + n;
    output[(y * width + x) * channels + n] =
      Math.max(input[i], input[i + channels], input[i + line], input[i + line + channels]);
  }
  return [output, width, channels];
}

function dense(input, { kernel, bias }) {
  const output = bias.slice(), inputs = new Float32Array(input.length + 3), rows = new Int32Array(input.length + 3);
  let taken = 0;
  input.forEach((value, i) => { if (value !== 0) { inputs[taken] = value; rows[taken++] = i * bias.length; } });
  addProducts(output, 0, bias.length, kernel, inputs, rows, taken);
  return output;
}

function softmax(values) {
  const powers = Array.from(values, (value) => Math.exp(value - Math.max(...values)));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Send a prepared image, 784 values, through the network: ten probabilities, and the maps of three layers,
 * each as [values, width, channels] with value [(y * width + x) * channels + channel]. */
export function forward([first, second, hidden, last], image) {
  const a = convolve([image, FIELD, 1], first), b = convolve(a, second), c = pool(b);
  const features = dense(c[0], hidden);
  relu(features);
  return { probabilities: softmax(dense(features, last)), maps: [a, b, c] };
}

// --- Pictures ---

// Nine colours of viridis, the map of the book's static figures; between them, straight lines.
const VIRIDIS = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128],
  [94, 201, 98], [173, 220, 48], [253, 231, 37]];
const GREY = [[0, 0, 0], [255, 255, 255]];

/** Draw maps side by side in `columns`, one pixel apart, 0 as the first colour and `most` as the last. */
function drawMaps(canvas, [values, size, count], colours, columns, most) {
  canvas.width = columns * (size + 1) - 1;
  canvas.height = Math.ceil(count / columns) * (size + 1) - 1;
  const pen = canvas.getContext("2d"), picture = pen.createImageData(canvas.width, canvas.height);
  for (let n = 0; n < count; n++) for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
    const place = Math.min(values[(y * size + x) * count + n] / most, 1) * (colours.length - 1);
    const low = Math.min(Math.floor(place), colours.length - 2), part = place - low;
    const row = Math.floor(n / columns) * (size + 1) + y, column = (n % columns) * (size + 1) + x;
    const at = 4 * (row * canvas.width + column);
    for (let i = 0; i < 3; i++) picture.data[at + i] = colours[low][i] + part * (colours[low + 1][i] - colours[low][i]);
    picture.data[at + 3] = 255;
  }
  pen.putImageData(picture, 0, 0);
}

/** Draw a stroke [x0, y0, x1, y1, ...] as a smooth line through the middles between its points. */
function drawStroke(pen, points) {
  pen.beginPath();
  pen.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length - 2; i += 2)
    pen.quadraticCurveTo(points[i], points[i + 1], (points[i] + points[i + 2]) / 2, (points[i + 1] + points[i + 3]) / 2);
  pen.lineTo(points.at(-2) + 0.01, points.at(-1)); // a line without length would not be drawn: a dot is one
  pen.stroke();
}

/** Make an element: its kind, its properties (attributes where there is a hyphen or a role), what it holds. */
function make(kind, properties = {}, ...children) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(properties))
    if (name.includes("-") || name === "role") element.setAttribute(name, value); else element[name] = value;
  element.append(...children);
  return element;
}

// --- The figure ---

function render({ model, el }) {
  const layers = decode(model.get("weights"), model.get("shapes"));
  const parameters = layers.reduce((sum, { kernel, bias }) => sum + kernel.length + bias.length, 0);
  const bytes = model.get("samples"), labels = model.get("sample_labels");
  const sampleMap = (n) => [
    Float32Array.from({ length: FIELD * FIELD }, (_, i) => bytes.getUint8(n * FIELD * FIELD + i)), FIELD, 1];

  const pad = make("canvas", { width: SIZE, height: SIZE, tabIndex: 0, className: "digit-pad-field", role: "img",
    "aria-label": WORDS.pad });
  const pen = pad.getContext("2d", { alpha: false, willReadFrequently: true });
  Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#fff",
    imageSmoothingEnabled: false });
  const hint = make("p", { className: "digit-pad-hint", "aria-hidden": "true" }, WORDS.empty);
  const undoButton = make("button", { type: "button" }, WORDS.undo);
  const clearButton = make("button", { type: "button" }, WORDS.clear);
  const cornerButton = make("button", { type: "button" }, WORDS.corner);
  const steps = Object.entries(WORDS.step).map(([step, words]) => {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () =>
      model.set("leave_out", steps.filter(({ box }) => !box.checked).map(({ step }) => step)));
    return { step, box, label: make("label", {}, box, words) };
  });

  const samples = labels.map((digit, n) => {
    const radio = make("input", { type: "radio", name: "sample", "aria-label": WORDS.sample(digit, n) });
    const image = make("canvas", { "aria-hidden": "true" });
    drawMaps(image, sampleMap(n), GREY, 1, 255);
    radio.addEventListener("change", () => change([n]));
    return { radio, image, label: make("label", {}, radio, image) };
  });

  const prepared = make("canvas", { role: "img", "aria-label": WORDS.prepared });
  const digitText = make("strong"), percentText = make("span");
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const bar = make("i"), percent = make("span");
    return { bar, percent, row: make("li", {}, make("b", {}, String(digit)), make("span", {}, bar), percent) };
  });
  const pictures = WORDS.maps.map((title) => {
    const canvas = make("canvas", { role: "img", "aria-label": title }), size = make("span");
    return { canvas, size, figure: make("figure", {}, make("figcaption", {}, make("b", {}, title), size), canvas) };
  });
  const time = make("span"), heard = make("p", { role: "status", className: "digit-pad-heard" });

  // A form of its own keeps the samples of two pads apart.
  // JupyterLab's shortcuts leave the keyboard to an element so marked.
  const root = make("form", { className: "digit-pad", "data-lm-suppress-shortcuts": "true" },
    make("div", { className: "digit-pad-top" },
      make("div", { className: "digit-pad-draw" },
        make("div", { className: "digit-pad-frame" }, pad, hint),
        make("div", { className: "digit-pad-buttons" }, undoButton, clearButton, cornerButton)),
      make("div", { className: "digit-pad-seen" },
        make("figure", {}, prepared, make("figcaption", {}, WORDS.prepared)),
        make("p", { className: "digit-pad-answer", "aria-hidden": "true" },
          make("span", {}, WORDS.reading), digitText, percentText)),
      make("ol", { className: "digit-pad-bars", "aria-label": WORDS.probabilities }, ...bars.map(({ row }) => row))),
    make("fieldset", { className: "digit-pad-steps" }, make("legend", {}, WORDS.steps),
      make("div", {}, ...steps.map(({ label }) => label))),
    make("fieldset", { className: "digit-pad-samples" }, make("legend", {}, WORDS.samples),
      make("div", {}, ...samples.map(({ label }) => label))),
    make("div", { className: "digit-pad-maps" }, ...pictures.map(({ figure }) => figure)),
    make("p", { className: "digit-pad-note" }, make("span", {}, WORDS.mapScale), time), heard);

  let stroke = null, frame = 0, seen; // the stroke being drawn, the frame asked for, what the network said last
  const past = []; // earlier drawings, for undo

  /** Draw what is on the pad, let the network read it and show what it says. */
  function read() {
    pen.fillRect(0, 0, SIZE, SIZE);
    for (const item of model.get("drawing"))
      if (typeof item === "number") pen.drawImage(samples[item].image, 0, 0, SIZE, SIZE); else drawStroke(pen, item);
    if (stroke) drawStroke(pen, stroke);
    const leaveOut = model.get("leave_out"), ground = leaveOut.includes("invert") ? 1 : 0;
    const image = prepare(pen.getImageData(0, 0, SIZE, SIZE), leaveOut);
    const empty = !image.some((value) => Math.abs(value - ground) >= INK) || !image.some((value) => value);
    const started = performance.now();
    seen = empty ? { image: image.fill(0), probabilities: [], maps: [[26, 32], [24, 64], [12, 64]].map(([size, count]) =>
      [new Float32Array(size * size * count), size, count]) } : { image, ...forward(layers, image) };
    time.textContent = empty ? "" : WORDS.time(parameters, (performance.now() - started).toFixed(1));
    const best = seen.probabilities.indexOf(Math.max(...seen.probabilities));
    digitText.textContent = empty ? WORDS.nothing : best;
    percentText.textContent = empty ? "" : WORDS.percent(seen.probabilities[best]);
    bars.forEach(({ bar, percent, row }, digit) => {
      const part = seen.probabilities[digit];
      bar.style.width = `${100 * (part ?? 0)}%`;
      percent.textContent = empty ? WORDS.nothing : WORDS.percent(part);
      row.classList.toggle("digit-pad-best", digit === best);
    });
    root.classList.toggle("digit-pad-idle", empty);
    hint.hidden = !empty || stroke !== null;
    drawMaps(prepared, [image, FIELD, 1], GREY, 1, 1);
    showMaps();
  }

  /** Show the maps of the last pass: sixteen in a row, or eight where there is little room. */
  function showMaps() {
    const columns = el.clientWidth < 560 ? 8 : 16;
    pictures.forEach(({ canvas, size }, layer) => {
      const [values, width, count] = seen.maps[layer];
      const most = values.reduce((most, value) => Math.max(most, value), 1e-9);
      drawMaps(canvas, seen.maps[layer], VIRIDIS, columns, most);
      size.textContent = WORDS.mapSize(count, width);
    });
  }

  /** Show a drawing that is finished: to the eye, to a screen reader, and to Python where it listens. */
  function show() {
    const drawing = model.get("drawing");
    read();
    const best = Math.max(...seen.probabilities);
    heard.textContent = seen.probabilities.length
      ? WORDS.heardAnswer(seen.probabilities.indexOf(best), WORDS.percent(best)) : WORDS.heardNothing;
    steps.forEach(({ step, box }) => { box.checked = !model.get("leave_out").includes(step); });
    samples.forEach(({ radio }, n) => { radio.checked = drawing.length === 1 && drawing[0] === n; });
    for (const [button, off] of [[undoButton, !past.length], [clearButton, !drawing.length]]) {
      if (off && button === document.activeElement) pad.focus(); // a disabled button would lose the keyboard
      button.disabled = off;
    }
    const image = seen.probabilities.length ? new DataView(seen.image.buffer) : new DataView(new ArrayBuffer(0));
    model.set({ image, probabilities: seen.probabilities });
    model.save_changes();
  }

  function change(drawing) {
    past.push(model.get("drawing"));
    model.set("drawing", drawing);
  }
  function undo() {
    if (past.length) model.set("drawing", past.pop());
  }

  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((v) => Math.round(10 * v * SIZE / box.width) / 10);
  };
  pad.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    stroke = place(event);
    frame ||= requestAnimationFrame(onFrame);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!stroke || !event.isPrimary) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of passed.length ? passed : [event]) stroke.push(...place(each));
    frame ||= requestAnimationFrame(onFrame);
  });
  function onFrame() { frame = 0; read(); }
  function finish(event) {
    if (!stroke || !event.isPrimary) return;
    cancelAnimationFrame(frame);
    frame = 0;
    const finished = stroke;
    stroke = null;
    change([...model.get("drawing"), finished]);
  }
  pad.addEventListener("pointerup", finish);
  pad.addEventListener("pointercancel", finish);
  root.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) event.stopPropagation(); // JupyterLab's notebook would forbid them
    if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
    event.preventDefault();
    undo();
  });
  root.addEventListener("submit", (event) => event.preventDefault());
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", () => change([]));
  cornerButton.addEventListener("click", () => change(CORNER));

  el.append(root);
  model.on("change:drawing change:leave_out", show);
  show();
  let width = 0;
  const watcher = new ResizeObserver(() => {
    if (el.clientWidth !== width) requestAnimationFrame(showMaps);
    width = el.clientWidth;
  });
  watcher.observe(el);
  return () => {
    watcher.disconnect();
    model.off("change:drawing change:leave_out", show);
  };
}

export default { render };
