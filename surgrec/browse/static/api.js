// Requests to the server, and the addresses of pages: everything after # is a page and its query.

/** Return the JSON answer of an address; throw an Error with the server's sentence. */
export async function get(path, query = {}) {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== "" && each !== null && each !== undefined) words.append(key, each);
    }
  }
  let response;
  try {
    response = await fetch(words.size ? `${path}?${words}` : path);
  } catch {
    throw new Error("The server does not answer: it has ended, or the tunnel to it is closed.");
  }
  const text = await response.text();
  if (!response.ok) {
    let sentence = text.trim();
    try {
      sentence = JSON.parse(text).error;
    } catch {
      // The guard answers with plain text.
    }
    throw new Error(sentence);
  }
  return JSON.parse(text);
}

/** Return the page of the address bar: its parts and its query. */
export function place() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { parts: path.split("/").filter(Boolean), query: new URLSearchParams(query) };
}

/** Return the address of a page. */
export function address(parts, query = {}) {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value) words.set(key, value);
  return `#/${parts.join("/")}${words.size ? `?${words}` : ""}`;
}

/** Return a function that calls another once its calls have paused. */
export function settled(call, pause_ms = 200) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...words), pause_ms);
  };
}
