// One shape for each verdict, so that it is told by form and by text, never by colour alone.

import { drawn } from "./elements.js";

const SHAPES = {
  // filled diamond with an exclamation mark
  synthetic: () => [
    drawn("path", { class: "solid", d: "M16 1.5 30.5 16 16 30.5 1.5 16z" }),
    drawn("path", { class: "mark-on-solid", d: "M16 9v8.5M16 22v.5" }),
  ],
  // ring with a tick
  natural: () => [
    drawn("circle", { class: "outline", cx: 16, cy: 16, r: 13 }),
    drawn("path", { class: "mark", d: "M10 16.5l4.2 4.2L22.5 12" }),
  ],
  // broken square with a question mark
  unsure: () => [
    drawn("rect", { class: "outline broken", x: 3, y: 3, width: 26, height: 26, rx: 6 }),
    drawn("path", { class: "mark", d: "M12 12.6c.2-2.2 1.9-3.6 4.1-3.6 2.3 0 4 1.4 4 3.5 0 3.2-4.1 3.1-4.1 5.8M16 22.6v.3" }),
  ],
  // crossed circle: no verdict
  none: () => [
    drawn("circle", { class: "outline", cx: 16, cy: 16, r: 13 }),
    drawn("path", { class: "mark", d: "M11.5 11.5l9 9M20.5 11.5l-9 9" }),
  ],
};

/** Return the icon of a verdict; its meaning always stands beside it as text. */
export function icon(verdict) {
  const shape = SHAPES[verdict] || SHAPES.none;
  return drawn("svg", { class: "icon", viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" }, shape());
}
