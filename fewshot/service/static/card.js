// One image and all that is said of it, the verdict first.

import { copyButton } from "./copy.js";
import { element } from "./elements.js";
import { icon } from "./icons.js";
import { nearest } from "./nearest.js";
import { provenance } from "./provenance.js";
import { reencoding } from "./reencoding.js";
import { scale } from "./scale.js";
import { perBackbone } from "./scores.js";
import { VERDICTS, initials, probability, score, sentence } from "./words.js";

/** The card of one image, from waiting for its turn to what is said of it. */
export class Card {
  /**
   * @param {File} file
   * @param {string} id of the card on the page
   */
  constructor(file, id) {
    this.file = file;
    this.name = file.name || "pasted image";
    this.address = URL.createObjectURL(file);
    this.element = element("article", { class: "card", id, "aria-labelledby": `${id}-heading` });
    this.heading = element("h3", { id: `${id}-heading`, tabindex: "-1" });
    this.verdict = "";
  }

  /** Show what it is waiting for. */
  waiting(words) {
    this.#show("waiting", null, words, []);
  }

  /** Show why there is no verdict; `again` is called by the button that is offered where that can help. */
  failed(message, again) {
    const button = again ? element("button", { type: "button", class: "quiet" }, "Try again") : null;
    if (button) button.addEventListener("click", again);
    this.verdict = "without a verdict";
    this.#show("failed", "none", "No verdict.", [element("p", {}, sentence(message)), button]);
  }

  /** Show what is said of it.
   *
   * @param {object} result as /v1/predict gives it
   * @param {object} detector as /v1/detector gives it
   * @param {Object<string, string>} missing why re-encodings or provenance were not looked at
   */
  judged(result, detector, missing) {
    this.verdict = result.verdict;
    this.#show("judged", result.verdict, VERDICTS[result.verdict] || result.verdict, inShort(result, detector));
    const section = (kind, parts) => element("section", { class: kind }, parts);
    this.element.append(
      section("wide", [element("h4", {}, "Score"), scale(result.score, detector), promises(detector)]),
      section("wide", nearest(result, detector)),
      element(
        "div",
        { class: "columns" },
        section("", perBackbone(result, detector)),
        section("", reencoding(result, missing.stability)),
      ),
      section("wide", provenance(result, missing.provenance)),
      copyButton(() => ({ detector: { name: detector.name, digest: detector.digest }, ...result }), this.name),
    );
  }

  /** Give the picture's memory back. */
  close() {
    URL.revokeObjectURL(this.address);
  }

  #show(state, verdict, words, parts) {
    this.element.className = `card ${state}`;
    this.heading.replaceChildren(
      element("span", { class: "name" }, this.name, element("span", { class: "hidden" }, ": ")),
      element("span", { class: "verdict" }, verdict ? icon(verdict) : null, element("span", {}, words)),
    );
    const said = element("div", { class: "said" }, this.heading, parts);
    this.element.replaceChildren(element("div", { class: "top" }, said, this.#preview()));
  }

  #preview() {
    const letters = element("span", { class: "initials", "aria-hidden": "true" }, initials(this.name));
    const image = element("img", { src: this.address, alt: "" });
    image.addEventListener("error", () => image.replaceWith(letters), { once: true });
    return element("div", { class: "preview" }, image);
  }
}

function inShort(result, detector) {
  const images = detector.support.natural + detector.support.synthetic;
  return [
    result.reason ? element("p", { class: "reason" }, sentence(result.reason)) : null,
    result.unknown
      ? element("p", { class: "unknown" }, element("strong", {}, "Unknown: "), "this image is unlike every image that the detector knows, so its verdict says little.")
      : null,
    element(
      "p",
      {},
      element("span", { class: "soft" }, "Probability of being synthetic: "),
      `${probability(result.probability, images)}.`,
    ),
    element("p", { class: "soft small" }, prior(detector.support)),
  ];
}

function prior({ natural, synthetic }) {
  return `That holds where ${synthetic} of ${natural + synthetic} images are synthetic, as among those it was fitted on.`;
}

function promises(detector) {
  const [low, high] = [detector.alarm.value, detector.clear.value].sort((one, other) => one - other);
  const [flagged, cleared] = detector.promises;
  return element(
    "dl",
    { class: "promises" },
    element("dt", {}, `Synthetic above ${score(high)}`),
    element("dd", {}, sentence(flagged || "")),
    element("dt", {}, `Natural below ${score(low)}`),
    element("dd", {}, sentence(cleared || "")),
  );
}
