// The list of chats beside one, and small help on every page that lists some: dates, and menus that close.
// Without it the list is as old as the page.

import "./display.js";
import "./keys.js";

const tabs = new BroadcastChannel("chat");
const list = document.getElementById("recent");

/** Show the list as the server has it now, and the title of the chat `current`. */
export async function refreshList(current) {
  let data;
  try {
    const response = await fetch("/conversations/recent");
    if (!response.ok) return;
    data = await response.json();
  } catch {
    return; // the server is away; the list stays as it is
  }
  list.replaceChildren(...data.entries.map((entry) => listItem(entry, current)));
  document.getElementById("no-chats").hidden = data.entries.length > 0;
  const shown = data.entries.find((entry) => entry.id === current);
  if (shown) showTitle(shown.title);
}

/** The page's new chat has been stored: it has an address now. */
export function opened(id) {
  if (location.pathname !== `/conversations/${id}`) history.replaceState(null, "", `/conversations/${id}`);
  const options = document.getElementById("options");
  for (const form of options.querySelectorAll("form")) form.setAttribute("action", `/conversations/${id}/${form.dataset.action}`);
  for (const link of options.querySelectorAll("a")) link.href = `/conversations/${id}/${link.dataset.action}`;
  options.hidden = false;
}

/** The page's chat is gone; what is sent next begins a new one. */
export function closed() {
  history.replaceState(null, "", "/new");
  document.getElementById("options").hidden = true;
  document.getElementById("title").textContent = document.title = document.body.dataset.title;
  for (const link of list.querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
}

function listItem({ id, title }, current) {
  const item = document.getElementById("entry").content.firstElementChild.cloneNode(true);
  const link = item.querySelector("a");
  link.href = `/conversations/${id}`;
  link.textContent = title;
  if (id === current) link.setAttribute("aria-current", "page");
  return item;
}

function showTitle(title) {
  document.getElementById("title").textContent = title;
  document.title = `${title} · ${document.body.dataset.title}`;
  const field = document.querySelector("#options input[name=title]");
  if (field && document.activeElement !== field) field.value = title;
}

/** Days as the reader's own clock and language say them: a time of today, else the date. */
function localizeDays() {
  const today = new Date();
  for (const time of document.querySelectorAll("time[data-day]")) {
    const at = new Date(time.dateTime);
    const day = { day: "numeric", month: "short", ...(at.getFullYear() !== today.getFullYear() && { year: "numeric" }) };
    const isToday = at.toDateString() === today.toDateString();
    time.textContent = isToday
      ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
      : at.toLocaleDateString([], day);
    time.title = at.toLocaleString();
  }
}

document.addEventListener("keydown", (event) => {
  const menu = document.querySelector(".menu[open]");
  if (event.key !== "Escape" || !menu) return;
  const hadFocus = menu.contains(event.target); // keys.js may have left the field by now
  menu.open = false;
  if (hadFocus) menu.querySelector("summary").focus();
});

document.addEventListener("click", (event) => {
  const menu = document.querySelector(".menu[open]");
  if (menu && !menu.contains(event.target)) menu.open = false;
});

localizeDays();
// A page of all chats follows whatever was done with one: the tabs that show chats look again.
if (!list) {
  tabs.postMessage("changed");
  document.documentElement.dataset.ready = "true";
}
