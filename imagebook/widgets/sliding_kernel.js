// Slide a kernel over an image: see sliding_kernel.py for the data.
// In this order: words, the convolution, drawing, the figure itself.
import { chooser, clamp, colour, compose, decimal, html, onArrows, onPoint, OWN_KEYS, SIGNED, sliderOf, speaker, svg } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  locale: "en",
  figure: "A kernel slides over an image",
  image: "image",
  images: { seven: "a seven", point: "a single point", rings: "rings, ever narrower", photograph: "a photograph" },
  kernel: "kernel",
  kernels: { vertical: "vertical edges (Sobel)", horizontal: "horizontal edges (Sobel)", outline: "outline (Laplace)",
    blur: "blur (mean)", gauss: "blur (Gauss)", sharpen: "sharpen", gabor: "slanted stripes (Gabor)",
    corner: "a corner", identity: "centre only" },
  own: "your own numbers",
  size: "kernel size",
  square: (side) => `${side} × ${side}`,
  stride: "stride",
  padding: "padding",
  dilation: "dilation",
  play: "Slide",
  stop: "Stop",
  input: (height, width, padding) => `input ${height} × ${width}` + (padding ? `, with padding ${height + 2 * padding} × ${width + 2 * padding}` : ""),
  output: (height, width) => `output ${height} × ${width}`,
  range: (low, high, signed) => (signed ? `from ${low} (blue) to ${high} (red)` : `from ${low} (black) to ${high} (white)`),
  over: "Output. Click, or use the arrow keys, to move the window.",
  overInput: "Input, with the window where the output is made.",
  weight: (row, column) => `weight in row ${row + 1}, column ${column + 1}`,
  sizes: (rows, columns) => (rows === columns ? "rows and columns" : "rows"),
  columns: "columns",
  count: (outputs, weights, total) => `${outputs} outputs × ${weights} weights = ${total} multiply–accumulates.`,
  border: (share) => `Outputs that see padding: ${share}.`,
  left: (rows, columns) => `Never read, since one more step would leave the image: rows below, ${rows}; columns on the right, ${columns}.`,
  none: (span, side) => `The kernel spans ${span} pixels and the padded image has ${side}: it fits nowhere, and there is no output.`,
  sum: (row, column) => `row ${row}, column ${column} of the output`,
  said: (row, column, value) => `Row ${row}, column ${column}: ${value}`,
  percent: (part) => `${(100 * part).toFixed(0)} %`,
};

// ---- the convolution ------------------------------------------------------------------------------------------

const span = (size, dilation) => dilation * (size - 1) + 1;

/** Return how often a window of `size` fits, as in the formula of the chapter; 0 where it does not fit at all. */
export function outputSize(length, size, { stride, padding, dilation }) {
  return Math.max(0, Math.floor((length + 2 * padding - dilation * (size - 1) - 1) / stride) + 1);
}

/** Return what the window sees at a place of the output: one entry a weight, with the pixel under it (null: padding). */
export function look(image, kernel, { stride, padding, dilation }, [i, j]) {
  return kernel.map((weights, u) => weights.map((weight, v) => {
    const row = stride * i - padding + dilation * u, column = stride * j - padding + dilation * v;
    const inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
    return { weight, row, column, pixel: inside ? image.pixels[row * image.width + column] / 255 : null };
  }));
}

/** Compute the whole output: sums, row after row, and which of them saw padding. */
export function convolve(image, kernel, choice) {
  const height = outputSize(image.height, kernel.length, choice), width = outputSize(image.width, kernel[0].length, choice);
  const rows = height && width ? height : 0, columns = rows && width;
  const values = new Float64Array(rows * columns);
  let padded = 0;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
    let sum = 0, sees = 0;
    for (const line of look(image, kernel, choice, [i, j])) for (const { weight, pixel } of line) {
      if (pixel === null) sees = 1;
      else sum += weight * pixel;
    }
    values[i * columns + j] = sum;
    padded += sees;
  }
  return { rows, columns, values, padded };
}

// ---- drawing --------------------------------------------------------------------------------------------------

const GREY = [[0, 0, 0], [255, 255, 255]];

function paint(canvas, height, width, shade) {
  canvas.width = Math.max(width, 1);
  canvas.height = Math.max(height, 1);
  const pen = canvas.getContext("2d"), picture = pen.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < height * width; at++) picture.data.set(shade(at), 4 * at);
  pen.putImageData(picture, 0, 0);
}

// ---- the figure -----------------------------------------------------------------------------------------------

const whole = (value) => value.toLocaleString(WORDS.locale);
const plain = (value) => String(Math.round(value * 1000) / 1000);

function render({ model, el }) {
  const bytes = model.get("pixels"), limits = model.get("limits"), named = model.get("kernels");
  let at = 0;
  const images = model.get("images").map(({ name, height, width }) => {
    const pixels = new Uint8Array(bytes.buffer, bytes.byteOffset + at, height * width);
    at += height * width;
    return { name, height, width, pixels };
  });
  const set = (name, value) => { model.set(name, value); model.save_changes(); };
  const choose = chooser(model);

  const list = (words, options) => {
    const select = html("select", OWN_KEYS, ...options.map(([value, text]) => html("option", { value }, text)));
    return { select, element: html("label", {}, html("span", {}, words), select) };
  };
  const image = list(WORDS.image, images.map(({ name }, index) => [index, WORDS.images[name] ?? name]));
  const kernel = list(WORDS.kernel, [...named.map(({ name }, index) => [index, WORDS.kernels[name] ?? name]), ["own", WORDS.own]]);
  const size = list(WORDS.size, [1, 2, 3, 4, 5].map((side) => [side, WORDS.square(side)]));
  const sliders = ["stride", "padding", "dilation"].map((name) => sliderOf(choose, name, WORDS[name], limits[name], 1));
  const play = html("button", { type: "button", ...OWN_KEYS }, WORDS.play);
  const panel = (attributes) => {
    const canvas = html("canvas", { "aria-hidden": "true" }), over = svg("svg", { "aria-hidden": "true" });
    const frame = html("div", { class: "frame", ...attributes }, canvas, over), caption = html("figcaption");
    return { canvas, over, frame, caption, element: html("figure", {}, frame, caption) };
  };
  const input = panel({ role: "img", "aria-label": WORDS.overInput });
  const output = panel({ role: "application", tabindex: 0, "aria-label": WORDS.over, ...OWN_KEYS });
  const products = html("div", { class: "products" }), total = html("p", { class: "total" });
  const facts = html("div", { class: "facts" }), status = html("p", { class: "status", role: "status" });
  compose(el, "sliding-kernel", WORDS.figure,
    html("div", { class: "lists named" }, image.element, kernel.element, size.element),
    html("div", { class: "lists" }, ...sliders.map(({ element }) => element)),
    html("div", { class: "panels" }, input.element, output.element),
    html("div", { class: "work" }, html("div", {}, play, total, products), facts), status);

  let shown, result, timer, cells = [];
  const current = () => images.find(({ name }) => name === model.get("choice").image);
  /** The place of the window, held inside the output. */
  const place = () => model.get("place").map((value, axis) => clamp(value, [0, (axis ? result.columns : result.rows) - 1]));

  /** Make the table: an entry for each weight, in which it can be changed. */
  function layOut(rows) {
    cells = rows.map((weights, u) => weights.map((_, v) => {
      const entry = html("input", { type: "text", inputmode: "text", "aria-label": WORDS.weight(u, v), autocomplete: "off", ...OWN_KEYS });
      const change = () => {
        const value = Number(entry.value.trim().replace("−", "-").replace(",", "."));
        if (entry.value.trim() === "" || !Number.isFinite(value)) { entry.setAttribute("aria-invalid", "true"); return; }
        entry.removeAttribute("aria-invalid");
        const edited = model.get("kernel").map((line) => [...line]);
        edited[u][v] = value;
        set("kernel", edited);
      };
      entry.addEventListener("input", change);
      entry.addEventListener("blur", () => { entry.removeAttribute("aria-invalid"); entry.value = plain(model.get("kernel")[u][v]); });
      const times = html("span"), product = html("b");
      return { entry, times, product, element: html("div", {}, entry, times, product) };
    }));
    products.style.setProperty("--columns", rows[0].length);
    products.replaceChildren(...cells.flat().map(({ element }) => element));
  }

  /** Show the window at its place: on both panels, in the table and as a sum. */
  function showPlace() {
    const choice = model.get("choice"), rows = model.get("kernel"), { padding } = choice;
    if (!result.rows) {
      for (const { over } of [input, output]) over.replaceChildren();
      for (const { times, product } of cells.flat()) { times.textContent = "×"; product.textContent = ""; }
      total.textContent = "";
      return;
    }
    const [i, j] = place(), seen = look(current(), rows, choice, [i, j]);
    const square = (row, column, kind) => svg("rect", { class: kind, x: column, y: row, width: 1, height: 1 });
    const first = seen[0][0], side = [span(rows.length, choice.dilation), span(rows[0].length, choice.dilation)];
    input.over.replaceChildren(
      ...(padding ? [svg("rect", { class: "image", x: padding, y: padding, width: current().width, height: current().height })] : []),
      ...seen.flat().map(({ row, column }) => square(row + padding, column + padding, "tap")),
      svg("rect", { class: "window", x: first.column + padding, y: first.row + padding, width: side[1], height: side[0] }));
    output.over.replaceChildren(square(i, j, "window"));
    let sum = 0;
    seen.forEach((line, u) => line.forEach(({ weight, pixel }, v) => {
      const { times, product, element } = cells[u][v], value = weight * (pixel ?? 0);
      sum += value;
      times.textContent = `× ${decimal(pixel ?? 0)}`;
      product.textContent = decimal(value);
      element.className = pixel === null ? "outside" : value > 0.005 ? "plus" : value < -0.005 ? "minus" : "";
    }));
    total.replaceChildren(html("i", {}, "Y"), html("sub", {}, `${i},${j}`), " = ", html("b", {}, decimal(sum)),
      html("span", {}, WORDS.sum(i, j)));
    if (timer) dim(i * result.columns + j);
  }

  /** Draw the output; while the window slides, what it has not yet reached stays pale. */
  function dim(reached = Infinity) {
    const { rows, columns, values } = result;
    const low = values.reduce((a, b) => Math.min(a, b), 0), high = values.reduce((a, b) => Math.max(a, b), 0);
    const most = Math.max(-low, high, 1e-9), signed = low < -1e-9;
    const shade = (value) => (signed ? colour(SIGNED, 0.5 + value / (2 * most)) : colour(GREY, value / most));
    paint(output.canvas, rows, columns, (at) => [...shade(values[at]), at > reached ? 50 : 255]);
    output.caption.replaceChildren(WORDS.output(rows, columns), html("span", {}, rows ? WORDS.range(decimal(low), decimal(high), signed) : ""));
  }

  function showFacts(rows, choice, shape) {
    const { stride, padding, dilation } = choice;
    const formula = (name, length, k, result) => {
      const text = `⌊(${length} + 2·${padding} − ${dilation}·(${k} − 1) − 1) / ${stride}⌋ + 1 = `;
      return html("p", {}, `${name}: `, html("span", { class: "formula" }, text, html("b", {}, String(result))));
    };
    const sizes = [[shape.height, rows.length], [shape.width, rows[0].length]].map(([length, k]) =>
      ({ length, k, value: outputSize(length, k, choice), rest: length + 2 * padding - span(k, dilation) }));
    const alike = sizes[0].length === sizes[1].length && sizes[0].k === sizes[1].k;
    const lines = [formula(WORDS.sizes(0, alike ? 0 : 1), sizes[0].length, sizes[0].k, sizes[0].value)];
    if (!alike) lines.push(formula(WORDS.columns, sizes[1].length, sizes[1].k, sizes[1].value));
    const worst = sizes.find(({ rest }) => rest < 0);
    if (worst) lines.push(html("p", {}, WORDS.none(span(worst.k, dilation), worst.length + 2 * padding)));
    else {
      const outputs = result.values.length, weights = rows.length * rows[0].length;
      lines.push(html("p", {}, WORDS.count(whole(outputs), weights, whole(outputs * weights))));
      lines.push(html("p", {}, WORDS.border(WORDS.percent(result.padded / outputs))));
      const [below, right] = sizes.map(({ rest }) => rest % stride);
      if (below || right) lines.push(html("p", {}, WORDS.left(below, right)));
    }
    facts.replaceChildren(...lines);
  }

  function show() {
    const choice = model.get("choice"), rows = model.get("kernel"), shape = current(), { padding } = choice;
    const key = `${rows.length}×${rows[0].length}`;
    if (key !== shown) { shown = key; layOut(rows); }
    cells.forEach((line, u) => line.forEach(({ entry }, v) => {
      if (document.activeElement !== entry) entry.value = plain(rows[u][v]);
    }));
    image.select.value = images.indexOf(shape);
    const same = named.findIndex((one) => JSON.stringify(one.rows) === JSON.stringify(rows));
    kernel.select.value = same < 0 ? "own" : same;
    size.select.value = rows.length === rows[0].length ? rows.length : "";
    sliders.forEach((slider) => slider.show(choice));
    result = convolve(shape, rows, choice);
    // One pixel of the output is drawn as large as one of the input, so that a stride makes the picture smaller.
    const height = shape.height + 2 * padding, width = shape.width + 2 * padding;
    paint(input.canvas, height, width, (index) => {
      const row = Math.floor(index / width) - padding, column = (index % width) - padding;
      if (row < 0 || column < 0 || row >= shape.height || column >= shape.width) return [90, 110, 140, 255];
      const grey = shape.pixels[row * shape.width + column];
      return [grey, grey, grey, 255];
    });
    for (const { over, frame } of [input, output]) {
      over.setAttribute("viewBox", `0 0 ${width} ${height}`);
      frame.style.aspectRatio = `${width} / ${height}`;
    }
    output.canvas.style.width = `${(100 * result.columns) / width}%`;
    output.canvas.style.height = `${(100 * result.rows) / height}%`;
    input.caption.textContent = WORDS.input(shape.height, shape.width, padding);
    dim();
    showFacts(rows, choice, shape);
    showPlace();
  }

  const { speak, hush } = speaker(el, status);
  const tell = () => {
    if (timer) return hush();
    speak(() => (result.rows ? `${output.caption.firstChild.textContent}. ${WORDS.said(...place(), total.querySelector("b").textContent)}`
      : facts.lastChild.textContent));
  };
  const changed = () => { show(); tell(); };
  const moved = () => { showPlace(); tell(); };
  const halt = () => { if (timer) { clearInterval(timer); timer = 0; play.textContent = WORDS.play; dim(); } };
  play.addEventListener("click", () => {
    if (timer || !result.rows) return halt();
    const last = () => place()[0] * result.columns + place()[1] >= result.rows * result.columns - 1;
    if (last()) set("place", [0, 0]);
    timer = setInterval(() => {
      if (!result.rows || last()) { halt(); return tell(); }
      const next = place()[0] * result.columns + place()[1] + 1;
      set("place", [Math.floor(next / result.columns), next % result.columns]);
    }, 60);
    play.textContent = WORDS.stop;
    showPlace();
  });
  image.select.addEventListener("change", () => choose({ image: images[image.select.value].name }));
  kernel.select.addEventListener("change", () => {
    if (kernel.select.value !== "own") set("kernel", named[kernel.select.value].rows.map((line) => [...line]));
  });
  size.select.addEventListener("change", () => { // keep what is there, about the centre
    const side = Number(size.select.value), old = model.get("kernel");
    const off = [old.length, old[0].length].map((length) => Math.floor((length - 1) / 2) - Math.floor((side - 1) / 2));
    set("kernel", Array.from({ length: side }, (_, u) => Array.from({ length: side }, (_, v) => old[u + off[0]]?.[v + off[1]] ?? 0)));
  });

  const point = (event, panel) => {
    if (!result.rows) return;
    halt();
    const box = panel.frame.getBoundingClientRect(), choice = model.get("choice"), shape = current(), rows = model.get("kernel");
    let row = ((event.clientY - box.top) / box.height) * (shape.height + 2 * choice.padding);
    let column = ((event.clientX - box.left) / box.width) * (shape.width + 2 * choice.padding);
    if (panel === input) { // the window whose centre is nearest
      row = (row - span(rows.length, choice.dilation) / 2) / choice.stride + 0.5;
      column = (column - span(rows[0].length, choice.dilation) / 2) / choice.stride + 0.5;
    }
    const inside = (value, end) => clamp(Math.floor(value), [0, end - 1]);
    set("place", [inside(row, result.rows), inside(column, result.columns)]);
  };
  for (const one of [input, output]) {
    onPoint(one.frame, (event) => point(event, one));
  }
  onArrows(output.frame, (right, up) => {
    if (!result.rows) return false;
    halt();
    const [row, column] = place();
    set("place", [clamp(row - up, [0, result.rows - 1]), clamp(column + right, [0, result.columns - 1])]);
  });

  model.on("change:choice", changed);
  model.on("change:kernel", changed);
  model.on("change:place", moved);
  show();
  return () => {
    model.off("change:choice", changed);
    model.off("change:kernel", changed);
    model.off("change:place", moved);
    hush();
    clearInterval(timer);
  };
}

export default { render };
