/*! tagstitch 0.1.0 | Apache-2.0 */

// src/address.ts
function splitAddress(url, isWanted) {
  const found = {};
  const rest = url.replace(
    /^[^#]+/,
    (page2) => page2.replace(/([?&])([^=&?]+)=([^&]+)/g, (all, before, name, value) => {
      if (!isWanted(name, value)) return all;
      found[name] = value;
      return before === "?" ? before : "";
    }).replace(/\?(&|$)/, (_, after) => after && "?")
  );
  return [rest, found];
}
function takeParameters(settings, landing) {
  const isWanted = (name, value) => ` ${settings.capture} `.includes(`=param:${name} `) || (name === settings.link || name === settings.handover) && /^[\w.~-]{20,2048}$/.test(value);
  const { href } = location;
  const [url, found] = splitAddress(href, isWanted);
  if (url !== href) History.prototype.replaceState.call(history, history.state, "", url);
  return { ...splitAddress(landing || "", isWanted)[1], ...found };
}

// src/quiet.ts
function quiet(run) {
  return (...args) => {
    try {
      run(...args);
    } catch {
    }
  };
}

// src/composed.ts
function listen(types, run) {
  for (const type of types.split(" ")) addEventListener(type, quiet(run), true);
}
function findOnPath(event, selector) {
  return event.composedPath().find((node) => node instanceof Element && node.matches(selector));
}
function findLink(event) {
  return findOnPath(event, "a[href]");
}
function isForUs(event) {
  return event.isTrusted && !findOnPath(event, "[data-ts-ignore]");
}

// src/lifecycle.ts
function watchLifecycle(onHide, onShow) {
  listen("pagehide", onHide);
  listen("visibilitychange", () => document.hidden ? onHide() : onShow(false));
  listen("pageshow", (event) => event.persisted && onShow(true));
  listen("online", () => onShow(false));
}
function whenActivated(run) {
  if (document.prerendering) {
    listen("prerenderingchange", run);
  } else run();
}

// src/browser.ts
var timeZone;
var automation;
function whenIdle(run, withinMs) {
  return (window.requestIdleCallback || setTimeout)(quiet(run), { timeout: withinMs });
}
function learnTimeZone() {
  const { Temporal } = window;
  timeZone = Temporal ? Temporal.Now.timeZoneId() : Intl.DateTimeFormat().resolvedOptions().timeZone;
}
function readBrowser() {
  const { webdriver, languages, language } = navigator;
  automation ??= +!!webdriver | (languages?.length ? 0 : 2);
  return {
    l: language,
    z: timeZone,
    w: `${innerWidth}x${innerHeight}`,
    b: automation || void 0
  };
}

// src/modules.ts
function moduleAddress(script, key, digest2) {
  return script.replace(/(-\d[\w.]+-\w{8})?(\.js)?([?#].*)?$/, `-${key}-${digest2.replace(/\W/g, "").slice(0, 8)}.js`);
}
var policy;
function trust(url) {
  const { trustedTypes } = window;
  policy ||= trustedTypes?.createPolicy("tagstitch", { createScriptURL: (asked) => asked });
  return policy?.createScriptURL(url) ?? url;
}
function loadModule(key, settings, use2, isWanted = () => true) {
  const load = (name, digest2, onLoad) => {
    if (!isWanted()) return;
    const element = document.createElement("script");
    element.src = trust(moduleAddress(settings.script, name, digest2));
    element.crossOrigin = "anonymous";
    element.integrity = `sha256-${digest2}`;
    element.nonce = settings.nonce;
    element.onload = element.onerror = quiet(() => {
      element.remove();
      if (element.run && isWanted()) onLoad(element.run);
    });
    document.head.append(element);
  };
  if (settings.script) {
    whenIdle(() => {
      load("i", "U1MtwCVfI3a7N0v6yBOdPh6tadI0oU8QExoLeo65lDo=", (digests) => load(key, digests[key], use2));
    }, 2e3);
  }
}

// src/queue.ts
function findInit(calls2) {
  return calls2.find((call2) => call2[0] === "init")?.[1] || {};
}
function takeOver(calls2, commands, note) {
  const run = (...call2) => {
    try {
      const command2 = commands[call2[0]];
      if (command2) command2(...call2.slice(1));
      else note(8 /* NoCommand */, call2[0]);
    } catch (error) {
      note(9 /* Failed */, error);
    }
  };
  run.isTagstitch = true;
  const isAnswer = (call2) => call2[0] === "consent";
  for (const call2 of calls2.filter(isAnswer)) run(...call2);
  run("begin");
  for (const call2 of calls2) isAnswer(call2) || run(...call2);
  return run;
}

// src/settings.ts
var DEFAULTS = {
  /** Site id. Without one the tag waits for `init`. */
  site: "",
  /** Address that takes the beacons; empty: `b` beside the tag. */
  endpoint: "",
  consent: "required",
  /** Consent tools to listen to: `tcf`, `gpp`, `google`, with a space between. */
  consentFrom: "",
  /** Name of the cookie; what else is kept on the device has names that begin with it. */
  cookie: "_ts_v",
  /** Domain of the cookie; "" for this host alone. */
  cookieDomain: "",
  sessionMinutes: 30,
  /** URL parameter of tagged links. */
  link: "lt",
  /** Hosts to which the visitor is handed over, with a space between. */
  domains: "",
  /** URL parameter that hands a visitor over. */
  handover: "_tsh",
  /** Whether the first page view is sent by itself; "off" says no too. */
  page: "on",
  /**
   * What is noted by itself: words out of spa, hash, outbound, downloads, forms, clicks, engagement, media, vitals, with
   * a space between. Empty: all but hash and vitals. `none`: nothing.
   */
  auto: "",
  /** Customer identifiers to pick up: `kind=source:name`, with a space between. */
  capture: "",
  /** Name of the page's data layer. */
  dataLayer: "dataLayer",
  /** Fill the page's slots: milliseconds that they wait for the profile at most. */
  profile: "",
  /** Explain what is done, in the console; "overlay": on the page as well; "off": no. */
  debug: "off"
};
function isYes(value) {
  return /^($|t|on|ov)/.test(value);
}
function readSettings(script, init) {
  const settings = {
    ...DEFAULTS,
    script: script?.src || "",
    nonce: script?.nonce || "",
    clicks: {},
    ...script?.dataset,
    ...init
  };
  const { endpoint } = settings;
  settings.endpoint = new URL(endpoint || "b", !endpoint && settings.script || location.href).href;
  return settings;
}

// src/autocapture.ts
var FILE = /\.(pdf|zip|(doc|xls|ppt)x?|csv|exe|dmg|apk|mp[34])$/;
function watchClicks(isOn, clicks, track2) {
  const onClick = (event) => {
    const link2 = findLink(event);
    if (!isForUs(event) || event.button > (link2 ? 1 : 0)) return;
    const note = (selector) => {
      const element = findOnPath(event, selector);
      if (!element) return;
      const data = {};
      for (const { name: name2, value } of element.attributes) {
        if (name2.startsWith("data-ts-")) data[name2.slice(8).replace(/-/g, "_")] = value;
      }
      const { event: own, ...props } = data;
      const name = clicks[selector] || own;
      if (name) track2(name, props);
    };
    if (isOn("clicks")) ["[data-ts-event]", ...Object.keys(clicks)].forEach(quiet(note));
    if (!link2?.host) return;
    const { host, pathname } = link2;
    const url = link2.origin + pathname;
    const extension = FILE.exec((link2.download || pathname).toLowerCase())?.[1];
    if (isOn("downloads") && (extension || link2.hasAttribute("download"))) {
      track2("file_download", { url, extension });
    } else if (isOn("outbound") && host !== location.host) track2("outbound_click", { url, host });
  };
  listen("click auxclick", onClick);
}
function watchMedia(start2) {
  addEventListener("play", quiet(start2), { capture: true, once: true });
}

// src/device.ts
function recall(name) {
  return findStore()?.getItem(name) || "";
}
function keep(name, text) {
  try {
    const store = findStore();
    text ? store.setItem(name, text) : store.removeItem(name);
    return true;
  } catch {
    return false;
  }
}
function recallJson(name) {
  try {
    return JSON.parse(recall(name));
  } catch {
    return void 0;
  }
}
function findStore() {
  for (const name of ["localStorage", "sessionStorage"]) {
    try {
      return window[name];
    } catch {
    }
  }
  return void 0;
}

// src/campaign.ts
var CLICK_ID = /(cl|clk|mc_c|rdt_c|scc|_fat_|igsh)id$|braid$|^(gclsrc|epik)$/;
function readLanding(token) {
  const touch = {};
  let text = token;
  new URLSearchParams(location.search).forEach((value, name) => {
    const isClickId = CLICK_ID.test(name);
    if (isClickId) touch.click_id = name;
    else if (/^utm_/.test(name)) touch[name] = value.slice(0, 200);
    else return;
    text += name + value;
  });
  const host = `${document.referrer}`.split("/")[2];
  if (host && host !== location.host) touch.referrer = host;
  return { touch, campaign: text && digest(text) };
}
function keepTouch(name, touch, time) {
  const kept = recallJson(name) || {};
  const now = { ...touch, time };
  const f = kept.f || now;
  const l = !Object.keys(touch)[0] && kept.l || now;
  keep(name, JSON.stringify({ f, l }));
  return f === l ? { first_touch: f } : { first_touch: f, last_touch: l };
}
function digest(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619) >>> 0;
  return value.toString(36);
}

// src/cookie.ts
var MAX_AGE_S = 400 * 86400;
var GONE_S = -1;
function readCookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}
function writeCookie(name, value, domain, maxAgeS = MAX_AGE_S) {
  document.cookie = `${name}=${value};path=/;max-age=${maxAgeS};samesite=lax` + (domain && `;domain=${domain}`) + (location.protocol === "https:" ? ";secure" : "");
}

// src/identify.ts
function readValue(value) {
  return /^(string|number)$/.test(typeof value) ? `${value}` : "";
}
function makeIdentifier(value, options) {
  const v = readValue(value);
  if (!v && !options.token) return void 0;
  return {
    // As text, whatever the page gave: one wrong type would cost the whole beacon.
    k: `${options.kind || "customer"}`,
    v,
    ...options.signature && { g: `${options.signature}` },
    ...options.token && { j: `${options.token}` },
    ...options.nonce && { n: `${options.nonce}` }
  };
}

// src/capture.ts
var MAX_LENGTH = 256;
function capture(settings, parameters) {
  const layer = window[settings.dataLayer];
  const read = {
    param: (name) => decode(parameters[name]),
    cookie: (name) => decode(readCookie(name)),
    meta: (name) => document.querySelector(`meta[name=${JSON.stringify(name)}]`)?.content,
    js: (name) => follow(window, name),
    data: (name) => Array.from(layer, (entry) => follow(entry, name)).filter((value) => value).pop()
  };
  const found = [];
  for (const spec of settings.capture.split(" ")) {
    const [, k, o, name] = /^(\w+)=(\w+):(.+)/.exec(spec) || [];
    try {
      const v = readValue(read[o](name));
      if (v && v.length <= MAX_LENGTH) found.push({ k, v, o });
    } catch {
    }
  }
  return found;
}
function follow(from, path) {
  return path.split(".").reduce((value, key) => value?.[key], from);
}
function decode(text = "") {
  return decodeURIComponent(text.replace(/\+/g, " "));
}

// src/consent.ts
var GRANTED = { off: "aifpm", implied: "aipm" };
function createConsent(preset) {
  let said;
  let granted = GRANTED[preset];
  const { globalPrivacyControl, doNotTrack } = navigator;
  const withoutRefused = (letters = "") => globalPrivacyControl || doNotTrack === "1" ? letters.replace(/[fm]/g, "") : letters;
  return {
    answer(answer) {
      const earlier = said;
      const before = earlier ?? granted ?? "";
      said = "";
      for (const name of "analytics identity fingerprint personalisation marketing".split(" ")) {
        const letter = name[0];
        const given = typeof answer === "string" ? answer === "all" : answer[name] ?? before.includes(letter);
        if (/^[tg]/.test(given)) said += letter;
      }
      return earlier && earlier !== said;
    },
    letters: () => said && withoutRefused(said),
    allows: (purpose) => withoutRefused(said ?? granted).includes(purpose),
    settle(other) {
      granted = GRANTED[other];
    },
    isPending: () => (said ?? granted) == null
  };
}

// src/engagement.ts
var ACTIVE_MS = 15e3;
function watchEngagement() {
  const page2 = document.documentElement;
  let isOn = false;
  let countedMs = 0;
  let untilMs = 0;
  let engagedMs = 0;
  let length = 0;
  let seen = 0;
  let told;
  const count = quiet((sign) => {
    const now = performance.now();
    if (isOn) engagedMs += Math.max(0, Math.min(now, untilMs) - countedMs);
    countedMs = now;
    isOn = !document.hidden && document.hasFocus();
    if (sign) untilMs = now + ACTIVE_MS;
  });
  const measure = quiet(() => {
    length = page2.scrollHeight;
    seen = Math.max(seen, scrollY + innerHeight);
  });
  count(1);
  listen("pointerdown pointermove keydown focus blur visibilitychange", count);
  addEventListener("scroll", (event) => {
    count(event);
    measure();
  });
  whenIdle(() => new ResizeObserver(measure).observe(page2), 0);
  return (isNewPage) => {
    count();
    const engaged_s = Math.round(engagedMs / 100) / 10;
    const scroll_percent = Math.min(100, Math.round(seen / length * 100)) || void 0;
    const isNews = engagedMs >= 1e3 || scroll_percent !== told;
    if (isNews || isNewPage) engagedMs = 0;
    told = isNewPage ? void 0 : scroll_percent;
    if (isNewPage) seen = length && innerHeight;
    return isNews ? { scroll_percent, engaged_s } : void 0;
  };
}

// src/forms.ts
var MAX_FIELDS = 20;
function watchForms(track2) {
  let element;
  let form;
  let fields;
  let last_field;
  let outcome = "";
  let isAttempt = false;
  const settle = quiet((isLeft) => {
    isAttempt = false;
    if (!outcome || !isLeft && outcome === "abandoned") return;
    track2("form", { form, outcome, fields, last_field });
    if (outcome === "submitted") element = void 0;
    outcome = outcome === "invalid" ? "abandoned" : "";
  });
  const onEvent = (event) => {
    const { type, target } = event;
    const field = target;
    const isSubmit = type === "submit";
    const isButton = findOnPath(event, "button,[type=submit]");
    const touched = isSubmit ? target : field.form;
    if (isSubmit || isButton && type === "click") {
      isAttempt = true;
      setTimeout(settle);
    }
    if (!touched || !isForUs(event)) return;
    if (touched !== element) {
      settle(true);
      element = touched;
      form = touched.getAttribute("id") || touched.getAttribute("name") || "";
      fields = [];
      last_field = void 0;
      outcome = "";
    }
    if (isSubmit) outcome = "submitted";
    else if (type === "invalid") {
      if (isAttempt) outcome = type;
    } else if (!isButton && type !== "click") {
      last_field = field.name || field.id;
      if (last_field && !fields.includes(last_field) && fields.length < MAX_FIELDS) fields.push(last_field);
      if (type === "input") outcome = "abandoned";
    }
  };
  listen("focusin input click submit invalid", onEvent);
  return () => settle(true);
}

// src/handover.ts
var FRESH_MS = 24e4;
function createHandover(settings, mayUse, ask) {
  let token = "";
  let atMs = 0;
  const isFresh = () => Date.now() - atMs < FRESH_MS;
  const hosts = settings.domains.split(" ");
  const name = settings.handover;
  const isListed = (url) => {
    const host = new URL(url, location.href).hostname;
    return host !== location.hostname && hosts.some((domain) => `.${host}`.endsWith(`.${domain}`));
  };
  const decorate = (url) => {
    if (!token || !mayUse() || !isFresh() || !isListed(url)) return url;
    const [bare] = splitAddress(url, (other) => other === name);
    return bare.replace(/(\?[^#]*)?(?=#|$)/, (query) => `${query ? `${query}&` : "?"}${name}=${token}`);
  };
  if (settings.domains) {
    const onNear = (event) => {
      if (isFresh()) return;
      const link2 = findLink(event);
      if (link2 && isListed(link2.href)) {
        atMs = Date.now();
        ask();
      }
    };
    const onClick = (event) => {
      const link2 = findLink(event);
      if (!link2 || decorate(link2.href) === link2.href) return;
      const plain = link2.getAttribute("href");
      link2.href = decorate(link2.href);
      setTimeout(() => link2.setAttribute("href", plain));
    };
    listen("pointerover focusin", onNear);
    listen("click auxclick", onClick);
  }
  return {
    keep(fresh) {
      token = fresh;
      atMs = Date.now();
    },
    decorate
  };
}

// src/human.ts
var DWELL_S = 5;
function awaitHuman(onHuman) {
  let seconds = 0;
  let isDone = false;
  const stop = quiet((signal) => {
    clearInterval(timer);
    if (!isDone) onHuman(signal);
    isDone = true;
  });
  listen("pointerdown keydown touchstart", (event) => {
    if (event.isTrusted) stop(event.type.replace(/down|start/, ""));
  });
  const timer = setInterval(() => {
    if (!document.hidden && document.hasFocus() && ++seconds >= DWELL_S) stop("dwell");
  }, 1e3);
}

// src/ids.ts
function makeId(nowMs = Date.now()) {
  const time = nowMs.toString(16).padStart(12, "0");
  const random = crypto.getRandomValues(new Uint8Array(21));
  const rest = "000-8000-000000000000".replace(
    /\d/g,
    (digit, at) => (+digit | random[at] & (+digit ? 3 : 15)).toString(16)
  );
  return `${time.slice(0, 8)}-${time.slice(8)}-7${rest}`;
}
function isId(text) {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text);
}

// src/memory.ts
function makeMemory() {
  return {
    visitor: makeId(),
    session: "",
    number: 0,
    startedMs: 0,
    lastMs: 0,
    campaign: "",
    signalsSent: 0,
    resetFrom: "",
    offsetMs: 0
  };
}
function encodeMemory(memory) {
  return Object.values(memory).map((value) => value.toString(36)).join(".");
}
function decodeMemory(text) {
  const parts = text.split(".");
  const memory = makeMemory();
  Object.keys(memory).forEach((name, i) => {
    const part = parts[i] || "";
    memory[name] = typeof memory[name] === "number" ? Number.parseInt(part, 36) || 0 : part;
  });
  const read = memory;
  if (!isId(read.resetFrom)) read.resetFrom = "";
  return isId(read.visitor) ? read : void 0;
}

// src/page.ts
function createPages() {
  let url = location.href;
  let referrer = `${document.referrer}`;
  return {
    current: (isLeaving) => ({ u: isLeaving ? url : location.href, r: referrer, h: `${document.title}` }),
    turn() {
      if (location.href !== url) referrer = url;
      url = location.href;
    }
  };
}

// src/routes.ts
function watchRoutes(onChange) {
  const changed = quiet(onChange);
  const { navigation } = window;
  if (navigation?.currentEntry) return navigation.addEventListener("currententrychange", changed);
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function(...call2) {
      original.apply(this, call2);
      changed();
    };
  }
  addEventListener("popstate", changed);
}

// src/shelf.ts
var MAX_ITEMS = 200;
var MAX_CHARS = 2e5;
function takeItems(name) {
  const items = recallJson(name);
  if (items) keep(name, "");
  return Array.isArray(items) ? items.filter((item) => item?.event?.i && item.context) : [];
}
function putItems(name, items) {
  const plain = items.filter(({ event }) => !event.k?.some(({ j }) => j)).map((item) => ({ ...item, extra: {} }));
  let all = takeItems(name).concat(plain).slice(-MAX_ITEMS);
  while (JSON.stringify(all).length > MAX_CHARS) all = all.slice((all.length >> 1) + 1);
  return !!all[0] && keep(name, JSON.stringify(all));
}

// src/silence.ts
var NAME = "_ts_out";
function createSilence(settings) {
  let isSilent;
  return {
    holds() {
      isSilent ??= !!readCookie(NAME);
      return isSilent;
    },
    fall(seconds, mayKeep) {
      isSilent = true;
      if (mayKeep && !readCookie(NAME)) writeCookie(NAME, "0", settings.cookieDomain, seconds);
    },
    object(isObjecting) {
      isSilent = isObjecting;
      writeCookie(NAME, "1", settings.cookieDomain, isObjecting ? MAX_AGE_S : GONE_S);
    },
    refresh() {
      isSilent = void 0;
    }
  };
}

// src/wire.ts
var WIRE_VERSION = 1;
function copy(event) {
  return JSON.parse(JSON.stringify(event));
}
function needsIdentity(draft) {
  return !!draft.event.k || !!draft.extra.hs;
}

// src/envelope.ts
function buildEnvelope(site, items, facts) {
  const envelope = {
    v: WIRE_VERSION,
    s: site,
    st: Date.now(),
    ...items[0]?.context,
    ...facts,
    e: items.map((item) => ({ ...item.event }))
  };
  for (const { extra } of items) Object.assign(envelope, extra);
  for (const field of ["u", "r", "h"]) {
    const shared = envelope.e[0]?.[field];
    if (envelope.e.every((event) => event[field] === shared)) {
      if (shared) envelope[field] = shared;
      for (const event of envelope.e) delete event[field];
    }
  }
  return envelope;
}

// src/transport.ts
var WINDOW_MS = 300;
var MAX_EVENTS = 20;
var MAX_BYTES = 6e4;
var MAX_WAITING = 500;
var MAX_FAILURES = 8;
var MAX_PAUSE_MS = 6e4;
function createTransport(options) {
  const { note } = options;
  let waiting = [];
  let timer;
  let notBeforeMs = 0;
  let flying;
  let isLeft = false;
  let failures = 0;
  const encode = (items) => JSON.stringify(buildEnvelope(options.site, items, options.facts()));
  const isLarge = (body) => body.length * 3 > MAX_BYTES && new Blob([body]).size > MAX_BYTES;
  const take = () => {
    const key = (item) => JSON.stringify(item?.context);
    const first = key(waiting[0]);
    let count = 1;
    while (count < MAX_EVENTS && count < waiting.length && key(waiting[count]) === first) count++;
    while (count > 1 && isLarge(encode(waiting.slice(0, count)))) count >>= 1;
    return waiting.splice(0, count);
  };
  const clear = () => {
    waiting = [];
    flying &&= [];
  };
  const plan = (delayMs) => {
    timer ||= setTimeout(send, Math.max(delayMs, notBeforeMs - Date.now()));
  };
  const send = () => {
    clearTimeout(timer);
    timer = void 0;
    if (flying || !waiting.length) return;
    const items = take();
    flying = items;
    for (const item of items) item.isTried = true;
    const body = encode(items);
    const sentMs = Date.now();
    note(11 /* Sending */, body);
    (async () => fetch(options.endpoint, { method: "POST", body, credentials: "include", keepalive: !isLarge(body) }))().then(async (response) => {
      const { status } = response;
      const read = (name) => response.headers.get(name);
      if (status === 429 || status >= 500) throw read("retry-after");
      failures = 0;
      if (status >= 400) return note(13 /* Refused */, [status, await response.text()]);
      const refused = read("x-tagstitch-rejected");
      if (refused) note(14 /* PartlyRefused */, refused);
      const { d, x } = status === 200 ? await response.json() : {};
      const date = Date.parse(read("date") || "");
      options.onReply(items, {
        visitor: d,
        pass: x,
        offset: date ? date - Math.round((sentMs + Date.now()) / 2) : void 0,
        silence: +read("x-tagstitch-stop")
      });
    }).catch((retryAfter) => {
      waiting = flying.concat(waiting);
      failures++;
      notBeforeMs = Date.now() + (retryAfter * 1e3 || 0);
      note(15 /* WillRetry */, [failures, retryAfter]);
      if (failures < MAX_FAILURES) plan(Math.min(1e3 * 2 ** failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2));
    }).then(() => {
      flying = void 0;
      if (waiting.length && !failures) plan(0);
    });
  };
  const leave = () => {
    isLeft = true;
    const isOffline = !navigator.onLine;
    if ((isOffline || failures) && options.save((flying || []).concat(waiting))) return clear();
    if (isOffline) return;
    while (waiting.length) {
      const items = take();
      while (!navigator.sendBeacon?.(options.endpoint, encode(items))) {
        const rest = items.splice(items.length >> 1);
        waiting = rest.concat(waiting);
        if (!items.length) return failures ? plan(0) : send();
      }
      note(12 /* SentOnLeaving */, items.length);
    }
  };
  return {
    add(item) {
      waiting = waiting.concat(item).slice(-MAX_WAITING);
      if (isLeft) leave();
      else if (!failures) waiting.length >= MAX_EVENTS ? send() : plan(WINDOW_MS);
    },
    leave,
    resume() {
      isLeft = false;
      waiting = options.restore().concat(waiting);
      if (!waiting.length) return;
      failures = Math.min(failures, 1);
      clearTimeout(timer);
      timer = void 0;
      plan(WINDOW_MS);
    },
    rename(from, to) {
      for (const item of waiting) {
        if (!item.isTried && item.context.d === from) item.context = { ...item.context, d: to };
      }
    },
    clear,
    drop(isOut) {
      waiting = waiting.filter((item) => !isOut(item));
    }
  };
}

// src/session.ts
function touchSession(memory, nowMs, idleMs, campaign) {
  if (!memory.session || nowMs - memory.lastMs > idleMs || campaign && campaign !== memory.campaign) {
    memory.session = makeId(nowMs);
    memory.number++;
    memory.startedMs = nowMs;
    memory.campaign = campaign;
    memory.signalsSent = 0;
    memory.lastMs = nowMs;
  }
  memory.lastMs = Math.max(memory.lastMs, nowMs);
}

// src/visitor.ts
function createVisitor(settings) {
  const { cookie, cookieDomain } = settings;
  let memory;
  let written = "";
  let isRefused = false;
  let isKept = false;
  const idleMs = settings.sessionMinutes * 6e4;
  const read = () => {
    written = readCookie(cookie) || recall(cookie);
    return decodeMemory(written);
  };
  const write = () => {
    if (!memory) return;
    written = encodeMemory(memory);
    isRefused ? keep(cookie, written) : writeCookie(cookie, written, cookieDomain);
  };
  const refresh = () => {
    const there = memory && read();
    memory = there || memory;
    return isKept && !there;
  };
  const current = () => {
    memory ||= read() || makeMemory();
    return memory;
  };
  return {
    memory: current,
    touch(nowMs, campaign) {
      const { session, lastMs } = current();
      if (session && nowMs - lastMs > idleMs) refresh();
      touchSession(current(), nowMs, idleMs, campaign);
      if (current().session !== session) write();
      return current();
    },
    save() {
      if (!memory || encodeMemory(memory) === written) return;
      const before = decodeMemory(written);
      const there = read();
      if (there && (there.visitor !== before?.visitor || there.startedMs > memory.startedMs)) memory = there;
      else if (there || !isKept) write();
    },
    verify() {
      if (!memory) return;
      isRefused = !readCookie(cookie);
      if (isRefused) write();
      isKept = !!read();
    },
    refresh,
    reset() {
      const { visitor, resetFrom } = current();
      memory = { ...makeMemory(), resetFrom: resetFrom || visitor };
      for (const kept of "tc") keep(cookie + kept, "");
      write();
    },
    forget() {
      const wasKnown = !!(memory || readCookie(cookie));
      memory = void 0;
      isKept = false;
      writeCookie(cookie, "", cookieDomain, GONE_S);
      for (const kept of ["", ..."tcqg"]) keep(cookie + kept, "");
      return wasKnown;
    }
  };
}

// src/tag.ts
var MAX_DRAFTS = 500;
var CLOCK_TOLERANCE_MS = 3e4;
var START_MS = 200;
var SETTLE_MS = 100;
function createTag(settings, found, note) {
  const consent2 = createConsent(settings.consentFrom ? void 0 : settings.consent);
  const visitor = createVisitor(settings);
  const silence = createSilence(settings);
  const pages = createPages();
  const listeners = [];
  const profileListeners = [];
  let addOns = [];
  let drafts = [];
  let sequence = 0;
  let token = found[settings.link] || "";
  let arrival = found[settings.handover];
  const landing = readLanding(token);
  let isSignalsAsked = false;
  let isReleased = false;
  let planned = 0;
  let isResetDue = false;
  let isLeaving = false;
  let known = [];
  let onNews = (_items) => {
  };
  const hasViews = isYes(settings.page);
  const isOn = (word, isUsual = true) => settings.auto ? settings.auto.includes(word) : isUsual;
  const mayStore = () => consent2.allows("a");
  const mayTouch = () => mayStore() && !silence.holds();
  const mayKnow = () => mayTouch() && consent2.allows("i") && !isResetDue && !visitor.memory().resetFrom;
  const maySend = () => settings.consent === "cookieless" || mayStore();
  const shelf = `${settings.cookie}q`;
  const transport = createTransport({
    ...settings,
    facts: () => mayStore() ? readBrowser() : {},
    note,
    save: (items) => mayTouch() && putItems(shelf, items),
    restore: () => mayTouch() ? takeItems(shelf) : [],
    onReply(items, reply) {
      const { context } = items[0];
      onNews(items);
      if (reply.silence) {
        silence.fall(reply.silence, mayStore());
        transport.clear();
      }
      if (!mayTouch()) return;
      const memory = visitor.memory();
      const before = encodeMemory(memory);
      if (context.rf === memory.resetFrom) memory.resetFrom = "";
      if (context.d === memory.visitor) {
        if (isId(reply.visitor)) {
          transport.rename(memory.visitor, reply.visitor);
          memory.visitor = reply.visitor;
        }
        if (reply.pass) handover.keep(reply.pass);
      }
      const { offset } = reply;
      if (offset != null) memory.offsetMs = Math.abs(offset) > CLOCK_TOLERANCE_MS ? offset : 0;
      if (encodeMemory(memory) !== before) visitor.save();
    }
  });
  const admit = ({ event, extra }) => {
    let context = { c: consent2.letters() };
    if (mayStore()) {
      const { session } = visitor.memory();
      const memory = visitor.touch(event.t, landing.campaign);
      landing.campaign = "";
      if (event.n === "page_view") {
        if (memory.session !== session)
          event.p = { ...keepTouch(`${settings.cookie}t`, landing.touch, event.t), ...event.p };
        if (consent2.allows("i")) describeCustomer(event, extra, memory.session);
      }
      context = {
        d: memory.visitor,
        rf: memory.resetFrom || void 0,
        o: memory.offsetMs || void 0,
        ...context,
        x: { i: memory.session, n: memory.number, t: memory.startedMs }
      };
    } else extra.lt = void 0;
    if (!consent2.allows("i")) delete extra.ho;
    transport.add({ event, context, extra });
  };
  const describeCustomer = (event, extra, session) => {
    if (settings.domains) extra.xl = 1;
    const claims = capture(settings, found);
    const mark = claims[0] && digest(session + JSON.stringify(claims));
    if (!mark || recall(`${settings.cookie}c`) === mark) return;
    keep(`${settings.cookie}c`, mark);
    event.k = claims;
  };
  const release = () => {
    if (!maySend()) return;
    if (silence.holds()) {
      drafts = [];
      return note(5 /* Silent */);
    }
    addOns = addOns.filter(([addOn, purpose]) => {
      if (purpose && !consent2.allows(purpose)) return true;
      Promise.resolve(
        typeof addOn === "string" ? import(
          /* webpackIgnore: true */
          /* turbopackIgnore: true */
          /* @vite-ignore */
          addOn
        ) : { default: addOn }
      ).then((module) => module.default(commands)).catch((error) => note(10 /* AddOnFailed */, error));
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
    drafts = drafts.filter((draft) => needsIdentity(draft) && !consent2.allows("i") || admit(draft));
    const isWanted = () => mayStore() && consent2.allows("f");
    if (sequence && isWanted() && !isSignalsAsked && !visitor.memory().signalsSent) {
      isSignalsAsked = true;
      loadModule(
        "f",
        settings,
        async (collect) => {
          const signals = await collect();
          if (!isWanted()) return;
          visitor.memory().signalsSent = 1;
          record("fingerprint", void 0, { f: signals });
        },
        isWanted
      );
    }
  };
  const releaseSoon = () => {
    onNews();
    if (isReleased) return release();
    if (!planned) {
      planned = whenIdle(() => {
        planned = 0;
        release();
      }, START_MS);
    }
  };
  const record = (name, props, extra = {}, identifiers) => {
    if (!consent2.isPending() && !maySend()) return note(2 /* DroppedNoConsent */, name);
    if (props && typeof props !== "object") throw props;
    let event = copy({
      i: makeId(),
      n: name,
      t: Date.now(),
      ...pages.current(isLeaving),
      p: props && { ...props },
      k: identifiers,
      q: sequence + 1
    });
    if (settings.beforeSend) event = copy(settings.beforeSend(event) || null);
    if (!event) return note(3 /* DroppedByHook */, name);
    if (!sequence++) {
      if (token) extra.lt = token;
      extra.ho = arrival;
      arrival = "";
    }
    drafts = drafts.concat({ event, extra }).slice(-MAX_DRAFTS);
    note(maySend() ? 0 /* Queued */ : 1 /* Held */, event);
    for (const listener of listeners) quiet(listener)(event);
    releaseSoon();
  };
  const track2 = (name, props) => {
    if (name) record(`${name}`, props);
  };
  const declare = (name, value, options = {}) => {
    const identifier = makeIdentifier(value, options);
    const all = identifier ? known.concat(identifier) : [];
    if (identifier) record(name, options.traits, {}, all);
    else note(7 /* NoValue */, name);
    return all;
  };
  const handover = createHandover(settings, mayKnow, () => record("handover", void 0, { xl: 1 }));
  const readPath = () => location.pathname + location.search + (isOn("hash", false) ? location.hash : "");
  let path = readPath();
  let isCounted = false;
  let settling;
  const view = (props) => {
    isCounted = false;
    clearTimeout(settling);
    settling = void 0;
    path = readPath();
    pages.turn();
    record("page_view", props);
  };
  const count = () => {
    const before = sequence;
    view();
    isCounted = sequence > before;
  };
  let leaveForm;
  let takeEngagement;
  const leavePage = (isNewPage) => {
    isLeaving = true;
    leaveForm?.();
    const props = takeEngagement?.(isNewPage);
    if (props) record("engagement", props);
    isLeaving = false;
  };
  const withdraw = (about) => {
    isCounted = isResetDue = isSignalsAsked = false;
    drafts = [];
    transport.clear();
    if (visitor.forget()) {
      const event = { i: makeId(), n: "consent", t: Date.now(), p: about };
      transport.add({ event, context: { c: "" }, extra: {} });
    }
  };
  const takeAnswer = (answer, about) => {
    const isChanged = consent2.answer(answer);
    note(4 /* Consent */, consent2.letters());
    if (!consent2.allows("i")) transport.drop(needsIdentity);
    if (!mayStore()) withdraw(about);
    else if (isChanged || about) record("consent", about);
    releaseSoon();
  };
  const commands = {
    init() {
    },
    begin() {
      if (settings.consentFrom) {
        loadModule("c", settings, (watch) => {
          watch(settings, takeAnswer);
          consent2.settle(settings.consent);
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
        }
      );
      if (token) {
        awaitHuman((hs) => {
          if (token) record("link_confirm", void 0, { lt: token, hs });
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
      if (isOn("forms")) leaveForm = watchForms(track2);
      watchClicks(isOn, settings.clicks, track2);
      if (isOn("media"))
        watchMedia(({ target }) => loadModule("m", settings, (watch) => watch(track2, target)));
      if (isOn("vitals", false)) loadModule("v", settings, (watch) => watch((props) => record("web_vitals", props)));
      if (settings.profile) commands.onProfile();
      if (hasViews) count();
    },
    page(props) {
      if (isCounted && !props && !settling && readPath() === path) {
        isCounted = false;
        note(6 /* DoubleView */);
      } else view(props);
    },
    track: track2,
    identify(value, options) {
      known = [];
      known = declare("identify", value, options);
    },
    alias(value, options) {
      declare("alias", value, options);
    },
    group(value, options = {}) {
      record("group", { group_kind: options.kind || "company", group_id: readValue(value), traits: options.traits });
    },
    reset() {
      token = "";
      handover.keep("");
      known = [];
      isSignalsAsked = false;
      release();
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
    link(url, use2) {
      use2(handover.decorate(url));
    },
    on: (_what, listener) => listeners.push(listener),
    onProfile(callback) {
      if (profileListeners.push(callback) > 1) return;
      loadModule("p", settings, (follow2) => {
        onNews = follow2(profileListeners, settings, commands, () => mayKnow() && consent2.allows("p"));
      });
    },
    use(addOn, options = {}) {
      addOns.push([addOn, (options.purpose || "")[0]]);
      releaseSoon();
    }
  };
  return commands;
}

// src/boot.ts
function boot(script, name) {
  const scope = window;
  const snippet = scope[name];
  if (snippet?.isTagstitch) return;
  const calls2 = [...snippet?.q || []];
  const read = () => readSettings(script, findInit(calls2));
  const found = takeParameters(read(), snippet?.u);
  let isBegun = false;
  const begin = () => {
    const settings = read();
    if (isBegun || !settings.site) return;
    isBegun = true;
    whenActivated(() => {
      const note = isYes(settings.debug) ? explain(settings) : () => {
      };
      scope[name] = takeOver(calls2, createTag(settings, found, note), note);
    });
  };
  const keep2 = (...call2) => {
    calls2.push(call2);
    quiet(begin)();
  };
  keep2.isTagstitch = true;
  scope[name] = keep2;
  begin();
}
function explain(settings) {
  const feed = { notes: [], debug: settings.debug };
  loadModule("o", settings, (show) => show(feed));
  return (said, detail) => {
    const note = { atMs: Date.now(), said, detail };
    feed.notes.push(note);
    feed.onNote?.(note);
  };
}

// src/package.ts
var PROFILE_MS = 5e3;
var MAX_CALLS = 500;
var calls = [];
var global = "";
function call(...given) {
  if (typeof window === "undefined") return;
  const run = window[global];
  if (global) typeof run === "function" && quiet(run)(...given);
  else if (calls.length < MAX_CALLS) calls.push(given);
}
function command(name) {
  return (...given) => call(name, ...given);
}
var start = (settings) => {
  if (typeof window === "undefined" || global) return tagstitch;
  const { global: name = "tagstitch", ...given } = settings;
  global = name;
  quiet(() => {
    const scope = window;
    const found = scope[name];
    const kept = calls.splice(0);
    if (found?.isTagstitch) {
      for (const one of kept) call(...Array.from(one));
    } else {
      const stub = () => {
      };
      stub.q = [["init", readInit(given)], ...Array.from(found?.q || []), ...kept];
      if (found?.u) stub.u = found.u;
      scope[name] = stub;
      boot(null, name);
    }
  })();
  return tagstitch;
};
function readInit(given) {
  const script = given.script || (given.endpoint ? "" : "/x/t.js");
  return { ...given, script: script && new URL(script, location.href).href };
}
var tagstitch = call;
var page = command("page");
var track = command("track");
var identify = command("identify");
var alias = command("alias");
var group = command("group");
var reset = command("reset");
var consent = command("consent");
var optOut = command("optOut");
var optIn = command("optIn");
var link = command("link");
var on = command("on");
var onProfile = (listener) => {
  let isOn = true;
  call("onProfile", (found) => isOn && listener(found));
  return () => {
    isOn = false;
  };
};
var profile = () => new Promise((resolve) => {
  const stop = onProfile(resolve);
  const giveUp = () => {
    stop();
    resolve({ known: false, level: 0, traits: {}, audiences: [], offers: [] });
  };
  if (typeof window === "undefined") giveUp();
  else setTimeout(giveUp, PROFILE_MS);
});
var use = command("use");
export {
  alias,
  consent,
  group,
  identify,
  link,
  on,
  onProfile,
  optIn,
  optOut,
  page,
  profile,
  reset,
  start,
  tagstitch,
  track,
  use
};
