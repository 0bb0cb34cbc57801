// A reply as server-sent events: of the post that asks for it, and on another connection where one breaks. Knows
// nothing of the page.

import { filled, words } from "./words.js";

const PAUSES_MS = [200, 500, 1000, 2000]; // before each further connection, none of which brought anything

/** The server did not take the request; nothing was stored. */
export class Refusal extends Error {
  constructor(type, message) {
    super(message);
    this.type = type;
  }
}

/** Post `fields` to `url` and yield each event of the reply as {name, data}. Throws Refusal, or what fetch throws. */
export function post(url, fields) {
  const request = { method: "POST", body: new URLSearchParams(fields) };
  return unbroken((headers) => fetch(url, { ...request, headers }), null);
}

/** The events of a reply that is being written already, from its beginning. Throws likewise: Refusal when it is not. */
export function follow(conversation, position) {
  return unbroken(null, { conversation, position });
}

/** The events of one reply over as many connections as it takes: `first`, then those to `reply`, which "stored" names. */
async function* unbroken(first, reply) {
  let [reached, told] = ["", false];
  let failures = 0;
  for (;;) {
    try {
      const headers = { Accept: "text/event-stream", ...(reached && { "Last-Event-ID": reached }) };
      const response = await (reply ? fetch(address(reply), { headers }) : first(headers));
      if (!response.ok) throw await refusal(response);
      for await (const { id, name, data } of events(response)) {
        failures = 0;
        reached = id || reached;
        if (name === "stored" && told) continue; // each connection begins with it
        if (name === "stored") [reply, told] = [data, true];
        yield { name, data };
        if (ENDS.includes(name)) return;
      }
      throw new TypeError("the stream ended early");
    } catch (error) {
      if (!told || error.type === ENDED || failures === PAUSES_MS.length) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSES_MS[failures]));
      failures += 1;
    }
  }
}

const ENDS = ["done", "stopped", "error"]; // events that nothing follows
export const ENDED = "reply_not_running"; // a Refusal's type: it has ended meanwhile

const address = ({ conversation, position }) => `/messages/${position}/reply?${new URLSearchParams({ conversation })}`;

async function* events(response) {
  let text = "";
  for await (const piece of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
    const whole = (text + piece).split("\n\n");
    text = whole.pop();
    for (const event of whole) {
      const [id, name, data] = ["id: ", "event: ", "data: "].map((field) => value(event, field));
      if (data) yield { id, name, data: JSON.parse(data) };
    }
  }
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new Refusal(error.type, error.message);
  } catch {
    return new Refusal("http_error", filled(words.status, { number: response.status }));
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
