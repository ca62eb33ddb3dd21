// Requests to the server; every refusal becomes a Refusal whose message is the server's sentence.

export class Refusal extends Error {
  constructor(message, status, content = {}) {
    super(message);
    this.status = status;
    this.content = content;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal('The server does not answer: start `sonarseg label` again.', 0);
  }
  if (response.ok) return response;
  if (response.status === 401) {
    throw new Refusal('The server was started again: open the address that it printed.', 401);
  }
  let content = {};
  try {
    content = await response.json();
  } catch { /* A refusal in plain text has no more to say than its status. */ }
  throw new Refusal(content.error ?? `The server refused this (${response.status}).`, response.status, content);
}

export const getJson = async (path) => (await ask(path)).json();
export const getResponse = (path) => ask(path);
export const post = async (path, content) => (await ask(path, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(content),
})).json();
export const postBytes = async (path, bytes) => ask(path, {
  method: 'POST',
  headers: { 'Content-Type': 'application/octet-stream' },
  body: bytes,
});
export const pictureOf = (tile) => `/api/picture?tile=${encodeURIComponent(tile)}`;
export const thumbnailOf = (tile) => `/api/thumbnail?tile=${encodeURIComponent(tile)}`;
