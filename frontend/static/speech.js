// Has screen readers say a reply sentence by sentence. Said token by token, or all again with each token, no one could
// follow it.

const region = document.getElementById("speech");
const sentences = new Intl.Segmenter(document.documentElement.lang, { granularity: "sentence" });

let rest = ""; // what no sentence's end has followed yet

/** A reply begins, perhaps anew. */
export function begin() {
  rest = "";
  region.replaceChildren();
}

/** The next piece of it. */
export function add(piece) {
  const parts = [...sentences.segment(rest + piece)].map(({ segment }) => segment);
  rest = parts.pop() ?? "";
  parts.forEach(say);
}

/** It has ended: what is left is its last sentence. */
export function end() {
  say(rest);
  rest = "";
}

function say(sentence) {
  if (!sentence.trim()) return;
  const line = document.createElement("p");
  line.textContent = sentence.trim();
  region.append(line);
}
