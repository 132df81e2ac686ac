// Is push.js what push.d.ts says? `client.js` is a copy of push.js that has no declarations beside it, so that its
// own types count. Only compiled, never run.
import * as made from "./client.js";
import * as declared from "./push.js";

// Whatever may be done by the declarations can be done with the code.
export const PushClient: typeof declared.PushClient = made.PushClient;
export const PushError: typeof declared.PushError = made.PushError;
export const VERSION: typeof declared.VERSION = made.VERSION;
declare const client: made.PushClient;
export const chat: declared.Conversation = client.chat("ben");
export const group: declared.Group = client.group("G");

// And the other way about: nothing of the code is undeclared, but what is marked as internal.
type Internal = "_done" | "_release";
type Undeclared<Made, Declared> = Exclude<keyof Made, keyof Declared | Internal | "_client">;
const nothing = <T extends never>(_?: T) => undefined;
nothing<Undeclared<made.PushClient, declared.PushClient>>();
nothing<Undeclared<made.PushError, declared.PushError>>();
nothing<Undeclared<ReturnType<made.PushClient["chat"]>, declared.Conversation>>();
nothing<Undeclared<ReturnType<made.PushClient["group"]>, declared.Group>>();
nothing<Exclude<keyof typeof made, "internals"> extends keyof typeof declared ? never : string>();

// What a user of the types writes.
const use = new declared.PushClient({ servers: ["wss://push.example/ws"], jwt: async () => "x", acks: "explicit" });
use.on("message", async (message) => void (message.bytes?.length ?? message.ack()));
use.on("chat", ({ raw }) => console.log(raw.seq + 1, raw.from.length));
use.on("state", ({ state, error }) => state === "failed" && console.log(error?.code));
// @ts-expect-error there is no such event
use.on("nonsense", () => {});
// @ts-expect-error there is no such option
new declared.PushClient({ server: "wss://push.example/ws" });
