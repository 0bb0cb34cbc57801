// Help with giving a text: its size as it is typed, a file's before it is sent, and files that are dropped on the page.

import { filled, words } from "./words.js";

const form = document.querySelector("form[data-max-chars]");
const [text, file] = [form.elements.text, form.elements.file];
const told = document.getElementById("told");
const drop = document.getElementById("drop");
const most = Number(form.dataset.maxChars);

const size = (content) => {
  const chars = [...content].length;
  return filled(chars > most ? words.tooLong : words.size, { chars, limit: most });
};

async function tell() {
  const chosen = file.files[0];
  if (!chosen) {
    told.textContent = text.value ? size(text.value.trim()) : "";
    return;
  }
  try {
    const content = new TextDecoder("utf-8", { fatal: true }).decode(await chosen.arrayBuffer());
    if (/[\0-\x08\x0e-\x1f]/.test(content)) throw new TypeError("binary");
    told.textContent = filled(words.ofFile, { name: chosen.name, size: size(content.trim()) });
  } catch {
    told.textContent = filled(words.binary, { name: chosen.name });
  }
}

text.addEventListener("input", () => {
  file.value = ""; // what was typed last counts
  tell();
});
file.addEventListener("change", tell);

for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
  });
}
drop.addEventListener("drop", ({ dataTransfer }) => {
  if (dataTransfer.files.length > 0) file.files = dataTransfer.files;
  tell();
});

form.querySelector("[data-part=drop]").hidden = false;
tell();
