// Uncover a digit row by row: see row_reader.py for the data.
import { chooser, clamp, compose, html, listOf, onWidth, OWN_KEYS, player, speaker, svg } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  locale: "en",
  figure: "A digit uncovered row by row, and what a network believes after each row",
  digits: "digit",
  digit: (label, number) => `a ${label}, number ${number}`,
  network: "network",
  rows: "rows uncovered",
  play: "Uncover",
  stop: "Stop",
  picture: (rows, total) => `The digit, ${rows} of ${total} rows uncovered`,
  now: "probability of each class now",
  map: "probability of each class after each row",
  mapHelp: "stronger colour, greater probability; a click chooses a row",
  chart: (answer, percent) => `Probability of each class, row after row; now the most probable is ${answer} with ${percent}`,
  belief: (rows, first, p, second, q) => `After ${rows} rows: ${first} with ${p}, then ${second} with ${q}.`,
  settled: (answer, row, right) => `From row ${row} on the answer is ${answer} and stays so, which is ${right ? "right" : "wrong"}.`,
  open: "The answer will change again.",
  percent: (part) => `${Math.round(100 * part)} %`,
};

/** Return the places of the two greatest values, the greatest first. */
const leaders = (values) => values.map((value, index) => [value, index]).sort((a, b) => b[0] - a[0]).map(([, index]) => index);

/** Return the row from which on the most probable class does not change any more, counted from 1. */
export function settles(beliefs) {
  const answers = beliefs.map((values) => leaders(values)[0]), last = answers.at(-1);
  return answers.findLastIndex((answer) => answer !== last) + 2;
}

function render({ model, el }) {
  const [count, rows, columns, classes] = model.get("shape"), names = model.get("names"), labels = model.get("labels");
  const bytes = (name) => { const view = model.get(name); return new Uint8Array(view.buffer, view.byteOffset, view.byteLength); };
  const pixels = bytes("pixels"), probabilities = bytes("probabilities");
  const choose = chooser(model);

  /** Paint the first rows of a digit; the others stay as the page is. */
  function paint(canvas, image, uncovered) {
    const pen = canvas.getContext("2d"), picture = pen.createImageData(columns, rows);
    for (let at = 0; at < uncovered * columns; at++) {
      const grey = pixels[image * rows * columns + at];
      picture.data.set([grey, grey, grey, 255], 4 * at);
    }
    pen.putImageData(picture, 0, 0);
  }

  const digits = labels.map((label, image) => {
    const canvas = html("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    paint(canvas, image, rows);
    const button = html("button", { type: "button", "aria-label": WORDS.digit(label, image + 1), ...OWN_KEYS }, canvas);
    button.addEventListener("click", () => choose({ image }));
    return button;
  });
  const network = listOf(choose, "network", WORDS.network, names);
  const slider = html("input", { type: "range", min: 1, max: rows, step: 1, ...OWN_KEYS });
  const value = html("b", { "aria-hidden": "true" }), play = html("button", { type: "button", ...OWN_KEYS }, WORDS.play);
  const canvas = html("canvas", { width: columns, height: rows, role: "img" });
  const bars = Array.from({ length: classes }, () => ({ bar: html("i"), part: html("span") }));
  const map = svg("svg", { class: "map", role: "img" });
  const belief = html("p"), settled = html("p"), status = html("p", { class: "status", role: "status" });
  compose(el, "row-reader", WORDS.figure,
    html("div", { class: "digits", role: "group", "aria-label": WORDS.digits }, ...digits),
    html("div", { class: "lists" },
      network.element,
      html("div", { class: "steps" }, play, html("label", {}, html("span", {}, WORDS.rows, " ", value), slider))),
    html("div", { class: "columns" },
      html("div", { class: "picture" }, canvas),
      html("div", {}, html("p", { class: "heading" }, WORDS.now),
        html("ol", {}, ...bars.map(({ bar, part }, label) => html("li", {}, html("b", {}, String(label)), html("em", {}, bar), part))))),
    html("p", { class: "heading" }, WORDS.map, html("span", {}, WORDS.mapHelp)), map,
    html("div", { class: "words" }, belief, settled), status);

  function drawMap(beliefs, row, label) {
    const width = map.clientWidth || 400, left = 22, top = 4, high = 15, wide = (width - left - 4) / rows, bottom = top + high * classes;
    map.setAttribute("height", bottom + 20);
    const text = (words, x, y, anchor, kind = "") => svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
    map.replaceChildren(
      ...beliefs.slice(0, row).flatMap((values, t) => values.map((part, k) => svg("rect", { class: "cell",
        x: (left + t * wide).toFixed(1), y: top + k * high, width: (wide - 0.6).toFixed(1), height: high - 1.5, "fill-opacity": part.toFixed(3) }))),
      ...Array.from({ length: classes }, (_, k) => text(String(k), left - 7, top + k * high + 11, "end", k === label ? "true" : "")),
      ...Array.from({ length: rows }, (_, t) => t + 1).filter((t) => t % 7 === 0 || t === 1)
        .map((t) => text(String(t), left + (t - 0.5) * wide, bottom + 14, "middle")),
      svg("rect", { class: "now", x: left + (row - 1) * wide - 1, y: top - 2, width: wide + 1, height: high * classes + 2 }));
  }

  function show() {
    const choice = model.get("choice"), { image, row } = choice, label = labels[image];
    const start = (names.indexOf(choice.network) * count + image) * rows * classes;
    const beliefs = Array.from({ length: rows }, (_, t) =>
      Array.from({ length: classes }, (_, k) => probabilities[start + t * classes + k] / 255));
    const now = beliefs[row - 1], [first, second] = leaders(now), last = leaders(beliefs.at(-1))[0];
    digits.forEach((button, index) => button.setAttribute("aria-pressed", index === image));
    network.show(choice);
    slider.value = row;
    value.textContent = row;
    paint(canvas, image, row);
    canvas.setAttribute("aria-label", WORDS.picture(row, rows));
    bars.forEach(({ bar, part }, k) => {
      bar.style.width = `${100 * now[k]}%`;
      bar.className = k === first ? "first" : "";
      part.textContent = WORDS.percent(now[k]);
    });
    drawMap(beliefs, row, label);
    map.setAttribute("aria-label", WORDS.chart(first, WORDS.percent(now[first])));
    belief.textContent = WORDS.belief(row, first, WORDS.percent(now[first]), second, WORDS.percent(now[second]));
    const settledAt = settles(beliefs);
    settled.textContent = row < settledAt ? WORDS.open : WORDS.settled(last, settledAt, last === label);
  }

  const { speak, hush } = speaker(el, status), tell = () => speak(() => `${belief.textContent} ${settled.textContent}`);
  const { halt, playing } = player(play, WORDS, 250,
    { model, name: "row", values: Array.from({ length: rows }, (_, t) => t + 1), done: tell });
  const change = () => { show(); if (playing()) hush(); else tell(); };
  slider.addEventListener("input", () => { halt(); choose({ row: Number(slider.value) }); });
  map.addEventListener("click", (event) => {
    const box = map.getBoundingClientRect(), place = (event.clientX - box.left - 22) / ((box.width - 26) / rows);
    halt();
    choose({ row: clamp(Math.floor(place) + 1, [1, rows]) });
  });
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
