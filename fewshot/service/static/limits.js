// What the detector promises and what it does not.

import { element } from "./elements.js";
import { counted, listed, sentence } from "./words.js";

/** Return the limits of use, as the items of a list. */
export function limits(detector) {
  return [
    fittedOn(detector),
    ...detector.promises.map(sentence),
    toldApart(detector.held_out),
    "“Unsure” means that the evidence does not suffice, in either direction.",
    "It says nothing of who made an image, or of whether what it shows is true. Do not decide over a person by it alone.",
    ...detector.notes.map(sentence),
    ...licences(detector.members),
  ].map((text) => element("li", {}, text));
}

/** Return one line on the detector that stands below the page's title. */
export function introduced(detector) {
  const { support } = detector;
  return (
    `Detector “${detector.name}”, fitted on ${counted(support.natural + support.synthetic, "image")} · ` +
    `${detector.digest.slice(0, 12)}`
  );
}

function fittedOn({ support }) {
  const sources = listed(Object.entries(support.sources).map(([name, count]) => `${name} (${count})`));
  return (
    `It was fitted on ${counted(support.natural, "natural image")} and ${counted(support.synthetic, "synthetic one")}: ` +
    `${sources}. Images of other generators may be called natural.`
  );
}

function toldApart(held) {
  const interval = held.low === null || held.high === null ? "" : ` (95\u00a0% interval ${held.low.toFixed(3)} to ${held.high.toFixed(3)})`;
  const where = held.kind === "held-out" ? "on images that took no part in fitting" : "inside the support, each image left out in turn";
  return `It tells the classes apart with an AUROC of ${held.auroc.toFixed(3)}${interval}, ${where}: ${held.natural} natural, ${held.synthetic} synthetic.`;
}

function licences(members) {
  const known = new Map(members.filter((each) => each.licence).map((each) => [each.backbone, each.licence]));
  return [...known].map(([backbone, licence]) => `The weights of ${backbone} are under this licence: ${sentence(licence)}`);
}
