/* What print_book.py lets Chromium do: `gather` in each built page, `settle` in the document of all pages. */
"use strict";

// The parts of code that print_book.css marks: keywords, strings, comments, names in their definitions, a terminal's colours.
const CODE = ".k, .kn, .kd, .kc, .ow, .s1, .s2, .sa, .sd, .c1, .nf, .nc, [class*=Color]";
const letters = text => text.textContent.trimEnd().split("\n");

/** Return the text of this page, ready to stand in one document with those of all `names`, and its headings. */
async function gather({ name, names, words }) {
  const article = document.querySelector("article.bd-article");
  const here = location.href.slice(0, -`${name}.html`.length);  // where the book lies, and where it is read on the web
  const there = document.querySelector("link[rel=canonical]")?.href.slice(0, -`${name}.html`.length);
  const all = (selector, change, within = article) => within.querySelectorAll(selector).forEach(change);
  const rename = (one, tag) => one.outerHTML = one.outerHTML.replace(/^<\w+/, `<${tag}`).replace(/\w+>$/, `${tag}>`);

  const look = () => article.innerHTML.length + [...article.querySelectorAll("canvas")].map(one => one.toDataURL()).join();
  for (let before = ""; article.querySelector(".living-figure") && before !== (before = look());)
    await new Promise(done => setTimeout(done, 250));  // until the living figures stand still
  all(".living-figure:not(:has(.living-figure-needs-python))", figure => {
    still(figure);
    const moves = Object.assign(document.createElement("p"), { className: "moves" });
    moves.append(Object.assign(document.createElement("a"), { href: (there ?? here) + `${name}.html`, textContent: words.moves }));
    figure.append(moves);
  });

  all("script, .headerlink, .sd-summary-state-marker, .toctree-wrapper", one => one.remove());
  all("details:has(> summary > .collapsed)", one => one.replaceWith(...[...one.children].slice(1)));  // "Show code cell source"
  all("details", one => one.open = true);
  all("a[href]", link => {
    const [address, place] = link.href.split("#");
    if (!address.startsWith(here)) return;
    const file = address.slice(here.length), page = file.replace(/\.html$/, "");
    if (names.includes(page)) link.setAttribute("href", `#${page}${place ? `/${decodeURIComponent(place)}` : ""}`);
    else if (there) link.href = there + link.href.slice(here.length);
    else link.replaceWith(...link.childNodes);
  });
  all("img", image => {
    image.src = image.src;  // the whole address
    image.removeAttribute("loading");
    // Figures keep their relative sizes, so that their letters have one size: 1300 pixels fill the column.
    if (image.matches("[width]") && !image.style.width) image.style.width = `${Math.min(100, image.getAttribute("width") / 13)}%`;
  });
  // In a PDF a formula is a picture whose text is its TeX.
  all(".katex", formula => {
    formula.setAttribute("role", "img");
    formula.ariaLabel = formula.querySelector("annotation").textContent.trim();
    formula.querySelector(".katex-mathml").remove();
    formula.querySelector(".katex-html").removeAttribute("aria-hidden");
  });

  // An address stands in its heading, not before it, where it may stay behind on the page before.
  all("h1, h2, h3, h4, h5", heading => {
    while (heading.previousElementSibling?.matches("span:empty")) heading.prepend(heading.previousElementSibling);
    if (!heading.parentElement.matches("section[id]")) return;
    heading.id = heading.parentElement.id;
    heading.parentElement.removeAttribute("id");
  });
  for (const level of [5, 4, 3, 2, 1]) all(`h${level}`, one => rename(one, `h${level + 1}`));  // the parts are the first level
  all("[id]", one => one.id = `${name}/${one.id}`);
  article.querySelector("h2").prepend(Object.assign(document.createElement("span"), { id: name }));  // the page as a whole

  // A colour for each word of code is too much for paper, and half a million elements are too many for a PDF.
  all("pre span", one => one.matches(CODE) || one.replaceWith(...one.childNodes));
  all("pre", one => one.normalize());

  // What is short stays on one page, and what ends with a colon stays with what follows.
  all("pre", one => {
    one.classList.toggle("short", letters(one).length <= 16);
    one.style.setProperty("--columns", Math.max(...letters(one).map(line => line.length)));
  });
  all("div.cell:not(:has(img, .living-figure, .math))", cell =>
    cell.classList.toggle("short", [...cell.querySelectorAll("pre")].flatMap(letters).length <= 18));
  all("p", one => one.classList.toggle("leads", /[:：]$/.test(one.textContent.trim())));
  return {
    html: article.innerHTML, there,
    headings: [...article.querySelectorAll("h2, h3")].map(one => [one.tagName, one.id, one.innerHTML.replace(/ id="[^"]*"/g, "")]),
    styles: [...document.head.querySelectorAll("style")].map(one => one.textContent).filter(text => text.trim()),
  };
}

/** Make a still of a living figure: drawings become pictures, choices become words, and what only changes them goes. */
function still(figure) {
  const all = (selector, change) => figure.querySelectorAll(selector).forEach(change);
  const say = (one, text) => one.replaceWith(Object.assign(document.createElement("b"), { textContent: text }));
  all("canvas", canvas => {
    const style = getComputedStyle(canvas), { width, height } = canvas.getBoundingClientRect();
    const grow = style.imageRendering === "pixelated" ? Math.max(1, Math.round(2 * width / canvas.width)) : 1;
    const large = Object.assign(document.createElement("canvas"), { width: canvas.width * grow, height: canvas.height * grow });
    const pen = large.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(canvas, 0, 0, large.width, large.height);
    const image = Object.assign(new Image(), { src: large.toDataURL(), alt: canvas.ariaLabel ?? "", className: canvas.className });
    for (const key of ["position", "inset", "border", "display", "background"]) image.style[key] = style[key];
    Object.assign(image.style, { width: `${width}px`, height: `${height}px`, boxSizing: "border-box" });
    canvas.replaceWith(image);
  });
  all("fieldset, details, label:has(input[type=checkbox]), button:not(:has(img)), [hidden]", one => one.remove());
  all("select", one => say(one, one.selectedOptions[0]?.textContent ?? ""));
  all("input[type=text]", one => say(one, one.value));
  all("input", one => one.remove());
  all("button", one => one.outerHTML = one.outerHTML.replace(/^<button/, "<div").replace(/button>$/, "div>"));
}

/** Compose the cover, keep the addresses in use, make fit what is too wide, and return what is wrong. */
async function settle() {
  const cover = document.querySelector("#cover"), preface = document.querySelector("#preface");
  const licence = preface.querySelector('a[href*="creativecommons.org"]')?.closest("p");
  cover.prepend(...[preface.querySelector("h2"), preface.querySelector("figure")].filter(Boolean));
  if (licence) cover.append(licence);

  await document.fonts.ready;
  await Promise.all([...document.images].map(one => one.decode().catch(() => {})));
  const wanted = new Set([...document.querySelectorAll('a[href^="#"]')].map(one => one.getAttribute("href").slice(1)));
  const found = new Set();
  for (const one of document.querySelectorAll("[id]"))
    if (wanted.has(one.id) && !found.has(one.id)) found.add(one.id);
    else if (!["cover", "preface"].includes(one.id)) one.removeAttribute("id");
  for (const one of document.querySelectorAll("div.math .katex-html"))
    if (one.scrollWidth > one.clientWidth + 1) one.closest("div.math").classList.add("wide");  // from the left edge on
  for (const one of document.querySelectorAll("div.math .katex-html, table.table")) {
    const [room, width] = one.matches("table") ? [one.parentElement.clientWidth, one.offsetWidth] : [one.clientWidth, one.scrollWidth];
    if (width > room + 1) one.style.fontSize = `${Math.floor(98 * room / width)}%`;
  }
  // Two different Chinese characters look alike only where no font has them.
  const draw = text => {
    const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
    pen.font = "20px serif";
    pen.fillText(text, 0, 20);
    return canvas.toDataURL();
  };
  return {
    lost: [...wanted].filter(one => !found.has(one)),
    missing: [...document.images].filter(one => !one.naturalWidth).map(one => one.src),
    noChinese: /[\u4e00-\u9fff]/.test(document.body.textContent) && draw("池") === draw("化"),
  };
}
