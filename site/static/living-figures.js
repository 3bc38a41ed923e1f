/* Living figures without a kernel.

   A widget of the book (an anywidget) is one ES module and some state. In JupyterLab the state belongs to Python;
   in the built page it was stored when the notebook ran. This host reads the stored state and runs the same module:
   https://anywidget.dev/en/afm/ names the contract. In the place of widgets of other kinds, which need a kernel,
   it says so, with the way to one.
   It is a classic script, and the modules come from memory, so that a page opened from a file works too. */
(() => {
  "use strict";

  const WORDS = {
    broken: "This figure could not be drawn: {reason}.",
    noReason: "its program failed",
    trains: "This panel trains a network and needs a running Python",
    controls: "This panel needs a running Python",
    run: "run this page in Binder",
    setup: "the page Setup says how to get one",
  };
  const MIME = "application/vnd.jupyter.widget-";

  /** Equal as Jupyter's models compare: plain values and lists by content, anything else by identity. */
  function same(a, b) {
    if (Object.is(a, b)) return true;
    if (!a || !b || typeof a !== "object" || typeof b !== "object") return false;
    const prototype = Object.getPrototypeOf(a);
    if (prototype !== Object.getPrototypeOf(b) || ![Array.prototype, Object.prototype].includes(prototype)) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every(key => Object.hasOwn(b, key) && same(a[key], b[key]));
  }

  /** The state of one widget, shared by all its views. Without a kernel, nothing is saved or sent. */
  class Model {
    #state;
    #listeners = [];

    constructor({ state, buffers = [] }) {
      this.#state = structuredClone(state);
      for (const { path, data } of buffers) {  // bytes are stored apart, each with its place in the state
        const bytes = Uint8Array.from(atob(data), character => character.charCodeAt(0));
        const parent = path.slice(0, -1).reduce((object, key) => (object[key] ??= {}), this.#state);
        parent[path.at(-1)] = new DataView(bytes.buffer);
      }
    }

    get(name) { return this.#state[name]; }

    /** set(name, value) or set({ name: value, … }): first all values change, then the listeners hear of it. */
    set(name, value) {
      const changes = typeof name === "object" ? name : { [name]: value };
      const changed = Object.keys(changes).filter(key => !same(this.#state[key], changes[key]));
      for (const key of changed) this.#state[key] = changes[key];
      for (const key of changed) this.#emit(`change:${key}`, this.#state[key]);
      if (changed.length) this.#emit("change");
    }

    on(names, listener, context) {
      for (const name of names.split(" ")) this.#listeners.push({ name, listener, context });
    }

    /** Forget the listeners that match whatever is given: off() forgets all. */
    off(names, listener, context) {
      this.#listeners = this.#listeners.filter(one =>
        (names && !names.split(" ").includes(one.name)) || (listener && listener !== one.listener)
        || (context && context !== one.context));
    }

    save_changes() {}
    send() {}

    #emit(name, ...values) {
      for (const one of [...this.#listeners]) {
        if (one.name !== name || !this.#listeners.includes(one)) continue;
        try { one.listener(this, ...values); } catch (error) { reportError(error); }  // one view must not stop the others
      }
    }
  }

  /** What a widget's code may do with a model; `context` marks its listeners, so that they can go with it. */
  function proxy(model, context, manager) {
    return {
      get: name => model.get(name),
      set: (name, value) => model.set(name, value),
      save_changes: () => model.save_changes(),
      send: () => model.send(),
      on: (names, listener) => model.on(names, listener, context),
      off: (names, listener) => model.off(names, listener, context),
      widget_manager: manager,
    };
  }

  const definitions = new Map();
  /** Import a widget's module; each source once, however many widgets share it. */
  function definition(source) {
    if (!definitions.has(source)) {
      const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      definitions.set(source, import(address).then(async module => {
        URL.revokeObjectURL(address);
        return typeof module.default === "function" ? module.default() : module.default ?? { render: module.render };
      }));
    }
    return definitions.get(source);
  }

  const styles = new Set();
  function addStyle(text) {
    if (!text || styles.has(text)) return;
    styles.add(text);
    document.head.append(Object.assign(document.createElement("style"), { textContent: text }));
  }

  const leaving = new AbortController();
  const experimental = { invoke: () => Promise.reject(new Error("there is no kernel")) };
  const whenLeaving = cleanup => {
    if (typeof cleanup === "function") leaving.signal.addEventListener("abort", cleanup);
  };
  // A page that the browser keeps for the way back is not cleaned up: it would come back dead.
  addEventListener("pagehide", event => { if (!event.persisted) leaving.abort(); });

  const widgets = new Map();  // by model identifier: { model, ready }, `ready` once a view has asked for it
  const manager = {
    async get_model(identifier) {
      const widget = widgets.get(identifier.replace("IPY_MODEL_", ""));
      if (!widget) throw new Error("it refers to a widget that was not stored");
      await begin(widget);
      return proxy(widget.model, {}, manager);
    },
  };

  /** Initialize a widget before its first view, and only then. */
  function begin(widget) {
    return widget.ready ??= definition(widget.model.get("_esm")).then(async ({ initialize, render }) => {
      addStyle(widget.model.get("_css"));
      whenLeaving(await initialize?.({ model: proxy(widget.model, {}, manager), signal: leaving.signal, experimental }));
      return render;
    });
  }

  async function show(widget, el) {
    try {
      const render = await begin(widget);
      const model = proxy(widget.model, el, manager);
      whenLeaving(await render?.({ model, el, signal: leaving.signal, experimental }));
    } catch (error) {
      console.error(error);
      const reason = String(error?.message ?? "").replace(/\.$/, "") || WORDS.noReason;
      const message = Object.assign(document.createElement("p"), { className: "living-figure-error" });
      message.setAttribute("role", "alert");
      message.textContent = WORDS.broken.replace("{reason}", () => reason);
      el.replaceChildren(message);
    }
  }

  /** Say that a widget needs a kernel, and link to one where the page's own launch menu does. */
  function excuse(entry, el) {
    const trains = entry?.state._dom_classes?.includes("train-it");
    const sentence = Object.assign(document.createElement("p"), { className: "living-figure-needs-python" });
    const launch = document.querySelector('.dropdown-launch-buttons a[href*="/v2/g"]');  // Binder's: /v2/gh/, /v2/git/…
    const way = launch
      ? Object.assign(document.createElement("a"), { href: launch.href, textContent: WORDS.run }) : WORDS.setup;
    sentence.append(`${trains ? WORDS.trains : WORDS.controls}: `, way, ".");
    el.append(sentence);
  }

  function start() {
    const stored = kind => [...document.querySelectorAll(`script[type="${MIME}${kind}+json"]`)];
    const entries = Object.assign({}, ...stored("state").map(script => JSON.parse(script.textContent).state));
    for (const [identifier, entry] of Object.entries(entries)) {
      if (entry.model_module === "anywidget") widgets.set(identifier, { model: new Model(entry) });
    }
    for (const script of stored("view")) {
      const identifier = JSON.parse(script.textContent).model_id;
      const el = document.createElement("div");
      el.className = "living-figure";
      script.before(el);
      if (widgets.has(identifier)) show(widgets.get(identifier), el);
      else excuse(entries[identifier], el);
    }
  }

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
