// The tag of one site on one page: puts the parts together. Commands come in through `run`, events go out through the
// transport; between them stands consent. Until storage is allowed an event is a draft, without visitor and session.

import { learnTimeZone, readBrowser } from "./browser";
import { digestCampaign } from "./campaign";
import { type Answer, createConsent } from "./consent";
import type { Item } from "./envelope";
import { awaitHuman } from "./human";
import { type IdentifyOptions, makeIdentifier } from "./identify";
import { isId, makeId } from "./ids";
import { watchLifecycle } from "./lifecycle";
import { loadModule } from "./modules";
import { createPages } from "./page";
import type { Commands, Note } from "./queue";
import type { Settings } from "./settings";
import { createTransport } from "./transport";
import { createVisitor } from "./visitor";
import type { Extra, Props, WireIdentifier } from "./wire";

const MAX_DRAFTS = 500;
const CLOCK_TOLERANCE_MS = 30_000;

/** Make the tag; its command `begin` starts it. `token` is the tagged link's, "" without. Returns the commands. */
export function createTag(settings: Settings, token: string, note: Note): Commands {
  const consent = createConsent(settings.consent);
  const visitor = createVisitor(settings);
  const pages = createPages();
  let drafts: Item[] = [];
  let sequence = 0;
  let campaign = digestCampaign(location.search, token);
  let isSignalsAsked = false;
  let isResetDue = false; // `reset` was called before the visitor might be looked at

  const transport = createTransport({
    site: settings.site,
    endpoint: settings.endpoint,
    facts: () => (consent.allows("s") ? readBrowser() : {}),
    note,
    onReply(context, reply) {
      if (!consent.allows("s")) return;
      const memory = visitor.memory();
      if (context.rf === memory.resetFrom) memory.resetFrom = "";
      // The answer is about the visitor that was sent; after a reset meanwhile it is about somebody else.
      if (isId(reply.visitor) && context.d === memory.visitor) {
        transport.rename(memory.visitor, reply.visitor);
        memory.visitor = reply.visitor;
        note("visitor id taken over", reply.visitor);
      }
      if (reply.offset !== undefined) {
        memory.offsetMs = Math.abs(reply.offset) > CLOCK_TOLERANCE_MS ? reply.offset : 0;
      }
      visitor.save();
    },
  });

  /** Freeze what the event stands under, and put it on its way. */
  const admit = (draft: Item): void => {
    visitor.touch(draft.event.t, campaign);
    campaign = "";
    const memory = visitor.memory();
    draft.context = {
      d: memory.visitor,
      rf: memory.resetFrom || undefined,
      o: memory.offsetMs || undefined,
      c: consent.letters(),
      x: { i: memory.session, n: memory.number, t: memory.startedMs },
    };
    if (!consent.allows("i")) delete draft.extra.lt;
    learnTimeZone();
    transport.add(draft);
  };

  /** Let go whatever consent allows; the rest keeps waiting. */
  const release = (): void => {
    if (!consent.allows("s")) return;
    const ready = drafts.filter((draft) => consent.allows("i") || !needsIdentity(draft));
    drafts = drafts.filter((draft) => !ready.includes(draft));
    if (isResetDue) visitor.reset();
    isResetDue = false;
    ready.forEach(admit);
    // Not before the first event: reading the visitor would begin one.
    if (sequence && consent.allows("f") && !isSignalsAsked && !visitor.memory().signalsSent) {
      isSignalsAsked = true;
      const isWanted = (): boolean => consent.allows("s") && consent.allows("f");
      loadModule("f", settings, isWanted, async (collect) => {
        const signals = await collect();
        if (!isWanted()) return;
        visitor.memory().signalsSent = true;
        record("fingerprint", undefined, undefined, { f: signals });
      });
    }
  };

  const record = (name: string, props?: Props, identifiers?: WireIdentifier[], extra: Extra = {}): void => {
    if (!consent.isPending() && !consent.allows("s")) return note("dropped: no consent", name);
    // Whatever comes first on the page brings the link's token along.
    if (token && !sequence) extra.lt = token;
    const p = copy(props);
    const event = { i: makeId(), n: name, t: Date.now(), ...pages.current(), p, k: identifiers, q: ++sequence };
    drafts.push({ event: event as Item["event"], context: {}, extra });
    if (drafts.length > MAX_DRAFTS) drafts.shift();
    note(consent.allows("s") ? "queued" : "held until consent", event);
    release();
  };

  const view = (props?: Props): void => {
    pages.turn();
    record("page_view", props);
  };

  const withdraw = (): void => {
    // Tells the collector to drop its cookie, which a script cannot; it names no visitor.
    const event = { i: makeId(), n: "consent", t: Date.now(), q: ++sequence };
    transport.add({ event, context: { c: "" }, extra: {} });
  };

  return {
    begin() {
      watchLifecycle({
        onHide() {
          if (consent.allows("s")) visitor.save();
          transport.leave();
        },
        onShow(isRestored) {
          if (consent.allows("s")) visitor.refresh();
          transport.resume();
          if (isRestored && settings.page) view();
        },
      });
      if (token) {
        awaitHuman((hs) => {
          if (token) record("link_confirm", undefined, undefined, { lt: token, hs });
        });
      }
      if (settings.page) view();
    },
    page: view,
    track(name: string, props?: Props) {
      if (name) record(`${name}`, props);
    },
    identify(value: unknown, options: IdentifyOptions = {}) {
      const identifier = makeIdentifier(value, options);
      if (identifier) record("identify", options.traits, [identifier]);
      else note("identify ignored: no value");
    },
    reset() {
      token = "";
      drafts = drafts.filter((draft) => !needsIdentity(draft));
      isResetDue = true;
      record("reset");
    },
    consent(answer: Answer) {
      consent.answer(answer);
      note("consent", consent.letters());
      if (consent.allows("s")) return release();
      drafts = [];
      isResetDue = false;
      transport.clear();
      if (visitor.forget()) withdraw();
    },
  };
}

/**
 * A copy that says now what will be sent later. Throws where the properties cannot be sent (a circle, a BigInt, no
 * object): better here, where the page has named the event, than later with a whole batch.
 */
function copy(props: Props | undefined): Props | undefined {
  if (props === undefined || props === null) return undefined;
  if (typeof props !== "object" || Array.isArray(props)) throw new TypeError("properties must be an object");
  return JSON.parse(JSON.stringify(props));
}

/** Whether an event says who somebody is, and so waits for that purpose. */
function needsIdentity(draft: Item): boolean {
  return !!draft.event.k || !!draft.extra.hs;
}
