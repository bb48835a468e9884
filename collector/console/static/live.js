// The live page: listens to the stream and keeps the table as the stream says. Every text of the stream is set as text,
// never as markup. A row is made once and changed in place, so that it can be seen to change hands.
"use strict";

(() => {
  const LANES = 6; // threads side by side; whoever comes later shares the last one
  const HUES = 10; // colours of people, see live.css
  const HOUSE = ["4711", "4712", "4713", "4714"]; // the demo's customers keep the colours of their faces in the shop
  const NOBODY = "00000000-0000-0000-0000-000000000000";
  const SVG = "http://www.w3.org/2000/svg";
  const ICONS = {
    page_view: "M4 5.5h16v13H4zM4 9.5h16",
    view_item: "M2.5 12S6 6 12 6s9.5 6 9.5 6-3.5 6-9.5 6-9.5-6-9.5-6zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
    view_item_list: "M4 6h7v5H4zM13 6h7v5h-7zM4 13h7v5H4zM13 13h7v5h-7z",
    search: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5l5 5",
    add_to_cart: "M5 9h14l-1.5 10h-11zM8.5 9 12 3.5 15.5 9",
    remove_from_cart: "M5 9h14l-1.5 10h-11zM9 14h6",
    begin_checkout: "M3.5 6.5h17v11h-17zM3.5 10h17",
    purchase: "m5 12.5 4.5 4.5L19 7",
    sign_up_newsletter: "M3.5 6h17v12.5h-17zM3.5 7l8.5 6.5L20.5 7",
    identify: "M15 4.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM11.5 12 4 19.5M6.5 17l2.5 2.5",
    link_confirm: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
    mail_open: "M3.5 9.5v9h17v-9L12 4zM3.5 9.5 12 15l8.5-5.5",
    unsubscribe: "M3.5 6h17v12.5h-17zM9 9.5l6 6M15 9.5l-6 6",
    fingerprint: "M7 18c1-3 1-4 1-6a4 4 0 0 1 8 0c0 3 0 5-1 8M12 12c0 4 0 6-1.5 9M4.5 15c.5-2 .5-2 .5-3a7 7 0 0 1 14 0v3",
    reset: "M19 12a7 7 0 1 1-2-5M19 3.5V8h-4.5",
    consent: "M12 3.5 5 6v6c0 4 3 7 7 8.5 4-1.5 7-4.5 7-8.5V6z",
    link_click: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
    offer_shown: "M4.5 10.5h15v9h-15zM3.5 7h17v3.5h-17zM12 7v12.5M12 7c-1.5-3.5-5-3.5-5-1.5C7 7 9.5 7 12 7c2.5 0 5 0 5-1.5 0-2-3.5-2-5 1.5",
    offer_clicked: "m6 4 13 7.5-6 1.5-3 5.5z",
    offer_held_out: "M12 4.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM7 17 17 7",
    other: "M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
    lock: "M6.5 11h11v8.5h-11zM9 11V8a3 3 0 0 1 6 0v3",
    code: "m8.5 8-4 4 4 4M15.5 8l4 4-4 4",
    server: "M4.5 5h15v6h-15zM4.5 13h15v6h-15zM8 8h.5M8 16h.5",
    none: "M7 12h10",
  };
  const PROOFS = { cookie: "lock", script: "code", server: "server", cookieless: "none", none: "none" };
  const PROOF_LINES = {
    cookie: "The visitor id came back in a cookie that the collector signed",
    script: "The visitor id was given by the script alone",
    server: "The site's server named the visitor",
    cookieless: "The collector knows this visitor for one day only, without anything on the device",
    none: "There is no visitor",
  };

  const byId = (id) => document.getElementById(id);
  const body = byId("rows");
  const levels = [...document.querySelectorAll(".levels [data-level][data-name]")].map((item) => ({
    name: item.dataset.name,
    line: item.title,
  }));
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const numbers = new Intl.NumberFormat("en");

  /** What is on the page, by event id: { row, parts, was } */
  const shown = new Map();
  const hues = new Map(); // person → colour
  const lanes = new Map(); // person → thread
  let order = [];
  let isFirst = true;
  let paused = null; // while paused: what came meanwhile

  // --- small makers ---

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function drawIcon(name) {
    const icon = document.createElementNS(SVG, "svg");
    icon.setAttribute("viewBox", "0 0 24 24");
    icon.setAttribute("class", "icon");
    icon.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", Object.hasOwn(ICONS, name) ? ICONS[name] : ICONS.other);
    icon.append(path);
    return icon;
  }

  /** The last digits: ids made by time begin alike. */
  const shorten = (id) => id.slice(-4);

  /** What the collector notes of a tagged link by itself belongs to no person: a click alone is nobody. */
  const hasPerson = (row) => row.person_id !== NOBODY;

  function describePerson(row) {
    if (!hasPerson(row)) return { name: row.link_class || "nobody", detail: "no visitor", initials: "" };
    if (!row.customer_id) return { name: "anonymous", detail: shorten(row.person_id), initials: "" };
    const name = row.customer_name || `Customer ${row.customer_id}`;
    const initials = row.customer_name ? name.replace(/(\p{L})\S*\s*/gu, "$1").slice(0, 2) : "#";
    return { name, detail: `#${row.customer_id}`, initials };
  }

  /** A number from 0 up to `below`, the same for the same text. */
  function hash(text, below) {
    let value = 2166136261;
    for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619) >>> 0;
    return value % below;
  }

  // --- colours and threads of people ---

  function assignPeople() {
    const present = new Map();
    for (const id of [...order].reverse()) {
      const { row } = shown.get(id);
      if (hasPerson(row)) present.set(row.person_id, row);
    }
    for (const map of [hues, lanes]) {
      for (const person of map.keys()) if (!present.has(person)) map.delete(person);
    }
    for (const [person, row] of present) {
      const house = HOUSE.indexOf(row.customer_id);
      if (house >= 0) hues.set(person, house);
      else if (!hues.has(person)) {
        const taken = new Set(hues.values());
        let hue = HOUSE.length + hash(person, HUES - HOUSE.length);
        for (let tries = 0; taken.has(hue) && tries < HUES; tries++) {
          hue = HOUSE.length + ((hue - HOUSE.length + 1) % (HUES - HOUSE.length));
        }
        hues.set(person, hue);
      }
      if (!lanes.has(person)) lanes.set(person, lanes.size ? Math.max(...lanes.values()) + 1 : 0);
    }
    // Customers left, and threads close up where one has ended; whoever is beyond the last one shares it.
    const isKnown = (person) => Boolean(present.get(person).customer_id);
    [...lanes]
      .sort(([a, laneA], [b, laneB]) => isKnown(b) - isKnown(a) || laneA - laneB)
      .forEach(([person], index) => lanes.set(person, index));
    return present;
  }

  const findLane = (person) => Math.min(lanes.get(person), LANES - 1);

  function drawThreads() {
    const spans = new Map();
    order.forEach((id, index) => {
      const { row } = shown.get(id);
      if (!hasPerson(row)) return;
      const span = spans.get(row.person_id);
      if (span) span.last = index;
      else spans.set(row.person_id, { first: index, last: index, isKnown: Boolean(row.customer_id) });
    });
    order.forEach((id, index) => {
      const { row, parts } = shown.get(id);
      const pieces = [];
      for (const [person, span] of spans) {
        if (index < span.first || index > span.last || span.first === span.last) continue;
        const piece = make("i", `piece hue-${hues.get(person)}`);
        if (!span.isKnown) piece.classList.add("loose");
        if (index === span.first) piece.classList.add("starts");
        if (index === span.last) piece.classList.add("ends");
        piece.style.setProperty("--lane", findLane(person));
        pieces.push(piece);
      }
      parts.lanes.replaceChildren(...pieces);
      if (!hasPerson(row)) return;
      parts.lanes.append(parts.dot);
      parts.dot.style.setProperty("--lane", findLane(row.person_id));
    });
    document.documentElement.style.setProperty("--lanes", Math.min(LANES, Math.max(1, lanes.size)));
  }

  function listPeople(present) {
    const counts = new Map();
    for (const id of order) {
      const person = shown.get(id).row.person_id;
      counts.set(person, (counts.get(person) || 0) + 1);
    }
    const known = (row) => (row.customer_id ? 0 : 1);
    const people = [...present.values()].sort(
      (a, b) => known(a) - known(b) || counts.get(b.person_id) - counts.get(a.person_id),
    );
    const items = people.slice(0, 8).map((row) => {
      const item = make("li");
      const badge = make("span");
      fillBadge(badge, row);
      item.append(badge, make("small", "", `${counts.get(row.person_id)}`));
      item.lastChild.title = "Events in view";
      return item;
    });
    if (people.length > 8) items.push(make("li", "more", `and ${people.length - 8} more`));
    byId("people").replaceChildren(...items);
  }

  function fillBadge(badge, row) {
    const { name, detail, initials } = describePerson(row);
    badge.className = `badge hue-${hues.get(row.person_id) ?? "none"}`;
    badge.classList.toggle("hollow", !row.customer_id);
    badge.classList.toggle("ringed", Boolean(row.customer_id && row.provisional));
    const face = make("i", "face", initials);
    face.setAttribute("aria-hidden", "true");
    const text = make("span", "who");
    text.append(make("b", "", name), " ", make("span", "detail", detail));
    badge.replaceChildren(face, text);
  }

  // --- rows ---

  function makeParts(row) {
    const tr = make("tr");
    const cell = (className) => {
      const td = make("td", className);
      tr.append(td);
      return td;
    };
    const parts = {
      tr,
      lanes: cell("lanes"),
      dot: make("i", "dot"),
      time: cell("time"),
      event: cell("event"),
      page: cell("page"),
      came: cell("came"),
      visitor: cell("visitor"),
      owner: cell("owner"),
      level: cell("level"),
      proof: cell("proof"),
      badge: make("span", "badge"),
      note: make("small", "note"),
    };
    const time = make("time", "", clock.format(row.time_ms));
    time.dateTime = new Date(row.time_ms).toISOString();
    time.title = time.dateTime;
    parts.time.append(time);

    const name = make("span", "event-name", row.event_name);
    parts.event.append(drawIcon(row.event_name), name);
    const facts = readFacts(row);
    if (facts) parts.event.append(make("small", "", facts));

    const path = make("span", "path", row.path || "–");
    path.title = row.title ? `${row.title} (${row.path})` : row.path;
    parts.page.append(path);

    if (row.channel) parts.came.append(make("span", `channel channel-${row.channel.replace(/[^a-z]/g, "")}`, row.channel));
    if (row.campaign) parts.came.append(make("small", "", row.campaign));

    const visitor = make("code", "", row.visitor_id === NOBODY ? "–" : shorten(row.visitor_id));
    visitor.title = row.visitor_id === NOBODY ? "No visitor" : `Visitor ${row.visitor_id}`;
    parts.visitor.append(visitor);
    parts.owner.append(parts.badge, parts.note);
    return parts;
  }

  /** A word or two about what the event is about. */
  function readFacts(row) {
    let props;
    try {
      props = JSON.parse(row.props);
    } catch {
      return ""; // cut off
    }
    // A click is unconfirmed always: what is worth a word is a link that was expired, revoked, not filled ...
    const status = row.link_status === "unconfirmed" ? "" : row.link_status;
    const texts = hasPerson(row) ? [] : [row.link_name, status].filter(Boolean);
    if (props.offer) texts.push(props.offer);
    else if (props.order) texts.push(props.order);
    else if (props.sku) texts.push(props.sku);
    else if (props.term) texts.push(`“${props.term}”`);
    else if (props.list) texts.push(props.list);
    if (props.value !== undefined) texts.push(`${Number(props.value).toFixed(2)} ${props.currency || ""}`.trim());
    return texts.map(String).join(" · ");
  }

  function fillRow(entry) {
    const { row, parts, was } = entry;
    fillBadge(parts.badge, row);
    parts.dot.className = `dot hue-${hues.get(row.person_id) ?? "none"}`;
    parts.dot.classList.toggle("hollow", !row.customer_id);
    parts.dot.classList.toggle("ringed", Boolean(row.customer_id && row.provisional));
    parts.tr.className = `hue-${hues.get(row.person_id) ?? "none"}`;
    parts.tr.classList.toggle("bot", Boolean(row.is_bot));
    const notes = [];
    if (row.customer_id && row.provisional) notes.push("provisional");
    if (was) notes.push(`was ${was}`);
    else if (row.customer_id && !row.customer_id_then) notes.push("was anonymous");
    else if (row.customer_id_then && row.customer_id_then !== row.customer_id) notes.push(`was #${row.customer_id_then}`);
    if (row.is_bot && hasPerson(row)) notes.push("automated");
    parts.note.textContent = notes.join(" · ");

    const level = levels[row.assurance] || levels[0];
    const meter = make("span", "meter");
    meter.dataset.level = row.assurance;
    meter.setAttribute("aria-hidden", "true");
    meter.append(make("i"), make("i"), make("i"), make("i"));
    parts.level.replaceChildren(meter, make("span", "", `${row.assurance} ${level.name}`));
    parts.level.title = level.line;

    const proof = Object.hasOwn(PROOFS, row.visitor_proof) ? row.visitor_proof : "none";
    parts.proof.replaceChildren(drawIcon(PROOFS[proof]), make("span", "", row.visitor_proof));
    parts.proof.title = PROOF_LINES[proof];
  }

  function play(element, name) {
    element.classList.remove(name);
    void element.offsetWidth; // begins the animation again where it runs already
    element.classList.add(name);
    element.addEventListener("animationend", () => element.classList.remove(name), { once: true });
  }

  function update(message) {
    const moved = new Map(); // "from → to" → how many
    const fresh = [];
    for (const row of message.rows) {
      const entry = shown.get(row.event_id);
      if (!entry) {
        shown.set(row.event_id, { row, parts: makeParts(row), was: "" });
        fresh.push(row.event_id);
        continue;
      }
      const before = entry.row;
      entry.row = row;
      if (before.person_id === row.person_id && before.customer_id === row.customer_id) continue;
      const from = describePerson(before);
      entry.was = `${from.name} ${from.detail}`;
      entry.hasMoved = true;
      const to = describePerson(row);
      const key = JSON.stringify([entry.was, `${to.name} ${to.detail}`]);
      moved.set(key, (moved.get(key) || 0) + 1);
    }
    order = message.order.filter((id) => shown.has(id));
    const kept = new Set(order);
    for (const [id, entry] of shown) {
      if (kept.has(id)) continue;
      entry.parts.tr.remove();
      shown.delete(id);
    }

    const present = assignPeople();
    order.forEach((id, index) => {
      const entry = shown.get(id);
      fillRow(entry);
      if (body.children[index] !== entry.parts.tr) body.insertBefore(entry.parts.tr, body.children[index] || null);
    });
    drawThreads();
    listPeople(present);

    const arrived = new Set(fresh);
    for (const id of order) {
      const entry = shown.get(id);
      if (arrived.has(id) && !isFirst) play(entry.parts.tr, "arrives");
      if (entry.hasMoved) play(entry.parts.tr, "changes-hands");
      entry.hasMoved = false;
    }
    tell(moved);
    byId("events").hidden = order.length === 0;
    byId("empty").hidden = order.length > 0 || message.store === "away";
    isFirst = false;
  }

  function tell(moved) {
    if (!moved.size) return;
    const sentences = [...moved].map(([key, count]) => {
      const [from, to] = JSON.parse(key);
      return `${to} took over ${count} ${count === 1 ? "event" : "events"} of ${from}.`;
    });
    const story = byId("story");
    story.replaceChildren(drawIcon("link_confirm"), make("span", "", sentences.join(" ")));
    play(story, "arrives");
  }

  function showFigures(message) {
    for (const name of ["events", "visitors", "persons", "customers"]) {
      const figure = byId(`count-${name}`);
      const text = numbers.format(message.counts[name]);
      if (figure.textContent !== text) {
        figure.textContent = text;
        if (!isFirst) play(figure, "ticks");
      }
    }
    byId("lag").textContent = message.lag_ms < 0 ? "–" : message.lag_ms < 1000 ? `${message.lag_ms} ms` : `${(message.lag_ms / 1000).toFixed(1)} s`;
  }

  // --- state of the stream ---

  function setState(state, text) {
    const element = byId("state");
    element.dataset.state = state;
    element.lastElementChild.textContent = text;
  }

  function setBanner(text) {
    const banner = byId("banner");
    banner.textContent = text;
    banner.hidden = !text;
  }

  function receive(message) {
    if (message.store === "waiting") return; // the store has not been asked yet: what is shown stands
    if (message.store === "away") {
      setState("away", "Store away");
      setBanner("The store does not answer. Beacons are still taken in and kept on disk; this page goes on by itself when it is back.");
    } else {
      setState(paused ? "paused" : "live", paused ? "Paused" : "Live");
      setBanner("");
    }
    showFigures(message);
    update(message);
    document.dispatchEvent(new CustomEvent("live-message", { detail: message })); // see live_why.js
  }

  let source;
  function connect() {
    source = new EventSource(document.body.dataset.stream);
    // A stream begins with everything: what another one had said before does not matter.
    source.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (paused) {
        paused.rows = [...message.rows, ...paused.rows.filter((old) => !message.rows.some((row) => row.event_id === old.event_id))];
        paused.last = message;
      } else receive(message);
    };
    source.onerror = () => {
      setState("connecting", "Reconnecting");
      setBanner("The collector does not answer. Trying again.");
      if (source.readyState === EventSource.CLOSED) {
        // Refused: the browser would not try again by itself.
        setTimeout(connect, 3000);
      }
    };
  }

  byId("pause").addEventListener("click", (event) => {
    const button = event.currentTarget;
    if (paused) {
      const { last, rows } = paused;
      paused = null;
      if (last) receive({ ...last, rows: rows.filter((row) => last.order.includes(row.event_id)) });
      else setState("live", "Live");
    } else {
      paused = { rows: [], last: null };
      setState("paused", "Paused");
    }
    button.setAttribute("aria-pressed", String(Boolean(paused)));
    button.textContent = paused ? "Go on" : "Pause";
  });

  connect();
})();
