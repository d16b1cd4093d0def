// A button that copies a result, where the clipboard may be used, and shows it to be copied by hand where not.

import { element } from "./elements.js";

/** Return the button and what it says when it was pressed.
 *
 * @param {() => object} content what is copied, as JSON
 * @param {string} name of what is copied, for those who do not see where the button stands
 */
export function copyButton(content, name) {
  const button = element("button", { type: "button", class: "quiet" }, "Copy JSON", element("span", { class: "hidden" }, ` of ${name}`));
  const said = element("span", { class: "copied soft", role: "status" });
  const whole = element("div", { class: "copy" }, button, said);
  button.addEventListener("click", async () => {
    const text = JSON.stringify(content(), null, 2);
    if (await copied(text)) {
      said.textContent = "Copied to the clipboard.";
      setTimeout(() => (said.textContent = ""), 4000);
    } else {
      byHand(whole, text, said);
    }
  });
  return whole;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text); // absent, or refused, outside secure contexts
    return true;
  } catch {
    return copiedBySelection(text);
  }
}

function copiedBySelection(text) {
  const focused = document.activeElement;
  const area = element("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  document.body.append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    done = false;
  }
  area.remove();
  if (focused) focused.focus();
  return done;
}

function byHand(whole, text, said) {
  let area = whole.querySelector("textarea");
  if (!area) {
    area = element("textarea", { class: "json", readonly: true, rows: 8, "aria-label": "JSON of this result" });
    whole.append(area);
  }
  area.value = text;
  area.focus();
  area.select();
  said.textContent = "The browser does not let this page copy: the text is selected, copy it by hand.";
}
