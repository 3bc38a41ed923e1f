// Follow a gradient back through a recurrent network: see jacobian_product.py for the data.
// In this order: words, the network, drawing, the figure itself.
import { chooser, colour, compose, html, listOf, onWidth, SIGNED, sliderOf, speaker, svg } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  locale: "en",
  figure: "How far back a gradient reaches in a recurrent network",
  matrix: "recurrent matrix",
  matrices: { gaussian: "random", orthogonal: "orthogonal", triangular: "triangular (not normal)", symmetric: "symmetric" },
  activation: "activation",
  draw: "draw",
  radius: "spectral radius",
  strength: "input strength",
  plane: "eigenvalues and the unit circle",
  states: "states: one line a unit, time from left to right",
  scale: (most) => `blue −${most}, red ${most}`,
  length: "length of the gradient",
  distance: "steps back",
  lines: { bound: "bound, σ to the power of the steps", radius: "ρ to the power of the steps", measured: "measured" },
  result: (rho, sigma) => `ρ = ${rho}, largest singular value σ = ${sigma}.`,
  kept: (steps, length, bound) => `After ${steps} steps back the gradient is at most ${length} times as long; the bound allows ${bound}.`,
  reach: (steps, total) => (steps ? `It falls below a thousandth for good ${steps} steps back.` : `Within ${total} steps it does not stay below a thousandth.`),
  chart: (steps, length) => `Length of the gradient over the steps back; after ${steps} steps ${length}`,
};

const DECADES = 8; // the chart shows lengths from 10 to the power of minus this to plus this

// ---- the network ----------------------------------------------------------------------------------------------

const ACTIVATIONS = {
  identity: { apply: (z) => z, slope: () => 1 },
  tanh: { apply: Math.tanh, slope: (z) => 1 - Math.tanh(z) ** 2 },
  ReLU: { apply: (z) => (z > 0 ? z : 0), slope: (z) => (z > 0 ? 1 : 0) },
};

/** Return the largest singular value of a square matrix, row after row. */
export function spectralNorm(matrix, n) {
  // The powers of M'M, each scaled to trace 1, close in on the largest direction by squaring: nine times suffice.
  const most = matrix.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  if (!(most > 0) || !Number.isFinite(most)) return most;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += (matrix[k * n + i] / most) * (matrix[k * n + j] / most);
    gram[i * n + j] = gram[j * n + i] = sum;
  }
  let power = gram;
  for (let times = 0; times < 9; times++) {
    const square = multiply(power, power, n);
    let trace = 0;
    for (let i = 0; i < n; i++) trace += square[i * n + i];
    power = square.map((value) => value / trace);
  }
  const applied = multiply(gram, power, n);
  let value = 0;
  for (let i = 0; i < n; i++) value += applied[i * n + i];
  return most * Math.sqrt(value);
}

function multiply(a, b, n) {
  const product = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let k = 0; k < n; k++) {
    const factor = a[i * n + k];
    if (factor) for (let j = 0; j < n; j++) product[i * n + j] += factor * b[k * n + j];
  }
  return product;
}

/** Run the network; return its states, step after step, and the norms of the products of Jacobians that lead back. */
export function run({ matrix, noise, units: n, steps, before, activation, strength }) {
  const { apply, slope } = ACTIVATIONS[activation], states = new Float64Array(steps * n), slopes = new Float64Array(steps * n);
  let state = new Float64Array(n);
  for (let t = 0; t < before + steps; t++) {
    const next = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let drive = strength * noise[t * n + i];
      for (let j = 0; j < n; j++) drive += matrix[i * n + j] * state[j];
      next[i] = apply(drive);
      if (t >= before) { states[(t - before) * n + i] = next[i]; slopes[(t - before) * n + i] = slope(drive); }
    }
    state = next;
  }
  let product = new Float64Array(n * n);
  for (let i = 0; i < n; i++) product[i * n + i] = 1;
  const norms = [1];
  for (let t = steps - 1; t > 0; t--) {
    product = multiply(product, matrix.map((value, at) => slopes[t * n + Math.floor(at / n)] * value), n);
    norms.push(spectralNorm(product, n));
  }
  return { states, norms };
}

// ---- drawing --------------------------------------------------------------------------------------------------

/** Write a length: plainly where it is near 1, else as a power of ten. */
function length(value) {
  if (!Number.isFinite(value)) return "∞";
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(value));
  if (power >= -2 && power < 3) return value.toPrecision(2);
  const digits = String(power).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  return `${(value / 10 ** power).toFixed(1)}·10${digits}`;
}

// ---- the figure -----------------------------------------------------------------------------------------------

function render({ model, el }) {
  const names = model.get("names"), { draws, units, steps, before } = model.get("sizes"), limits = model.get("limits");
  const view = model.get("values"), spectra = model.get("spectra");
  const floats = Float64Array.from({ length: view.byteLength / 4 }, (_, index) => view.getFloat32(4 * index, true));
  const noise = floats.subarray(names.length * draws * units * units);
  const choose = chooser(model);

  const list = (name, values, word) => listOf(choose, name, WORDS[name], values, word);
  const slider = (name) => sliderOf(choose, name, WORDS[name], limits[name], 0.01, (value) => value.toFixed(2));
  const controls = [list("matrix", names, (name) => WORDS.matrices[name] ?? name),
    list("activation", Object.keys(ACTIVATIONS)), list("draw", Array.from({ length: draws }, (_, i) => i), (i) => String(i + 1)),
    slider("radius"), slider("strength")];
  const plane = svg("svg", { class: "plane", viewBox: "-1.6 -1.6 3.2 3.2", "aria-hidden": "true" });
  const canvas = html("canvas", { width: steps, height: units, "aria-hidden": "true" }), scale = html("span");
  const chart = svg("svg", { class: "chart", role: "img" });
  const result = html("p", { class: "result" }), kept = html("p"), status = html("p", { class: "status", role: "status" });
  const legend = html("p", { class: "legend" }, ...["measured", "radius", "bound"].map((kind) => html("span", {},
    svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("polyline", { class: kind, points: "0,6 26,6" })), WORDS.lines[kind])));
  compose(el, "jacobian-product", WORDS.figure,
    html("div", { class: "lists" }, ...controls.map(({ element }) => element)),
    html("div", { class: "columns" },
      html("div", {}, html("figure", {}, plane, html("figcaption", {}, WORDS.plane))),
      html("div", {}, chart, legend)),
    html("figure", {}, canvas, html("figcaption", {}, WORDS.states, "; ", scale)),
    html("div", { class: "words" }, result, kept), status);

  function drawChart(norms, rho, sigma) {
    const width = chart.clientWidth || 360, box = { left: 42, right: width - 10, top: 24, bottom: 190 };
    const x = (k) => box.left + ((box.right - box.left) * k) / (norms.length - 1);
    const y = (log) => box.bottom - ((box.bottom - box.top) * (Math.max(-DECADES, Math.min(DECADES, log)) + DECADES)) / (2 * DECADES);
    const text = (words, at, height, anchor = "middle", ...more) => svg("text", { x: at, y: height, "text-anchor": anchor }, words, ...more);
    const power = (value) => ["10", svg("tspan", { dy: -5, "font-size": "9px" }, String(value).replace("-", "−"))];
    const logs = (value) => norms.map((_, k) => value(k)); // a line ends where it leaves the chart
    const line = (kind, values) => {
      const end = values.findIndex((log) => Math.abs(log) > DECADES || Number.isNaN(log));
      const kept = end < 0 ? values : values.slice(0, Math.max(end, 1));
      return svg("polyline", { class: kind, points: kept.map((log, k) => `${x(k).toFixed(1)},${y(log).toFixed(1)}`).join(" ") });
    };
    const ticks = Array.from({ length: 5 }, (_, i) => Math.round((i * (norms.length - 1)) / 4));
    chart.setAttribute("height", box.bottom + 38);
    chart.replaceChildren(
      ...[-8, -4, 0, 4, 8].flatMap((log) => [
        svg("line", { class: log ? "rule" : "one", x1: box.left, x2: box.right, y1: y(log), y2: y(log) }),
        text("", box.left - 6, y(log) + 4, "end", ...power(log))]),
      ...ticks.map((k) => text(String(k), x(k), box.bottom + 16)),
      text(WORDS.length, 2, 12, "start"), text(WORDS.distance, (box.left + box.right) / 2, box.bottom + 34),
      line("bound", logs((k) => k * Math.log10(sigma))), line("radius", logs((k) => k * Math.log10(rho))),
      line("measured", norms.map((value) => Math.log10(value))));
  }

  function show() {
    const choice = model.get("choice"), kind = names.indexOf(choice.matrix) * draws + choice.draw, size = units * units;
    const matrix = floats.slice(kind * size, (kind + 1) * size).map((value) => choice.radius * value);
    const { states, norms } = run({ ...choice, matrix, noise, units, steps, before });
    controls.forEach((control) => control.show(choice));
    const [largest, ...parts] = spectra[kind], sigma = choice.radius * largest;
    const circle = (kind, r) => svg("circle", { class: kind, cx: 0, cy: 0, r });
    plane.replaceChildren(svg("path", { class: "axes", d: "M-1.6 0H1.6M0 -1.6V1.6" }), circle("one", 1), circle("radius", choice.radius),
      ...parts.slice(0, units).map((real, i) =>
        svg("circle", { class: "eigenvalue", cx: choice.radius * real, cy: -choice.radius * parts[units + i], r: 0.055 })));
    const finite = states.reduce((most, value) => Math.max(most, Math.abs(value)), 0), most = choice.activation === "tanh" ? 1 : finite || 1;
    const pen = canvas.getContext("2d"), picture = pen.createImageData(steps, units);
    for (let t = 0; t < steps; t++) for (let i = 0; i < units; i++)
      picture.data.set([...colour(SIGNED, 0.5 + states[t * units + i] / (2 * most)), 255], 4 * (i * steps + t));
    pen.putImageData(picture, 0, 0);
    scale.textContent = WORDS.scale(length(most));
    drawChart(norms, choice.radius, sigma);
    const half = Math.floor(steps / 2), below = norms.findLastIndex((value) => !(value < 1e-3)) + 1;
    result.textContent = WORDS.result(choice.radius.toFixed(2), sigma.toFixed(2));
    kept.textContent = `${WORDS.kept(half, length(norms[half]), length(sigma ** half))} ${WORDS.reach(below < norms.length ? below : 0, norms.length - 1)}`;
    chart.setAttribute("aria-label", WORDS.chart(half, length(norms[half])));
  }

  const { speak, hush } = speaker(el, status);
  const change = () => {
    show();
    speak(() => `${result.textContent} ${kept.textContent}`);
  };
  model.on("change:choice", change);
  const unwatch = onWidth(el, show);
  return () => {
    model.off("change:choice", change);
    unwatch();
    hush();
  };
}

export default { render };
