// Replay a generator and a discriminator on the line: see adversarial_game.py for the data.
import { chooser, compose, decimal, html, listOf, onWidth, OWN_KEYS, player, speaker, svg } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  locale: "en",
  figure: "A generator and a discriminator, step by step",
  run: "training",
  data: "data",
  step: "step",
  play: "Play",
  stop: "Stop",
  lines: { data: "data", generated: "generated", discriminator: "discriminator D", critic: "critic (its own scale)" },
  force: "force on a sample",
  density: "density",
  real: "D",
  axis: "x",
  distance: "distance between generated and data",
  chart: (step, distance) => `Densities and discriminator at step ${step}; distance ${distance}`,
  course: (start, now, end) => `Distance over the steps, from ${start} to ${end}; ${now} at the step shown`,
  result: (step, distance) => `Step ${step}: distance ${distance}.`,
  judged: (low, high) => `D of the generated samples: from ${low} to ${high} (½ means that it cannot tell).`,
  scored: (low, high) => `The critic scores generated samples from ${low} to ${high}; only differences matter.`,
  pushed: (force) => `The largest force on a sample is ${force}.`,
};

/** Turn float16, as bits, into a number. */
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, power = (bits >> 10) & 31, part = bits & 1023;
  if (power === 31) return part ? NaN : sign * Infinity;
  return sign * (power ? (1 + part / 1024) * 2 ** (power - 15) : part * 2 ** -24);
}

/** Cut the bytes into arrays; return what belongs to a choice. */
export function open(view, { run, data, step }, { points, samples }) {
  const all = Float64Array.from({ length: view.byteLength / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
  const frames = run.length * data.length * step.length;
  const lengths = { x: points, p_data: data.length * points, p_generated: frames * points, discriminator: frames * points,
    samples: frames * samples, gradients: frames * samples, distance: frames };
  let at = 0;
  const arrays = Object.fromEntries(Object.entries(lengths).map(([name, length]) => [name, all.subarray(at, (at += length))]));
  return (choice) => {
    const set = data.indexOf(choice.data), course = (run.indexOf(choice.run) * data.length + set) * step.length;
    const frame = course + step.indexOf(choice.step), piece = (name, from, length) => arrays[name].subarray(from * length, (from + 1) * length);
    return { x: arrays.x, data: piece("p_data", set, points), generated: piece("p_generated", frame, points),
      discriminator: piece("discriminator", frame, points), samples: piece("samples", frame, samples),
      gradients: piece("gradients", frame, samples), distance: arrays.distance.subarray(course, course + step.length) };
  };
}

/** Return the value between the points of a curve. */
function read(xs, ys, x) {
  const at = Math.max(0, Math.min(xs.length - 2, xs.findLastIndex((value) => value <= x)));
  const part = Math.max(0, Math.min(1, (x - xs[at]) / (xs[at + 1] - xs[at])));
  return ys[at] + part * (ys[at + 1] - ys[at]);
}

function render({ model, el }) {
  const factors = model.get("factors"), steps = factors.step, critics = model.get("critic");
  const find = open(model.get("values"), factors, model.get("sizes"));
  const choose = chooser(model), lists = ["run", "data"].map((name) => listOf(choose, name, WORDS[name], factors[name]));
  const play = html("button", { type: "button", ...OWN_KEYS }, WORDS.play), value = html("b", { "aria-hidden": "true" });
  const slider = html("input", { type: "range", min: 0, max: steps.length - 1, step: 1, ...OWN_KEYS });
  const chart = svg("svg", { class: "chart", role: "img" }), course = svg("svg", { class: "course", role: "img" });
  const kind = html("span"), result = html("p"), more = html("p"), status = html("p", { class: "status", role: "status" });
  const sample = (shape, ...words) => html("span", {}, svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, shape), ...words);
  const stroke = (name) => svg("path", { class: name, d: "M0 6H26" });
  const legend = html("p", { class: "legend" }, sample(svg("rect", { class: "data", width: 26, height: 12 }), WORDS.lines.data),
    sample(stroke("generated"), WORDS.lines.generated), sample(stroke("discriminator"), kind),
    sample(svg("path", { class: "force", d: "M2 6H22M17 2L22 6L17 10" }), WORDS.force));
  compose(el, "adversarial-game", WORDS.figure,
    html("div", { class: "lists" }, ...lists.map(({ element }) => element),
      html("div", { class: "steps" }, play, html("label", {}, html("span", {}, WORDS.step, " ", value), slider))),
    chart, legend, html("p", { class: "heading" }, WORDS.distance), course, html("div", { class: "words" }, result, more), status);

  // One scale of force for all trainings whose discriminator is a probability, so that a force that fades is seen to.
  const scales = new Map();
  function scale(choice) {
    const critic = critics.includes(choice.run), key = `${critic} ${choice.data}`;
    if (!scales.has(key)) {
      const all = factors.run.filter((run) => critics.includes(run) === critic).flatMap((run) =>
        steps.flatMap((step) => Array.from(find({ ...choice, run, step }).gradients, Math.abs))).sort((a, b) => a - b);
      scales.set(key, all[Math.floor(0.9 * (all.length - 1))] || 1);
    }
    return scales.get(key);
  }

  const text = (words, x, y, anchor = "middle") => svg("text", { x, y, "text-anchor": anchor }, words);

  function drawChart(choice, frame, critic) {
    const width = chart.clientWidth || 400, box = { left: 34, right: width - 34, top: 22, bottom: 200 };
    const { x: xs, data, generated, discriminator, samples, gradients } = frame, first = xs[0], last = xs.at(-1);
    const most = 1.25 * Math.max(...data), x = (at) => box.left + ((at - first) / (last - first)) * (box.right - box.left);
    const y = (part) => box.bottom - Math.max(0, Math.min(1, part)) * (box.bottom - box.top);
    const low = critic ? Math.min(...discriminator) : 0, high = critic ? Math.max(...discriminator) : 1;
    const line = (values) => Array.from(values, (v, i) => `${x(xs[i]).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
    const longest = (box.right - box.left) / 8, unit = scale(choice), inside = (at) => Math.max(first, Math.min(last, at));
    const ticks = Array.from({ length: 5 }, (_, i) => first + (i * (last - first)) / 4);
    chart.setAttribute("height", box.bottom + 62);
    chart.replaceChildren(
      svg("polygon", { class: "data", points: `${x(first)},${box.bottom} ${line(data.map((v) => v / most))} ${x(last)},${box.bottom}` }),
      svg("line", { class: "rule", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
      critic ? "" : svg("line", { class: "rule", x1: box.left, x2: box.right, y1: y(0.5), y2: y(0.5) }),
      svg("polyline", { class: "generated", points: line(generated.map((v) => v / most)) }),
      svg("polyline", { class: "discriminator", points: line(discriminator.map((v) => (v - low) / (high - low || 1))) }),
      ...Array.from(samples, (at, i) => {
        const start = x(inside(at)), push = Math.max(-1, Math.min(1, gradients[i] / unit)) * longest, end = start + push;
        const height = box.bottom + 10 + 2.2 * (i % 12), head = Math.min(4, Math.abs(push)) * Math.sign(push);
        return svg("path", { class: "force", d: `M${start.toFixed(1)} ${height}H${end.toFixed(1)}` +
          (Math.abs(push) > 1.5 ? `M${(end - head).toFixed(1)} ${height - 3}L${end.toFixed(1)} ${height}L${(end - head).toFixed(1)} ${height + 3}` : "") });
      }),
      ...Array.from(samples, (at, i) => svg("circle", { class: "dot", cx: x(inside(at)).toFixed(1), cy: box.bottom + 10 + 2.2 * (i % 12), r: 2.2 })),
      ...ticks.map((at) => text(decimal(at, 1), x(at), box.bottom + 54)),
      text(WORDS.density, 2, 12, "start"), critic ? "" : text(WORDS.real, width - 14, 12),
      ...(critic ? [] : [["0", 0], ["½", 0.5], ["1", 1]].map(([words, part]) => text(words, box.right + 14, y(part) + 4))));
  }

  function drawCourse(frame, at) {
    const width = course.clientWidth || 400, box = { left: 34, right: width - 34, top: 6, bottom: 76 };
    const most = Math.max(...frame.distance) || 1, x = (i) => box.left + ((box.right - box.left) * i) / (steps.length - 1);
    const y = (v) => box.bottom - ((box.bottom - box.top) * v) / most;
    course.setAttribute("height", box.bottom + 20);
    course.replaceChildren(
      svg("line", { class: "rule", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
      svg("line", { class: "now", x1: x(at), x2: x(at), y1: box.top, y2: box.bottom }),
      svg("polyline", { class: "generated", points: Array.from(frame.distance, (v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" ") }),
      text("0", box.left - 6, box.bottom + 4, "end"), text(decimal(most, 1), box.left - 6, box.top + 8, "end"),
      ...[0, Math.floor((steps.length - 1) / 2), steps.length - 1].map((i) => text(steps[i].toLocaleString(WORDS.locale), x(i), box.bottom + 16)));
  }

  function show() {
    const choice = model.get("choice"), frame = find(choice), critic = critics.includes(choice.run), at = steps.indexOf(choice.step);
    const step = choice.step.toLocaleString(WORDS.locale), distance = decimal(frame.distance[at], 3);
    lists.forEach((one) => one.show(choice));
    slider.value = at;
    slider.setAttribute("aria-valuetext", step);
    value.textContent = step;
    kind.textContent = WORDS.lines[critic ? "critic" : "discriminator"];
    drawChart(choice, frame, critic);
    drawCourse(frame, at);
    const judged = Array.from(frame.samples, (x) => read(frame.x, frame.discriminator, x));
    const force = frame.gradients.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    result.textContent = `${WORDS.result(step, distance)} ${WORDS.pushed(decimal(force, 3))}`;
    more.textContent = WORDS[critic ? "scored" : "judged"](decimal(Math.min(...judged)), decimal(Math.max(...judged)));
    chart.setAttribute("aria-label", WORDS.chart(step, distance));
    course.setAttribute("aria-label", WORDS.course(decimal(frame.distance[0], 3), distance, decimal(frame.distance.at(-1), 3)));
  }

  const { speak, hush } = speaker(el, status), tell = () => speak(() => `${result.textContent} ${more.textContent}`);
  const { halt, playing } = player(play, WORDS, 250, { model, name: "step", values: steps, done: tell });
  const change = () => { show(); if (playing()) hush(); else tell(); };
  slider.addEventListener("input", () => { halt(); choose({ step: steps[slider.value] }); });
  model.on("change:choice", change);
  const unwatch = onWidth(el, show);
  return () => {
    model.off("change:choice", change);
    unwatch();
    hush();
    halt();
  };
}

export default { render };
