// Calls of the editor's server. The token arrives in the address's fragment, moves to the tab's own storage, and is
// sent in a header from then on; it is never part of an address that is asked for.

const TOKEN_HEADER = "X-DFL-Token";
const TOKEN_KEY = "token";

export class CallFailed extends Error {
  constructor(status, answer) {
    super(answer.message ?? "The editor did not understand.");
    this.status = status;
    this.reason = answer.reason ?? "";
    this.answer = answer;
  }
}

/** The program behind the page is gone: it ended, or the machine slept too long. */
export class ServerGone extends Error {
  constructor() {
    super("The label editor is no longer running. Start it again and open its new address; this tab still holds what you drew since the last save.");
  }
}

export class Api {
  static async connect() {
    const given = new URLSearchParams(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
    const api = new Api(given.get("token") ?? sessionStorage.getItem(TOKEN_KEY) ?? "");
    if (given.has("ticket")) {
      const answer = await api.send("POST", "api/session", { ticket: given.get("ticket") });
      api.token = (await answer.json()).token;
    }
    sessionStorage.setItem(TOKEN_KEY, api.token);
    return api;
  }

  constructor(token) {
    this.token = token;
  }

  async send(method, path, body, options = {}) {
    const headers = { [TOKEN_HEADER]: this.token };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "omit",
        redirect: "error",
        ...options,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerGone();
    }
    if (!answer.ok) throw new CallFailed(answer.status, await answer.json().catch(() => ({})));
    return answer;
  }

  async json(path) {
    return (await this.send("GET", path)).json();
  }

  async picture(path, options) {
    return createImageBitmap(await (await this.send("GET", path, undefined, options)).blob());
  }

  faceset(face = "") {
    return this.json(`api/faceset?face=${encodeURIComponent(face)}`);
  }

  faces(start, count) {
    return this.json(`api/faces?start=${start}&count=${count}`);
  }

  image(name) {
    return this.picture(`${facePath(name)}/image`);
  }

  thumbnail(name, signal) {
    return this.picture(`${facePath(name)}/thumbnail`, { signal });
  }

  label(name) {
    return this.json(`${facePath(name)}/label`);
  }

  async saveLabel(name, label, basedOn, options) {
    const body = { based_on: basedOn, label };
    return (await (await this.send("PUT", `${facePath(name)}/label`, body, options)).json()).version;
  }

  async masks(name) {
    return (await this.json(`${facePath(name)}/masks`)).sources;
  }

  mask(name, source) {
    return this.picture(`${facePath(name)}/masks/${encodeURIComponent(source)}`);
  }

  async hull(name) {
    return (await this.json(`${facePath(name)}/hull`)).points;
  }

  async trash(name) {
    return (await this.send("POST", `${facePath(name)}/trash`, {})).json();
  }

  async restore(name) {
    return (await this.send("POST", "api/restore", { name })).json();
  }

  hello(page) {
    return this.send("POST", "api/hello", { page });
  }

  /** Said while the page goes away, so the browser is asked to send it all the same. */
  goodbye(page) {
    return this.send("POST", "api/goodbye", { page }, { keepalive: true });
  }
}

function facePath(name) {
  return `api/faces/${encodeURIComponent(name)}`;
}
