/** Chat: conversations, groups, presence. Every act is one request of `publish`. Loaded by push.js. */

/** @typedef {Record<string, any>} Body */
/** @typedef {import("./push.d.ts").SendOptions} SendOptions */
/** @typedef {import("./push.d.ts").Sent} Sent */
/** @typedef {import("./push.d.ts").HistoryOptions} HistoryOptions */
/** @typedef {import("./push.d.ts").ChatFields} ChatFields */
/** @typedef {import("./push.d.ts").RecalledFields} RecalledFields */
/** @typedef {import("./push.d.ts").Positions} Positions */
/** @typedef {import("./push.d.ts").GroupFields} GroupFields */
/** @typedef {import("./push.d.ts").GroupMember} GroupMember */
/** @typedef {import("./push.d.ts").ConversationFields} ConversationFields */

/** 128 random bits. (`crypto.randomUUID` is for secure pages only.) */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * All that is listed by pages with a cursor.
 * @param {ChatRequests} client @param {string} request @param {Body} body @param {string} noun
 * @returns {AsyncGenerator<any, void>}
 */
async function* each(client, request, body, noun) {
  for (let cursor; cursor !== null; ) {
    /** @type {Body} */
    const page = await client.publish(request, { ...body, cursor });
    yield* page[noun];
    cursor = page.cursor ?? null;
  }
}

export class Conversation {
  /** @type {ChatRequests} */ _client;

  /** @param {ChatRequests} client @param {string} id */
  constructor(client, id) {
    this._client = client;
    this.id = id;
  }

  /** @param {unknown} data @param {SendOptions} [options] @returns {Promise<Sent>} */
  async send(data, { timeout = 30, client_id = randomId(), ...more } = {}) {
    const end = performance.now() + timeout * 1000;
    const [, kind, name] = /^(user|group):(.+)$/.exec(this.id) ?? [];
    const content = { to: { [kind]: name }, data, client_id, ...more };
    for (;;) {
      const left = (end - performance.now()) / 1000;
      try {
        return /** @type {Sent} */ (await this._client.publish("MS", content, { timeout: left }));
      } catch (error) {
        // With the same client_id it stays one message, whether or not the server has it.
        if (/** @type {any} */ (error).code !== "unanswered" || performance.now() >= end) throw error;
      }
    }
  }

  /** @param {HistoryOptions} [options] @returns {AsyncGenerator<ChatFields | RecalledFields, void>} */
  async *history({ after, before, ...more } = {}) {
    const forwards = after !== undefined;
    for (let more_ = true; more_; ) {
      const page = await this.historyPage(forwards ? { after, ...more } : { before, ...more });
      const messages = forwards ? page.messages : page.messages.reverse();
      for (const message of messages) {
        if (forwards && before !== undefined && message.seq >= before) return;
        yield message;
        if (forwards) after = message.seq;
        else before = message.seq;
      }
      more_ = page.more && messages.length > 0;
    }
  }

  /** @param {HistoryOptions} [options] @returns {Promise<{messages: (ChatFields | RecalledFields)[], more: boolean}>} */
  async historyPage({ timeout, ...options } = {}) {
    const page = await this._client.publish("MP", { conversation: this.id, ...options }, { timeout });
    return { messages: page.messages, more: page.more };
  }

  /** @param {number} seq @returns {Promise<Positions>} */
  async markDelivered(seq) {
    return /** @type {Positions} */ (await this.#act("MRN", { delivered: seq }));
  }

  /** @param {number} seq @returns {Promise<Positions>} */
  async markRead(seq) {
    return /** @type {Positions} */ (await this.#act("MRN", { read: seq }));
  }

  /** @param {number} seq */
  async recall(seq) {
    await this.#act("MR", { seq });
  }

  typing() {
    this.#act("TP", {}).catch(() => {});
  }

  /** @param {string} request @param {Body} body */
  #act(request, body) {
    return this._client.publish(request, { conversation: this.id, ...body });
  }
}

export class Group extends Conversation {
  /** @param {ChatRequests} client @param {string} group */
  constructor(client, group) {
    super(client, `group:${group}`);
    this.group = group;
  }

  info() {
    return this.#fields("GPGI", {});
  }

  /** @param {{limit?: number}} [options] @returns {AsyncGenerator<GroupMember, void>} */
  members(options) {
    return each(this._client, "GPGM", { group: this.group, ...options }, "members");
  }

  /** @param {string[]} users @returns {Promise<Record<string, string>>} */
  async add(...users) {
    return (await this.#act("GAM", { users })).results;
  }

  /** @param {string[]} users @returns {Promise<Record<string, string>>} */
  async remove(...users) {
    return (await this.#act("GKM", { users })).results;
  }

  /** @param {Body} fields */
  change(fields) {
    return this.#fields("GMI", fields);
  }

  /** @param {string} user @param {"admin" | "member"} role */
  setRole(user, role) {
    return this.#fields("GMI", { member: { user, role } });
  }

  /** @param {string} user @param {boolean} [muted] */
  mute(user, muted = true) {
    return this.#fields("GMI", { member: { user, muted } });
  }

  /** @param {string} user */
  transfer(user) {
    return this.#fields("GMI", { owner: user });
  }

  async leave() {
    await this.#act("GQ", {});
  }

  async dismiss() {
    await this.#act("GD", {});
  }

  /** @param {string} request @param {Body} body */
  #act(request, body) {
    return this._client.publish(request, { group: this.group, ...body });
  }

  /** @param {string} request @param {Body} body @returns {Promise<GroupFields>} */
  async #fields(request, body) {
    return /** @type {GroupFields} */ (await this.#act(request, body));
  }
}

/** What `PushClient` has of chat. */
export class ChatRequests {
  /**
   * @param {string} request
   * @param {Body} content
   * @param {{timeout?: number}} [options]
   * @returns {Promise<Body>}
   */
  async publish(request, content, options) {
    throw new TypeError(`${request}: the client says how to publish`, { cause: [content, options] });
  }

  /** @param {{user: string} | {group: string}} to @param {unknown} data @param {SendOptions} [options] */
  send(to, data, options) {
    return ("group" in to ? this.group(to.group) : this.chat(to.user)).send(data, options);
  }

  /** @param {string} user */
  chat(user) {
    return new Conversation(this, `user:${user}`);
  }

  /** @param {string} group */
  group(group) {
    return new Group(this, group);
  }

  /** @param {string} id */
  conversation(id) {
    const [, kind, name] = /^(user|group):(.+)$/.exec(id) ?? [];
    if (!kind) throw new TypeError(`conversation: ${id} is neither user:… nor group:…`);
    return kind === "group" ? this.group(name) : this.chat(name);
  }

  /**
   * @param {string} name
   * @param {string[]} [members]
   * @param {{type?: "normal" | "broadcast", extra?: unknown}} [options]
   */
  async createGroup(name, members, options) {
    const { group } = await this.publish("GC", { name, members, ...options });
    return this.group(group);
  }

  /** @param {{limit?: number}} [options] @returns {AsyncGenerator<ConversationFields, void>} */
  conversations(options) {
    return each(this, "CL", { ...options }, "conversations");
  }

  /** @param {string[]} users @returns {Promise<Record<string, boolean>>} */
  async presence(users) {
    return (await this.publish("PS", { users })).online;
  }
}
