// Fills exchanges with values. Text only ever becomes textContent; the structure comes from the page's <template>.

const template = document.getElementById("exchange");

export const find = (node, kind, name) => node.querySelector(`[data-${kind}="${name}"]`);

/** A new, empty exchange for `message`. */
export function make(message) {
  const node = template.content.firstElementChild.cloneNode(true);
  setText(node, "message", message);
  return node;
}

/** Show the server's view of an exchange in `node`. */
export function fill(node, view, conversation) {
  identify(node, view.position, conversation);
  setText(node, "message", view.message);
  showVersions(node, view.versions);
  showTyping(node, view.writing);
  showReply(node, view.reply);
  showTrouble(node, view.trouble, view.retryable);
  find(node, "part", "again").hidden = Boolean(view.trouble) || !view.retryable;
  return node;
}

/** Say which stored message this is, so that it can be answered again, rated and edited. */
export function identify(node, position, conversation) {
  node.dataset.position = position;
  node.id = `exchange-${position}`;
  for (const button of node.querySelectorAll("[form=act]")) {
    button.setAttribute("formaction", `/messages/${position}/${button.dataset.action}`);
  }
  const edit = find(node, "action", "edit");
  edit.setAttribute("href", `/conversations/${conversation}?edit=${position}#text`);
  edit.hidden = false;
}

/** Which of the message's versions this is, with links to its neighbours. */
export function showVersions(node, versions) {
  find(node, "part", "versions").hidden = versions.count < 2;
  setText(node, "version", `${versions.number}/${versions.count}`);
  for (const way of ["earlier", "later"]) {
    const link = find(node, "version", way);
    if (versions[way]) link.setAttribute("href", versions[way]);
    else link.removeAttribute("href");
  }
}

/** What the reader thinks of the reply. Pressing the same again takes it back. */
export function showRating(node, rating) {
  for (const button of node.querySelectorAll("[data-rating]")) {
    const pressed = button.dataset.rating === rating;
    button.ariaPressed = String(pressed);
    button.value = pressed ? "none" : button.dataset.rating;
  }
}

/** Append a piece of a reply that is being written. */
export function append(node, piece) {
  const text = find(node, "field", "text");
  text.hidden = false;
  text.append(piece);
}

/** Forget what was written so far. */
export function clearReply(node) {
  showReply(node, null);
}

/** Say who writes it, while it is being written. */
export function showBegun(node, { tag }) {
  find(node, "list", "begun").replaceChildren(...tag.map(factPart));
}

export function showTyping(node, writing) {
  find(node, "part", "typing").hidden = !writing;
  find(node, "part", "bot").setAttribute("aria-busy", String(writing));
}

export function showTrouble(node, trouble, retryable) {
  const part = find(node, "part", "trouble");
  part.hidden = !trouble;
  part.dataset.type = trouble?.type ?? "";
  find(part, "action", "retry").hidden = !retryable;
  setText(node, "trouble-title", trouble?.title);
  setText(node, "trouble-text", trouble?.text);
  const text = find(node, "field", "text");
  text.classList.toggle("partial", Boolean(trouble) && !text.hidden);
}

/** Show times as the reader's own clock says them. */
export function localizeTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([datetime=''])")) {
    const at = new Date(time.dateTime);
    time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    time.title = at.toLocaleString();
  }
}

/** Open what hides the passage that cited words stand in, and lead the eye and the keyboard there. */
export function reveal(cited) {
  const passage = document.getElementById(cited.hash.slice(1));
  for (let part = passage.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  for (const other of document.querySelectorAll(".passages .shown")) other.classList.remove("shown");
  passage.classList.add("shown");
  passage.scrollIntoView({ block: "nearest" });
  passage.focus({ preventScroll: true });
}

function showReply(node, reply) {
  find(node, "field", "text").replaceChildren(...(reply?.pieces ?? []).map(replyPiece));
  find(node, "field", "text").hidden = !reply?.text;
  find(node, "part", "blank").hidden = !reply || reply.text.trim() !== "";
  find(node, "part", "origin").hidden = !reply;
  if (!reply) return;
  find(node, "list", "tag").replaceChildren(...reply.tag.map(factPart));
  showWindow(node, reply.window);
  showRating(node, reply.rating);
  find(node, "field", "at").dateTime = reply.at;
  find(node, "list", "details").replaceChildren(...reply.details.map(detailLine));
  find(node, "list", "passages").replaceChildren(...reply.passages.map(passageItem));
  find(node, "part", "passages").hidden = reply.passages.length + reply.filling.length === 0;
  find(node, "list", "filling").replaceChildren(...reply.filling.map(passageItem));
  find(node, "part", "filling").hidden = reply.filling.length === 0;
  setText(node, "filling-label", reply.filling_label);
  localizeTimes(node);
  find(node, "action", "copy").hidden = !navigator.clipboard;
}

/** How much of the model's window the prompt took. */
function showWindow(node, window) {
  find(node, "part", "window").hidden = !window;
  Object.assign(find(node, "field", "meter"), { max: window?.size ?? 1, value: window?.used ?? 0 });
  setText(node, "window", window?.label);
}

/** A replica has its colour beside its name. */
function factPart({ name, text, title, hue }) {
  const colour = hue === null ? [] : [element("i", { className: `hue hue-${hue}` })];
  return element("span", { className: "fact", title }, ...colour, `${name} `, element("b", {}, text));
}

function detailLine({ label, value }) {
  return element("div", {}, element("dt", {}, label), element("dd", {}, value));
}

/** Some words of a reply; a link where they stand in a passage. */
function replyPiece({ text, href, title }) {
  return href ? element("a", { className: "cited", href, title }, text) : text;
}

function passageItem({ anchor, label, pieces }) {
  const marked = pieces.map(({ text, cited }) => (cited ? element("mark", {}, text) : text));
  const texts = [element("p", { className: "muted" }, label), element("p", { dir: "auto" }, ...marked)];
  return element("li", { id: anchor, tabIndex: -1 }, ...texts);
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children); // strings become text nodes
  return node;
}

function setText(node, field, text) {
  find(node, "field", field).textContent = text ?? "";
}
