// Ask a generator for a digit and walk through its latent space: see digit_writer.py for the data.
// In this order: words, the generator, the figure itself.
import { chooser, clamp, compose, html, listOf, onArrows, onPoint, OWN_KEYS, speaker } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  figure: "A network writes digits",
  digits: "digit",
  write: (digit) => `write a ${digit}`,
  model: "written by",
  another: "Other handwriting",
  map: "A map of the latent space. Click, or use the arrow keys, to walk.",
  mapCaption: "the map: longitude across, latitude up; its left and right edges meet",
  picture: (digit, longitude, latitude) => `A ${digit}, written at longitude ${longitude}° and latitude ${latitude}°`,
  place: (longitude, latitude) => `longitude ${longitude}°, latitude ${latitude}°`,
  same: "the same z, asked for each digit",
};

const TILES = [9, 5]; // images on the map, across and down

// ---- the generator --------------------------------------------------------------------------------------------

/** Turn float16, as bits, into a number. */
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, power = (bits >> 10) & 31, part = bits & 1023;
  if (power === 31) return part ? NaN : sign * Infinity;
  return sign * (power ? (1 + part / 1024) * 2 ** (power - 15) : part * 2 ** -24);
}

/** Cut the bytes of all models into arrays. */
export function open(view, names, { latent, deep, middle }) {
  const lengths = { dense: (latent + 10) * 49 * deep, denseBias: 49 * deep, up1: 16 * middle * deep, up1Bias: middle,
    up2: 16 * middle, up2Bias: 1 };
  let at = 0;
  return Object.fromEntries(names.map((name) => [name, Object.fromEntries(Object.entries(lengths).map(([part, length]) => {
    const array = Float32Array.from({ length }, (_, i) => half(view.getUint16(2 * (at + i), true)));
    at += length;
    return [part, array];
  }))]));
}

/** Stride 2, padding "same", kernel 4 × 4 of shape (4, 4, outputs, inputs): each input writes into a window of outputs. */
function transposed(x, side, inputs, kernel, bias, outputs) {
  const wide = 2 * side, y = new Float32Array(wide * wide * outputs);
  for (let at = 0; at < y.length; at++) y[at] = bias[at % outputs];
  for (let i = 0; i < side; i++) for (let j = 0; j < side; j++) for (let u = 0; u < 4; u++) for (let v = 0; v < 4; v++) {
    const row = 2 * i + u - 1, column = 2 * j + v - 1;
    if (row < 0 || column < 0 || row >= wide || column >= wide) continue;
    for (let m = 0; m < outputs; m++) {
      const from = ((u * 4 + v) * outputs + m) * inputs, start = (i * side + j) * inputs;
      let sum = 0;
      for (let l = 0; l < inputs; l++) sum += kernel[from + l] * x[start + l];
      y[(row * wide + column) * outputs + m] += sum;
    }
  }
  return y;
}

/** Write a digit: z and a class become 28 × 28 numbers from 0 to 1. */
export function generate(model, z, digit, { deep, middle, slope }) {
  const leaky = (values) => values.map((value) => (value > 0 ? value : slope * value));
  const width = 49 * deep, x = Float32Array.from(model.denseBias);
  for (let n = 0; n < width; n++) x[n] += model.dense[(z.length + digit) * width + n];
  for (let i = 0; i < z.length; i++) for (let n = 0; n < width; n++) x[n] += z[i] * model.dense[i * width + n];
  const y = transposed(leaky(x), 7, deep, model.up1, model.up1Bias, middle);
  return transposed(leaky(y), 14, middle, model.up2, model.up2Bias, 1).map((value) => 1 / (1 + Math.exp(-value)));
}

/** z at a longitude and a latitude of the sphere that three draws span. */
export function sphere(draw, latent, [longitude, latitude]) {
  const a = (longitude * Math.PI) / 180, b = (latitude * Math.PI) / 180;
  const parts = [Math.cos(a) * Math.cos(b), Math.sin(a) * Math.cos(b), Math.sin(b)];
  return Float32Array.from({ length: latent }, (_, i) => parts.reduce((sum, part, k) => sum + part * draw[k * latent + i], 0));
}

// ---- the figure -----------------------------------------------------------------------------------------------

function paint(canvas, image, left = 0, top = 0) {
  const picture = new ImageData(28, 28);
  image.forEach((value, at) => { const grey = Math.round(255 * value); picture.data.set([grey, grey, grey, 255], 4 * at); });
  canvas.getContext("2d").putImageData(picture, left, top);
}

function render({ model, el }) {
  const names = model.get("names"), sizes = model.get("sizes"), { latent } = sizes, models = open(model.get("weights"), names, sizes);
  const view = model.get("draws"), draws = Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  const choose = chooser(model);
  const drawn = (choice) => draws.subarray(choice.draw * 3 * latent, (choice.draw + 1) * 3 * latent);
  const canvas = (width = 28, height = 28, attributes = { "aria-hidden": "true" }) => html("canvas", { width, height, ...attributes });

  const digits = Array.from({ length: 10 }, (_, digit) => {
    const picture = canvas(), button = html("button", { type: "button", "aria-label": WORDS.write(digit), ...OWN_KEYS }, picture, String(digit));
    button.addEventListener("click", () => choose({ digit }));
    return { picture, button };
  });
  const list = listOf(choose, "model", WORDS.model, names);
  const another = html("button", { type: "button", class: "another", ...OWN_KEYS }, WORDS.another);
  const map = canvas(28 * TILES[0], 28 * TILES[1]), mark = html("i");
  const plane = html("div", { class: "plane", role: "application", tabindex: 0, "aria-label": WORDS.map, ...OWN_KEYS }, map, mark);
  const large = canvas(28, 28, { role: "img" }), caption = html("figcaption"), status = html("p", { class: "status", role: "status" });
  compose(el, "digit-writer", WORDS.figure,
    html("div", { class: "top" }, list.element, another),
    html("div", { class: "columns" },
      html("figure", {}, plane, html("figcaption", {}, WORDS.mapCaption)),
      html("figure", { class: "large" }, large, caption)),
    html("p", {}, WORDS.same), html("div", { class: "digits", role: "group", "aria-label": WORDS.digits }, ...digits.map(({ button }) => button)), status);

  let mapped;

  function show() {
    const choice = model.get("choice"), { place, digit } = choice, network = models[choice.model], key = [choice.model, digit, choice.draw].join();
    const [longitude, latitude] = place.map(Math.round);
    list.show(choice);
    if (key !== mapped) { // the map stays while one walks on it
      mapped = key;
      for (let row = 0; row < TILES[1]; row++) for (let column = 0; column < TILES[0]; column++) {
        const middle = [((column + 0.5) / TILES[0]) * 360 - 180, 90 - ((row + 0.5) / TILES[1]) * 180];
        paint(map, generate(network, sphere(drawn(choice), latent, middle), digit, sizes), 28 * column, 28 * row);
      }
    }
    const z = sphere(drawn(choice), latent, place);
    digits.forEach(({ picture, button }, other) => {
      const image = generate(network, z, other, sizes);
      paint(picture, image);
      if (other === digit) paint(large, image);
      button.setAttribute("aria-pressed", other === digit);
    });
    mark.style.left = `${(100 * (place[0] + 180)) / 360}%`;
    mark.style.top = `${(100 * (90 - place[1])) / 180}%`;
    caption.textContent = WORDS.place(longitude, latitude).replaceAll("-", "−");
    large.setAttribute("aria-label", WORDS.picture(digit, longitude, latitude).replaceAll("-", "−"));
  }

  const { speak, hush } = speaker(el, status);
  const change = () => { show(); speak(() => large.getAttribute("aria-label")); };
  another.addEventListener("click", () => choose({ draw: (model.get("choice").draw + 1) % sizes.draws }));
  const inside = (value, end) => clamp(Math.round(value), [-end, end]);
  onPoint(plane, (event) => {
    const box = plane.getBoundingClientRect();
    choose({ place: [inside(((event.clientX - box.left) / box.width) * 360 - 180, 180), inside(90 - ((event.clientY - box.top) / box.height) * 180, 90)] });
  });
  onArrows(plane, (right, up) => {
    const [longitude, latitude] = model.get("choice").place, turned = longitude + 5 * right;
    choose({ place: [turned > 180 ? turned - 360 : turned < -180 ? turned + 360 : turned, inside(latitude + 5 * up, 90)] });
  });
  model.on("change:choice", change);
  show();
  return () => {
    model.off("change:choice", change);
    hush();
  };
}

export default { render };
