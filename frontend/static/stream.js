// Posts a form and reads the answer as server-sent events. Knows nothing of the page.

/** The server did not take the request; nothing was stored. */
export class Refusal extends Error {
  constructor(type, message) {
    super(message);
    this.type = type;
  }
}

/** Post `fields` to `url` and yield each event as {name, data}. Throws Refusal, or what fetch throws. */
export async function* post(url, fields, signal) {
  const response = await fetch(url, {
    method: "POST",
    body: new URLSearchParams(fields),
    headers: { Accept: "text/event-stream" },
    signal,
  });
  if (!response.ok) throw await refusal(response);
  let text = "";
  for await (const piece of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
    const events = (text + piece).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [name, data] = ["event: ", "data: "].map((field) => value(event, field));
      if (data) yield { name, data: JSON.parse(data) };
    }
  }
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new Refusal(error.type, error.message);
  } catch {
    return new Refusal("http_error", `The page's server answered with status ${response.status}.`);
  }
}

// `for await` over a ReadableStream itself is not in every browser yet.
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function value(event, field) {
  const line = event.split("\n").find((candidate) => candidate.startsWith(field));
  return line ? line.slice(field.length) : "";
}
