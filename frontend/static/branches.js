// Which branch of the chat is shown, and the message that is being edited: what is sent takes its place in a new branch.

const [composer, box, bar] = ["composer", "text", "editing"].map((id) => document.getElementById(id));

/** The branch that the page's address names; without one it is the newest. */
export function chosenBranch() {
  const at = new URLSearchParams(location.search).get("at");
  return at ? { at } : {};
}

/** What was just stored is in the newest branch. */
export function showNewest() {
  if (location.search) history.replaceState(null, "", location.pathname);
}

/** The position of the message that is being edited; 0: none is. */
export const edited = () => Number(composer.getAttribute("action").split("/")[2] ?? 0);

export function startEditing(position, text) {
  composer.setAttribute("action", `/messages/${position}/edit`);
  bar.hidden = false;
  box.value = text;
  box.focus();
}

export function stopEditing() {
  composer.setAttribute("action", "/messages");
  bar.hidden = true;
}
