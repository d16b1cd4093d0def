// What an image is most like among the images that the detector knows, or that it is like none of them.

import { element } from "./elements.js";
import { counted, initials, listed, number } from "./words.js";

/** Return the section on nearest sources. */
export function nearest(result, detector) {
  const total = result.nearest.length;
  return [
    element("h4", {}, "Nearest known images"),
    element("p", {}, result.unknown ? unlike(result) : alike(result.sources, total)),
    element("ul", { class: "tiles" }, result.nearest.map((each) => tile(each, detector))),
  ];
}

function unlike(result) {
  const chance = number(100 * result.p_value);
  return [
    element("strong", {}, "Unknown: "),
    `only ${chance}\u00a0% of the known images lie so far from all others. These are merely the least far:`,
  ];
}

function alike(sources, total) {
  const [first, ...others] = sources;
  if (!first) return "The detector knows no images to compare with.";
  const rest = others.map((each) => `${each.votes} from ${each.source}`);
  const said = `${first.votes} of the ${counted(total, "nearest image")} ${first.votes === 1 ? "is" : "are"} from ${first.source}`;
  return rest.length ? `${said}, ${listed(rest)}.` : `${said}.`;
}

function tile(near, detector) {
  return element(
    "li",
    {},
    picture(near, detector),
    element("span", { class: "tile-source" }, near.source),
    element("span", { class: "tile-name soft", title: near.key }, near.key.split("/").pop()),
    element("span", { class: "tile-name soft" }, `cosine ${near.score.toFixed(3)}`),
  );
}

function picture(near, detector) {
  const letters = element("span", { class: "initials", "aria-hidden": "true" }, initials(near.source));
  if (!detector.thumbnails) return letters;
  const image = element("img", { src: `v1/thumbnails/${near.row}`, alt: "", width: 96, height: 96, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(letters), { once: true });
  return image;
}
