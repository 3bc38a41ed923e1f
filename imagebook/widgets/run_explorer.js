// Explore recorded training runs over a grid of settings: see run_explorer.py for the data.
import { clamp, colour, compose, html, onPoint, onWidth, OWN_KEYS, speaker, svg, VIRIDIS } from "./shared.js";

// Every word that a reader sees: a translation replaces this table.
const WORDS = {
  locale: "en",
  figure: "Explorer of recorded training runs",
  epoch: "epoch",
  loss: "loss",
  accuracy: "accuracy",
  training: "training",
  validation: "validation",
  tested: "test accuracy",
  untested: "validation accuracy after the last epoch",
  time: "training time in CPU-seconds",
  parameters: "parameters",
  seeds: "seeds",
  current: "current choice",
  pinned: "pinned choice",
  spread: "median and range over the seeds",
  noRun: "no run recorded",
  beyond: "▲ goes on beyond this axis",
  pin: "Pin this choice",
  unpin: "Unpin",
  numbers: "The numbers as tables",
  all: "All settings",
  setting: (name, value) => `${name} ${value}`,
  range: (text, low, high) => (low === high ? text : `${text} (${low} to ${high})`),
  curves: (name, start, end) => `${name} per epoch; validation from ${start} to ${end}`,
  map: (final, factors) => `${final} by ${factors.join(" and ")}`,
  missing: (choice) => `No run was recorded with ${choice}.`,
  result: (final, accuracy, runs, seconds, parameters) =>
    `${final} ${accuracy}, ${runs === 1 ? "one seed" : `${runs} seeds`}; ${seconds} CPU-seconds` +
    (parameters ? `; ${parameters} parameters.` : "."),
  broken: (count, runs) => ` The loss was not a number in ${count} of ${runs} runs.`,
  samePin: "The pinned choice is the current one: move a setting to compare.",
  compare: (points, overlap, seconds, parameters) => {
    const none = (text) => !/[1-9]/.test(text);
    const more = (text, unit, less = "less") =>
      `${text.replace("-", "")} ${unit} ${text.startsWith("-") ? less : "more"}`;
    const accurate = none(points) ? "as accurate as" : `${more(points, "percentage points")} accurate than`;
    const time = none(seconds) ? "the same time" : more(seconds, "CPU-seconds");
    const size = none(parameters) ? "" : ` It has ${more(parameters, "parameters", "fewer")}.`;
    const ranges = `their ranges over the seeds ${overlap ? "overlap" : "do not overlap"}`;
    return `The current choice is ${accurate} the pinned one (${ranges}) and takes ${time}.${size}`;
  },
};

const accuracyText = (value) => value.toFixed(4);
const lossText = (value) => (value < 1000 ? value.toPrecision(3) : value.toFixed(0));
const countText = (value) => value.toLocaleString(WORDS.locale);

function secondsText(value) {
  const digits = Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0;
  return value.toLocaleString(WORDS.locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function rangeText(stats, format) {
  return stats ? WORDS.range(format(stats.median), format(stats.least), format(stats.greatest)) : "–";
}

// ---- the data -------------------------------------------------------------------------------------------------

const CURVES = ["loss", "val_loss", "accuracy", "val_accuracy"];

/** Return median, least and greatest of the numbers among `values`, or null where there is none. */
function statistics(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { median, least: sorted[0], greatest: sorted.at(-1) };
}

/** Summarise the runs of one cell of the grid over their seeds. */
function summarise(runs) {
  if (!runs.length) return null;
  const epochs = Math.max(...runs.map((run) => run.loss.length));
  const perEpoch = (name) =>
    Array.from({ length: epochs }, (_, epoch) => statistics(runs.map((run) => run[name][epoch])));
  return {
    runs: runs.length,
    curves: Object.fromEntries(CURVES.map((name) => [name, perEpoch(name)])),
    final: statistics(runs.map((run) => run.final_accuracy)),
    seconds: statistics(runs.map((run) => run.cpu_seconds)),
    parameters: statistics(runs.map((run) => run.parameters)),
    broken: runs.filter((run) => [...run.loss, ...run.val_loss].includes(null)).length,
  };
}

/** Unpack the bytes that Python packed into a grid of cells, with axis limits that hold for all of them. */
async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { factors, tested, runs } = await new Response(stream).json();
  const size = factors.reduce((product, { values }) => product * values.length, 1);
  const members = Array.from({ length: size }, () => []);
  for (const run of runs) members[run.cell].push(run);
  const losses = runs.flatMap((run) => [...run.loss, ...run.val_loss]).filter(Number.isFinite).sort((a, b) => a - b);
  // A diverging run must not flatten all others: what is far above nearly all losses lies beyond the axis.
  const usual = losses[Math.floor(0.95 * (losses.length - 1))];
  const least = losses[0] ?? 0, greatest = losses.findLast((loss) => loss <= 3 * usual) ?? 1;
  const logarithmic = least > 0 && greatest / least > 30;
  const accuracies = runs.flatMap((run) => [...run.accuracy, ...run.val_accuracy]);
  const finals = runs.map((run) => run.final_accuracy);
  return {
    factors,
    cells: members.map(summarise),
    final: tested ? WORDS.tested : WORDS.untested,
    epochs: Math.max(...runs.map((run) => run.loss.length)),
    axes: {
      loss: { limits: [logarithmic ? least : 0, greatest], logarithmic },
      accuracy: { limits: roundLimits(accuracies) },
      final: { limits: roundLimits(finals), field: extent(finals) },
    },
    at: (settings) =>
      factors.reduce((cell, { name, values }) => cell * values.length + values.indexOf(settings[name]), 0),
  };
}

// ---- scales ---------------------------------------------------------------------------------------------------

const extent = (values) =>
  values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

function step(low, high) {
  const rough = (high - low) / 5 || 0.1, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
}

/** Return limits for fractions: round numbers around all values. */
function roundLimits(values) {
  const [low, high] = extent(values), size = step(low, high);
  const bottom = Math.floor(low / size + 1e-9) * size, top = Math.ceil(high / size - 1e-9) * size;
  const widening = top > bottom ? 0 : size;
  return [Math.max(0, bottom - widening), Math.min(1, top + widening)];
}

function ticks([low, high], logarithmic) {
  const tidy = (value) => Number(value.toPrecision(6));
  if (!logarithmic) {
    const size = step(low, high), first = Math.ceil(low / size - 1e-9);
    const count = Math.floor(high / size + 1e-9) - first + 1;
    return Array.from({ length: count }, (_, index) => tidy((first + index) * size));
  }
  const factors = high / low < 1000 ? [1, 2, 5] : [1];
  const values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const factor of factors) values.push(tidy(factor * 10 ** power));
  return values.filter((value) => value >= low && value <= high);
}

function scale([low, high], [from, to], logarithmic) {
  const level = logarithmic ? Math.log10 : Number;
  const length = level(high) - level(low) || 1;
  return (value) => from + ((to - from) * (level(value) - level(low))) / length;
}

/** Say whether numbers are spread evenly on a logarithmic axis rather than on a linear one. */
function isLogarithmic(values) {
  if (values.length < 3 || !(values[0] > 0)) return false;
  const unevenness = (levels) => {
    const gaps = levels.slice(1).map((level, index) => level - levels[index]);
    return Math.max(...gaps) / Math.min(...gaps);
  };
  return unevenness(values.map(Math.log)) < unevenness(values);
}

const viridis = (part) => `rgb(${colour(VIRIDIS, part).map(Math.round)})`;

// ---- drawing --------------------------------------------------------------------------------------------------

const label = (text, x, y, anchor = "middle") => svg("text", { x, y, "text-anchor": anchor }, text);
const widthOf = (chart) => chart.clientWidth || 320;
const LETTER = 6.6; // about the width of a letter, in pixels

/** Return texts at their places along the horizontal axis: all, or every second, or third, ... that has room. */
function labelsBelow(texts, places, y) {
  const labels = texts.map((text, index) => ({ text, place: places[index] }));
  const every = (stride) => labels.filter((_, index) => index % stride === 0);
  const touch = (one, next) => next.place - one.place < ((one.text.length + next.text.length) / 2) * LETTER + 6;
  let stride = 1;
  while (every(stride).some((one, index, all) => index && touch(all[index - 1], one))) stride++;
  return every(stride).map(({ text, place }) => label(text, place, y));
}

/** Return rules and labels of a chart; `horizontal` and `vertical` are { name, values, at }. */
function axes(box, horizontal, vertical) {
  return [
    ...vertical.values.flatMap((value) => [
      svg("line", { class: "rule", x1: box.left, x2: box.right, y1: vertical.at(value), y2: vertical.at(value) }),
      label(String(value), box.left - 6, vertical.at(value) + 4, "end"),
    ]),
    ...labelsBelow(horizontal.values.map(String), horizontal.values.map(horizontal.at), box.bottom + 18),
    label(horizontal.name, (box.left + box.right) / 2, box.bottom + 36),
    label(vertical.name, 2, 12, "start"),
  ];
}

/** Draw loss or accuracy per epoch: a line for the median, a band from the least to the greatest. */
function drawCurves(chart, grid, name, shown) {
  const { limits, logarithmic } = grid.axes[name];
  const box = { left: 46, right: widthOf(chart) - 10, top: 24, bottom: 180 };
  const x = scale([1, grid.epochs], [box.left + 6, box.right - 6]);
  const y = scale(limits, [box.bottom, box.top], logarithmic);
  // A drawing of its own cuts off what lies beyond the axes, with room for the width of a line.
  const frame = [box.left, box.top - 3, box.right - box.left, box.bottom - box.top + 6];
  const inside = svg("svg", { x: frame[0], y: frame[1], width: frame[2], height: frame[3], viewBox: frame.join(" ") });
  let beyond = false;
  for (const { cell, kind } of shown)
    for (const [part, curve] of [["training", name], ["validation", `val_${name}`]]) {
      const pieces = [[]]; // a gap ends one piece of the curve and begins the next
      cell.curves[curve].forEach((stats, index) =>
        stats ? pieces.at(-1).push({ ...stats, x: x(index + 1).toFixed(1) }) : pieces.push([]));
      for (const piece of pieces.filter(({ length }) => length)) {
        const corners = (points, side) => points.map((point) => `${point.x},${y(point[side]).toFixed(1)}`).join(" ");
        const band = `${corners(piece, "greatest")} ${corners(piece.toReversed(), "least")}`;
        inside.append(svg("polygon", { class: `band ${kind}`, points: band }));
        inside.append(svg("polyline", { class: `line ${kind} ${part}`, points: corners(piece, "median") }));
        if (part === "validation" && grid.epochs <= 20)
          for (const point of piece)
            inside.append(svg("circle", { class: `dot ${kind}`, cx: point.x, cy: y(point.median), r: 2.5 }));
        beyond ||= piece.some((point) => point.greatest > limits[1]);
      }
    }
  const epochs = ticks([1, grid.epochs]).filter(Number.isInteger);
  chart.setAttribute("height", box.bottom + 42);
  chart.replaceChildren(inside, ...axes(box, { name: WORDS.epoch, values: epochs, at: x },
    { name: WORDS[name], values: ticks(limits, logarithmic), at: y }));
  if (beyond) chart.append(label(WORDS.beyond, box.right, 12, "end"));
  const current = shown.find(({ kind }) => kind === "current")?.cell.curves[`val_${name}`];
  const end = (stats) => rangeText(stats, name === "loss" ? lossText : accuracyText);
  const words = current ? WORDS.curves(WORDS[name], end(current[0]), end(current.at(-1))) : WORDS.noRun;
  chart.setAttribute("aria-label", words);
}

/** Draw the final accuracy over one factor, as points with bars; return what a click at a place chooses. */
function drawPoints(chart, grid, choice, marks) {
  const [{ name, words, values }] = grid.factors, { limits } = grid.axes.final;
  const box = { left: 46, right: widthOf(chart) - 10, top: 24, bottom: 190 };
  const ends = [box.left + 18, box.right - 18];
  const byIndex = scale([0, values.length - 1], ends);
  const x = typeof values[0] === "number"
    ? scale([values[0], values.at(-1)], ends, isLogarithmic(values))
    : (value) => byIndex(values.indexOf(value));
  const y = scale(limits, [box.bottom, box.top]);
  chart.setAttribute("height", box.bottom + 42);
  const vertical = { name: grid.final, values: ticks(limits), at: y };
  chart.replaceChildren(...axes(box, { name: words, values, at: x }, vertical));
  for (const value of values) {
    const cell = grid.cells[grid.at({ [name]: value })], at = x(value);
    const kind = marks.findLast(({ settings }) => settings[name] === value)?.kind ?? "";
    if (kind) chart.append(svg("line", { class: `place ${kind}`, x1: at, x2: at, y1: box.top, y2: box.bottom }));
    if (cell) {
      const { median, least, greatest } = cell.final;
      const title = svg("title", {}, `${WORDS.setting(words, value)}: ${rangeText(cell.final, accuracyText)}`);
      chart.append(svg("line", { class: `bar ${kind}`, x1: at, x2: at, y1: y(least), y2: y(greatest) }));
      chart.append(svg("circle", { class: `point ${kind}`, cx: at, cy: y(median), r: kind ? 6 : 4 }, title));
    } else chart.append(label("×", at, box.bottom - 4));
  }
  return (place) => {
    const distance = (value) => Math.abs(x(value) - place);
    return { [name]: values.reduce((best, value) => (distance(value) < distance(best) ? value : best)) };
  };
}

/** Draw the final accuracy over two factors, as a heat map; return what a click at a place chooses. */
function drawMap(chart, grid, choice, marks) {
  const [across, up] = grid.factors, columns = across.values, width = widthOf(chart);
  const rows = typeof up.values[0] === "number" ? up.values.toReversed() : up.values;
  const left = 12 + LETTER * Math.max(...rows.map((value) => String(value).length)), top = 24;
  const size = { width: (width - left - 6) / columns.length, height: Math.max(9, Math.min(40, 200 / rows.length)) };
  const bottom = top + rows.length * size.height;
  const square = (first, second, margin) => ({
    x: left + columns.indexOf(first) * size.width + margin, width: size.width - 2 * margin,
    y: top + rows.indexOf(second) * size.height + margin, height: size.height - 2 * margin,
  });
  const cellAt = (first, second) => grid.at({ ...choice, [across.name]: first, [up.name]: second });
  const key = `${width} ${cellAt(columns[0], rows[0])}`;
  if (chart.dataset.key !== key) { // the squares change only with the width or a third factor
    chart.dataset.key = key;
    chart.setAttribute("height", bottom + 42);
    const middles = columns.map((_, index) => left + (index + 0.5) * size.width);
    chart.replaceChildren(label(up.words, 2, 12, "start"), label(across.words, (left + width) / 2, bottom + 36),
      ...labelsBelow(columns.map(String), middles, bottom + 18));
    const stride = Math.ceil(13 / size.height); // a row may be lower than its label
    rows.forEach((value, row) => {
      if (row % stride === 0) chart.append(label(String(value), left - 6, top + (row + 0.5) * size.height + 4, "end"));
    });
    const part = scale(grid.axes.final.field, [0, 1]);
    for (const first of columns)
      for (const second of rows) {
        const cell = grid.cells[cellAt(first, second)], box = square(first, second, 0.5);
        const words = `${WORDS.setting(across.words, first)}, ${WORDS.setting(up.words, second)}: `;
        const title = svg("title", {}, words + (cell ? rangeText(cell.final, accuracyText) : WORDS.noRun));
        const paint = cell ? { fill: viridis(part(cell.final.median)) } : { class: "missing" };
        chart.append(svg("rect", { ...box, ...paint }, title));
        if (!cell) chart.append(label("×", box.x + box.width / 2, box.y + box.height / 2 + 4));
      }
  }
  for (const mark of chart.querySelectorAll(".mark")) mark.remove();
  for (const { settings, kind } of marks) {
    if (cellAt(settings[across.name], settings[up.name]) !== grid.at(settings)) continue; // elsewhere in a third factor
    const box = square(settings[across.name], settings[up.name], 1);
    chart.append(svg("rect", { class: "mark under", ...box }), svg("rect", { class: `mark ${kind}`, ...box }));
  }
  const pick = (values, place) => values[clamp(Math.floor(place), [0, values.length - 1])];
  return (x, y) => ({
    [across.name]: pick(columns, (x - left) / size.width),
    [up.name]: pick(rows, (y - top) / size.height),
  });
}

// ---- words and tables -----------------------------------------------------------------------------------------

const settingsText = (grid, settings) =>
  grid.factors.map(({ name, words }) => WORDS.setting(words, settings[name])).join(", ");

function resultText(grid, settings) {
  const cell = grid.cells[grid.at(settings)];
  if (!cell) return WORDS.missing(settingsText(grid, settings));
  const accuracy = rangeText(cell.final, accuracyText), seconds = rangeText(cell.seconds, secondsText);
  const parameters = cell.parameters && rangeText(cell.parameters, countText);
  const broken = cell.broken ? WORDS.broken(cell.broken, cell.runs) : "";
  return WORDS.result(grid.final, accuracy, cell.runs, seconds, parameters) + broken;
}

function comparisonText(grid, choice, pinned) {
  if (!pinned) return "";
  const [current, other] = [choice, pinned].map((settings) => grid.cells[grid.at(settings)]);
  if (grid.at(choice) === grid.at(pinned)) return WORDS.samePin;
  if (!current || !other) return "";
  return WORDS.compare(
    (100 * (current.final.median - other.final.median)).toFixed(2),
    current.final.least <= other.final.greatest && other.final.least <= current.final.greatest,
    secondsText(current.seconds.median - other.seconds.median),
    current.parameters && other.parameters ? countText(current.parameters.median - other.parameters.median) : "",
  );
}

function table(caption, heads, rows) {
  const row = ([first, ...rest]) =>
    html("tr", {}, html("th", { scope: "row" }, first), ...rest.map((text) => html("td", {}, text)));
  return html("div", { class: "scroll", ...OWN_KEYS, tabindex: 0, role: "region", "aria-label": caption },
    html("table", {}, html("caption", {}, caption),
      html("thead", {}, html("tr", {}, ...heads.map((text) => html("th", { scope: "col" }, text)))),
      html("tbody", {}, ...rows.map(row))));
}

function epochTable(grid, kind, settings) {
  const { curves } = grid.cells[grid.at(settings)];
  const heads = CURVES.map((name) => {
    const [measure, validation] = name.split("_").reverse();
    return `${validation ? WORDS.validation : WORDS.training} ${WORDS[measure]}`;
  });
  const text = (name, epoch) => rangeText(curves[name][epoch], name.endsWith("loss") ? lossText : accuracyText);
  const rows = curves.loss.map((_, epoch) => [epoch + 1, ...CURVES.map((name) => text(name, epoch))]);
  return table(`${WORDS[kind]}: ${settingsText(grid, settings)}; ${WORDS.spread}`, [WORDS.epoch, ...heads], rows);
}

function gridTable(grid) {
  const sizes = grid.cells.some((cell) => cell?.parameters);
  const combinations = grid.factors.reduce(
    (rows, { values }) => rows.flatMap((row) => values.map((value) => [...row, value])), [[]]);
  const rows = grid.cells.map((cell, index) => [
    ...combinations[index],
    cell?.runs ?? 0,
    cell ? rangeText(cell.final, accuracyText) : WORDS.noRun,
    rangeText(cell?.seconds, secondsText),
    ...(sizes ? [rangeText(cell?.parameters, countText)] : []),
  ]);
  const heads = [WORDS.seeds, grid.final, WORDS.time, ...(sizes ? [WORDS.parameters] : [])];
  return table(`${WORDS.all}; ${WORDS.spread}`, [...grid.factors.map(({ words }) => words), ...heads], rows);
}

// ---- controls -------------------------------------------------------------------------------------------------

/** Return a slider or a list for one factor, with `show(value)` to move it. */
function control({ words, values }, slides, choose) {
  const value = html("span", { class: "value", "aria-hidden": "true" }); // the slider itself says it
  const options = values.map((value, index) => html("option", { value: index }, value));
  const input = slides
    ? html("input", { type: "range", min: 0, max: values.length - 1, step: 1, ...OWN_KEYS })
    : html("select", OWN_KEYS, ...options);
  input.addEventListener("input", () => choose(values[input.value]));
  const show = (chosen) => {
    input.value = values.indexOf(chosen);
    if (!slides) return;
    input.setAttribute("aria-valuetext", chosen);
    value.textContent = chosen;
  };
  return { element: html("div", { class: "setting" }, html("label", {}, html("span", {}, words), input), value), show };
}

/** Return one entry of the legend: a piece of line or band, and what it means. */
function sample(shape, kind, text) {
  const drawing = svg("svg", { width: 28, height: 12, "aria-hidden": "true" });
  if (shape === "spread") drawing.append(svg("rect", { class: `band ${kind}`, width: 28, height: 12 }));
  drawing.append(svg("line", { class: `line ${kind} ${shape}`, x1: 0, x2: 28, y1: 6, y2: 6 }));
  return html("span", {}, drawing, text);
}

const grids = new WeakMap(); // unpacked once for all views of the same data

async function render({ model, el }) {
  const data = model.get("data");
  if (!grids.has(data)) grids.set(data, unpack(data));
  const grid = await grids.get(data);
  const set = (name, value) => { model.set(name, value); model.save_changes(); };
  const choose = (settings) => {
    const choice = { ...model.get("choice"), ...settings };
    if (grid.at(choice) !== grid.at(model.get("choice"))) set("choice", choice);
  };

  const twoFactors = grid.factors.length > 1;
  const controls = grid.factors.map((factor, index) =>
    control(factor, index < 2 && typeof factor.values[0] === "number", (value) => choose({ [factor.name]: value })));
  const button = (words) => html("button", { type: "button", ...OWN_KEYS }, words);
  const pin = button(WORDS.pin), unpin = button(WORDS.unpin);
  const result = html("p", { class: "result current" }), pinnedResult = html("p", { class: "result pinned" });
  const comparison = html("p", { class: "comparison" }), status = html("p", { class: "status", role: "status" });
  const chart = (name) => svg("svg", { class: `chart ${name}`, role: "img" });
  const map = chart("map"), loss = chart("loss"), accuracy = chart("accuracy");
  map.setAttribute("aria-label", WORDS.map(grid.final, grid.factors.slice(0, 2).map(({ words }) => words)));
  const colours = VIRIDIS.map((one) => `rgb(${one})`);
  const ramp = html("span", { class: "ramp", style: `background: linear-gradient(to right, ${colours})` });
  const [lowest, highest] = grid.axes.final.field.map(accuracyText);
  const field = html("p", { class: "legend field" }, `${grid.final} ${lowest}`, ramp, highest);
  const legend = html("p", { class: "legend" }), epochTables = html("div"), wholeTable = html("div");
  const details = html("details", {}, html("summary", OWN_KEYS, WORDS.numbers), epochTables, wholeTable);
  compose(el, "run-explorer", WORDS.figure,
    html("div", { class: "columns" },
      html("div", {}, ...controls.map(({ element }) => element), html("p", {}, pin, unpin),
        html("div", { class: "results" }, result, pinnedResult, comparison)),
      html("div", {}, map, ...(twoFactors ? [field] : []))),
    legend, html("div", { class: "columns" }, loss, accuracy), details, status);

  let chosenAt;
  const describe = (paragraph, settings) =>
    paragraph.replaceChildren(html("b", {}, `${settingsText(grid, settings)}: `), resultText(grid, settings));
  const show = () => {
    const choice = model.get("choice"), pinned = model.get("pinned");
    const marks = [{ settings: choice, kind: "current" }];
    if (pinned) marks.unshift({ settings: pinned, kind: "pinned" }); // drawn first, so that it lies below
    const results = marks.map((mark) => ({ ...mark, cell: grid.cells[grid.at(mark.settings)] }));
    const shown = results.filter(({ cell }) => cell);
    grid.factors.forEach(({ name }, index) => controls[index].show(choice[name]));
    unpin.hidden = pinnedResult.hidden = comparison.hidden = !pinned;
    describe(result, choice);
    if (pinned) describe(pinnedResult, pinned);
    comparison.textContent = comparisonText(grid, choice, pinned);
    legend.replaceChildren(
      ...marks.toReversed().map(({ kind }) => sample("validation", kind, WORDS[kind])),
      ...["validation", "training", "spread"].map((shape) => sample(shape, "", WORDS[shape])));
    chosenAt = (twoFactors ? drawMap : drawPoints)(map, grid, choice, marks);
    drawCurves(loss, grid, "loss", shown);
    drawCurves(accuracy, grid, "accuracy", shown);
    if (!details.open) return;
    epochTables.replaceChildren(...shown.toReversed().map(({ kind, settings }) => epochTable(grid, kind, settings)));
    if (!wholeTable.firstChild) wholeTable.append(gridTable(grid));
  };
  const { speak, hush } = speaker(el, status);
  const change = () => { show(); speak(() => `${result.textContent} ${comparison.textContent}`); };
  pin.addEventListener("click", () => set("pinned", { ...model.get("choice") }));
  unpin.addEventListener("click", () => { pin.focus(); set("pinned", null); });
  onPoint(map, (event) => {
    const { left, top } = map.getBoundingClientRect();
    choose(chosenAt(event.clientX - left, event.clientY - top));
  });
  details.addEventListener("toggle", show);
  const changes = ["change:choice", "change:pinned"];
  for (const name of changes) model.on(name, change);
  const unwatch = onWidth(el, show);
  return () => {
    for (const name of changes) model.off(name, change);
    unwatch();
    hush();
  };
}

export default { render };
