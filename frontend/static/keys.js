// Keys that do something outside of fields, and the dialog that lists them. Single letters can be in the way of speech
// input and of slips, so they can be switched off; that is kept in this browser.

const dialog = document.getElementById("shortcuts");
const list = document.getElementById("keys");
const OFF = "shortcuts-off";

const actions = {
  "?": openList,
  n: () => location.assign("/new"),
  "/": () => focus(".search input") || location.assign("/conversations"),
  m: () => focus("#text") || location.assign("/"),
  j: () => step(1),
  k: () => step(-1),
  x: () => document.querySelector("#stop:not([hidden])")?.click(),
};

/** Put the keyboard there, if it is shown. */
function focus(selector) {
  const field = document.querySelector(selector);
  if (!field?.checkVisibility()) return false;
  field.focus();
  return true;
}

/** Lead eye and keyboard to the next exchange, or the one before: from the focused one, else from the page's end. */
function step(direction) {
  const exchanges = [...document.querySelectorAll("#log .exchange")];
  const at = exchanges.indexOf(document.activeElement.closest(".exchange"));
  const next = exchanges.at(at < 0 ? -1 : Math.max(0, Math.min(at + direction, exchanges.length - 1)));
  if (!next) return;
  next.tabIndex = -1;
  next.focus();
}

function openList() {
  dialog.insertBefore(list, dialog.lastElementChild); // from the menu, where it stands for those who look for it
  dialog.showModal();
}

dialog.addEventListener("close", () => document.querySelector(".display .panel > details").append(list));

const isField = (node) => node.matches("input:not([type=checkbox]), textarea, select");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  if (isField(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!actions[event.key] || localStorage.getItem(OFF)) return;
  event.preventDefault();
  actions[event.key]();
});

const single = list.querySelector("input");
single.checked = !localStorage.getItem(OFF);
single.addEventListener("change", () => (single.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
