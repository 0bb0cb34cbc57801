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
  showTyping(node, view.writing);
  showTrouble(node, view.trouble, view.retryable);
  showReply(node, view.reply);
  return node;
}

/** Say which stored message this is, so that it can be tried again. */
export function identify(node, position, conversation) {
  node.dataset.position = position;
  const form = find(node, "form", "retry");
  form.setAttribute("action", `/messages/${position}/retry`);
  form.elements.conversation.value = conversation;
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

export function showTyping(node, writing) {
  find(node, "part", "typing").hidden = !writing;
  find(node, "part", "bot").setAttribute("aria-busy", String(writing));
}

export function showTrouble(node, trouble, retryable) {
  const part = find(node, "part", "trouble");
  part.hidden = !trouble;
  part.dataset.type = trouble?.type ?? "";
  find(node, "form", "retry").hidden = !retryable;
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

function showReply(node, reply) {
  setText(node, "text", reply?.text);
  find(node, "field", "text").hidden = !reply?.text;
  find(node, "part", "blank").hidden = !reply || reply.text.trim() !== "";
  find(node, "part", "origin").hidden = !reply;
  if (!reply) return;
  for (const name of ["replica", "node", "model"]) {
    setText(node, name, reply[`${name}_short`]);
    find(node, "fact", name).title = reply[name];
  }
  setText(node, "seconds", reply.seconds);
  find(node, "field", "at").dateTime = reply.at;
  find(node, "list", "details").replaceChildren(...reply.details.map(detailLine));
  find(node, "list", "passages").replaceChildren(...reply.passages.map(passageItem));
  find(node, "part", "passages").hidden = reply.passages.length === 0;
  localizeTimes(node);
  find(node, "action", "copy").hidden = !navigator.clipboard;
}

function detailLine({ label, value }) {
  return element("div", {}, element("dt", {}, label), element("dd", {}, value));
}

function passageItem({ label, text }) {
  return element("li", {}, element("p", { className: "muted" }, label), element("p", { dir: "auto" }, text));
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children); // strings become text nodes
  return node;
}

function setText(node, field, text) {
  find(node, "field", field).textContent = text ?? "";
}
