// The page at work: images come in, are judged one after the other, and each becomes a card.

import { Card } from "./card.js";
import { element } from "./elements.js";
import { icon } from "./icons.js";
import { takeImages } from "./intake.js";
import { introduced, limits } from "./limits.js";
import { Failure, askDetector, predict } from "./server.js";
import { VERDICTS, counted, listed, megabytes } from "./words.js";

const UNAVAILABLE = "Not available on this server.";
const RETRIED = [429, 500, 503, 504]; // of one image: it may do better the next time

const there = (id) => document.getElementById(id);
const options = { stability: there("stability"), provenance: there("provenance") };
const cards = [];
const queue = [];
let detector = null;
let numbered = 0;
let working = false;
let first = null; // of the images that came in last: where the reader goes on

function take(files) {
  there("results").hidden = false;
  first = null;
  for (const file of files) {
    numbered += 1;
    const card = new Card(file, `image-${numbered}`);
    card.waiting("Waits for its turn.");
    cards.push(card);
    queue.push(card);
    first = first || card;
    there("cards").append(card.element);
  }
  work();
}

async function work() {
  if (working) return;
  working = true;
  there("trouble").replaceChildren();
  try {
    await introduce();
    while (queue.length) await next();
    finish();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    offerAgain(error);
  } finally {
    working = false;
    there("work").hidden = true;
  }
}

async function introduce() {
  if (detector) return;
  detector = await askDetector();
  there("detector").textContent = introduced(detector);
  there("limits-list").replaceChildren(...limits(detector));
  there("limits").hidden = false;
  const offers = detector.offers || {};
  for (const [name, box] of Object.entries(options)) if (offers[name] === false) lack(box);
}

function lack(box) {
  if (box.disabled) return;
  box.checked = false;
  box.disabled = true;
  box.parentElement.append(element("span", { class: "soft" }, " – not available on this server"));
}

async function next() {
  const card = queue[0];
  progress(card);
  card.waiting("Is being judged …");
  const wanted = Object.fromEntries(Object.entries(options).map(([name, box]) => [name, box.checked]));
  try {
    await judge(card, wanted);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const ofThisImage = error.image || (error.status === 0 && (await answers()));
    if (!ofThisImage) {
      card.waiting("Not judged yet.");
      throw error;
    }
    fail(card, error.status ? error.message : "The server broke off while it was sent; it may be too large.", true);
  }
  queue.shift();
  overview();
}

async function judge(card, wanted) {
  const most = detector.limits ? detector.limits.image_bytes : Infinity;
  if (card.file.size > most) {
    fail(card, `It has ${megabytes(card.file.size)}; this server takes images of up to ${megabytes(most)}.`, false);
    return;
  }
  const { detector: used, result, lacking } = await predict(card.file, wanted);
  if (used && used.digest !== detector.digest) {
    detector = null; // another one is being served by now
    await introduce();
  }
  if (result.problem) {
    fail(card, result.problem.detail || result.problem.title, RETRIED.includes(result.problem.status));
    return;
  }
  for (const name of Object.keys(lacking)) lack(options[name]);
  card.judged(result, detector, missing(wanted, lacking));
  say(`${card.name}: ${VERDICTS[result.verdict] || result.verdict}`);
}

/** Return why re-encodings or provenance are not there. */
function missing(wanted, lacking) {
  const said = {};
  for (const [name, box] of Object.entries(options)) {
    if (name in lacking) said[name] = `${UNAVAILABLE} ${lacking[name]}`;
    else if (!wanted[name]) said[name] = box.disabled ? UNAVAILABLE : "";
  }
  return said;
}

function fail(card, message, canDoBetter) {
  const again = () => {
    card.waiting("Waits for its turn.");
    queue.push(card);
    first = card;
    card.heading.focus();
    work();
  };
  card.failed(message, canDoBetter ? again : null);
  say(`${card.name}: no verdict. ${message}`);
}

/** Return whether the server still answers, so that a failure was of one image. */
async function answers() {
  try {
    await askDetector();
    return true;
  } catch {
    return false;
  }
}

function progress(card) {
  const done = cards.length - queue.length;
  there("work").hidden = false;
  Object.assign(there("progress"), { max: cards.length, value: done });
  say(`Image ${done + 1} of ${cards.length} is being judged: ${card.name}`);
}

function finish() {
  if (!cards.length) return;
  overview();
  if (cards.length > 1) say(`${inAll()}.`);
  const idle = [document.body, there("choose")].includes(document.activeElement);
  if (first && (idle || document.activeElement === first.heading)) first.heading.focus();
  first = null;
}

function inAll() {
  const counts = new Map();
  for (const { verdict } of cards) if (verdict) counts.set(verdict, (counts.get(verdict) || 0) + 1);
  return `${counted(cards.length, "image")}: ${listed([...counts].map(([verdict, count]) => `${count} ${verdict}`))}`;
}

function overview() {
  const items = cards.map((card) =>
    element(
      "li",
      {},
      element(
        "a",
        { href: `#${card.heading.id}` },
        card.verdict ? icon(card.verdict) : null,
        element("span", { class: "overview-name" }, card.name),
        element("span", { class: "soft" }, card.verdict || "waiting"),
      ),
    ),
  );
  there("overview").replaceChildren(...items);
  there("overview").hidden = cards.length < 2;
}

function offerAgain(failure) {
  const until = Date.now() + 1000 * failure.waitSeconds;
  const button = element("button", { type: "button" }, "Try again");
  button.addEventListener("click", async () => {
    button.disabled = true;
    const rest = until - Date.now();
    if (rest > 0) say(`Waiting for ${Math.ceil(rest / 1000)} s, as the server asked.`);
    await new Promise((done) => setTimeout(done, Math.max(0, rest)));
    there("choose").focus();
    work();
  });
  const left = queue.length ? ` ${counted(queue.length, "image is", "images are")} not judged yet.` : "";
  there("trouble").replaceChildren(element("p", {}, failure.message + left), button);
  say("");
}

function say(words) {
  there("status").textContent = words;
}

function removeAll() {
  if (working) return;
  for (const card of cards.splice(0)) card.close();
  queue.length = 0;
  there("cards").replaceChildren();
  there("trouble").replaceChildren();
  there("results").hidden = true;
  overview();
  say("All images were removed from this page.");
  there("choose").focus();
}

there("clear").addEventListener("click", removeAll);
takeImages(there("choose"), there("zone"), take);
work();
