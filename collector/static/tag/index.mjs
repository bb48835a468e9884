/*! tagstitch 0.1.0 | Apache-2.0 */

// <define:__MODULES__>
var define_MODULES_default = { f: "Mjgl/YuGDUx7zltjy9dNRGMAXeRvg1ZbBZNCLiA5KhQ=" };

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

// src/lifecycle.ts
function watchLifecycle(listener) {
  const hide = quiet(() => listener.onHide());
  const show = quiet((isRestored) => listener.onShow(isRestored));
  addEventListener("pagehide", hide);
  document.addEventListener("visibilitychange", () => {
    document.visibilityState === "hidden" ? hide() : show(false);
  });
  addEventListener("pageshow", (event) => event.persisted && show(true));
  addEventListener("online", () => show(false));
}
function whenActivated(run) {
  if (document.prerendering) {
    document.addEventListener("prerenderingchange", quiet(run), { once: true });
  } else run();
}

// src/browser.ts
var timeZone;
var isTimeZoneAsked = false;
var automation;
function whenIdle(run, withinMs) {
  if (typeof requestIdleCallback === "function") requestIdleCallback(quiet(run), { timeout: withinMs });
  else setTimeout(quiet(run), 50);
}
function learnTimeZone() {
  if (isTimeZoneAsked) return;
  isTimeZoneAsked = true;
  whenIdle(() => {
    timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  }, 200);
}
function readAutomation() {
  return +!!navigator.webdriver | (!navigator.languages?.length || /headless/i.test(navigator.userAgent) ? 2 : 0);
}
function readBrowser() {
  automation ?? (automation = readAutomation());
  return {
    l: navigator.language || void 0,
    z: timeZone,
    w: `${innerWidth}x${innerHeight}`,
    b: automation || void 0
  };
}

// src/modules.ts
function moduleAddress(script, key) {
  return script.replace(
    /(-\d+\.\d+\.\d+[^/]*-\w{8})?(\.js)?([?#].*)?$/,
    `-${key}-${"0.1.0"}-${define_MODULES_default[key]?.replace(/\W/g, "").slice(0, 8)}.js`
  );
}
var policy;
function trust(url) {
  const { trustedTypes } = window;
  policy || (policy = trustedTypes?.createPolicy("tagstitch", { createScriptURL: (asked) => asked }));
  return policy ? policy.createScriptURL(url) : url;
}
function loadModule(key, settings, isWanted, use2) {
  if (!settings.script) return;
  whenIdle(() => {
    if (!isWanted()) return;
    const element = document.createElement("script");
    element.src = trust(moduleAddress(settings.script, key));
    element.crossOrigin = "anonymous";
    element.integrity = `sha256-${define_MODULES_default[key]}`;
    element.nonce = settings.nonce;
    element.onload = () => {
      element.remove();
      if (element.run && isWanted()) use2(element.run);
    };
    element.onerror = () => element.remove();
    document.head.append(element);
  }, 2e3);
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
      else if (call2[0] !== "init") note(10 /* NoCommand */, call2[0]);
    } catch (error) {
      note(11 /* Failed */, error);
    }
  };
  run.isTagstitch = true;
  const isAnswer = (call2) => call2[0] === "consent";
  for (const call2 of calls2.filter(isAnswer)) run(...Array.from(call2));
  run("begin");
  for (const call2 of calls2) isAnswer(call2) || run(...Array.from(call2));
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
  page: true,
  /** What is noted by itself, words with a space between; also `hash`, `vitals`. */
  auto: "spa outbound downloads forms clicks engagement media",
  /** Customer identifiers to pick up: `kind=source:name`, with a space between. */
  capture: "",
  /** Name of the page's data layer. */
  dataLayer: "dataLayer",
  /** Explain what is done, in the console; "overlay": on the page as well; "off": no. */
  debug: "off"
};
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

// src/device.ts
function recall(name) {
  return visitStores((store) => store.getItem(name)) || "";
}
function keep(name, text) {
  return !!visitStores((store) => {
    if (text) store.setItem(name, text);
    else store.removeItem(name);
    return text;
  });
}
function recallJson(name) {
  try {
    return JSON.parse(recall(name));
  } catch {
    return void 0;
  }
}
function visitStores(ask) {
  for (const name of ["localStorage", "sessionStorage"]) {
    try {
      const answer = ask(window[name]);
      if (answer) return answer;
    } catch {
    }
  }
  return void 0;
}

// src/campaign.ts
var CLICK_ID = /^((g|d|fb|tt|tw|ir|q|y)clid|[gw]braid|gclsrc|msclkid|li_fat_id|igshid|epik|(mc_|rdt_|sc)cid)$/;
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
  const first_touch = kept.first_touch || now;
  const last_touch = JSON.stringify(touch) === "{}" && kept.last_touch || now;
  keep(name, JSON.stringify({ first_touch, last_touch }));
  return JSON.stringify(first_touch) === JSON.stringify(last_touch) ? { first_touch } : { first_touch, last_touch };
}
function digest(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619) >>> 0;
  return value.toString(36);
}

// src/cookie.ts
var MAX_AGE_S = 400 * 86400;
function readCookie(name) {
  for (const part of document.cookie.split("; ")) {
    if (part.startsWith(`${name}=`)) return part.slice(name.length + 1);
  }
  return "";
}
function writeCookie(name, value, domain, maxAgeS = MAX_AGE_S) {
  document.cookie = `${name}=${value};path=/;max-age=${maxAgeS};samesite=lax` + (domain && `;domain=${domain}`) + (location.protocol === "https:" ? ";secure" : "");
}
function deleteCookie(name, domain) {
  writeCookie(name, "", domain, -1);
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
      const value = read[o](name);
      if (/^(string|number)$/.test(typeof value) && value && `${value}`.length <= MAX_LENGTH) {
        found.push({ k, v: `${value}`, o });
      }
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
var PURPOSES = { storage: "s", identity: "i", fingerprint: "f", marketing: "m" };
function createConsent(preset) {
  let said;
  const { globalPrivacyControl, doNotTrack } = navigator;
  const withoutRefused = (letters) => globalPrivacyControl || doNotTrack === "1" ? letters.replace(/[fm]/g, "") : letters;
  return {
    answer(answer) {
      const before = said || "";
      said = "";
      for (const name in PURPOSES) {
        const key = name;
        const given = typeof answer === "string" ? answer === "all" : answer[key] ?? before.includes(PURPOSES[key]);
        if (given) said += PURPOSES[key];
      }
    },
    letters: () => said === void 0 ? said : withoutRefused(said),
    allows: (purpose) => withoutRefused(said ?? (preset === "off" ? "sifm" : preset === "implied" ? "sim" : "")).includes(purpose),
    // A preset that is none of these counts as the strictest.
    isPending: () => said === void 0 && preset !== "implied" && preset !== "off"
  };
}

// src/handover.ts
var FRESH_MS = 24e4;
function createHandover(settings, ask) {
  let token = "";
  let atMs = 0;
  const hosts = settings.domains.split(" ");
  const name = settings.handover;
  const isListed = (url) => {
    const host = new URL(url, location.href).hostname;
    return host !== location.hostname && hosts.some((domain) => domain && `.${host}`.endsWith(`.${domain}`));
  };
  const decorate = (url) => {
    if (!token || !isListed(url)) return url;
    const [bare] = splitAddress(url, (other) => other === name);
    return bare.replace(/(\?[^#]*)?(?=#|$)/, (query) => `${query ? `${query}&` : "?"}${name}=${token}`);
  };
  if (settings.domains) {
    const findLink = (event) => event.composedPath()[0].closest("a[href]");
    const onNear = quiet((event) => {
      if (Date.now() - atMs < FRESH_MS) return;
      const link2 = findLink(event);
      if (link2 && isListed(link2.href)) {
        atMs = Date.now();
        ask();
      }
    });
    const onClick = quiet((event) => {
      const link2 = findLink(event);
      if (!link2 || decorate(link2.href) === link2.href) return;
      const plain = link2.getAttribute("href");
      link2.href = decorate(link2.href);
      setTimeout(() => link2.setAttribute("href", plain));
    });
    for (const type of ["pointerover", "focusin"]) addEventListener(type, onNear, true);
    for (const type of ["click", "auxclick"]) addEventListener(type, onClick, true);
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
var SIGNALS = { pointerdown: "pointer", keydown: "key", touchstart: "touch" };
var DWELL_S = 5;
function awaitHuman(onHuman) {
  let seconds = 0;
  const stop = quiet((signal) => {
    clearInterval(timer);
    for (const type in SIGNALS) removeEventListener(type, onInput, true);
    onHuman(signal);
  });
  const onInput = (event) => {
    if (event.isTrusted) stop(SIGNALS[event.type]);
  };
  for (const type in SIGNALS) addEventListener(type, onInput, { capture: true, passive: true });
  const timer = setInterval(() => {
    if (document.visibilityState === "visible" && document.hasFocus() && ++seconds >= DWELL_S) stop("dwell");
  }, 1e3);
}

// src/identify.ts
function makeIdentifier(value, options) {
  const isNamed = (typeof value === "string" || typeof value === "number") && value !== "";
  if (!isNamed && !options.token) return void 0;
  return {
    // As text, whatever the page gave: one wrong type would cost the whole beacon.
    k: `${options.kind || "customer"}`,
    v: isNamed ? `${value}` : "",
    ...options.signature && { g: `${options.signature}` },
    ...options.token && { j: `${options.token}` }
  };
}

// src/ids.ts
function makeId(nowMs = Date.now()) {
  const time = nowMs.toString(16).padStart(12, "0");
  const random = "000-8000-000000000000".replace(
    /\d/g,
    (digit) => (+digit | crypto.getRandomValues(new Uint8Array(1))[0] & (+digit ? 3 : 15)).toString(16)
  );
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random}`;
}
function isId(text) {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text);
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
  if (navigation) return navigation.addEventListener("currententrychange", changed);
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
  keep(name, "");
  return Array.isArray(items) ? items.filter((item) => item?.event?.i && item.context) : [];
}
function putItems(name, items) {
  let all = takeItems(name).concat(items).slice(-MAX_ITEMS);
  let text = JSON.stringify(all);
  while (text.length > MAX_CHARS) {
    all = all.slice((all.length >> 1) + 1);
    text = JSON.stringify(all);
  }
  return !!items.length && keep(name, text);
}

// src/silence.ts
var OBJECTION = "_ts_out";
function createSilence(settings) {
  const name = `${settings.cookie}s`;
  let untilMs = 0;
  let isRead = false;
  return {
    holds(mayRead) {
      if (mayRead && !isRead) {
        isRead = true;
        untilMs || (untilMs = Number(recall(name)) || 0);
      }
      return untilMs > Date.now() || !!readCookie(OBJECTION);
    },
    fall(seconds, mayKeep) {
      untilMs = Date.now() + seconds * 1e3;
      if (mayKeep) keep(name, `${untilMs}`);
    },
    object(isObjecting) {
      if (isObjecting) writeCookie(OBJECTION, "1", settings.cookieDomain);
      else deleteCookie(OBJECTION, settings.cookieDomain);
      untilMs = 0;
      keep(name, "");
    }
  };
}

// src/wire.ts
var WIRE_VERSION = 1;

// src/envelope.ts
function encodeEnvelope(envelope) {
  return JSON.stringify(
    envelope,
    (_, value) => typeof value === "string" ? value.replace(/[\ud800-\udfff]/gu, "�") : value
  );
}
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
  let waiting = [];
  let timer;
  let notBeforeMs = 0;
  let flying;
  let isLeft = false;
  let failures = 0;
  let generation = 0;
  const encode = (items) => encodeEnvelope(buildEnvelope(options.site, items, options.facts()));
  const measure = (body) => new Blob([body]).size;
  const take = () => {
    const key = (item) => JSON.stringify(item?.context);
    const first = key(waiting[0]);
    let count = 1;
    while (count < MAX_EVENTS && count < waiting.length && key(waiting[count]) === first) count++;
    while (count > 1 && measure(encode(waiting.slice(0, count))) > MAX_BYTES) count >>= 1;
    return waiting.splice(0, count);
  };
  const plan = (delayMs) => {
    if (timer === void 0) timer = setTimeout(send, Math.max(delayMs, notBeforeMs - Date.now()));
  };
  const fail = (items, retryAfter) => {
    waiting = items.concat(waiting);
    failures++;
    if (failures >= MAX_FAILURES) return options.note(18 /* GaveUp */, waiting.length);
    notBeforeMs = Date.now() + (Number(retryAfter) * 1e3 || Date.parse(retryAfter || "") - Date.now() || 0);
    options.note(17 /* WillRetry */, [failures, retryAfter]);
    plan(Math.min(1e3 * 2 ** failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2));
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
    const sentIn = generation;
    const giveBack = (retryAfter) => {
      flying = void 0;
      fail(generation === sentIn ? items : [], retryAfter);
    };
    options.note(13 /* Sending */, body);
    post(options.endpoint, body).then(async (response) => {
      if (response.status === 429 || response.status >= 500) {
        return giveBack(response.headers.get("retry-after"));
      }
      failures = 0;
      if (response.status >= 400) {
        options.note(15 /* Refused */, [response.status, await response.text()]);
      } else {
        const refused = response.headers.get("x-tagstitch-rejected");
        if (refused) options.note(16 /* PartlyRefused */, refused);
        const { d, x } = response.status === 200 ? await response.json() : {};
        const date = Date.parse(response.headers.get("date") || "");
        options.onReply(items[0]?.context, {
          visitor: d,
          handover: x,
          offset: date ? date - Math.round((sentMs + Date.now()) / 2) : void 0,
          silence: Number(response.headers.get("x-tagstitch-stop"))
        });
      }
      flying = void 0;
      if (waiting.length) plan(0);
    }).catch(() => {
      if (flying) giveBack();
    });
  };
  const leave = () => {
    isLeft = true;
    const isOffline = navigator.onLine === false;
    if ((isOffline || failures) && options.save((flying || []).concat(waiting)) && isOffline) waiting = [];
    if (isOffline) return;
    while (waiting.length) {
      const items = take();
      while (!navigator.sendBeacon?.(options.endpoint, encode(items))) {
        const rest = items.splice(items.length >> 1);
        waiting = rest.concat(waiting);
        if (!items.length) return failures ? plan(0) : send();
      }
      options.note(14 /* SentOnLeaving */, items.length);
    }
  };
  const restore = () => {
    const here = waiting.concat(flying || []);
    const isHere = (item) => here.some((other) => other.event.i === item.event.i);
    waiting = options.restore().filter((item) => !isHere(item)).concat(waiting);
  };
  return {
    add(item) {
      waiting.push(item);
      if (waiting.length > MAX_WAITING) waiting.shift();
      if (isLeft) leave();
      else if (!failures) waiting.length >= MAX_EVENTS ? send() : plan(WINDOW_MS);
    },
    leave,
    resume() {
      isLeft = false;
      restore();
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
    clear() {
      waiting = [];
      generation++;
    }
  };
}
function post(endpoint, body) {
  return fetch(endpoint, {
    method: "POST",
    body,
    credentials: "include",
    keepalive: new Blob([body]).size <= MAX_BYTES
  });
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
  if (!isId(read.session)) read.session = "";
  if (!isId(read.resetFrom)) read.resetFrom = "";
  return isId(read.visitor) ? read : void 0;
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
  let memory;
  const idleMs = settings.sessionMinutes * 6e4;
  let written = "";
  const read = () => {
    written = readCookie(settings.cookie) || recall(settings.cookie);
    return decodeMemory(written);
  };
  const write = () => {
    if (!memory) return;
    written = encodeMemory(memory);
    writeCookie(settings.cookie, written, settings.cookieDomain);
    if (readCookie(settings.cookie) !== written) keep(settings.cookie, written);
  };
  const refresh = () => {
    memory = memory && read() || memory;
  };
  const current = () => {
    if (!memory) {
      memory = read();
      if (!memory) {
        memory = makeMemory();
        write();
      }
    }
    return memory;
  };
  return {
    memory: current,
    touch(nowMs, campaign) {
      if (nowMs - current().lastMs > idleMs) refresh();
      const { session } = current();
      touchSession(current(), nowMs, idleMs, campaign);
      if (current().session !== session) write();
    },
    save() {
      if (!memory || encodeMemory(memory) === written) return;
      const before = decodeMemory(written);
      const there = read();
      const isOlder = there && (there.visitor !== before?.visitor || there.startedMs > memory.startedMs);
      if (isOlder) memory = there;
      else write();
    },
    refresh,
    reset() {
      const { visitor, resetFrom } = current();
      memory = { ...makeMemory(), resetFrom: resetFrom || visitor };
      for (const kept of "tc") keep(settings.cookie + kept, "");
      write();
    },
    forget() {
      const wasKnown = !!memory;
      memory = void 0;
      deleteCookie(settings.cookie, settings.cookieDomain);
      for (const kept of ["", "t", "c", "q", "s"]) keep(settings.cookie + kept, "");
      return wasKnown;
    }
  };
}

// src/tag.ts
var MAX_DRAFTS = 500;
var CLOCK_TOLERANCE_MS = 3e4;
var SETTLE_MS = 100;
function createTag(settings, found, note) {
  const consent2 = createConsent(settings.consent);
  const visitor = createVisitor(settings);
  const silence = createSilence(settings);
  const pages = createPages();
  const listeners = [];
  let addOns = [];
  let drafts = [];
  let sequence = 0;
  let token = found[settings.link] || "";
  let arrival = found[settings.handover];
  const { touch, campaign } = readLanding(token);
  let arriving = campaign;
  let isSignalsAsked = false;
  let isResetDue = false;
  let isLeaving = false;
  let known;
  const hasViews = settings.page && settings.page !== "off";
  const isOn = (word) => settings.auto.includes(word);
  const mayStore = () => consent2.allows("s");
  const isCookieless = () => settings.consent === "cookieless" && !mayStore();
  const transport = createTransport({
    site: settings.site,
    endpoint: settings.endpoint,
    facts: () => mayStore() ? readBrowser() : {},
    note,
    save: (items) => mayStore() && putItems(`${settings.cookie}q`, items),
    restore: () => mayStore() ? takeItems(`${settings.cookie}q`) : [],
    onReply(context, reply) {
      if (reply.silence) {
        note(7 /* AskedToBeSilent */, reply.silence);
        silence.fall(reply.silence, mayStore());
        transport.clear();
      }
      if (!mayStore()) return;
      const memory = visitor.memory();
      if (context.rf === memory.resetFrom) memory.resetFrom = "";
      if (context.d === memory.visitor) {
        if (isId(reply.visitor)) {
          transport.rename(memory.visitor, reply.visitor);
          memory.visitor = reply.visitor;
          note(5 /* VisitorTaken */, reply.visitor);
        }
        if (reply.handover) handover.keep(reply.handover);
      }
      if (reply.offset !== void 0) {
        memory.offsetMs = Math.abs(reply.offset) > CLOCK_TOLERANCE_MS ? reply.offset : 0;
      }
      visitor.save();
    }
  });
  const admit = ({ event, extra }) => {
    let context = { c: consent2.letters() };
    if (mayStore()) {
      const { session } = visitor.memory();
      visitor.touch(event.t, arriving);
      arriving = "";
      const memory = visitor.memory();
      if (event.n === "page_view") {
        if (memory.session !== session) event.p = { ...keepTouch(`${settings.cookie}t`, touch, event.t), ...event.p };
        if (consent2.allows("i")) describeCustomer(event, extra, memory.session);
      }
      context = {
        d: memory.visitor,
        rf: memory.resetFrom || void 0,
        o: memory.offsetMs || void 0,
        ...context,
        x: { i: memory.session, n: memory.number, t: memory.startedMs }
      };
      learnTimeZone();
    }
    if (!consent2.allows("i")) extra.lt = extra.ho = void 0;
    transport.add({ event, context, extra });
  };
  const describeCustomer = (event, extra, session) => {
    if (settings.domains) extra.xl = 1;
    const claims = settings.capture ? capture(settings, found) : [];
    const mark = digest(session + JSON.stringify(claims));
    if (!claims[0] || recall(`${settings.cookie}c`) === mark) return;
    keep(`${settings.cookie}c`, mark);
    event.k = claims;
  };
  const release = () => {
    const isBare = isCookieless();
    if (!isBare && !mayStore()) return;
    if (silence.holds(!isBare)) {
      drafts = [];
      return note(6 /* Silent */);
    }
    addOns = addOns.filter(([addOn, purpose]) => {
      if (purpose && !consent2.allows(purpose)) return true;
      const load = async () => (typeof addOn === "string" ? (await import(addOn)).default : addOn)(commands);
      load().catch((error) => note(12 /* AddOnFailed */, error));
      return false;
    });
    const isReady = (draft) => consent2.allows("i") || !needsIdentity(draft);
    const ready = drafts.filter(isReady);
    drafts = drafts.filter((draft) => !isReady(draft));
    if (!isBare && isResetDue) visitor.reset();
    isResetDue = false;
    ready.forEach(admit);
    if (sequence && consent2.allows("f") && !isSignalsAsked && !visitor.memory().signalsSent) {
      isSignalsAsked = true;
      const isWanted = () => mayStore() && consent2.allows("f");
      loadModule("f", settings, isWanted, async (collect) => {
        const signals = await collect();
        if (!isWanted()) return;
        visitor.memory().signalsSent = 1;
        record("fingerprint", void 0, void 0, { f: signals });
      });
    }
  };
  const record = (name, props, identifiers, extra = {}) => {
    if (!consent2.isPending() && !mayStore() && !isCookieless()) return note(2 /* DroppedNoConsent */, name);
    let event = {
      i: makeId(),
      n: name,
      t: Date.now(),
      ...pages.current(isLeaving),
      p: copy(props),
      k: identifiers,
      q: sequence + 1
    };
    if (settings.beforeSend) event = settings.beforeSend(event);
    if (!event) return note(3 /* DroppedByHook */, name);
    if (!sequence++) {
      if (token) extra.lt = token;
      extra.ho = arrival;
      arrival = "";
    }
    drafts.push({ event, context: {}, extra });
    if (drafts.length > MAX_DRAFTS) drafts.shift();
    note(mayStore() || isCookieless() ? 0 /* Queued */ : 1 /* Held */, event);
    for (const listener of listeners) quiet(listener)(event);
    release();
  };
  const track2 = (name, props) => {
    if (name) record(`${name}`, props);
  };
  const handover = createHandover(settings, () => {
    record("handover", void 0, void 0, { xl: 1 });
    transport.resume();
  });
  const readPath = () => location.pathname + location.search + (isOn("hash") ? location.hash : "");
  let path = readPath();
  let isCounted = false;
  let settling;
  const view = (props) => {
    clearTimeout(settling);
    settling = void 0;
    path = readPath();
    pages.turn();
    record("page_view", props);
  };
  const count = () => {
    isCounted = true;
    view();
  };
  const leavePage = () => {
    isLeaving = true;
    isLeaving = false;
  };
  const withdraw = () => {
    drafts = [];
    isResetDue = false;
    transport.clear();
    if (!visitor.forget()) return;
    const event = { i: makeId(), n: "consent", t: Date.now(), q: ++sequence };
    transport.add({ event, context: { c: "" }, extra: {} });
  };
  const commands = {
    begin() {
      watchLifecycle({
        onHide() {
          leavePage();
          if (mayStore()) visitor.save();
          transport.leave();
        },
        onShow(isRestored) {
          if (mayStore()) visitor.refresh();
          transport.resume();
          if (isRestored && hasViews) count();
        }
      });
      if (token) {
        awaitHuman((hs) => {
          if (token) record("link_confirm", void 0, void 0, { lt: token, hs });
        });
      }
      if (isOn("spa")) {
        watchRoutes(() => {
          if (readPath() === path) return;
          path = readPath();
          leavePage();
          clearTimeout(settling);
          settling = setTimeout(quiet(count), SETTLE_MS);
        });
      }
      if (hasViews) count();
    },
    page(props) {
      const isDouble = isCounted && !props && !settling && readPath() === path;
      isCounted = false;
      if (isDouble) note(8 /* DoubleView */);
      else view(props);
    },
    track: track2,
    identify(value, options = {}) {
      const identifier = makeIdentifier(value, options);
      if (!identifier) return note(9 /* NoValue */);
      known = identifier;
      record("identify", options.traits, [identifier]);
    },
    alias(value, options = {}) {
      const identifier = makeIdentifier(value, options);
      if (identifier) record("alias", options.traits, known ? [known, identifier] : [identifier]);
      else note(9 /* NoValue */);
    },
    group(value, options = {}) {
      record("group", { group_kind: options.kind || "company", group_id: `${value}`, traits: options.traits });
    },
    reset() {
      token = "";
      known = void 0;
      drafts = drafts.filter((draft) => !needsIdentity(draft));
      isResetDue = true;
      record("reset");
    },
    consent(answer) {
      consent2.answer(answer);
      note(4 /* Consent */, consent2.letters());
      if (!mayStore()) withdraw();
      release();
    },
    optOut() {
      withdraw();
      silence.object(true);
    },
    optIn() {
      silence.object(false);
    },
    link(url, use2) {
      use2(handover.decorate(url));
    },
    on(_what, listener) {
      listeners.push(listener);
    },
    use(addOn, options = {}) {
      addOns.push([addOn, (options.purpose || "")[0]]);
      release();
    }
  };
  return commands;
}
function copy(props) {
  if (props === void 0 || props === null) return void 0;
  if (typeof props !== "object" || Array.isArray(props)) throw new TypeError("properties must be an object");
  return JSON.parse(JSON.stringify(props));
}
function needsIdentity(draft) {
  return !!draft.event.k || !!draft.extra.hs;
}

// src/boot.ts
function boot(script, name) {
  const scope = window;
  const snippet = scope[name];
  if (snippet?.isTagstitch) return;
  const calls2 = Array.from(snippet?.q || []);
  const read = () => readSettings(script, findInit(calls2));
  const found = takeParameters(read(), snippet?.u);
  let isBegun = false;
  const begin = () => {
    const settings = read();
    if (isBegun || !settings.site) return;
    isBegun = true;
    whenActivated(() => {
      const note = settings.debug !== "off" && settings.debug !== false ? explain(settings) : () => {
      };
      scope[name] = takeOver(calls2, createTag(settings, found, note), note);
    });
  };
  const keep2 = (...call2) => {
    calls2.push(call2);
    if (call2[0] === "init") quiet(begin)();
  };
  keep2.isTagstitch = true;
  scope[name] = keep2;
  begin();
}
function explain(settings) {
  const feed = { notes: [], isPanelWanted: settings.debug === "overlay" };
  loadModule(
    "o",
    settings,
    () => true,
    (show) => show(feed)
  );
  return (said, detail) => {
    const note = { atMs: Date.now(), said, detail };
    feed.notes.push(note);
    feed.onNote?.(note);
  };
}

// src/package.ts
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
var use = command("use");
export {
  alias,
  consent,
  group,
  identify,
  link,
  on,
  optIn,
  optOut,
  page,
  reset,
  start,
  tagstitch,
  track,
  use
};
