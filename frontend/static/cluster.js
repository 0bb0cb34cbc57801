// Keeps the cluster's page up to date, by server-sent events, while somebody looks at it.
// The server says what each place shows; without this script the page loads itself again now and then.

import { words } from "./words.js";

const lists = { replicas: fillReplica, ingresses: fillIngress, changes: fillChange };
const live = document.getElementById("live");
let source = null;

function look() {
  if (document.hidden === (source === null)) return;
  if (document.hidden) {
    source.close();
    source = null;
    return;
  }
  source = new EventSource("/cluster/events"); // comes back by itself where the connection breaks
  source.addEventListener("cluster", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => showLive(false));
}

function show(cluster) {
  for (const field of ["summary", "trouble", "model", "fallback", "reason", "versions"]) setText(document, field, cluster[field]);
  field(document, "trouble").hidden = !cluster.trouble;
  part("fallback").hidden = !cluster.fallback;
  part("quiet").hidden = cluster.changes.length > 0;
  for (const [name, fill] of Object.entries(lists)) showList(name, cluster[name], fill);
  showLive(true);
}

/** Rows that stay are filled again, not replaced: focus and what is read out stay with them. */
function showList(name, rows, fill) {
  const list = document.querySelector(`[data-list="${name}"]`);
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const nodes = rows.map((row) => {
    const key = row.id ?? `${row.at} ${row.short}`;
    const node = old.get(key) ?? empty(name);
    node.dataset.key = key;
    fill(node, row);
    return node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, place) => node !== list.children[place])) {
    list.replaceChildren(...nodes);
  }
}

function empty(name) {
  const content = document.getElementById(name).content;
  return (content.querySelector("tr") ?? content.firstElementChild).cloneNode(true);
}

function fillReplica(node, row) {
  node.dataset.state = row.state;
  for (const name of ["short", "state_label", "node", "pod", "slots_label", "waiting", "speed"]) setText(node, name, row[name]);
  field(node, "short").title = row.id;
  field(node, "hue").className = `hue ${row.colour}`;
  const meter = node.querySelector("meter");
  [meter.max, meter.value] = [row.slots || 1, row.active];
  const end = node.querySelector("form"); // in a demo
  if (end) [end.hidden, end.elements.replica.value] = [!row.can_be_ended, row.id];
  node.querySelector("polyline").setAttribute("points", row.points);
}

function fillIngress(node, row) {
  for (const name of ["short", "version", "error", "node", "pod"]) setText(node, name, row[name]);
  field(node, "short").title = row.id;
}

function fillChange(node, row) {
  for (const name of ["short", "text"]) setText(node, name, row[name]);
  field(node, "hue").className = `hue ${row.colour}`;
  field(node, "at").dateTime = row.at;
  field(node, "at").textContent = new Date(row.at).toLocaleTimeString();
}

function showLive(isLive) {
  live.dataset.live = String(isLive);
  live.textContent = isLive ? words.live : words.lost;
}

const field = (root, name) => root.querySelector(`[data-field="${name}"]`);
const part = (name) => document.querySelector(`[data-part="${name}"]`);

/** What has not changed stays: it would be read out again. */
function setText(root, name, text) {
  const node = field(root, name);
  if (node.textContent !== text) node.textContent = text;
}

document.addEventListener("visibilitychange", look);
look();
