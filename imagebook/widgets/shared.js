// ---- shared with the other figures: see shared.py ---------------------------------------------------------------

const make = (create) => (tag, attributes = {}, ...children) => {
  const element = create(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
export const html = make((tag) => document.createElement(tag));
export const svg = make((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));

// JupyterLab's notebook takes keys (arrows move between cells) from any element that does not say this.
export const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

export const clamp = (value, [least, most]) => Math.max(least, Math.min(most, value));

/** Write a number: with a true minus, and without one before zero. */
export const decimal = (value, digits = 2) =>
  (Math.abs(value) < 0.5 * 10 ** -digits ? "0" : value.toFixed(digits).replace("-", "−"));

// Ten colours of viridis, the map of the book's static figures.
export const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137],
  [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];
// Blue below zero, red above.
export const SIGNED = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];

/** Return the colour at a part, from 0 to 1, of a list of colours, straight lines between them. */
export function colour(map, part) {
  const place = clamp(part, [0, 1]) * (map.length - 1), low = Math.min(Math.floor(place), map.length - 2);
  return map[low].map((value, channel) => value + (place - low) * (map[low + 1][channel] - value));
}

/** Return a function that changes some entries of the model's dictionary and keeps the others. */
export const chooser = (model, trait = "choice") => (entries) => {
  model.set(trait, { ...model.get(trait), ...entries });
  model.save_changes();
};

/** Return a list of the values of one setting: its `element`, and `show(choice)`. */
export function listOf(choose, name, label, values, word = String) {
  const select = html("select", OWN_KEYS, ...values.map((value, index) => html("option", { value: index }, word(value))));
  select.addEventListener("change", () => choose({ [name]: values[select.value] }));
  const show = (choice) => { select.value = values.indexOf(choice[name]); };
  return { show, element: html("label", {}, html("span", {}, label), select) };
}

/** Return a slider for one setting: its `element`, and `show(choice)`. */
export function sliderOf(choose, name, label, [min, max], step, word = String) {
  const value = html("b", { "aria-hidden": "true" }), input = html("input", { type: "range", min, max, step, ...OWN_KEYS });
  input.addEventListener("input", () => choose({ [name]: Number(input.value) }));
  const show = (choice) => { input.value = choice[name]; value.textContent = word(choice[name]); };
  return { show, element: html("label", {}, html("span", {}, label, " ", value), input) };
}

/** Make an element a figure: its class, its name, and what stands in it. */
export function compose(el, kind, name, ...children) {
  el.classList.add(kind);
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", name);
  el.replaceChildren(...children);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** Call `move` with steps to the right and up, -1, 0 or 1, at each arrow key; where it returns false, the page scrolls. */
export function onArrows(element, move) {
  element.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    if (move(...ARROWS[event.key]) === false) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Call `point` with the event of a click or of a mouse that draws; a finger scrolls the page. */
export function onPoint(element, point) {
  element.addEventListener("click", point);
  element.addEventListener("pointermove", (event) => { if (event.buttons === 1 && event.pointerType === "mouse") point(event); });
}

/** Let a button play: each `wait` milliseconds the choice of `name` moves on to the next of `values`, then `done`. */
export function player(button, words, wait, { model, name, values, done }) {
  const choose = chooser(model), place = () => values.indexOf(model.get("choice")[name]);
  let timer = 0;
  const halt = () => { clearInterval(timer); timer = 0; button.textContent = words.play; };
  button.addEventListener("click", () => {
    if (timer) return halt();
    if (place() === values.length - 1) choose({ [name]: values[0] });
    timer = setInterval(() => {
      if (place() < values.length - 1) choose({ [name]: values[place() + 1] });
      else { halt(); done(); }
    }, wait);
    button.textContent = words.stop;
  });
  return { halt, playing: () => timer !== 0 };
}

/** Return `speak(say)`, which says it when the reader rests, and only in the view in use, and `hush`. */
export function speaker(el, status) {
  let waiting;
  const hush = () => clearTimeout(waiting);
  const speak = (say) => {
    hush();
    if (el.contains(document.activeElement)) waiting = setTimeout(() => { status.textContent = say(); }, 700);
  };
  return { speak, hush };
}

/** Draw as soon as the element has a width other than `drawn`, and whenever that changes; return what ends it. */
export function onWidth(el, draw, drawn = 0) {
  const observer = new ResizeObserver(() => {
    if (el.clientWidth === drawn) return;
    drawn = el.clientWidth; // before drawing, which may bring a scroll bar and so another width
    draw();
  });
  observer.observe(el);
  return () => observer.disconnect();
}

// ---- this figure ------------------------------------------------------------------------------------------------
