// What each backbone says for itself.

import { element, table } from "./elements.js";
import { score } from "./words.js";

/** Return the section on scores per backbone. */
export function perBackbone(result, detector) {
  const members = new Map(detector.members.map((each) => [`${each.backbone}/${each.layer}`, each]));
  const several = members.size > 1;
  const rows = Object.entries(result.members).map(([name, value]) => {
    const member = members.get(name);
    return [breakable(name), member ? member.head : "", score(value), member ? member.auroc.toFixed(3) : ""];
  });
  const columns = [
    { title: "Backbone/layer" },
    { title: "Head" },
    { title: "Score", number: true },
    { title: "AUROC in the support", number: true },
  ];
  return [
    element("h4", {}, "Scores per backbone"),
    table(several ? "The score is their mean, each centred and scaled." : "The score is that of one backbone.", columns, rows),
  ];
}

/** Return a name that may be broken after its punctuation, so that long ones fit on a phone. */
function breakable(name) {
  return name.split(/(?<=[/:_])/).flatMap((part, at) => (at ? [element("wbr"), part] : [part]));
}
