// How numbers and findings are said.

export const VERDICTS = {
  synthetic: "This image looks synthetic.",
  natural: "This image looks natural.",
  unsure: "The detector is unsure about this image.",
};
const WIDE = 0.15; // an interval of more than this says little, and why is said

/** Return a score to three digits, with a true minus sign. */
export function score(value) {
  const digits = Math.abs(value) >= 1000 ? value.toExponential(2) : value.toPrecision(3);
  return digits.replaceAll("-", "\u2212");
}

/** Return a number to three digits, without zeros at its end. */
export function number(value) {
  return String(Number(value.toPrecision(3)));
}

/** Return "1 image" or "5 images". */
export function counted(count, noun, plural = `${noun}s`) {
  return `${count} ${count === 1 ? noun : plural}`;
}

/** Return a text of others as a sentence: a capital at its start, a full stop at its end. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const ended = /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended[0].toUpperCase() + ended.slice(1);
}

/** Return "a", "a and b" or "a, b and c". */
export function listed(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

/** Return the probability of being synthetic in words; the interval is rounded outwards, so that it promises no more. */
export function probability([low, high], images) {
  const from = Math.max(0, Math.floor(100 * low + 1e-9));
  const to = Math.min(100, Math.ceil(100 * high - 1e-9));
  const said = from === to ? `about ${from}\u00a0%` : `between ${from}\u00a0% and ${to}\u00a0%`;
  const rests = `rests on ${counted(images, "image")}`;
  return high - low > WIDE ? `${said}; wide because it ${rests}` : `${said}; it ${rests}`;
}

const VIEWS = {
  jpeg: (value) => `JPEG at quality ${value}`,
  webp: (value) => `WebP at quality ${value}`,
  resize: (value) => (value === "0.5" ? "Half size" : `${number(100 * Number(value))}\u00a0% of its size`),
  blur: (value) => `Blurred by ${counted(Number(value), "pixel")}`,
};

/** Return what a re-encoding is called. */
export function view(name) {
  const [kind, value] = name.split(":");
  return value !== undefined && kind in VIEWS && Number.isFinite(Number(value)) ? VIEWS[kind](value) : name;
}

/** Return a number of bytes in megabytes. */
export function megabytes(bytes) {
  return `${number(bytes / 2 ** 20)}\u00a0MB`;
}

/** Return one or two letters that stand for a name without a picture. */
export function initials(name) {
  const parts = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = parts.length > 1 ? parts[0][0] + parts[1][0] : (parts[0] || "?").slice(0, 2);
  return letters.toUpperCase();
}
