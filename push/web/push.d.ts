/**
 * A device or a user's client for push-universe, over WebSocket. For browsers, Node, Deno and Bun.
 *
 * ```js
 * import { PushClient } from "./push.js";
 *
 * const client = new PushClient({ servers: ["wss://push.example/ws"], token, secret });
 * client.on("message", async (message) => {
 *   await show(message.data); // acknowledged when this has finished
 * });
 * client.start();
 * ```
 *
 * It connects in the background, stays connected by itself (back-off with full jitter, redirects, heartbeat,
 * waking up), acknowledges, and delivers a message once although the server may send it again. All tabs of a browser
 * share one connection. Fields of messages, requests and answers have the names of the protocol
 * (`docs/protocol.md`); `ts`, `expires` and all other times are milliseconds since 1970 UTC.
 */

/** Any JSON value. */
export type Json = unknown;

export interface Credentials {
  token: string;
  secret: string;
}

export type ClientState =
  | "idle" // not started
  | "connecting"
  | "connected"
  | "waiting" // for the next attempt; `detail` says why
  | "closed" // by `close()`
  | "failed"; // for good; `error` says why

/** What the server answered to CONNECT. */
export interface Session {
  session: string;
  user: string | null;
  heartbeat: number;
  window: number;
  max_frame: number;
  node: string;
  time: number;
  /** Streams of which unread messages are gone. */
  truncated: string[];
  /** Only without a token: the streams, and where each begins. */
  streams?: Record<string, string>;
}

export interface StateChange {
  state: ClientState;
  /** Why, for people. */
  detail: string;
  /** The URL of the server, while connecting or connected. */
  server: string | null;
  session: Session | null;
  /** What ended the client; only in the state `failed`. */
  error: PushError | null;
  /** Whether this tab has the connection; always true without `shared`. */
  leader: boolean;
}

export interface Heartbeat {
  /** Seconds from one PING to the next, as the server granted them. */
  interval: number;
  /** Of the last PING; null before its answer. */
  roundTripMs: number | null;
  /** When the last answer came, in milliseconds since 1970 by this device's clock; null before it. */
  answeredAt: number | null;
}

/** The server sent this client to other servers: it refused it, or it drains. */
export interface Redirect {
  from: string;
  servers: string[];
  reason: "redirect" | "draining";
  /** Seconds until the client connects there (a random part of what the server said). */
  delay: number;
}

/** What a message is when it is no plain push (whose `kind` is null). */
export type MessageKind = "chat" | "recall" | "receipt" | "group" | "typing" | "truncated";

export interface Message {
  /** The same in every copy. Empty in a truncation. */
  readonly id: string;
  readonly stream: string;
  /** null at QoS 0. */
  readonly offset: string | null;
  readonly kind: MessageKind | null;
  readonly data: any;
  readonly title: string | null;
  readonly body: string | null;
  readonly ts: number;
  readonly expires: number | null;
  readonly qos: 0 | 1;
  /** `data` as bytes when it was pushed with `"encoding": "base64"`, else null. */
  readonly bytes: Uint8Array | null;
  /** The whole body as it came, with the members of its kind: `conversation`, `from`, `seq` … */
  readonly raw: Record<string, any>;
  /** Whether this tab has finished with it. */
  readonly acknowledged: boolean;
  /** It is done; the server need not send it again. With `acks: "auto"` it is done sooner by this. Twice does nothing. */
  ack(): void;
  /** Give it back undone: the server's next copy is delivered again, as if it were new. */
  release(): void;
}

export interface ChatMessage extends Message {
  readonly raw: ChatFields;
}

/** A message of a conversation, as it comes live (`message.raw`) and in the history. */
export interface ChatFields {
  id: string;
  conversation: string;
  from: string;
  seq: number;
  type: string;
  data: any;
  ts: number;
  mentions?: string[];
  reply_to?: number;
  client_id?: string;
  [member: string]: any;
}

/** In the history: a message that was taken back. */
export interface RecalledFields {
  conversation: string;
  seq: number;
  from: string;
  recalled: true;
}

export interface ClientEvents {
  /** Every message, whatever its kind. */
  message: Message;
  /** `raw`: as `ChatFields`. The sender's own sessions get it too. */
  chat: ChatMessage;
  /** `raw`: `conversation`, `seq`, `by`. */
  recall: Message;
  /** `raw`: `conversation`, `user`, `delivered`, `read`. */
  receipt: Message;
  /** `raw`: `group`, `event`, `by`, `users`. */
  group: Message;
  /** `raw`: `conversation`, `user`. */
  typing: Message;
  /** Unread messages of `stream` are gone: load them from where the application keeps them. An empty `stream`:
   * this tab slept while more messages came than the tabs remember. */
  truncated: Message;
  state: StateChange;
  /** A PING was answered. */
  heartbeat: Heartbeat;
  /** An acknowledgement was sent by this tab's connection. */
  acknowledged: { id: string; stream: string };
  redirect: Redirect;
  /** A handler or a callback of the application threw. Without a handler it goes to the console. */
  error: unknown;
}

/** What is used of `localStorage`. */
export interface KeyValueStore {
  getItem(name: string): string | null;
  setItem(name: string, value: string): void;
}

export interface PushClientOptions {
  /** `wss://host/ws` or `ws://host/ws`, tried in order. From a list with both only the `wss` ones are used. */
  servers?: string | string[];
  /** The HTTP API to ask for servers (`GET /v1/servers`, with `key`) when there are none, or when three redirects
   * in a row led nowhere. In a page without `servers` it is the page's origin. */
  serversUrl?: string;
  /** The device. */
  token?: string;
  secret?: string;
  /** The user: a JWT, or a function that makes a new one whenever it is needed. */
  jwt?: string | (() => string | Promise<string>);
  /** An app's key: registers a device when there is no token, or when the server has forgotten it. `""` at a server
   * with open registration. */
  key?: string;
  platform?: string;
  app?: string;
  device?: string;
  /** Called (and awaited) with a new pair before it is used. Without it the pair is kept in `storage`. */
  onCredentials?: (credentials: Credentials) => void | Promise<void>;
  /** Seconds; the server may give another. */
  heartbeat?: number;
  /** Messages without acknowledgement at once; the server may give fewer. */
  window?: number;
  /** Bytes; larger messages are not sent to this client. */
  maxFrame?: number;
  /** `auto` (default): acknowledged when the handlers have finished, or the loop asked for the next message.
   * `explicit`: `message.ack()`. */
  acks?: "auto" | "explicit";
  /** One connection for all tabs of this browser with the same server and identity (default). A string names the
   * group of tabs instead of the identity. Without Web Locks (pages that are not secure, Node) there is one connection
   * for each client. */
  shared?: boolean | string;
  /** Listen to the page: hidden, shown, left, frozen, online (default). */
  listen?: boolean;
  /** Where cursors of users without a device, and pairs without `onCredentials`, are kept; `localStorage` where
   * there is one. null: in memory only. */
  storage?: KeyValueStore | null;
  /** The class, where there is no global one (Node 20: `import { WebSocket } from "ws"`). */
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
  fetch?: (url: string, options?: any) => Promise<any>;
  /** 0 ≤ x < 1, for jitter. */
  random?: () => number;
  /** Seconds until a connection must be open (10). */
  connectTimeout?: number;
  /** Messages at QoS 0 that wait for `for await`; more are dropped (1,024). */
  queueMessages?: number;
}

export interface RequestOptions {
  /** Seconds for the session and the answer; 30. */
  timeout?: number;
}

export interface SendOptions extends RequestOptions {
  /** Names the message: the same one again is no second message (for 7 days). Random by default. */
  client_id?: string;
  type?: string;
  mentions?: string[];
  /** The `seq` of a message. */
  reply_to?: number;
}

export interface Sent {
  id: string;
  conversation: string;
  seq: number;
  ts: number;
}

export interface Positions {
  seq: number;
  delivered: number;
  read: number;
}

export interface GroupFields {
  group: string;
  name: string;
  type: "normal" | "broadcast";
  owner: string;
  announcement: string;
  extra: any;
  members: number;
  mute_all: boolean;
  invite: "owner" | "admin" | "member";
  ts: number;
}

export interface GroupMember {
  user: string;
  role: "owner" | "admin" | "member";
  muted: boolean;
}

export interface ConversationFields {
  conversation: string;
  user?: string;
  group?: string;
  last: ChatFields | RecalledFields | null;
  seq: number;
  delivered: number;
  read: number;
  unread: number;
}

export interface HistoryOptions extends RequestOptions {
  /** Exclusive; what came since then, in order. */
  after?: number;
  /** Exclusive; without `after` from there back to the first. */
  before?: number;
  /** Of a page; at most 200. */
  limit?: number;
}

/** A conversation with a user, or a group's. */
export class Conversation {
  /** `user:<peer>` or `group:<group>`. */
  readonly id: string;
  /** Repeated until it is answered, over lost connections too; it stays one message. */
  send(data: Json, options?: SendOptions): Promise<Sent>;
  /** From the newest back to the first, or with `after` forwards. */
  history(options?: HistoryOptions): AsyncIterableIterator<ChatFields | RecalledFields>;
  /** One page, ascending. */
  historyPage(
    options?: HistoryOptions,
  ): Promise<{ messages: (ChatFields | RecalledFields)[]; more: boolean }>;
  /** This user's devices have everything up to `seq`. */
  markDelivered(seq: number): Promise<Positions>;
  /** This user has read everything up to `seq`. */
  markRead(seq: number): Promise<Positions>;
  recall(seq: number): Promise<void>;
  /** Show the others who are online that this user is typing. No answer; does nothing without a session. */
  typing(): void;
}

export class Group extends Conversation {
  readonly group: string;
  info(): Promise<GroupFields>;
  members(options?: { limit?: number }): AsyncIterableIterator<GroupMember>;
  /** "ok" or a code for each user. */
  add(...users: string[]): Promise<Record<string, string>>;
  remove(...users: string[]): Promise<Record<string, string>>;
  /** What is given, all or nothing. */
  change(
    fields: Partial<Pick<GroupFields, "name" | "announcement" | "extra" | "mute_all" | "invite">>,
  ): Promise<GroupFields>;
  setRole(user: string, role: "admin" | "member"): Promise<GroupFields>;
  mute(user: string, muted?: boolean): Promise<GroupFields>;
  transfer(user: string): Promise<GroupFields>;
  leave(): Promise<void>;
  dismiss(): Promise<void>;
}

export class PushClient implements AsyncIterable<Message> {
  constructor(options?: PushClientOptions);

  readonly state: ClientState;
  readonly detail: string;
  readonly error: PushError | null;
  readonly session: Session | null;
  readonly server: string | null;
  readonly credentials: Credentials | null;
  readonly heartbeat: Heartbeat | null;
  /** Whether this tab has the connection; always true without `shared`. */
  readonly leader: boolean;
  /** Messages at QoS 0 that were dropped because nobody took them. */
  readonly droppedMessages: number;

  /** Begin to connect, in the background. A client runs once. */
  start(): this;
  /** Say `bye` and stop for good. In a shared connection only this tab leaves. */
  close(): Promise<void>;
  /** The open session, as soon as there is one. Rejects with what ended the client. */
  connected(): Promise<Session>;
  /** The device's pair, as soon as there is one; with `key`, of a started client. */
  register(): Promise<Credentials>;
  /** A new JWT for the same user, when `jwt` is a string; resolves to its expiry. */
  renew(jwt: string): Promise<number>;
  /** Ask now whether the connection is alive: after 3 s without an answer it is made anew. */
  check(): void;

  /**
   * Call `handler` for each event; returns the function that ends it. A message counts as done when all handlers that
   * were called with it have finished (their promises, too); if one throws, its next copy is delivered again. With
   * any handler of messages, those that no handler wants are acknowledged. Without one, messages wait for `for await`.
   */
  on<E extends keyof ClientEvents>(
    event: E,
    handler: (value: ClientEvents[E]) => unknown,
  ): () => void;
  off<E extends keyof ClientEvents>(event: E, handler: (value: ClientEvents[E]) => unknown): void;
  /** All messages in order; ends with `close()`, throws what ended the client. */
  [Symbol.asyncIterator](): AsyncIterator<Message>;

  /** Any request of the protocol by its name (`"TS"`, `"MS"` …); the answer's members without `ok`. */
  publish(
    request: string,
    content: Record<string, Json>,
    options?: RequestOptions,
  ): Promise<Record<string, any>>;

  /** Follow a topic; in effect when it resolves. */
  subscribe(topic: string, options?: RequestOptions): Promise<void>;
  unsubscribe(topic: string, options?: RequestOptions): Promise<void>;

  /** To one user or one group; as `conversation(…).send`. */
  send(to: { user: string } | { group: string }, data: Json, options?: SendOptions): Promise<Sent>;
  /** The conversation with a user. */
  chat(user: string): Conversation;
  group(group: string): Group;
  /** By its id, `user:<peer>` or `group:<group>`. */
  conversation(id: string): Conversation | Group;
  createGroup(
    name: string,
    members?: string[],
    options?: { type?: "normal" | "broadcast"; extra?: Json },
  ): Promise<Group>;
  /** The latest first. */
  conversations(options?: { limit?: number }): AsyncIterableIterator<ConversationFields>;
  /** Who is online, of those that this user may ask about. */
  presence(users: string[]): Promise<Record<string, boolean>>;
}

/**
 * Everything that this client throws. `code`:
 *
 * - what ended the client: `taken_over`, `kicked`, `banned`, `unauthenticated`, `credentials_expired`,
 *   `unknown_token`, `bad_frame`, `frame_too_large` … as the server said it, or `closed`, `not_started`;
 * - `refused: true`: the server's refusal of a request (`not_member`, `rate_limited`, `invalid` …);
 * - `unanswered`: the connection was lost before the answer, or none came in time: it is not known whether it was done.
 */
export class PushError extends Error {
  constructor(code: string, detail: string, more?: { field?: string; after?: number; refused?: boolean });
  readonly code: string;
  readonly detail: string;
  /** The member that was wrong. */
  readonly field: string | null;
  /** Seconds after which it may be tried again. */
  readonly after: number | null;
  readonly refused: boolean;
}

export const VERSION: string;
