// How images come in: chosen, dropped anywhere on the page, or pasted.

/** Call `take` with every list of files that comes in.
 *
 * @param {HTMLInputElement} input
 * @param {HTMLElement} zone which shows that files may be dropped
 * @param {(files: File[]) => void} take
 */
export function takeImages(input, zone, take) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) take(files);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData ? event.clipboardData.files : [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
  takeDropped(zone, take);
}

function takeDropped(zone, take) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const show = () => zone.classList.toggle("over", depth > 0);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    show();
  });
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    show();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // otherwise the browser leaves the page for the file
    depth = 0;
    show();
    const files = [...(event.dataTransfer ? event.dataTransfer.files : [])];
    if (files.length) take(files);
  });
}
