// Asking the server, and saying in sentences why it did not answer.

import { sentence } from "./words.js";

const PATIENCE_SECONDS = 300;

/** Why a request failed.
 *
 * `status` is 0 where nothing answered; `waitSeconds` is how long the server asks to wait; `image` says whether it
 * concerns this image only, so that the others can go on.
 */
export class Failure extends Error {
  constructor(message, { status = 0, waitSeconds = 0, image = false } = {}) {
    super(message);
    Object.assign(this, { status, waitSeconds, image });
  }
}

/** Return what the detector says of itself. */
export async function askDetector() {
  return answer(await request("v1/detector", {}));
}

/** Return what is said of one file, and which of the options the server lacks.
 *
 * @param {File} file
 * @param {{stability: boolean, provenance: boolean}} options
 * @returns {Promise<{detector: object, result: object, lacking: Object<string, string>}>}
 */
export async function predict(file, options) {
  const lacking = {};
  for (;;) {
    const wanted = Object.keys(options).filter((name) => options[name] && !(name in lacking));
    const response = await predicted(file, wanted);
    if (response.status === 422 && wanted.length) {
      // It reads the image, but cannot do all that is wanted: the same without what most servers lack first.
      const without = wanted.includes("provenance") ? "provenance" : wanted[0];
      lacking[without] = await reason(response);
      continue;
    }
    const found = await answer(response, file.name);
    if (!found.results || !found.results.length) throw new Failure("The server answered without a result.", { image: true });
    return { detector: found.detector, result: found.results[0], lacking };
  }
}

function predicted(file, wanted) {
  const body = new FormData();
  body.append("images", file, file.name || "pasted image.png");
  const query = new URLSearchParams(wanted.map((name) => [name, "true"]));
  return request(wanted.length ? `v1/predict?${query}` : "v1/predict", { method: "POST", body });
}

async function request(address, options) {
  try {
    const signal = AbortSignal.timeout(1000 * PATIENCE_SECONDS);
    return await fetch(address, { ...options, signal, credentials: "omit", cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Failure(`The server has not answered for ${PATIENCE_SECONDS / 60} minutes.`);
    throw new Failure("The server cannot be reached. It may have been stopped, or refused so large an upload.");
  }
}

async function answer(response, name = "") {
  if (!response.ok) throw await failure(response, name);
  try {
    return await response.json();
  } catch {
    throw new Failure("The server answered with something that is no JSON.", { status: response.status });
  }
}

async function failure(response, name) {
  const detail = sentence(await reason(response));
  const { status } = response;
  const waitSeconds = waiting(response.headers.get("Retry-After"));
  const wait = waitSeconds ? ` It asks to wait ${waitSeconds} s.` : "";
  if (status === 429) return new Failure(`The server has too much to do. ${detail}${wait}`, { status, waitSeconds });
  if (status === 503) return new Failure(`The server is not ready. ${detail}${wait}`, { status, waitSeconds });
  if (status === 413) return new Failure(`${name || "This image"} is too large for this server. ${detail}`, { status, image: true });
  if (status < 500) return new Failure(`The server refused the request. ${detail}`, { status, image: true });
  return new Failure(`The server failed (status ${status}). ${detail}`, { status, waitSeconds });
}

/** Return the seconds of a Retry-After header, which holds seconds or a date. */
function waiting(header) {
  if (!header) return 0;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(600, Math.max(0, Math.ceil(seconds))) : 0;
}

/** Return what a problem document says, or the beginning of whatever came instead. */
async function reason(response) {
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text);
    return String(problem.detail || problem.title || "");
  } catch {
    return text.slice(0, 200);
  }
}
