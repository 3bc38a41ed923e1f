// Gradient descent with momentum on a quadratic bowl: see quadratic_descent.py for the formulas.
// In this order: words, the mathematics, drawing, the figure itself.
import { chooser, clamp, colour, compose, html, listOf, onArrows, onWidth, OWN_KEYS, sliderOf, speaker, svg, VIRIDIS } from "./shared.js";

// Every word that a reader sees or hears.
const WORDS = {
  figure: "Gradient descent with momentum on a quadratic bowl",
  method: "momentum is",
  methods: { "heavy ball": "heavy ball", Nesterov: "Nesterov's" },
  condition: "condition number κ",
  learning_rate: "learning rate η",
  momentum: "momentum μ",
  bowl: "the bowl from above: drag the start, or move it with the arrow keys",
  bowlRole: "Start of the descent",
  map: "factor a step of the slower direction: dark is fast, blank runs away; lines of critical damping",
  mapRole: "Learning rate and momentum",
  at: (role, ...places) => `${role}: ${places.map((place) => place.toFixed(2)).join(", ")}`,
  distance: "distance",
  steps: "steps",
  directions: ["flat direction", "steep direction"],
  legend: ["flat direction, x", "steep direction, y", "closed form"],
  motion: {
    still: "does not move", creeps: "creeps down one side", critical: "is critically damped", rings: "rings",
    flips: "changes sides at every step", away: "runs away", one: "is there in one step",
  },
  said: (direction, motion, factor) => `The ${direction} ${motion}: factor ${factor} a step.`,
  digit: (steps) => (steps === 1 ? "A digit of accuracy takes one step." : `A digit of accuracy takes ${steps} steps.`),
  never: "It gains no digit of accuracy.",
  best: "Best for this bowl",
  chart: (flat, steep) => `Distance from the minimum over ${flat.length - 1} steps; at the end ${flat.at(-1)} in the flat and ${steep.at(-1)} in the steep direction`,
};

const DECADES = [-8, 2]; // of the distance, in the chart
const MAP = { width: 160, height: 80 }; // pixels of the map; across the learning rate, upwards the momentum

// ---- the mathematics --------------------------------------------------------------------------------------------

/** Return a and b of the polynomial r² - a r + b whose roots rule one direction. */
function coefficients({ method, learning_rate: rate, momentum }, curvature) {
  const shrink = 1 - rate * curvature;
  return method === "Nesterov" ? [(1 + momentum) * shrink, momentum * shrink] : [momentum + shrink, momentum];
}

/** Return the larger modulus of the roots: by what the distance shrinks in a step, in the long run. */
export function factor(choice, curvature) {
  const [a, b] = coefficients(choice, curvature), discriminant = a * a - 4 * b;
  return discriminant < 0 ? Math.sqrt(b) : (Math.abs(a) + Math.sqrt(discriminant)) / 2;
}

/** Name the kind of motion in one direction. */
export function motion(choice, curvature) {
  const [a, b] = coefficients(choice, curvature), discriminant = a * a - 4 * b, largest = factor(choice, curvature);
  if (choice.learning_rate === 0) return "still";
  if (largest > 1 + 1e-12) return "away";
  if (largest < 1e-9) return "one";
  if (Math.abs(discriminant) < 1e-3 * b) return "critical";
  if (discriminant < 0) return "rings";
  return a < 0 ? "flips" : "creeps";
}

/** Return the two coordinates of every step, as two lists. */
export function descend(choice, steps) {
  return [["x", 1 / choice.condition], ["y", 1]].map(([name, curvature]) => {
    let place = choice[name], speed = 0;
    const places = [place];
    for (let step = 0; step < steps; step++) {
      const gradient = curvature * place;
      speed = choice.momentum * speed - choice.learning_rate * gradient;
      place += choice.method === "Nesterov" ? choice.momentum * speed - choice.learning_rate * gradient : speed;
      places.push(place);
    }
    return places;
  });
}

/** Return the learning rate and the momentum that shrink the slower direction most. */
export function best({ method, condition }) {
  if (method === "Nesterov") { // both roots of the flat direction meet, and the steep one is as fast or faster
    const rate = 4 / (3 + 1 / condition), root = Math.sqrt(rate / condition);
    return { learning_rate: rate, momentum: (1 - root) / (1 + root) };
  }
  const root = Math.sqrt(1 / condition);
  return { learning_rate: (2 / (1 + root)) ** 2, momentum: ((1 - root) / (1 + root)) ** 2 };
}

// ---- drawing ----------------------------------------------------------------------------------------------------

const round = (value) => Math.round(100 * value) / 100;

// ---- the figure -------------------------------------------------------------------------------------------------

function render({ model, el }) {
  const options = model.get("options"), limits = model.get("limits"), steps = model.get("steps");
  const choose = chooser(model), [, mostRate] = limits.learning_rate;

  const list = (name, word) => listOf(choose, name, WORDS[name], options[name], word);
  const slider = (name) => sliderOf(choose, name, WORDS[name], limits[name], 0.01, (value) => value.toFixed(2));
  /** Let a plane be dragged, and moved by arrow keys: `settings` turns a place from 0 to 1, 0 to 1 into settings. */
  const movable = (element, settings, moved) => {
    let held = false;
    const follow = (event) => {
      const box = element.getBoundingClientRect();
      choose(settings((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height));
    };
    element.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      held = true;
      follow(event);
    });
    element.addEventListener("pointermove", (event) => { if (held && event.isPrimary) follow(event); });
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { held = false; });
    onArrows(element, (right, up) => choose(moved(model.get("choice"), right, up)));
  };

  const controls = [list("method", (method) => WORDS.methods[method]), list("condition", String), slider("learning_rate"), slider("momentum")];
  const bestButton = html("button", { type: "button" }, WORDS.best);
  bestButton.addEventListener("click", () => {
    const { learning_rate, momentum } = best(model.get("choice"));
    choose({ learning_rate, momentum: clamp(momentum, limits.momentum) });
  });
  const bowl = svg("svg", { class: "bowl", viewBox: "-1.15 -1.15 2.3 2.3", tabindex: 0, role: "application", ...OWN_KEYS });
  movable(bowl, (right, up) => ({ x: round(clamp(2.3 * right - 1.15, limits.x)), y: round(clamp(2.3 * up - 1.15, limits.y)) }),
    (choice, right, up) => ({ x: round(clamp(choice.x + 0.05 * right, limits.x)), y: round(clamp(choice.y + 0.05 * up, limits.y)) }));
  const canvas = html("canvas", { ...MAP, "aria-hidden": "true" }), lines = svg("svg", { viewBox: `0 0 ${mostRate} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const cross = html("i", { "aria-hidden": "true" });
  const plane = html("div", { class: "plane", tabindex: 0, role: "application", ...OWN_KEYS }, canvas, lines, cross);
  movable(plane, (right, up) => ({ learning_rate: round(clamp(mostRate * right, limits.learning_rate)), momentum: round(clamp(up, limits.momentum)) }),
    (choice, right, up) => ({ learning_rate: round(clamp(choice.learning_rate + 0.05 * right, limits.learning_rate)), momentum: round(clamp(choice.momentum + 0.01 * up, limits.momentum)) }));
  const chart = svg("svg", { class: "chart", role: "img" });
  const said = html("div", { class: "words" }), status = html("p", { class: "status", role: "status" });
  const legend = html("p", { class: "legend" }, ...["flat", "steep", "closed"].map((kind, i) => html("span", {},
    svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("polyline", { class: kind, points: "0,6 26,6" })), WORDS.legend[i])));
  const axis = (name, ...ends) => html("p", { class: name, "aria-hidden": "true" }, ...ends.map((end) => html("span", {}, end)));
  compose(el, "quadratic-descent", WORDS.figure,
    html("div", { class: "lists" }, ...controls.map(({ element }) => element)),
    html("div", { class: "columns" },
      html("figure", {}, bowl, html("figcaption", {}, WORDS.bowl)),
      html("figure", {}, axis("ends", "μ = 1"), plane, axis("ends", "0", "η = 2", "4"), html("figcaption", {}, WORDS.map), bestButton)),
    chart, legend, said, status);

  let drawn;

  /** Draw the map anew where the bowl or the method is another. */
  function drawMap(choice) {
    const key = `${choice.method} ${choice.condition}`;
    if (key === drawn) return;
    drawn = key;
    const pen = canvas.getContext("2d"), picture = pen.createImageData(MAP.width, MAP.height);
    for (let row = 0; row < MAP.height; row++) for (let column = 0; column < MAP.width; column++) {
      const place = { ...choice, learning_rate: (mostRate * (column + 0.5)) / MAP.width, momentum: 1 - (row + 0.5) / MAP.height };
      const slowest = Math.max(factor(place, 1), factor(place, 1 / choice.condition));
      // By steps a digit: equal steps of colour from one step (dark) to a thousand (bright).
      const part = Math.log10(Math.max(1, -1 / Math.log10(slowest))) / 3;
      picture.data.set(slowest < 1 ? [...colour(VIRIDIS, part), 255] : [0, 0, 0, 0], 4 * (row * MAP.width + column));
    }
    pen.putImageData(picture, 0, 0);
    // Where the discriminant is zero, the two roots meet: between creeping and ringing.
    const critical = (curvature) => Array.from({ length: 161 }, (_, i) => {
      const rate = (mostRate * i) / 160, x = rate * curvature;
      const momentum = choice.method === "Nesterov" ? (x <= 1 ? (1 - Math.sqrt(x)) / (1 + Math.sqrt(x)) : NaN) : (1 - Math.sqrt(x)) ** 2;
      return [rate, momentum];
    }).filter(([, momentum]) => momentum >= 0 && momentum <= 1).map(([rate, momentum]) => `${rate},${1 - momentum}`).join(" ");
    lines.replaceChildren(svg("polyline", { class: "flat", points: critical(1 / choice.condition) }), svg("polyline", { class: "steep", points: critical(1) }));
  }

  function drawBowl(choice, [xs, ys]) {
    const radius = (level) => ({ rx: Math.sqrt(level * choice.condition), ry: Math.sqrt(level) });
    const end = xs.findIndex((x, step) => Math.hypot(x, ys[step]) > 3), count = end < 0 ? xs.length : end + 1;
    const points = xs.slice(0, count).map((x, step) => [x, -ys[step]]);
    bowl.replaceChildren(
      ...[0.01, 0.04, 0.12, 0.25, 0.5, 0.8].map((level) => svg("ellipse", { class: "level", cx: 0, cy: 0, ...radius(level) })),
      svg("path", { class: "least", d: "M-0.04 0H0.04M0 -0.04V0.04" }),
      svg("polyline", { class: "path", points: points.map((point) => point.map((value) => value.toFixed(4)).join(",")).join(" ") }),
      ...points.slice(1, 40).map(([cx, cy]) => svg("circle", { class: "step", cx, cy, r: 0.018 })),
      svg("circle", { class: "start", cx: choice.x, cy: -choice.y, r: 0.05 }));
  }

  function drawChart(choice, paths) {
    const width = chart.clientWidth || 640, box = { left: 40, right: width - 8, top: 22, bottom: 180 };
    const x = (step) => box.left + ((box.right - box.left) * step) / steps;
    const y = (log) => box.bottom - ((box.bottom - box.top) * (clamp(log, DECADES) - DECADES[0])) / (DECADES[1] - DECADES[0]);
    const text = (words, at, height, anchor = "middle", ...more) => svg("text", { x: at, y: height, "text-anchor": anchor }, words, ...more);
    const line = (kind, logs) => { // it ends where it leaves the chart for good
      const last = logs.findLastIndex((log) => log > DECADES[0] && log < DECADES[1]), end = Math.min(last + 2, logs.length);
      return svg("polyline", { class: kind, points: logs.slice(0, end).map((log, step) => `${x(step).toFixed(1)},${y(log).toFixed(1)}`).join(" ") });
    };
    const measured = paths.map((path) => path.map((value) => Math.log10(Math.abs(value) + 1e-300)));
    const closed = paths.map((path, direction) => path.map((_, step) =>
      Math.log10(Math.abs(path[0]) + 1e-300) + step * Math.log10(factor(choice, direction ? 1 : 1 / choice.condition) + 1e-300)));
    chart.setAttribute("height", box.bottom + 36);
    chart.replaceChildren(
      ...[-8, -6, -4, -2, 0, 2].flatMap((log) => [svg("line", { class: log ? "rule" : "one", x1: box.left, x2: box.right, y1: y(log), y2: y(log) }),
        text("10", box.left - 6, y(log) + 4, "end", svg("tspan", { dy: -5, "font-size": "9px" }, String(log).replace("-", "−")))]),
      ...[0, 0.25, 0.5, 0.75, 1].map((part) => text(String(Math.round(part * steps)), x(part * steps), box.bottom + 15)),
      text(WORDS.distance, 2, 12, "start"), text(WORDS.steps, (box.left + box.right) / 2, box.bottom + 32),
      ...closed.map((logs) => line("closed", logs)), line("flat", measured[0]), line("steep", measured[1]));
  }

  function show() {
    const choice = model.get("choice"), paths = descend(choice, steps);
    controls.forEach((control) => control.show(choice));
    drawBowl(choice, paths);
    drawMap(choice);
    cross.style.left = `${(100 * choice.learning_rate) / mostRate}%`;
    cross.style.bottom = `${100 * choice.momentum}%`;
    drawChart(choice, paths);
    bowl.setAttribute("aria-label", WORDS.at(WORDS.bowlRole, choice.x, choice.y));
    plane.setAttribute("aria-label", WORDS.at(WORDS.mapRole, choice.learning_rate, choice.momentum));
    const curvatures = [1 / choice.condition, 1], slowest = Math.max(...curvatures.map((curvature) => factor(choice, curvature)));
    const sentences = curvatures.map((curvature, direction) =>
      WORDS.said(WORDS.directions[direction], WORDS.motion[motion(choice, curvature)], factor(choice, curvature).toFixed(3)));
    sentences.push(slowest < 1 ? WORDS.digit(Math.max(1, Math.ceil(-1 / Math.log10(slowest)))) : WORDS.never);
    said.replaceChildren(...sentences.map((sentence) => html("p", {}, sentence)));
    const ends = paths.map((path) => path.map((value) => Math.abs(value).toPrecision(2)));
    chart.setAttribute("aria-label", WORDS.chart(...ends));
  }

  const { speak, hush } = speaker(el, status);
  const change = () => {
    show();
    speak(() => Array.from(said.children, (child) => child.textContent).join(" "));
  };
  model.on("change:choice", change);
  show();
  const unwatch = onWidth(el, show, el.clientWidth);
  return () => {
    model.off("change:choice", change);
    unwatch();
    hush();
  };
}

export default { render };
