// The page's script: sends messages, shows replies as they are written, keeps tabs of one session alike.
// Without it the page works through plain form posts.

import { chosenBranch, edited, showNewest, startEditing, stopEditing } from "./branches.js";
import { closed, opened, refreshList } from "./chats.js";
import * as speech from "./speech.js";
import { ENDED, Refusal, follow, post } from "./stream.js";
import * as view from "./view.js";
import { filled, words } from "./words.js";

const POLL_MS = 1500; // while a reply is being written that cannot be followed
const BACKEND_MS = 30_000; // between questions about the backend's state
const BACKEND_TROUBLE_MS = 3000; // the same, while it is away or not known yet
const NEAR_END_PX = 120; // somebody who has scrolled further up than this is reading, and is not moved

const byId = (id) => document.getElementById(id);
const [log, composer, box, send, stop, problem] = ["log", "composer", "text", "send", "stop", "problem"].map(byId);
const tabs = new BroadcastChannel("chat");

let writing = null; // the exchange whose reply this tab shows as it is written
let stopping = false; // somebody has asked for that one to end
let poll = 0;
let question = 0;

// ---- sending

async function sendMessage(text) {
  if (writing || !isSendable(text)) return;
  const after = log.lastElementChild?.dataset.position ?? "";
  box.value = "";
  for (const node of exchangesFrom(edited())) node.remove();
  const node = view.make(text);
  log.append(node);
  byId("welcome").hidden = true;
  // Newer messages leave older ones as they are.
  for (const button of log.querySelectorAll("[data-action=retry]")) button.hidden = true;
  toEnd();
  const url = composer.getAttribute("action"); // of a new message, or of one that is edited
  await write(node, post(url, { text, after, conversation: conversation(), temporary: isTemporary() }), text);
}

async function retry(button) {
  if (writing) return;
  const node = button.closest(".exchange");
  view.clearReply(node);
  await write(node, post(button.getAttribute("formaction"), { conversation: conversation() }));
}

/** The exchange at `position` and all that follow it; none where it is not shown. */
function exchangesFrom(position) {
  const all = [...log.children];
  const first = all.findIndex((node) => position && Number(node.dataset.position) === position);
  return first < 0 ? [] : all.slice(first);
}

/** Show the reply that was being written when this page was loaded, or that another tab has asked for. */
async function pickUp(node) {
  const events = follow(conversation(), node.dataset.position);
  try {
    await events.next(); // that it is here
  } catch {
    poll = setTimeout(refresh, POLL_MS);
    return;
  }
  if (writing || !node.isConnected) {
    events.return();
    return;
  }
  const shown = write(node, events);
  stop.disabled = false;
  await shown;
}

/** Show the reply of `events` in `node`. `draft` goes back into the box when the server does not take the message. */
async function write(node, events, draft = null) {
  const stopClock = begin(node);
  let stored = draft === null;
  let outcome = null;
  try {
    for await (const { name, data } of events) {
      if (name === "stored") {
        stored = true;
        adopt(node, data);
      } else if (name === "token") {
        following(() => view.append(node, data.text));
        speech.add(data.text);
        view.find(node, "field", "typing").textContent = "";
      } else if (name === "starting") {
        view.find(node, "field", "typing").textContent = words.starting;
        announce(words.starting);
      } else if (name === "begun") {
        following(() => view.showBegun(node, data));
      } else if (name === "restart") {
        view.clearReply(node); // the tokens that follow are of another reply
        speech.begin();
      } else {
        outcome = name;
        following(() => (name === "error" ? fail(node, data) : view.fill(node, data, conversation())));
      }
      stop.disabled = !stored || stopping; // before, it is not known what became of the message
    }
  } catch (error) {
    if (error.type === ENDED) outcome = "missed";
    else if (stored) following(() => fail(node, failure(error)));
    else giveBack(node, draft, error);
    if (error instanceof Refusal || !stored) refreshSoon();
  } finally {
    stopClock();
    end(node, outcome);
  }
}

const LOST = { type: "interrupted", title: words.lost, text: words.reload };

const failure = (error) =>
  error instanceof Refusal ? { type: error.type, title: words.unsent, text: error.message } : LOST;

function begin(node) {
  [writing, stopping] = [node, false];
  clearTimeout(poll);
  showProblem("");
  view.showTrouble(node, null, false);
  view.showTyping(node, true);
  view.find(node, "field", "typing").textContent = words.writing;
  view.showBegun(node, { tag: [] });
  [send.hidden, stop.hidden] = [true, false];
  stop.disabled = true;
  announce(words.begun);
  speech.begin();
  toEnd();
  const startedAt = performance.now();
  const elapsed = view.find(node, "field", "elapsed");
  const clock = setInterval(() => {
    elapsed.textContent = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
  }, 100);
  return () => clearInterval(clock);
}

function end(node, outcome) {
  writing = null;
  const hadFocus = document.activeElement === stop;
  [send.hidden, stop.hidden] = [false, true];
  if (node.isConnected) view.showTyping(node, false);
  if (hadFocus || document.activeElement === document.body) box.focus();
  speech.end();
  announce(OUTCOMES[outcome] ?? words.none);
  tabs.postMessage("changed");
  const isAnswering = outcome in OUTCOMES;
  if (isAnswering !== isBackendWell()) showBackend(); // the one or the other has changed
}

const OUTCOMES = { done: words.done, stopped: words.stopped, missed: "" };

/** The server has stored the message: it has a number now, and perhaps earlier ones that this tab has not seen. */
function adopt(node, { conversation: id, position, parent, versions }) {
  const before = Number(node.previousElementSibling?.dataset.position ?? parent);
  setConversation(id);
  stopEditing();
  showNewest();
  opened(id);
  refreshList(id);
  view.identify(node, position, id);
  view.showVersions(node, versions);
  tabs.postMessage("changed");
  if (before !== parent) refreshSoon();
}

function fail(node, trouble) {
  view.showTrouble(node, trouble, true);
}

/** Nothing was stored: take the message off the log, and put its text back unless something else was typed. */
function giveBack(node, draft, error) {
  node.remove();
  if (error.type === "conversation_gone") startAnew();
  byId("welcome").hidden = log.children.length > 0;
  if (!box.value) box.value = draft;
  box.focus();
  showProblem(error instanceof Refusal ? error.message : words.away);
}

function startAnew() {
  setConversation("");
  log.replaceChildren();
  log.dataset.earlier = 0;
  stopEditing();
  byId("removed").hidden = true;
  byId("earlier")?.remove();
  closed();
}

function isSendable(text) {
  const [length, limit] = [[...text].length, Number(document.body.dataset.maxMessageChars)];
  if (length > limit) {
    showProblem(filled(words.tooLong, { number: length - limit }));
  }
  return text.length > 0 && length <= limit;
}

// ---- keeping up with the server and with other tabs

async function refresh() {
  if (writing) return;
  refreshList(conversation());
  if (!conversation()) return;
  let data;
  let isGone;
  try {
    const response = await fetch(`/conversation?${new URLSearchParams({ id: conversation(), ...chosenBranch() })}`);
    isGone = response.status === 404;
    if (!response.ok && !isGone) return;
    data = await response.json();
  } catch {
    return; // the server is away; the page stays as it is
  }
  if (writing) return;
  showGone(isGone ? data.error.message : "");
  if (!isGone) render(data);
}

/** Show another version of an exchange, and what was said after it. */
async function showVersion(link) {
  const { href, dataset } = link;
  history.replaceState(null, "", href.split("#")[0]);
  await refresh();
  const node = byId(href.split("#")[1]);
  const links = ["earlier", "later"].map((way) => node && view.find(node, "version", way));
  (links.find((each) => each?.href && each.dataset.version === dataset.version) ?? links.find((each) => each?.href))?.focus();
}

/** The chat was deleted elsewhere: what was said stays readable here; a deletion taken back takes this back. */
function showGone(text) {
  if (text || problem.dataset.gone) showProblem(text);
  problem.dataset.gone = text;
}

function render(data) {
  following(() => {
    setConversation(data.id);
    const shown = data.exchanges.slice(log.dataset.earlier); // earlier ones are shown when they are asked for
    keepingFocus(() => showLog(shown.map((each) => kept(view.fill(view.make(each.message), each, data.id)))));
    byId("welcome").hidden = data.exchanges.length > 0;
    byId("removed").hidden = data.removed === 0;
    byId("removed").querySelector("[data-field=removed]").textContent = data.removed;
  });
  watch(data.writing);
}

/** The exchange as the page has it, unless it has changed: focus, selection and what is open stay as they are. */
function kept(fresh) {
  const old = byId(fresh.id);
  if (!old) return fresh;
  const was = old.querySelectorAll("details"); // each exchange has the same
  fresh.querySelectorAll("details").forEach((details, place) => (details.open = was[place].open));
  return old.isEqualNode(fresh) ? old : fresh;
}

/** Make these the log's exchanges; one that is there already is not moved. */
function showLog(nodes) {
  for (const node of [...log.children]) if (!nodes.includes(node)) node.remove();
  nodes.forEach((node, place) => {
    if (log.children[place] !== node) log.insertBefore(node, log.children[place] ?? null);
  });
}

/** Do `change`, and where it replaces what has the focus, give it to what stands in its place. */
function keepingFocus(change) {
  const focused = document.activeElement;
  const exchange = focused.closest(".exchange");
  const place = exchange ? focusable(exchange).indexOf(focused) : -1;
  change();
  if (place < 0 || focused.isConnected) return;
  const successor = byId(exchange.id);
  if (successor) focusable(successor)[place]?.focus({ preventScroll: true });
}

const focusable = (exchange) => [...exchange.querySelectorAll("a, button, summary, [tabindex]")];

/** A reply is being written that this tab has not asked for. */
function watch(isWriting) {
  clearTimeout(poll);
  if (isWriting) pickUp(log.lastElementChild);
}

function refreshSoon() {
  clearTimeout(poll);
  poll = setTimeout(async function again() {
    if (writing) poll = setTimeout(again, POLL_MS);
    else await refresh();
  }, 0);
}

async function showBackend() {
  clearTimeout(question);
  let wait = BACKEND_TROUBLE_MS;
  try {
    const data = await (await fetch("/backend")).json();
    const state = byId("state");
    state.dataset.state = data.state;
    state.title = data.model;
    state.querySelector("[data-field=label]").textContent = data.label;
    showNotices(data.notices);
    showFallback(data);
    if (isBackendWell()) wait = BACKEND_MS;
  } catch {
    // the page's own server is away; sending says so
  }
  clearTimeout(question);
  question = setTimeout(showBackend, wait);
}

const isBackendWell = () => ["ok", "fallback"].includes(byId("state").dataset.state);

/** Once a session: a page that was shown before has told it. */
function showFallback({ fallback, fallback_reason: reason, fallback_key: key }) {
  const notice = byId("fallback");
  notice.hidden = !fallback || notice.dataset.seen === key;
  notice.querySelector("[data-field=fallback]").textContent = fallback;
  notice.querySelector("[data-field=reason]").textContent = reason;
}

/** Notices that have not changed stay as they are: replaced, they would be read out again. */
function showNotices(texts) {
  const shown = [...byId("notices").children].map((node) => node.textContent);
  if (shown.join("\n") !== texts.join("\n")) byId("notices").replaceChildren(...texts.map(notice));
}

function notice(text) {
  const node = document.createElement("p");
  node.className = "notice";
  node.textContent = text;
  return node;
}

// ---- small things

const conversation = () => composer.elements.conversation.value;
const isTemporary = () => String("temporary" in composer.elements);

function setConversation(id) {
  for (const input of document.querySelectorAll("input[name=conversation]")) input.value = id;
}

function showProblem(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

function announce(text) {
  byId("announcement").textContent = text;
}

/** Run `change` and stay at the page's end if that is where the reader is. */
function following(change) {
  const rest = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
  change();
  if (rest < NEAR_END_PX) toEnd();
}

function toEnd() {
  window.scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

async function rate(button) {
  const node = button.closest(".exchange");
  const body = new URLSearchParams({ conversation: conversation(), rating: button.value });
  const response = await fetch(button.formAction, { method: "POST", body }).catch(() => null);
  if (!response?.ok) return showProblem(words.unrated);
  showProblem("");
  view.showRating(node, button.value);
  tabs.postMessage("changed");
}

const act = { retry, rate };

async function copy(button) {
  await navigator.clipboard.writeText(view.find(button.closest(".exchange"), "field", "text").textContent);
  button.textContent = words.copied;
  setTimeout(() => (button.textContent = words.copy), 1500);
}

document.addEventListener("submit", (event) => {
  const kind = event.target.dataset.form;
  if (!kind) return;
  event.preventDefault();
  if (kind === "act") act[event.submitter.dataset.action](event.submitter);
  else sendMessage((event.submitter?.name === "text" ? event.submitter.value : box.value).trim());
});

document.addEventListener("click", (event) => {
  if (event.target.dataset.action === "copy") copy(event.target);
  if (event.target.dataset.action === "edit" && !writing) {
    event.preventDefault();
    const node = event.target.closest(".exchange");
    startEditing(node.dataset.position, view.find(node, "field", "message").textContent);
  }
  if (event.target.dataset.action === "cancel") {
    event.preventDefault();
    stopEditing();
    box.value = "";
  }
  if (event.target.dataset.version && event.target.href && !writing) {
    event.preventDefault();
    showVersion(event.target);
  }
  if (event.target.matches("a.cited") && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    view.reveal(event.target);
  }
});

box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!writing) composer.requestSubmit(send);
  }
});

stop.addEventListener("click", async () => {
  const node = writing;
  [stopping, stop.disabled] = [true, true];
  const body = new URLSearchParams({ conversation: conversation() });
  try {
    const response = await fetch(`/messages/${node.dataset.position}/stop`, { method: "POST", body });
    if (!response.ok) throw new TypeError(`status ${response.status}`);
    // What was written comes through the reply's own events.
  } catch {
    if (writing !== node) return; // it has ended by itself
    [stopping, stop.disabled] = [false, false];
    showProblem(words.notStopped);
  }
});

tabs.addEventListener("message", refresh);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  refresh();
  showBackend();
});

byId("hint").hidden = false;
for (const button of document.querySelectorAll("[data-action=copy]")) button.hidden = !navigator.clipboard;
view.localizeTimes(document);
watch(log.dataset.writing === "true");
showBackend();
if (conversation()) opened(conversation());
if (log.children.length > 0 && !document.querySelector(".exchange:target")) toEnd();
box.focus({ preventScroll: true });
document.documentElement.dataset.ready = "true";
