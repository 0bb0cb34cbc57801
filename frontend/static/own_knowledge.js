// Help with giving a text: its size as it is typed, a file's before it is sent, and files that are dropped on the page.

const form = document.querySelector("form[data-max-chars]");
const [text, file] = [form.elements.text, form.elements.file];
const told = document.getElementById("told");
const drop = document.getElementById("drop");
const most = Number(form.dataset.maxChars);

const size = (content) => {
  const chars = [...content].length;
  return `${chars.toLocaleString()} of ${most.toLocaleString()} characters${chars > most ? ": too long" : ""}`;
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
    told.textContent = `${chosen.name}: ${size(content.trim())}`;
  } catch {
    told.textContent = `${chosen.name} is binary, not text in UTF-8, and would be refused.`;
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
