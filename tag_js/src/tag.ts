// The tag of one site on one page: puts the parts together. Commands come in through `takeOver`, events go out through
// the transport; between them stands consent. Until analytics is allowed an event is a draft, without visitor and session.

import type { Parameters } from "./address";
import { watchClicks, watchMedia } from "./autocapture";
import { learnTimeZone, readBrowser, whenIdle } from "./browser";
import { digest, keepTouch, readLanding } from "./campaign";
import { capture } from "./capture";
import { type Answer, createConsent, type Purpose } from "./consent";
import { keep, recall } from "./device";
import { watchEngagement } from "./engagement";
import type { Draft, Item } from "./envelope";
import { watchForms } from "./forms";
import { createHandover } from "./handover";
import { awaitHuman } from "./human";
import { type IdentifyOptions, makeIdentifier, readValue } from "./identify";
import { isId, makeId } from "./ids";
import { watchLifecycle } from "./lifecycle";
import { encodeMemory } from "./memory";
import { loadModule, type ProfileListener } from "./modules";
import { type Noting, Said } from "./notes";
import { createPages } from "./page";
import type { Commands } from "./queue";
import { quiet } from "./quiet";
import { watchRoutes } from "./routes";
import { isYes, type Settings } from "./settings";
import { putItems, takeItems } from "./shelf";
import { createSilence } from "./silence";
import { createTransport } from "./transport";
import { createVisitor } from "./visitor";
import { copy, type Extra, needsIdentity, type Props, type WireEvent, type WireIdentifier } from "./wire";

const MAX_DRAFTS = 500;
const CLOCK_TOLERANCE_MS = 30_000;
const START_MS = 200; // at most, until the first look at the device, and until the last thing that a start needs
const SETTLE_MS = 100; // a router sets the title after the address

type Listener = (event: WireEvent) => void;
type AddOn = (commands: Commands) => void;

/** Make the tag; its command `begin` starts it. `found`: our parameters of the address. Returns the commands. */
export function createTag(settings: Settings, found: Parameters, note: Noting): Commands {
  // While a consent tool may have an answer that we have not heard, nothing is taken for granted.
  const consent = createConsent(settings.consentFrom ? undefined : settings.consent);
  const visitor = createVisitor(settings);
  const silence = createSilence(settings);
  const pages = createPages();
  const listeners: Listener[] = [];
  const profileListeners: (ProfileListener | undefined)[] = [];
  let addOns: [AddOn | string, Purpose | ""][] = [];
  let drafts: Draft[] = [];
  let sequence = 0;
  let token = found[settings.link] || "";
  let arrival = found[settings.handover];
  const landing = readLanding(token);
  let isSignalsAsked = false; // of this visitor, on this page
  let isReleased = false; // analytics was allowed once
  let planned = 0; // `release` will run when the browser is idle
  let isResetDue = false; // `reset` was called before the visitor might be looked at
  let isLeaving = false; // what is noted now is about the page of the last view
  let known: WireIdentifier[] = []; // whom the page has identified
  let onNews = (_items?: Item[]): void => {}; // the profile's: consent may have changed, or the collector has these

  const hasViews = isYes(settings.page);
  const isOn = (word: string, isUsual = true): boolean => (settings.auto ? settings.auto.includes(word) : isUsual);
  const mayStore = (): boolean => consent.allows("a");
  /** Whether what is on the device may be read and written. */
  const mayTouch = (): boolean => mayStore() && !silence.holds();
  /** Whether the visitor may be told on, and told of: not while the collector has yet to hear of a reset. */
  const mayKnow = (): boolean => mayTouch() && consent.allows("i") && !isResetDue && !visitor.memory().resetFrom;
  /** Whether events may be sent, be it without visitor and session. */
  const maySend = (): boolean => settings.consent === "cookieless" || mayStore();

  const shelf = `${settings.cookie}q`;
  const transport = createTransport({
    ...settings,
    facts: () => (mayStore() ? readBrowser() : {}),
    note,
    save: (items) => mayTouch() && putItems(shelf, items),
    restore: () => (mayTouch() ? takeItems(shelf) : []),
    onReply(items, reply) {
      const { context } = items[0] as Item;
      onNews(items);
      if (reply.silence) {
        silence.fall(reply.silence, mayStore());
        transport.clear();
      }
      if (!mayTouch()) return;
      const memory = visitor.memory();
      const before = encodeMemory(memory);
      if (context.rf === memory.resetFrom) memory.resetFrom = "";
      // The answer is about the visitor that was sent; after a reset meanwhile it is about somebody else.
      if (context.d === memory.visitor) {
        // Debug mode shows it with what is sent next.
        if (isId(reply.visitor)) {
          transport.rename(memory.visitor, reply.visitor);
          memory.visitor = reply.visitor;
        }
        if (reply.pass) handover.keep(reply.pass);
      }
      const { offset } = reply;
      if (offset != null) memory.offsetMs = Math.abs(offset) > CLOCK_TOLERANCE_MS ? offset : 0;
      // The time of the last event is written when the page is left.
      if (encodeMemory(memory) !== before) visitor.save();
    },
  });

  /** Freeze what the event stands under, and put it on its way. */
  const admit = ({ event, extra }: Draft): void => {
    let context: Item["context"] = { c: consent.letters() };
    if (mayStore()) {
      const { session } = visitor.memory();
      const memory = visitor.touch(event.t, landing.campaign);
      landing.campaign = "";
      if (event.n === "page_view") {
        if (memory.session !== session)
          event.p = { ...keepTouch(`${settings.cookie}t`, landing.touch, event.t), ...event.p };
        if (consent.allows("i")) describeCustomer(event, extra, memory.session);
      }
      context = {
        d: memory.visitor,
        rf: memory.resetFrom || undefined,
        o: memory.offsetMs || undefined,
        ...context,
        x: { i: memory.session, n: memory.number, t: memory.startedMs },
      };
    } else extra.lt = undefined;
    // Of a link its campaign is counted without identity: the collector keeps nothing else of it then.
    if (!consent.allows("i")) delete extra.ho;
    transport.add({ event, context, extra });
  };

  /** What a page view says of the customer: identifiers that the site captures, once a session while they are the same. */
  const describeCustomer = (event: WireEvent, extra: Extra, session: string): void => {
    if (settings.domains) extra.xl = 1;
    const claims = capture(settings, found);
    const mark = claims[0] && digest(session + JSON.stringify(claims));
    if (!mark || recall(`${settings.cookie}c`) === mark) return;
    keep(`${settings.cookie}c`, mark);
    event.k = claims;
  };

  /** Let go whatever consent allows; the rest keeps waiting. */
  const release = (): void => {
    if (!maySend()) return;
    if (silence.holds()) {
      drafts = [];
      return note(Said.Silent);
    }
    addOns = addOns.filter(([addOn, purpose]) => {
      if (purpose && !consent.allows(purpose)) return true;
      // Later, because it may call commands of its own; and what it throws stays in the promise.
      Promise.resolve(
        typeof addOn === "string"
          ? import(/* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ addOn)
          : { default: addOn },
      )
        .then((module) => module.default(commands))
        .catch((error) => note(Said.AddOnFailed, error));
      return false;
    });
    if (mayStore()) {
      if (isResetDue) visitor.reset();
      isResetDue = false;
      if (!isReleased) {
        isReleased = true;
        whenIdle(() => {
          visitor.verify();
          transport.resume();
          learnTimeZone();
        }, START_MS);
      }
    }
    drafts = drafts.filter((draft) => (needsIdentity(draft) && !consent.allows("i")) || admit(draft));
    // Not before the first event: reading the visitor would begin one.
    const isWanted = (): boolean => mayStore() && consent.allows("f");
    if (sequence && isWanted() && !isSignalsAsked && !visitor.memory().signalsSent) {
      isSignalsAsked = true;
      loadModule(
        "f",
        settings,
        async (collect) => {
          const signals = await collect();
          if (!isWanted()) return;
          visitor.memory().signalsSent = 1;
          record("fingerprint", undefined, { f: signals });
        },
        isWanted,
      );
    }
  };

  /**
   * `release` that does not keep the page waiting. The first look at cookies and storages asks other processes: the page's
   * script goes on meanwhile, and what it says is about a moment that is written down.
   */
  const releaseSoon = (): void => {
    onNews();
    if (isReleased) return release();
    if (!planned) {
      planned = whenIdle(() => {
        planned = 0;
        release();
      }, START_MS);
    }
  };

  const record = (name: string, props?: Props, extra: Extra = {}, identifiers?: WireIdentifier[]): void => {
    if (!consent.isPending() && !maySend()) return note(Said.DroppedNoConsent, name);
    if (props && typeof props !== "object") throw props; // debug mode shows it
    let event: WireEvent = copy({
      i: makeId(),
      n: name,
      t: Date.now(),
      ...pages.current(isLeaving),
      p: props && { ...props },
      k: identifiers,
      q: sequence + 1,
    });
    if (settings.beforeSend) event = copy(settings.beforeSend(event) || null);
    if (!event) return note(Said.DroppedByHook, name);
    // Whatever comes first on the page brings along what the address said.
    if (!sequence++) {
      if (token) extra.lt = token;
      extra.ho = arrival;
      arrival = "";
    }
    drafts = drafts.concat({ event, extra }).slice(-MAX_DRAFTS);
    note(maySend() ? Said.Queued : Said.Held, event);
    for (const listener of listeners) quiet(listener)(event);
    releaseSoon();
  };
  const track = (name: string, props?: Props): void => {
    if (name) record(`${name}`, props);
  };

  /** Say that this is whom we know, or also whom we know. */
  const declare = (name: string, value: unknown, options: IdentifyOptions = {}): WireIdentifier[] => {
    const identifier = makeIdentifier(value, options);
    const all = identifier ? known.concat(identifier) : [];
    if (identifier) record(name, options.traits, {}, all);
    else note(Said.NoValue, name);
    return all;
  };

  const handover = createHandover(settings, mayKnow, () => record("handover", undefined, { xl: 1 }));

  // -- page views ------------------------------------------------------------------------------------------------------

  const readPath = (): string => location.pathname + location.search + (isOn("hash", false) ? location.hash : "");
  let path = readPath(); // of the last view or route change
  let isCounted = false; // the last view was ours, and the page has not asked for it yet
  let settling: ReturnType<typeof setTimeout> | undefined;

  const view = (props?: Props): void => {
    isCounted = false;
    clearTimeout(settling);
    settling = undefined;
    path = readPath();
    pages.turn();
    record("page_view", props);
  };
  const count = (): void => {
    const before = sequence;
    view();
    isCounted = sequence > before; // and not dropped
  };
  let leaveForm: (() => void) | undefined;
  let takeEngagement: ReturnType<typeof watchEngagement> | undefined;
  const leavePage = (isNewPage?: boolean): void => {
    isLeaving = true;
    leaveForm?.();
    const props = takeEngagement?.(isNewPage);
    if (props) record("engagement", props);
    isLeaving = false;
  };

  const withdraw = (about?: Props): void => {
    isCounted = isResetDue = isSignalsAsked = false;
    drafts = [];
    transport.clear();
    // Tells the collector to drop its cookie, which a script cannot; it names no visitor.
    if (visitor.forget()) {
      const event = { i: makeId(), n: "consent", t: Date.now(), p: about } as WireEvent;
      transport.add({ event, context: { c: "" }, extra: {} });
    }
  };

  const takeAnswer = (answer: Answer, about?: Props): void => {
    const isChanged = consent.answer(answer);
    note(Said.Consent, consent.letters());
    if (!consent.allows("i")) transport.drop(needsIdentity);
    // What was said first on a page goes with its events; what was said anew is heard of at once.
    if (!mayStore()) withdraw(about);
    else if (isChanged || about) record("consent", about);
    releaseSoon();
  };

  const commands: Commands = {
    init() {},
    begin() {
      if (settings.consentFrom) {
        loadModule("c", settings, (watch) => {
          watch(settings, takeAnswer);
          consent.settle(settings.consent);
          releaseSoon();
        });
      }
      watchLifecycle(
        () => {
          leavePage();
          release();
          if (mayTouch()) visitor.save();
          transport.leave();
        },
        (isRestored) => {
          silence.refresh();
          if (mayTouch() && visitor.refresh()) takeAnswer("none");
          transport.resume();
          if (!isRestored) return;
          takeEngagement?.(true);
          if (hasViews) count();
        },
      );
      if (token) {
        awaitHuman((hs) => {
          if (token) record("link_confirm", undefined, { lt: token, hs });
        });
      }
      if (isOn("spa")) {
        watchRoutes(() => {
          if (readPath() === path) return;
          path = readPath();
          leavePage(true);
          clearTimeout(settling);
          settling = setTimeout(quiet(count), SETTLE_MS);
        });
      }
      if (isOn("engagement")) takeEngagement = watchEngagement();
      if (isOn("forms")) leaveForm = watchForms(track);
      watchClicks(isOn, settings.clicks, track);
      if (isOn("media"))
        watchMedia(({ target }) => loadModule("m", settings, (watch) => watch(track, target as HTMLMediaElement)));
      if (isOn("vitals", false)) loadModule("v", settings, (watch) => watch((props) => record("web_vitals", props)));
      if (settings.profile) (commands.onProfile as () => void)();
      if (hasViews) count();
    },
    page(props?: Props) {
      // Routers announce their first route too, and some the one that we have seen ourselves.
      if (isCounted && !props && !settling && readPath() === path) {
        isCounted = false;
        note(Said.DoubleView);
      } else view(props);
    },
    track,
    identify(value: unknown, options?: IdentifyOptions) {
      known = [];
      known = declare("identify", value, options);
    },
    alias(value: unknown, options?: IdentifyOptions) {
      declare("alias", value, options);
    },
    group(value: unknown, options: IdentifyOptions = {}) {
      record("group", { group_kind: options.kind || "company", group_id: readValue(value), traits: options.traits });
    },
    reset() {
      token = "";
      handover.keep("");
      known = [];
      isSignalsAsked = false;
      release(); // what was said until now is about the visitor until now
      drafts = drafts.filter((draft) => !needsIdentity(draft));
      isResetDue = true;
      record("reset");
    },
    consent: takeAnswer,
    optOut() {
      withdraw();
      silence.object(true);
      releaseSoon();
    },
    optIn() {
      silence.object(false);
      releaseSoon();
    },
    link(url: string, use: (url: string) => void) {
      use(handover.decorate(url));
    },
    on: (_what: string, listener: Listener) => listeners.push(listener),
    onProfile(callback?: ProfileListener) {
      if (profileListeners.push(callback) > 1) return;
      loadModule("p", settings, (follow) => {
        onNews = follow(profileListeners, settings, commands, () => mayKnow() && consent.allows("p"));
      });
    },
    use(addOn: AddOn | string, options: { purpose?: string } = {}) {
      addOns.push([addOn, (options.purpose || "")[0] as Purpose]);
      releaseSoon();
    },
  };
  return commands;
}
