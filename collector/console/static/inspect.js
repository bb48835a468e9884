// The dry run's page: listens to the stream, lists the beacons, and shows one of them whole. Every text of the stream is
// set as text, never as markup.
"use strict";

(() => {
  const MOST = 500; // records kept on the page
  const NOBODY = "00000000-0000-0000-0000-000000000000";
  const SVG = "http://www.w3.org/2000/svg";
  const DRAWINGS = { stored: "M5 12.5l4.5 4.5L19 7.5", partly: "M12 6v7.5M12 17.6v.4", refused: "M7 7l10 10M17 7 7 17" };
  const WORDS = { stored: "Would be stored", partly: "Would be stored in part", refused: "Would be refused" };

  const byId = (id) => document.getElementById(id);
  const list = byId("list");
  const outcome = byId("outcome");
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const numbers = new Intl.NumberFormat("en");

  let records = []; // newest first
  let chosen = 0; // number of the record that is shown
  let isFollowing = true; // the newest one is chosen, until somebody chooses another
  let paused = null; // while paused: messages that came meanwhile

  // --- small makers ---

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function makeMark(kind) {
    const mark = make("span", "mark");
    mark.dataset.kind = kind;
    mark.setAttribute("aria-hidden", "true");
    const drawing = document.createElementNS(SVG, "svg");
    drawing.setAttribute("viewBox", "0 0 24 24");
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", DRAWINGS[kind]);
    drawing.append(path);
    mark.append(drawing);
    return mark;
  }

  function makeTime(time_ms) {
    const time = make("time", "", clock.format(time_ms));
    time.dateTime = new Date(time_ms).toISOString();
    time.title = time.dateTime;
    return time;
  }

  const judge = (record) => (!record.accepted ? "refused" : record.rejected.length ? "partly" : "stored");
  const plural = (count, one, many) => `${numbers.format(count)} ${count === 1 ? one : many}`;

  function readPath(address) {
    try {
      const url = new URL(address);
      return url.pathname + url.search;
    } catch {
      return address;
    }
  }

  function nameEvents(record) {
    if (!record.row) return record.rejected.map((finding) => finding.reason).join(", ");
    const names = record.row.events.map((event) => event.name);
    return names.length ? names.join(", ") : "no event is left";
  }

  // --- the list ---

  function fits(record) {
    const which = new FormData(byId("filters")).get("which");
    if (which === "good" && !(record.row && record.row.events.length)) return false;
    if (which === "bad" && !record.rejected.length) return false;
    const site = byId("site").value;
    if (site && record.site_id !== site) return false;
    if (byId("mine").checked && !record.mine) return false;
    const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return true;
    record.text ??= JSON.stringify([record.row, record.rejected, record.removed, record.notes, record.evidence]).toLowerCase();
    return words.every((word) => record.text.includes(word));
  }

  function makeItem(record) {
    const kind = judge(record);
    const item = make("li");
    item.id = `beacon-${record.number}`;
    item.setAttribute("role", "option");
    item.dataset.number = record.number;
    const events = record.row ? record.row.events : [];
    const where = make("span", "where", events.length ? readPath(events[0].url) || "no page" : record.site_id || "no site");
    const counts = [];
    if (record.rejected.length) counts.push(plural(record.rejected.length, "refusal", "refusals"));
    if (record.removed.length) counts.push(`${record.removed.length} taken out`);
    item.append(
      makeMark(kind),
      make("b", "", nameEvents(record)),
      makeTime(record.received_at_ms),
      where,
      make("span", "side", counts.join(" · ")),
    );
    item.title = WORDS[kind];
    return item;
  }

  function draw() {
    const shown = records.filter(fits);
    if (isFollowing || !records.some((record) => record.number === chosen)) chosen = shown[0]?.number ?? 0;
    else if (!shown.some((record) => record.number === chosen)) chosen = shown[0]?.number ?? 0;
    list.replaceChildren(...shown.map((record) => (record.item ??= makeItem(record))));
    for (const item of list.children) item.setAttribute("aria-selected", String(Number(item.dataset.number) === chosen));
    if (chosen) list.setAttribute("aria-activedescendant", `beacon-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
    byId("nothing").hidden = shown.length > 0 || records.length === 0;
    list.parentElement.hidden = records.length === 0;
    byId("start").hidden = records.length > 0;
    byId("start").parentElement.classList.toggle("split", records.length > 0);
    const record = shown.find((one) => one.number === chosen);
    outcome.hidden = !record;
    if (record && outcome.dataset.number !== String(record.number)) show(record);
  }

  function choose(number) {
    chosen = number;
    isFollowing = false;
    draw();
    byId(`beacon-${number}`)?.scrollIntoView({ block: "nearest" });
  }

  // --- the chosen one ---

  function makeFacts(pairs) {
    const facts = make("dl", "facts");
    for (const [name, value] of pairs) {
      if (value === "" || value === undefined || value === null || value === NOBODY) continue;
      const pair = make("div");
      const isPlain = typeof value === "string" && !/^[\[{]|[0-9a-f]{8}-/.test(value);
      const shown = make("dd");
      shown.append(isPlain ? value : make("code", "", typeof value === "string" ? value : JSON.stringify(value)));
      pair.append(make("dt", "", name), shown);
      facts.append(pair);
    }
    return facts;
  }

  function makeSection(title, note, ...content) {
    const section = make("section");
    const heading = make("h3", "", title);
    if (note) heading.append(" ", make("small", "", note));
    section.append(heading, ...content);
    return section;
  }

  function makeFinding(finding) {
    const item = make("li");
    item.append(make("span", "reason", finding.reason));
    if (finding.field) item.append(make("code", "chip", finding.field), " ");
    if (finding.event) item.append(make("span", "dim", `event ${finding.event}`));
    else if (finding.step) item.append(make("span", "dim", `in step ${finding.step}`));
    item.append(make("p", "", finding.message), make("p", "fix", finding.fix));
    return item;
  }

  function makeEvent(event, isOpen) {
    const card = make("details", "event-card");
    card.open = isOpen;
    const summary = make("summary");
    summary.append(make("b", "", event.name), make("span", "where", readPath(event.url)), makeTime(event.time_ms));
    const props = Object.entries(event.props).map(([name, value]) => [name, value]);
    card.append(
      summary,
      makeFacts([
        ["page", event.url],
        ["title", event.title],
        ["referrer", event.referrer],
        ...props,
        ["assurance", event.assurance ? String(event.assurance) : ""],
        ["customer", event.customer_key],
        ["event id", event.event_id],
      ]),
    );
    return card;
  }

  function describeEvidence(evidence) {
    return `${evidence.kind}: ${evidence.b_kind} ${evidence.b_value}, level ${evidence.level}, said by ${evidence.source}, visitor known by ${evidence.proof}`;
  }

  function makeList(texts) {
    const items = make("ul", "plain");
    items.append(...texts.map((text) => make("li", "", text)));
    return items;
  }

  function show(record) {
    const kind = judge(record);
    outcome.dataset.number = record.number;
    const header = make("header");
    const row = record.row;
    const parts = [`Beacon ${record.number}`, `the collector would answer ${record.status}`];
    if (record.site_id) parts.push(`site ${record.site_id}`);
    if (record.mine) parts.push("from this browser");
    header.append(makeMark(kind), make("h2", "", WORDS[kind]), makeTime(record.received_at_ms), make("p", "", parts.join(" · ")));
    outcome.replaceChildren(header);

    if (record.rejected.length) {
      const findings = make("ul", "findings");
      findings.append(...record.rejected.map(makeFinding));
      outcome.append(makeSection("What is wrong", "", findings));
    }
    if (row && row.events.length) {
      const cards = make("div", "findings");
      cards.append(...row.events.map((event, index) => makeEvent(event, index === 0)));
      outcome.append(makeSection("What would be stored", plural(row.events.length, "event", "events"), cards));
    }
    if (record.removed.length) {
      const items = make("ul", "plain");
      for (const { field, what } of record.removed) {
        const item = make("li");
        item.append(make("code", "chip", field), ` ${what}`);
        items.append(item);
      }
      outcome.append(makeSection("What was taken out", "before anything is written", items));
    }
    if (record.notes.length) outcome.append(makeSection("Good to know", "", makeList(record.notes)));
    if (row) {
      const two = make("div", "two");
      two.append(
        makeSection(
          "Who",
          "",
          makeFacts([
            ["visitor", row.visitor_id],
            ["proof", row.visitor_proof],
            ["session", row.session_id],
            ["session number", row.session_number || ""],
            ["consent", row.consent.replaceAll(",", ", ") || "none"],
            ["tagged link", row.link_status],
            ["fingerprint", row.fingerprint],
          ]),
        ),
        makeSection(
          "From where",
          "",
          makeFacts([
            ["browser", `${row.browser} ${row.browser_version}`.trim()],
            ["system", `${row.os} ${row.os_version}`.trim()],
            ["device", row.device],
            ["country", row.country],
            ["network", row.network],
            ["language", row.language],
            ["time zone", row.time_zone],
            ["window", row.viewport],
            ["robot", row.bot_reason],
          ]),
        ),
      );
      outcome.append(two);
      if (record.evidence.length) {
        outcome.append(makeSection("Evidence", "who this may be", makeList(record.evidence.map(describeEvidence))));
      }
      const raw = make("details", "raw");
      raw.append(make("summary", "", "The row, as it would be written"));
      raw.append(make("pre", "json", JSON.stringify({ ...row, evidence: record.evidence }, null, 2)));
      outcome.append(raw);
    }
  }

  // --- the stream ---

  function setState(state, text) {
    byId("state").dataset.state = state;
    byId("state").lastElementChild.textContent = text;
  }

  function setBanner(text) {
    byId("banner").hidden = !text;
    byId("banner").textContent = text;
  }

  function take(message) {
    if (message.reset) {
      records = [];
      chosen = 0;
      isFollowing = true;
      delete outcome.dataset.number;
    }
    const known = new Set(records.map((record) => record.number));
    const fresh = message.records.filter((record) => !known.has(record.number)).reverse();
    records = [...fresh, ...records].slice(0, MOST);
    for (const name of ["beacons", "good", "bad"]) byId(`count-${name}`).textContent = numbers.format(message.counts[name]);
    byId("count-removed").textContent = numbers.format(records.reduce((sum, record) => sum + record.removed.length, 0));
    draw();
  }

  function connect() {
    const source = new EventSource(document.body.dataset.stream);
    source.onmessage = (event) => {
      setBanner("");
      const message = JSON.parse(event.data);
      if (paused) {
        paused.push(message);
        return;
      }
      setState("live", "Listening");
      take(message);
    };
    source.onerror = () => {
      setState("connecting", "Reconnecting");
      setBanner("The collector does not answer. Trying again.");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000); // refused: the browser would not try again
    };
  }

  // --- what people do ---

  list.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) choose(Number(item.dataset.number));
  });
  list.addEventListener("keydown", (event) => {
    const items = [...list.children];
    if (!items.length) return;
    const at = items.findIndex((item) => Number(item.dataset.number) === chosen);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1, PageDown: at + 8, PageUp: at - 8 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = Math.min(items.length - 1, Math.max(0, moves[event.key]));
    choose(Number(items[next].dataset.number));
  });
  document.addEventListener("keydown", (event) => {
    const isWriting = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !isWriting) {
      event.preventDefault();
      byId("find").focus();
    } else if (event.key === "Escape" && document.activeElement === byId("find")) {
      byId("find").value = "";
      draw();
      list.focus();
    }
  });
  byId("filters").addEventListener("input", draw);
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    list.focus();
  });
  byId("pause").addEventListener("click", (event) => {
    const button = event.currentTarget;
    if (paused) {
      const messages = paused;
      paused = null;
      setState("live", "Listening");
      messages.forEach(take);
    } else {
      paused = [];
      setState("paused", "Paused");
    }
    button.setAttribute("aria-pressed", String(Boolean(paused)));
    button.textContent = paused ? "Go on" : "Pause";
  });
  byId("clear").addEventListener("click", () => fetch(document.body.dataset.reset, { method: "POST" }));
  document.addEventListener("click", async (event) => {
    const name = event.target.dataset?.copy;
    if (!name) return;
    await navigator.clipboard?.writeText(byId(name).textContent);
    event.target.textContent = "Copied";
  });

  byId("try").addEventListener("toggle", () => {
    if (byId("body").value) return;
    const now = Date.now();
    const site = byId("site").value || byId("site").options[1]?.textContent || "shop";
    const event = { i: crypto.randomUUID?.() ?? "", n: "page_view", t: now, p: { price: 49.9, contact: "ada@mail.example" } };
    const page = `${byId("origin").value || location.origin}/shoes?utm_source=letter&session=1#top`;
    byId("body").value = JSON.stringify({ v: 1, s: site, st: now, c: "ai", u: page, e: [event] }, null, 2);
  });
  byId("try-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    isFollowing = true;
    const answer = await fetch(document.body.dataset.post, {
      method: "POST",
      body: byId("body").value,
      headers: { "Content-Type": "text/plain", "X-Tagstitch-As-Origin": byId("origin").value },
    });
    byId("try-note").textContent = answer.ok ? "Judged: it stands above." : "The collector cannot judge it now.";
    if (answer.ok) outcome.scrollIntoView({ block: "nearest" });
  });

  connect();
})();
