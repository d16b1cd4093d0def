// What re-encoding does to the verdict.

import { element, table } from "./elements.js";
import { icon } from "./icons.js";
import { counted, score, view } from "./words.js";

/** Return the section on re-encodings.
 *
 * @param {object} result of one image
 * @param {string} missing why it was not looked at, empty where it was
 */
export function reencoding(result, missing) {
  const heading = element("h4", {}, "What re-encoding does");
  const found = Object.entries(result.under);
  if (!found.length) return [heading, element("p", { class: "soft" }, missing || "Not tried.")];
  const own = result.reason.includes("but not under") ? result.reason.split(" ")[0] : result.verdict;
  const changed = found.filter(([, each]) => each.verdict !== own).length;
  const rows = [["As it is", verdict(own), score(result.score)]];
  for (const [name, each] of found) rows.push([view(name), verdict(each.verdict), score(each.score)]);
  const columns = [{ title: "Re-encoding" }, { title: "Verdict" }, { title: "Score", number: true }];
  return [heading, table(summary(changed, found.length), columns, rows)];
}

const verdict = (said) => element("span", { class: "verdict-in-table" }, icon(said), said);

function summary(changed, total) {
  if (!changed) return `The verdict stays the same under all ${counted(total, "re-encoding")}.`;
  return `The verdict changes under ${changed} of ${counted(total, "re-encoding")}.`;
}
