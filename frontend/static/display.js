// Changes the page's colours at once, and has the server keep the choice for the pages to come.

document.getElementById("display").addEventListener("submit", (event) => {
  event.preventDefault();
  const { value } = event.submitter;
  document.documentElement.dataset.theme = value;
  for (const button of event.target.elements) button.setAttribute("aria-pressed", String(button.value === value));
  fetch("/display", { method: "POST", body: new URLSearchParams({ theme: value }), keepalive: true }).catch(() => {});
});
