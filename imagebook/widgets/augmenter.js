// Augment a digit by hand: see augmenter.py for the data, and for the same computations in Python.
// In this order: words, the augmentations, the networks, drawing, the figure itself.
import { chooser, compose, html, onWidth, OWN_KEYS, speaker, svg } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  locale: "en",
  figure: "A digit, augmented, and what three networks read",
  digits: "Digit",
  digit: (label, number) => `image ${number + 1}, a ${label}`,
  partners: "Second digit",
  sliders: { turn: "turn", right: "to the right", down: "down", zoom: "zoom", shear: "shear", warp: "warp", share: "share of the first" },
  values: { turn: (v) => `${v}°`, right: (v) => `${v} px`, down: (v) => `${v} px`, zoom: (v) => `× ${v}`, shear: (v) => `${v}°`,
    warp: (v) => `${v} px`, share: (v) => `${Math.round(100 * v)} %` },
  mirror: "flip left–right",
  tumble: "flip top–bottom",
  another: "Another warp",
  reset: "Back to the start",
  mixture: "mix with",
  mixtures: { none: "nothing", mixup: "a second digit: mixup", cutmix: "a second digit: CutMix", cutout: "a black square: cutout" },
  original: "Original, with the places at which the result looks",
  result: "Result",
  label: "Label in training",
  labelled: (parts) => parts.map(([digit, part]) => `${digit}: ${Math.round(100 * part)} %`).join(", "),
  networks: { plain: "plain", moderate: "moderate", any: "any angle" },
  reads: "reads",
  loss: "loss",
  digitColumn: "digit",
  curve: (slider, digit) => `Probability of ${digit} along “${slider}”`,
  curveSaid: (lines) => `${lines.map(([name, low, high]) => `${name}: from ${low} to ${high} percent`).join("; ")}.`,
  said: (answers) => answers.map(([name, digit, percent]) => `${name} reads ${digit}, ${percent} percent`).join("; ") + ".",
};

const SIDE = 28, MIDDLE = (SIDE - 1) / 2;

// ---- the augmentations ------------------------------------------------------------------------------------------

/** Return the warp of a seed: two fields, to the right and down, each of four plane waves. */
export function waves(seed) {
  let state = seed;
  const draw = () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < 4; i++) draw(); // neighbouring seeds begin alike
  return [0, 1].map(() => {
    const field = new Float64Array(SIDE * SIDE);
    for (let wave = 0; wave < 4; wave++) {
      const across = 4 * draw() - 2, along = 4 * draw() - 2, phase = draw();
      for (let i = 0; i < field.length; i++)
        field[i] += Math.SQRT1_2 * Math.sin(2 * Math.PI * ((across * (i % SIDE) + along * Math.floor(i / SIDE)) / SIDE + phase));
    }
    return field;
  });
}

/** Return where each pixel of the result looks in the original: [columns, rows]. */
export function sources(settings, [bendX, bendY]) {
  const angle = (settings.turn * Math.PI) / 180, lean = Math.tan((settings.shear * Math.PI) / 180);
  const cos = Math.cos(angle), sin = Math.sin(angle);
  const columns = new Float64Array(SIDE * SIDE), rows = new Float64Array(SIDE * SIDE);
  for (let i = 0; i < columns.length; i++) {
    const dx = (i % SIDE) - MIDDLE - settings.right, dy = Math.floor(i / SIDE) - MIDDLE - settings.down;
    let x = dx * cos - dy * sin, y = dx * sin + dy * cos;
    x = (x + lean * y) / settings.zoom;
    y /= settings.zoom;
    columns[i] = (settings.mirror ? -x : x) + MIDDLE + settings.warp * bendX[i];
    rows[i] = (settings.tumble ? -y : y) + MIDDLE + settings.warp * bendY[i];
  }
  return [columns, rows];
}

/** Which pixels along a side CutMix and cutout take away; a square in the middle. */
const taken = (share) => (place) => Math.abs(place - MIDDLE) < (SIDE * Math.sqrt(1 - share)) / 2;

/** Return an image, 784 numbers from 0 to 1, as these settings change it. */
export function augment(image, partner, settings, bend = waves(settings.seed)) {
  const [columns, rows] = sources(settings, bend), result = new Float32Array(SIDE * SIDE), { share, mixture } = settings;
  const pixel = (row, column) => (row < 0 || column < 0 || row >= SIDE || column >= SIDE ? 0 : image[row * SIDE + column]);
  const away = taken(share);
  for (let i = 0; i < result.length; i++) {
    const row = Math.floor(rows[i]), column = Math.floor(columns[i]), low = rows[i] - row, left = columns[i] - column;
    let value = (1 - low) * ((1 - left) * pixel(row, column) + left * pixel(row, column + 1))
      + low * ((1 - left) * pixel(row + 1, column) + left * pixel(row + 1, column + 1));
    if (mixture === "mixup") value = share * value + (1 - share) * partner[i];
    else if (mixture !== "none" && away(i % SIDE) && away(Math.floor(i / SIDE))) value = mixture === "cutmix" ? partner[i] : 0;
    result[i] = value;
  }
  return result;
}

/** Return the label that training would be given, as ten shares. */
function target(label, second, { mixture, share }) {
  let kept = 1;
  if (mixture === "mixup") kept = share;
  if (mixture === "cutmix") kept = 1 - (Array.from({ length: SIDE }, (_, i) => i).filter(taken(share)).length / SIDE) ** 2;
  const shares = Array(10).fill(0);
  shares[label] += kept;
  shares[second] += 1 - kept;
  return shares;
}

// ---- the networks: two convolutions, pooling, a dense layer, channels last as in Keras ----------------------------

function convolve(input, size, channels, kernel, bias, side, stride) {
  const count = bias.length, width = Math.floor((size - side) / stride) + 1, output = new Float32Array(width * width * count);
  for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) {
    const at = (i * width + j) * count;
    output.set(bias, at);
    for (let u = 0; u < side; u++) for (let v = 0; v < side; v++) for (let l = 0; l < channels; l++) {
      const value = input[((stride * i + u) * size + stride * j + v) * channels + l];
      if (!value) continue; // black ground and ReLU leave many zeros
      const from = ((u * side + v) * channels + l) * count;
      for (let m = 0; m < count; m++) output[at + m] += value * kernel[from + m];
    }
    for (let m = 0; m < count; m++) if (output[at + m] < 0) output[at + m] = 0;
  }
  return [output, width];
}

/** Return the ten probabilities of a network for one image. */
export function classify([first, firstBias, second, secondBias, last, lastBias], image) {
  const [edges, wide] = convolve(image, SIDE, 1, first, firstBias, 5, 2);
  const [parts, narrow] = convolve(edges, wide, firstBias.length, second, secondBias, 3, 1);
  const logits = Float64Array.from(lastBias), channels = secondBias.length, half = narrow >> 1;
  for (let i = 0; i < half; i++) for (let j = 0; j < half; j++) for (let n = 0; n < channels; n++) {
    const at = (2 * i * narrow + 2 * j) * channels + n, line = narrow * channels;
    const value = Math.max(parts[at], parts[at + channels], parts[at + line], parts[at + line + channels]);
    if (value) for (let k = 0; k < 10; k++) logits[k] += value * last[((i * half + j) * channels + n) * 10 + k];
  }
  const most = Math.max(...logits), powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// ---- drawing ------------------------------------------------------------------------------------------------------

function paint(canvas, image) {
  canvas.width = canvas.height = SIDE;
  const pen = canvas.getContext("2d"), picture = pen.createImageData(SIDE, SIDE);
  image.forEach((value, i) => picture.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
  pen.putImageData(picture, 0, 0);
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
const percent = (part) => (100 * part).toFixed(part > 0.0995 ? 0 : 1);
const signed = (value) => String(Math.round(100 * value) / 100).replace("-", "−");

// ---- the figure -----------------------------------------------------------------------------------------------

const LEVELS = [0, 0.5, 1], PLOT = { height: 150, left: 42, right: 8, top: 7, bottom: 24 };
let figures = 0;

function render({ model, el }) {
  const bytes = model.get("pixels"), labels = model.get("labels"), names = model.get("names"), rest = model.get("rest");
  const images = labels.map((_, n) => Float32Array.from({ length: SIDE * SIDE }, (_, i) => bytes.getUint8(n * SIDE * SIDE + i) / 255));
  const data = model.get("weights"), floats = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
  let from = 0;
  const networks = names.map(() => model.get("shapes").map((shape) => {
    const size = shape.reduce((product, side) => product * side, 1);
    return floats.subarray(from, (from += size));
  }));
  const change = chooser(model, "settings");
  const id = `augmenter-${++figures}`;

  const choices = (words, setting) => {
    const radios = images.map((image, n) => {
      const radio = html("input", { type: "radio", name: `${id}-${setting}`, "aria-label": WORDS.digit(labels[n], n), ...OWN_KEYS });
      const canvas = html("canvas", { "aria-hidden": "true" });
      paint(canvas, image);
      radio.addEventListener("change", () => change({ [setting]: n }));
      return { radio, element: html("label", {}, radio, canvas) };
    });
    return { radios, element: html("fieldset", {}, html("legend", {}, words), ...radios.map(({ element }) => element)) };
  };
  const digits = choices(WORDS.digits, "image"), partners = choices(WORDS.partners, "partner");
  const sliders = Object.entries(WORDS.sliders).map(([name, words]) => {
    const [min, max, step] = model.get("sliders")[name], value = html("b", { "aria-hidden": "true" });
    const input = html("input", { type: "range", min, max, step, "aria-label": words, ...OWN_KEYS });
    input.addEventListener("input", () => {
      if (name !== "share") model.set("slider", name);
      change({ [name]: Number(input.value) });
    });
    const show = (settings) => {
      const text = WORDS.values[name](signed(settings[name]));
      input.value = settings[name];
      input.setAttribute("aria-valuetext", name === "share" ? WORDS.values.share(settings.share) : text);
      value.textContent = name === "share" ? WORDS.values.share(settings.share) : text;
    };
    return { name, show, element: html("label", {}, html("span", {}, words, " ", value), input) };
  });
  const share = sliders.find(({ name }) => name === "share");
  const flips = ["mirror", "tumble"].map((name) => {
    const box = html("input", { type: "checkbox", ...OWN_KEYS });
    box.addEventListener("change", () => change({ [name]: box.checked }));
    return { name, box, element: html("label", { class: "box" }, box, WORDS[name]) };
  });
  const another = html("button", { type: "button", ...OWN_KEYS }, WORDS.another);
  const reset = html("button", { type: "button", ...OWN_KEYS }, WORDS.reset);
  another.addEventListener("click", () => {
    const { seed, warp } = model.get("settings");
    model.set("slider", "warp");
    change({ seed: seed + 1, warp: warp || 2 });
  });
  reset.addEventListener("click", () => {
    const { image, partner } = model.get("settings");
    change({ ...rest, image, partner });
  });
  const mixture = html("select", OWN_KEYS, ...Object.entries(WORDS.mixtures).map(([value, words]) => html("option", { value }, words)));
  mixture.addEventListener("change", () => change({ mixture: mixture.value }));

  const panel = (words) => {
    const canvas = html("canvas", { role: "img", "aria-label": words }), caption = html("figcaption", {}, words);
    const over = svg("svg", { viewBox: `-0.5 -0.5 ${SIDE} ${SIDE}`, "aria-hidden": "true" });
    return { canvas, over, element: html("figure", {}, html("div", { class: "frame" }, canvas, over), caption) };
  };
  const original = panel(WORDS.original), result = panel(WORDS.result);

  const label = html("p", { class: "label" });
  const heads = names.map((name) => html("th", { scope: "col" }, html("span", {}, WORDS.networks[name] ?? name), html("span")));
  const cells = Array.from({ length: 10 }, (_, digit) => {
    const row = names.map((_, n) => {
      const bar = html("i", { class: `network-${n}` }), mark = html("u"), text = html("span");
      return { bar, mark, text, element: html("td", {}, html("div", {}, bar, mark), text) };
    });
    return { row, element: html("tr", {}, html("th", { scope: "row" }, String(digit)), ...row.map(({ element }) => element)) };
  });
  const table = html("table", {},
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, html("span", { class: "status" }, WORDS.digitColumn)), ...heads)),
    html("tbody", {}, ...cells.map(({ element }) => element)));

  const curveTitle = html("figcaption"), curve = svg("svg", { role: "img" });
  const status = html("p", { class: "status", role: "status" });
  compose(el, "augmenter", WORDS.figure, digits.element,
    html("div", { class: "panels" }, original.element, result.element,
      html("div", { class: "reading" }, label, table)),
    html("div", { class: "sliders" }, ...sliders.filter((slider) => slider !== share).map(({ element }) => element)),
    html("div", { class: "row" }, ...flips.map(({ element }) => element), another, reset),
    html("div", { class: "sliders" }, html("label", {}, html("span", {}, WORDS.mixture), mixture), share.element),
    partners.element,
    html("figure", { class: "curve" }, curveTitle, curve), status);

  let bend, seed, frame = 0;
  const { speak, hush } = speaker(el, status);

  /** Show on the original, as a net, at which places the pixels of the result look. */
  function showNet(settings) {
    const [columns, rows] = sources(settings, bend), lines = [];
    for (let k = 0; k < SIDE; k += 3) {
      const along = Array.from({ length: SIDE }, (_, i) => i);
      lines.push(path(along.map((i) => [columns[k * SIDE + i], rows[k * SIDE + i]])));
      lines.push(path(along.map((i) => [columns[i * SIDE + k], rows[i * SIDE + k]])));
    }
    const edge = [[0, 0], [0, SIDE - 1], [SIDE - 1, SIDE - 1], [SIDE - 1, 0], [0, 0]];
    original.over.replaceChildren(svg("path", { d: lines.join("") }),
      svg("path", { class: "top", d: path(edge.slice(0, 2).map(([i, j]) => [columns[i * SIDE + j], rows[i * SIDE + j]])) }));
  }

  /** Draw, for each network, the probability of the first digit over all positions of a slider. */
  function showCurve(settings) {
    const name = model.get("slider"), [low, high] = model.get("sliders")[name], label = labels[settings.image];
    const { height, left, right, top, bottom } = PLOT, steps = 48;
    const width = Math.max(280, Math.min(660, el.clientWidth - 26)); // so that letters keep their size
    curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const x = (value) => left + ((value - low) / (high - low)) * (width - left - right);
    const y = (part) => height - bottom - part * (height - top - bottom);
    const title = WORDS.curve(WORDS.sliders[name], label), lines = names.map(() => []);
    for (let step = 0; step <= steps; step++) {
      const value = low + (step / steps) * (high - low);
      const image = augment(images[settings.image], images[settings.partner], { ...settings, [name]: value }, bend);
      networks.forEach((network, n) => lines[n].push([value, classify(network, image)[label]]));
    }
    curveTitle.textContent = title;
    const range = (line, pick) => percent(pick(...line.map(([, part]) => part)));
    curve.setAttribute("aria-label", `${title}. ${WORDS.curveSaid(lines.map((line, n) =>
      [WORDS.networks[names[n]] ?? names[n], range(line, Math.min), range(line, Math.max)]))}`);
    const ticks = [low, (low + high) / 2, high];
    curve.replaceChildren(
      ...LEVELS.flatMap((part) => [svg("line", { class: "grid", x1: left, x2: width - right, y1: y(part), y2: y(part) }),
        svg("text", { x: left - 5, y: y(part) + 4, "text-anchor": "end" }, `${100 * part} %`)]),
      ...ticks.map((value, i) => svg("text", { x: x(value), y: height - 7, "text-anchor": ["start", "middle", "end"][i] }, WORDS.values[name](signed(value)))),
      svg("line", { class: "now", x1: x(settings[name]), x2: x(settings[name]), y1: top, y2: height - bottom }),
      ...lines.map((line, n) => svg("path", { class: `network-${n}`, d: path(line.map(([value, part]) => [x(value), y(part)])) })));
  }

  function draw() {
    frame = 0;
    const settings = model.get("settings");
    if (settings.seed !== seed || !bend) { seed = settings.seed; bend = waves(seed); }
    const image = augment(images[settings.image], images[settings.partner], settings, bend);
    const shares = target(labels[settings.image], labels[settings.partner], settings);
    digits.radios.forEach(({ radio }, n) => { radio.checked = n === settings.image; });
    partners.radios.forEach(({ radio }, n) => { radio.checked = n === settings.partner; });
    partners.element.hidden = !["mixup", "cutmix"].includes(settings.mixture);
    share.element.hidden = settings.mixture === "none";
    mixture.value = settings.mixture;
    sliders.forEach((slider) => slider.show(settings));
    flips.forEach(({ name, box }) => { box.checked = settings[name]; });
    paint(original.canvas, images[settings.image]);
    paint(result.canvas, image);
    showNet(settings);
    label.replaceChildren(`${WORDS.label} `, html("b", {}, WORDS.labelled(shares.map((part, digit) => [digit, part]).filter(([, part]) => part > 0.005))));
    const answers = networks.map((network) => classify(network, image));
    answers.forEach((parts, n) => {
      const loss = -shares.reduce((sum, share, digit) => sum + (share && share * Math.log(parts[digit])), 0);
      heads[n].lastChild.replaceChildren(`${WORDS.reads} `, html("b", {}, String(parts.indexOf(Math.max(...parts)))),
        html("small", {}, `${WORDS.loss} ${loss.toFixed(2)}`));
      parts.forEach((part, digit) => {
        const cell = cells[digit].row[n];
        cell.bar.style.width = `${100 * part}%`;
        cell.text.textContent = `${percent(part)} %`;
        cell.mark.hidden = shares[digit] < 0.005;
        cell.mark.style.left = `${100 * shares[digit]}%`;
      });
    });
    showCurve(settings);
    speak(() => WORDS.said(answers.map((parts, n) =>
      [WORDS.networks[names[n]] ?? names[n], parts.indexOf(Math.max(...parts)), percent(Math.max(...parts))])));
  }
  const later = () => { frame ||= requestAnimationFrame(draw); }; // several changes make one picture
  model.on("change:settings", later);
  model.on("change:slider", later);
  draw();
  const unwatch = onWidth(el, later, el.clientWidth);
  return () => {
    unwatch();
    model.off("change:settings", later);
    model.off("change:slider", later);
    cancelAnimationFrame(frame);
    hush();
  };
}

export default { render };
