// The score on a scale: both thresholds, what is said on either side of them, and the calibration naturals as ticks.

import { drawn, element, freshId } from "./elements.js";
import { counted, score as said } from "./words.js";

const HEIGHT = 132;
const BAR = { y: 44, height: 20 };
const TICKS = { y: 68, height: 12 };
const REACH = 2; // spans of the thresholds and naturals by which a far score may stretch the scale

/** Return the figure of one score.
 *
 * @param {number} value of the image
 * @param {object} detector as /v1/detector gives it
 */
export function scale(value, detector) {
  const naturals = detector.calibration_scores || [];
  // Whichever is the higher one: between the two nothing is said.
  const [low, high] = [detector.alarm.value, detector.clear.value].sort((one, other) => one - other);
  const range = span([low, high, ...naturals], value);
  const place = (at) => Math.min(98.5, Math.max(1.5, 1.5 + (97 * (at - range.low)) / (range.high - range.low)));
  const title = freshId("scale-title");
  const description = freshId("scale-description");
  const drawing = drawn(
    "svg",
    { class: "scale", role: "img", width: "100%", height: HEIGHT, "aria-labelledby": `${title} ${description}` },
    drawn("title", { id: title }, `Score ${said(value)} on the detector's scale`),
    drawn("desc", { id: description }, described(value, low, high, naturals)),
    bands(place(low), place(high)),
    naturals.map((at) => tick(place(at))),
    thresholds(place(low), `natural below ${said(low)}`, place(high), `synthetic above ${said(high)}`),
    marker(place(value), value, range),
  );
  return element("figure", { class: "score" }, drawing, element("figcaption", {}, legend(naturals, detector)));
}

/** Return the ends of the scale, so that thresholds and naturals fill it and the score is on it where it can be. */
function span(fixed, value) {
  const least = Math.min(...fixed);
  const most = Math.max(...fixed);
  const width = most - least || Math.abs(most) || 1;
  const reach = REACH * width;
  const low = Math.min(least, Math.max(value, least - reach));
  const high = Math.max(most, Math.min(value, most + reach));
  return { low: low - 0.08 * (high - low || width), high: high + 0.08 * (high - low || width) };
}

function bands(low, high) {
  const hatch = freshId("hatch");
  const band = (from, to, attributes) =>
    drawn("rect", { x: `${from}%`, width: `${Math.max(0, to - from)}%`, ...BAR, ...attributes });
  return [
    drawn(
      "defs",
      {},
      drawn(
        "pattern",
        { id: hatch, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        drawn("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 7 }),
      ),
    ),
    band(0, low, { class: "band natural" }),
    band(low, high, { class: "band", fill: `url(#${hatch})` }),
    band(high, 100, { class: "band synthetic" }),
    drawn("rect", { class: "frame", x: "0.2%", width: "99.6%", ...BAR }),
  ];
}

const tick = (at) =>
  drawn("line", { class: "tick", x1: `${at}%`, x2: `${at}%`, y1: TICKS.y, y2: TICKS.y + TICKS.height });

/** Return both thresholds, each label on the side and in the row where the other's line does not cross it. */
function thresholds(low, below, high, above) {
  const [lowRow, highRow] = low > 50 ? [32, 15] : [15, 32];
  const line = (at, row) =>
    drawn("line", { class: "threshold", x1: `${at}%`, x2: `${at}%`, y1: row - 10, y2: BAR.y + BAR.height + 2 });
  const label = (at, row, words) =>
    at > 50
      ? drawn("text", { class: "threshold-label", x: `${at}%`, dx: -6, y: row, "text-anchor": "end" }, words)
      : drawn("text", { class: "threshold-label", x: `${at}%`, dx: 6, y: row }, words);
  return [line(low, lowRow), line(high, highRow), label(low, lowRow, below), label(high, highRow, above)];
}

function marker(at, value, range) {
  const anchor = at > 70 ? "end" : at < 30 ? "start" : "middle";
  const beyond = value < range.low || value > range.high ? ", beyond this scale" : "";
  return [
    drawn("line", { class: "marker", x1: `${at}%`, x2: `${at}%`, y1: BAR.y - 5, y2: 96 }),
    drawn("svg", { x: `${at}%`, y: 88, overflow: "visible" }, drawn("path", { class: "marker-head", d: "M0 -4 7 9H-7z" })),
    drawn("text", { class: "marker-label", x: `${at}%`, y: 120, "text-anchor": anchor }, `this image: ${said(value)}${beyond}`),
  ];
}

function legend(naturals, detector) {
  if (!naturals.length) return "No natural images of your own traffic were given: both thresholds are estimates.";
  const total = detector.calibration ? detector.calibration.natural : naturals.length;
  const which = naturals.length < total ? `${naturals.length} of the ${total}` : `the ${total}`;
  return `Each small tick is one of ${which} natural images of the calibration. Hatched: unsure.`;
}

function described(value, low, high, naturals) {
  const lower = naturals.filter((at) => at < value).length;
  const among = naturals.length
    ? ` ${lower} of ${counted(naturals.length, "natural image")} of the calibration score lower.`
    : "";
  return (
    `The score of this image is ${said(value)}. Below ${said(low)} the verdict is natural, above ` +
    `${said(high)} synthetic, in between unsure.${among}`
  );
}
