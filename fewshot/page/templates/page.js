"use strict";
// Sort a table by the column whose heading is pressed; numbers by value, text by the reader's alphabet.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...body.rows];
      rows.sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        const numbers = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
        const order = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return descending ? -order : order;
      });
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...rows);
    });
  });
}
// Files are packed, so that the page is small; where the browser can, it hands them out unpacked.
for (const link of document.querySelectorAll('a[download$=".gz"]')) {
  if (!("DecompressionStream" in window)) continue;
  link.download = link.download.replace(/\.gz$/, "");
  link.addEventListener("click", async (event) => {
    if (!link.href.startsWith("data:")) return;
    event.preventDefault();
    const packed = Uint8Array.from(atob(link.href.split(",")[1]), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    link.href = URL.createObjectURL(await new Response(stream).blob());
    link.click();
  });
}
// What is folded on the screen is open on paper.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
