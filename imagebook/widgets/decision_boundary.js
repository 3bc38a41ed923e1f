// Watch the decision boundary of a small network move as it trains: see decision_boundary.py for the data.
// In this order: words, the network, the plane, the loss, the figure itself.
import { chooser, clamp, compose, decimal, html, listOf, onArrows, onPoint, onWidth, OWN_KEYS, player, speaker, svg } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  locale: "en",
  figure: "Decision boundary of a small network, step by step",
  data: "points",
  datum: { clouds: "four clouds", rings: "two rings", spirals: "two spirals", digits: "fours and nines" },
  hidden: "hidden units",
  layers: (widths) => (widths.length === 1 ? String(widths[0]) : `${widths.join(" + ")} in ${widths.length} layers`),
  activation: "activation",
  seed: "first weights",
  draw: (seed) => `draw ${seed + 1}`,
  step: "step",
  play: "Play",
  stop: "Stop",
  fresh: "Show new points",
  plane: "The plane. Click, or use the arrow keys, to move the probe.",
  loss: "loss",
  beyond: "▲ goes on beyond this axis",
  training: "training points",
  newPoints: "new points",
  boundary: "decision boundary",
  folds: { ReLU: "a hidden unit switches here", tanh: "a hidden unit is zero here",
    linear: "a hidden unit is zero here, and nothing bends" },
  classes: ["class 0", "class 1"],
  wrong: "answered wrongly",
  probe: "the probe",
  result: (step, loss, right, fresh) =>
    `Step ${step}: loss ${loss}; ${right} of the training points answered rightly, ${fresh} of the new ones.`,
  size: (parameters, pieces) =>
    `${parameters} parameters` + (pieces ? `; ${pieces} ${pieces === 1 ? "piece" : "pieces"} of the plane in view.` : "."),
  percent: (part) => `${(100 * part).toFixed(1)} %`,
  chart: (start, end, at) => `Loss over the steps, training from ${start} to ${end}; ${at} at the step shown`,
  pass: "The probe on its way through the network",
  input: "the point",
  sums: (layer) => `weighted sums, layer ${layer}`,
  outputs: (activation) => ({ linear: "passed on unchanged", tanh: "after tanh", ReLU: "after ReLU" })[activation],
  logits: "logits",
  probabilities: "probabilities",
};

const REACH = 2.5; // the plane is drawn from -REACH to REACH, both ways
const CELLS = 100; // points of the lattice along a side on which the network is computed
const SIDE = 400; // units of the drawing along a side

// ---- the network ----------------------------------------------------------------------------------------------

const FUNCTIONS = { linear: (z) => z, tanh: Math.tanh, ReLU: (z) => (z > 0 ? z : 0) };

/** Turn float16, as bits, into a number. */
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, power = (bits >> 10) & 31, part = bits & 1023;
  if (power === 31) return part ? NaN : sign * Infinity;
  return sign * (power ? (1 + part / 1024) * 2 ** (power - 15) : part * 2 ** -24);
}

function halves({ buffer, byteOffset, byteLength }, from = 0, count = byteLength / 2 - from) {
  const view = new DataView(buffer, byteOffset + 2 * from, 2 * count);
  return Float64Array.from({ length: count }, (_, index) => half(view.getUint16(2 * index, true)));
}

const countParameters = (sizes) => sizes.slice(1).reduce((sum, outputs, i) => sum + (sizes[i] + 1) * outputs, 0);

/** Find the weights of any run at any step among the bytes: the last factor counts fastest, as in Python. */
export function open(bytes, factors) {
  const sizes = factors.hidden.map((hidden) => [2, ...String(hidden).split("+").map(Number), 2]);
  const counts = sizes.map(countParameters), before = (end) => counts.slice(0, end).reduce((a, b) => a + b, 0);
  const { activation, seed, step } = factors, repeats = activation.length * seed.length * step.length;
  return (choice) => {
    const place = (name) => factors[name].indexOf(choice[name]), hidden = place("hidden");
    const within = (place("activation") * seed.length + place("seed")) * step.length + place("step");
    const at = repeats * (place("data") * before(counts.length) + before(hidden)) + within * counts[hidden];
    const values = halves(bytes, at, counts[hidden]), layers = [];
    let next = 0;
    for (const [i, outputs] of sizes[hidden].slice(1).entries()) {
      const inputs = sizes[hidden][i];
      layers.push({ inputs, outputs, kernel: values.subarray(next, next + inputs * outputs),
        bias: values.subarray(next + inputs * outputs, next + (inputs + 1) * outputs) });
      next += (inputs + 1) * outputs;
    }
    return { layers, parameters: counts[hidden], activation: choice.activation };
  };
}

/** Send points, given as lists of x and of y, through the network: of each layer the sums and the outputs of each unit. */
export function forward({ layers, activation }, xs, ys) {
  const sums = [], outputs = [[xs, ys]];
  for (const { inputs, outputs: width, kernel, bias } of layers) {
    sums.push(Array.from({ length: width }, (_, n) => {
      const sum = new Float64Array(xs.length).fill(bias[n]);
      for (let i = 0; i < inputs; i++) {
        const weight = kernel[i * width + n], from = outputs.at(-1)[i];
        for (let at = 0; at < sum.length; at++) sum[at] += weight * from[at];
      }
      return sum;
    }));
    outputs.push(sums.at(-1).map((sum) => sum.map(FUNCTIONS[activation])));
  }
  return { sums, outputs: outputs.slice(0, -1) }; // the last sums are the logits, and no function follows
}

/** Return how much greater the logit of class 1 is than that of class 0, for each point. */
const lead = ({ sums }) => sums.at(-1)[1].map((one, at) => one - sums.at(-1)[0][at]);

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

/** Return loss, share of right answers and the answers for points, { xs, ys, labels }. */
function judge(network, { xs, ys, labels }) {
  const leads = lead(forward(network, xs, ys)), answers = leads.map((value) => (value > 0 ? 1 : 0));
  const losses = leads.map((value, at) => -Math.log(Math.max(sigmoid(labels[at] ? value : -value), 1e-12)));
  const mean = (values) => values.reduce((a, b) => a + b) / values.length;
  return { loss: mean(losses), right: mean(answers.map((answer, at) => (answer === labels[at] ? 1 : 0))), answers };
}

// ---- the plane ------------------------------------------------------------------------------------------------

const across = (x) => ((x + REACH) / (2 * REACH)) * SIDE, down = (y) => SIDE - across(y);
const lattice = (index) => ((index + 0.5) / CELLS) * 2 * REACH - REACH;

const XS = Float64Array.from({ length: CELLS ** 2 }, (_, at) => lattice(at % CELLS));
const YS = Float64Array.from({ length: CELLS ** 2 }, (_, at) => lattice(Math.floor(at / CELLS)));

/** Compute the network on the lattice: the lead of class 1, the sums of all hidden units, and how many patterns of
 * units on and off there are, each of which is one flat piece of a ReLU network. */
function compute(network) {
  const passed = forward(network, XS, YS), units = passed.sums.slice(0, -1).flat(), patterns = new Set();
  for (let at = 0; at < XS.length; at++) patterns.add(units.reduce((key, sums) => 2 * key + (sums[at] > 0 ? 1 : 0), 0));
  const pieces = { ReLU: patterns.size, linear: 1, tanh: 0 }[network.activation];
  return { leads: lead(passed), units, pieces };
}

/** Return the path along which values on the lattice are zero: in each cell straight pieces between its edges. */
function zeroPath(values) {
  const pieces = [], place = (row, column) => [across(lattice(column)), down(lattice(row))];
  const corners = [[0, 0], [0, 1], [1, 1], [1, 0]];
  for (let row = 0; row < CELLS - 1; row++) for (let column = 0; column < CELLS - 1; column++) {
    const at = row * CELLS + column;
    const ends = [];
    for (let side = 0; side < 4; side++) {
      const [a, b] = [corners[side], corners[(side + 1) % 4]];
      const u = values[at + a[0] * CELLS + a[1]], v = values[at + b[0] * CELLS + b[1]];
      if (u > 0 === v > 0) continue;
      const part = u / (u - v), [from, to] = [place(row + a[0], column + a[1]), place(row + b[0], column + b[1])];
      ends.push(from.map((value, axis) => (value + part * (to[axis] - value)).toFixed(1)));
    }
    for (let i = 0; i + 1 < ends.length; i += 2) pieces.push(`M${ends[i]}L${ends[i + 1]}`);
  }
  return pieces.join("");
}

// Pale twins of the two colours of the points, with white between them, where the network is undecided.
const PALE = [[133, 173, 214], [255, 255, 255], [240, 178, 132]];

function paint(canvas, leads) {
  const pen = canvas.getContext("2d"), picture = pen.createImageData(CELLS, CELLS);
  leads.forEach((value, at) => {
    const place = 2 * sigmoid(value), low = Math.min(Math.floor(place), 1), part = place - low;
    const row = CELLS - 1 - Math.floor(at / CELLS), start = 4 * (row * CELLS + (at % CELLS));
    for (let i = 0; i < 3; i++) picture.data[start + i] = PALE[low][i] + part * (PALE[low + 1][i] - PALE[low][i]);
    picture.data[start + 3] = 255;
  });
  pen.putImageData(picture, 0, 0);
}

/** Return the mark of a point: a disc for class 0, a triangle for class 1. */
function mark(label, x, y, size) {
  if (!label) return svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: size });
  const corners = [[0, -1.3], [1.2, 0.8], [-1.2, 0.8]];
  return svg("polygon", { points: corners.map(([u, v]) => [x + u * size, y + v * size].map((w) => w.toFixed(1))).join(" ") });
}

// ---- the loss -------------------------------------------------------------------------------------------------

/** Draw the loss of training and new points over the steps; return what a click at a place chooses. */
function drawLoss(chart, steps, curves, chosen) {
  const width = chart.clientWidth || 300, box = { left: 40, right: width - 12, top: 24, bottom: 120 };
  const greatest = Math.max(...curves.training, ...curves.fresh), most = Math.max(0.8, Math.min(2, greatest));
  const marks = (most < 1 ? [0, 0.25, 0.5, 0.75] : [0, 0.5, 1, 1.5, 2]).filter((value) => value <= most);
  const x = (index) => box.left + 4 + ((box.right - box.left - 4) * index) / (steps.length - 1);
  const y = (loss) => box.bottom - ((box.bottom - box.top) * Math.min(loss, most)) / most;
  const text = (words, at, height, anchor = "middle") => svg("text", { x: at, y: height, "text-anchor": anchor }, words);
  const line = (kind) => svg("polyline", { class: kind, points: curves[kind].map((loss, i) => `${x(i)},${y(loss).toFixed(1)}`).join(" ") });
  const wanted = Math.max(1, Math.ceil(46 / ((box.right - box.left) / (steps.length - 1))));
  chart.setAttribute("height", box.bottom + 40);
  chart.replaceChildren(
    ...marks.flatMap((value) => [
      svg("line", { class: "rule", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }), text(value, box.left - 6, y(value) + 4, "end")]),
    ...steps.map((step, i) => ((steps.length - 1 - i) % wanted ? "" : text(step.toLocaleString(WORDS.locale), x(i), box.bottom + 18))),
    text(WORDS.loss, 2, 12, "start"), text(WORDS.step, (box.left + box.right) / 2, box.bottom + 36),
    svg("line", { class: "now", x1: x(chosen), x2: x(chosen), y1: box.top - 4, y2: box.bottom }), line("fresh"), line("training"),
    greatest > most ? text(WORDS.beyond, box.right, 12, "end") : "");
  return (place) => steps[Math.max(0, Math.min(steps.length - 1, Math.round(((place - x(0)) / (x(1) - x(0))))))];
}

// ---- the figure -----------------------------------------------------------------------------------------------

function render({ model, el }) {
  const factors = model.get("factors"), steps = factors.step, find = open(model.get("weights"), factors);
  const coordinates = halves(model.get("points")), labels = model.get("labels"), training = model.get("training");
  const each = labels.byteLength / factors.data.length;
  const points = factors.data.map((_, set) => {
    const axis = (side) => Float64Array.from({ length: each }, (_, i) => coordinates[2 * (set * each + i) + side]);
    return { xs: axis(0), ys: axis(1), labels: Uint8Array.from({ length: each }, (_, i) => labels.getUint8(set * each + i)) };
  });
  const part = ({ xs, ys, labels }, ...range) =>
    ({ xs: xs.subarray(...range), ys: ys.subarray(...range), labels: labels.subarray(...range) });
  const choose = chooser(model), list = (name, word) => listOf(choose, name, WORDS[name], factors[name], word);
  const lists = [list("data", (name) => WORDS.datum[name] ?? name),
    list("hidden", (hidden) => WORDS.layers(String(hidden).split("+"))), list("activation"), list("seed", WORDS.draw)];
  const slider = html("input", { type: "range", min: 0, max: steps.length - 1, step: 1, ...OWN_KEYS });
  const value = html("span", { class: "value", "aria-hidden": "true" }); // the slider itself says it
  const play = html("button", { type: "button", ...OWN_KEYS }, WORDS.play);
  const fresh = html("input", { type: "checkbox", ...OWN_KEYS });
  const canvas = html("canvas", { width: CELLS, height: CELLS, "aria-hidden": "true" });
  const folds = svg("path", { class: "fold" }), boundary = svg("path", { class: "boundary" });
  const dots = svg("g"), cross = svg("path", { class: "probe" });
  const plane = html("div", { class: "plane", role: "application", tabindex: 0, "aria-label": WORDS.plane, ...OWN_KEYS },
    canvas, svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" }, folds, boundary, dots, cross));
  const result = html("p", { class: "result" }), size = html("p"), status = html("p", { class: "status", role: "status" });
  const chart = svg("svg", { class: "chart", role: "img" }), legend = html("p", { class: "legend" });
  const foldWords = html("span"), pass = html("dl");
  const sample = (shape, ...words) => html("span", {},
    svg("svg", { width: 24, height: 14, "aria-hidden": "true" }, shape), ...words);
  const stroke = (kind) => svg("path", { class: kind, d: "M0 7H24" });
  const dot = (label, kind = "") => {
    const shape = mark(label, 12, 7, 4.5);
    shape.setAttribute("class", `dot class${label} ${kind}`);
    return shape;
  };
  legend.append(sample(dot(0), WORDS.classes[0]), sample(dot(1), WORDS.classes[1]), sample(dot(0, "wrong"), WORDS.wrong),
    sample(stroke("boundary"), WORDS.boundary), sample(stroke("fold"), foldWords),
    sample(svg("path", { class: "probe", d: "M12 0V14M5 7H19" }), WORDS.probe));
  const chartLegend = html("p", { class: "legend" },
    sample(svg("polyline", { class: "training", points: "0,7 24,7" }), WORDS.training),
    sample(svg("polyline", { class: "fresh", points: "0,7 24,7" }), WORDS.newPoints));
  compose(el, "decision-boundary", WORDS.figure,
    html("div", { class: "lists" }, ...lists.map(({ element }) => element)),
    html("div", { class: "columns" },
      html("div", {}, plane),
      html("div", {},
        html("div", { class: "steps" }, play, html("label", {}, html("span", {}, WORDS.step), slider), value),
        html("label", { class: "check" }, fresh, html("span", {}, WORDS.fresh)),
        result, size, chart, chartLegend)),
    legend, html("div", { class: "pass" }, html("b", {}, WORDS.pass), pass), status);

  let network, shownRun = "", curves, chosenAt, drawnSet;

  /** Draw the points of a data set; which of them are answered wrongly, `show` marks at each step. */
  function drawPoints(name) {
    drawnSet = name;
    const { xs, ys, labels } = points[factors.data.indexOf(name)];
    dots.replaceChildren(...Array.from(labels, (label, index) => {
      const shape = mark(label, across(xs[index]), down(ys[index]), index < training ? 4 : 2.6);
      shape.setAttribute("class", `dot class${label} ${index < training ? "" : "new"}`);
      return shape;
    }));
  }

  /** Write out what each layer makes of the probe. */
  function showProbe() {
    const point = model.get("probe"), passed = forward(network, [point[0]], [point[1]]);
    const [sums, outputs] = [passed.sums, passed.outputs].map((all) => all.map((units) => units.map(([value]) => value)));
    const [x, y] = [across(point[0]), down(point[1])];
    cross.setAttribute("d", `M${x} ${y - 11}V${y + 11}M${x - 11} ${y}H${x + 11}`);
    const p = sigmoid(lead(passed)[0]), rows = [[WORDS.input, point]];
    sums.slice(0, -1).forEach((sum, layer) => rows.push([WORDS.sums(layer + 1), sum], [WORDS.outputs(network.activation), outputs[layer + 1]]));
    rows.push([WORDS.logits, sums.at(-1)], [WORDS.probabilities, [1 - p, p]]);
    pass.replaceChildren(...rows.flatMap(([words, values]) =>
      [html("dt", {}, words), html("dd", {}, ...values.map((one) => html("span", {}, decimal(one))))]));
  }

  function show() {
    const choice = model.get("choice"), own = points[factors.data.indexOf(choice.data)];
    const parts = [part(own, 0, training), part(own, training)], run = JSON.stringify({ ...choice, step: 0 });
    network = find(choice);
    if (run !== shownRun) { // the curves are those of the whole run
      shownRun = run;
      const losses = steps.map((step) => parts.map((points) => judge(find({ ...choice, step }), points).loss));
      curves = { training: losses.map(([first]) => first), fresh: losses.map(([, last]) => last) };
    }
    if (drawnSet !== choice.data) drawPoints(choice.data);
    const { leads, units, pieces } = compute(network);
    paint(canvas, leads);
    boundary.setAttribute("d", zeroPath(leads));
    folds.setAttribute("d", units.map(zeroPath).join(""));
    foldWords.textContent = WORDS.folds[choice.activation];
    const [learnt, met] = parts.map((points) => judge(network, points)), answers = [...learnt.answers, ...met.answers];
    [...dots.children].forEach((shape, index) => shape.classList.toggle("wrong", answers[index] !== own.labels[index]));
    lists.forEach((one) => one.show(choice));
    const at = steps.indexOf(choice.step), stepText = choice.step.toLocaleString(WORDS.locale);
    slider.value = at;
    slider.setAttribute("aria-valuetext", stepText);
    value.textContent = stepText;
    const loss = (value) => value.toFixed(3);
    result.textContent = WORDS.result(stepText, loss(learnt.loss), WORDS.percent(learnt.right), WORDS.percent(met.right));
    size.textContent = WORDS.size(network.parameters, pieces);
    chosenAt = drawLoss(chart, steps, curves, at);
    chart.setAttribute("aria-label", WORDS.chart(loss(curves.training[0]), loss(curves.training.at(-1)), loss(learnt.loss)));
    showProbe();
  }

  const { speak, hush } = speaker(el, status), tell = () => speak(() => `${result.textContent} ${size.textContent}`);
  const { halt, playing } = player(play, WORDS, 500, { model, name: "step", values: steps, done: tell });
  const change = () => { show(); if (playing()) hush(); else tell(); };
  slider.addEventListener("input", () => { halt(); choose({ step: steps[slider.value] }); });
  chart.addEventListener("click", (event) => { halt(); choose({ step: chosenAt(event.clientX - chart.getBoundingClientRect().left) }); });
  fresh.addEventListener("change", () => el.classList.toggle("with-new", fresh.checked));

  const moveProbe = (x, y) => {
    model.set("probe", [x, y].map((value) => clamp(Math.round(value * 100) / 100, [-REACH, REACH])));
    model.save_changes();
  };
  onPoint(plane, (event) => {
    const box = plane.getBoundingClientRect(), part = (at, from, length) => ((at - from) / length) * 2 * REACH - REACH;
    moveProbe(part(event.clientX, box.left, box.width), -part(event.clientY, box.top, box.height));
  });
  onArrows(plane, (right, up) => {
    const [x, y] = model.get("probe");
    moveProbe(x + 0.1 * right, y + 0.1 * up);
  });
  const probeMoved = () => {
    showProbe();
    speak(() => {
      const cells = [...pass.querySelectorAll("dd")], text = (cell) => [...cell.children].map((one) => one.textContent).join(", ");
      return `${WORDS.input} ${text(cells[0])}: ${WORDS.probabilities} ${text(cells.at(-1))}`;
    });
  };

  model.on("change:choice", change);
  model.on("change:probe", probeMoved);
  const unwatch = onWidth(el, show);
  return () => {
    model.off("change:choice", change);
    model.off("change:probe", probeMoved);
    unwatch();
    hush();
    halt();
  };
}

export default { render };
