// What a file says of its own origin: beside the score, never in it.

import { element } from "./elements.js";
import { sentence } from "./words.js";

/** Return the section on provenance.
 *
 * @param {object} result of one image
 * @param {string} missing why it was not looked at, empty where it was
 */
export function provenance(result, missing) {
  const heading = element("h4", {}, "Provenance (not used in the score)");
  const found = result.provenance;
  if (!found) return [heading, element("p", { class: "soft" }, missing || "Not read.")];
  const said = (found.sentences || []).map((text) => element("li", {}, sentence(String(text))));
  return [
    heading,
    said.length ? element("ul", { class: "plain" }, said) : element("p", {}, "The file says nothing of its origin."),
    found.absence ? element("p", { class: "soft" }, String(found.absence)) : null,
  ];
}
