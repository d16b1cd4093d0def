// Elements made by hand: every text goes in as text, so that no name or message of others becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element with attributes and children, which are elements, texts, or null where there is nothing. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an element of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

let numbered = 0;

/** Return an id that nothing else on the page has. */
export function freshId(stem) {
  numbered += 1;
  return `${stem}-${numbered}`;
}

/** Return a table with a caption; every row begins with its heading. */
export function table(caption, columns, rows) {
  const cell = (content, at, row) => {
    const attributes = { class: columns[at].number ? "number" : null };
    if (at === 0) return element("th", { scope: "row", ...attributes }, content);
    return element("td", attributes, content);
  };
  return element(
    "div",
    { class: "table" },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element(
        "thead",
        {},
        element("tr", {}, columns.map((column) => element("th", { scope: "col", class: column.number ? "number" : null }, column.title))),
      ),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((content, at) => cell(content, at, row))))),
    ),
  );
}
