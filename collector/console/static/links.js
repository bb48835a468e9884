// The links page: reads the head of a list here in the browser, sends the list piece by piece and keeps what comes back,
// and draws the results. Every text is set as text, never as markup.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const PATH = "/links";
  const banner = byId("banner");

  function tell(place, text) {
    place.textContent = text;
    place.hidden = !text;
  }

  // --- the way in: the secret is behind the #, which is sent nowhere and leaves the address bar at once ---

  function enter() {
    const secret = location.hash.slice(1);
    if (secret.length < 40) return; // a jump within the page
    history.replaceState(null, "", PATH);
    tell(banner, "Opening …");
    fetch(`${PATH}/open`, { method: "POST", body: secret, headers: { "Content-Type": "application/octet-stream" } })
      .then(async (answer) => {
        if (answer.ok) location.replace(PATH);
        else tell(banner, (await answer.json()).message);
      })
      .catch(() => tell(banner, "The collector does not answer. Load the link again."));
  }

  window.addEventListener("hashchange", enter); // a new link, in the tab that shows the page already
  enter();
  if (document.body.dataset.page === "closed") return;

  const HEAD_BYTES = 65536;
  const PIECE_BYTES = 262144;
  const SHOWN_ROWS = 4;
  const TRIES = 6;
  const SVG = "http://www.w3.org/2000/svg";
  const numbers = new Intl.NumberFormat("en");
  const { until, maxBytes, base, parameter } = document.body.dataset;

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const plural = (count, one, many) => `${numbers.format(count)} ${count === 1 ? one : many}`;
  const sayBytes = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  // --- the session ---

  function showTime() {
    const left_s = Number(until) - Date.now() / 1000;
    byId("left").textContent = left_s > 90 ? `${Math.round(left_s / 60)} min left` : left_s > 0 ? "about a minute left" : "over";
    if (left_s <= 0) endSession();
  }

  function endSession() {
    byId("state").dataset.state = "away";
    byId("left").textContent = "over";
    tell(banner, "The session is over. What is on this page stays; for more, ask for a new link to it.");
  }

  setInterval(showTime, 15_000);
  showTime();
  byId("close").addEventListener("click", async () => {
    await fetch(`${PATH}/close`, { method: "POST" }).catch(() => {});
    location.replace(PATH);
  });

  /** Ask the collector; throws an Error with `field` and `retry` that says in words what is wrong. */
  async function ask(path, options) {
    let answer;
    try {
      answer = await fetch(PATH + path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(new Error("The collector does not answer. Is the network there?"), { retry: true, field: "" });
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({ message: `The collector answered ${answer.status}.`, retry: answer.status >= 500 }));
    if (said.error === "session") endSession();
    throw Object.assign(new Error(said.message), { retry: Boolean(said.retry), field: said.field || "" });
  }

  // --- tabs ---

  const tabs = [byId("tab-tag"), byId("tab-results")];
  function choose(tab) {
    for (const each of tabs) {
      const isChosen = each === tab;
      each.setAttribute("aria-selected", String(isChosen));
      each.tabIndex = isChosen ? 0 : -1;
      byId(each.getAttribute("aria-controls")).hidden = !isChosen;
    }
    if (tab.id === "tab-results") loadResults();
  }
  for (const tab of tabs) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tabs[1 - tabs.indexOf(tab)];
      choose(other);
      other.focus();
    });
  }

  // --- step 1: the list ---

  let list = null; // { file, rows, width }
  let run = null; // AbortController of what is under way
  const form = byId("form");

  /** Rows of a text as RFC 4180 has them. The last one may be cut. */
  function readRows(text, delimiter, most) {
    const rows = [];
    let row = [];
    let field = "";
    let isQuoted = false;
    for (let at = 0; at < text.length && rows.length < most; at++) {
      const sign = text[at];
      if (isQuoted) {
        if (sign !== '"') field += sign;
        else if (text[at + 1] === '"') {
          field += '"';
          at++;
        } else isQuoted = false;
      } else if (sign === '"' && !field) isQuoted = true;
      else if (sign === delimiter) {
        row.push(field);
        field = "";
      } else if (sign === "\n") {
        row.push(field.replace(/\r$/, ""));
        if (row.some((each) => each.trim())) rows.push(row);
        row = [];
        field = "";
      } else field += sign;
    }
    if (rows.length < most && (field || row.length)) rows.push([...row, field.replace(/\r$/, "")]);
    return rows;
  }

  /** The delimiter that parts the first rows into the same number of columns, and the most of them. */
  function guessDelimiter(text) {
    const scored = [",", ";", "\t", "|"].map((delimiter) => {
      const widths = readRows(text, delimiter, 20).map((row) => row.length);
      const isSame = widths.slice(0, -1).every((width) => width === widths[0]);
      return { delimiter, score: (widths[0] || 0) - 1 + (isSame && widths[0] > 1 ? 100 : 0) };
    });
    return scored.sort((a, b) => b.score - a.score)[0].delimiter;
  }

  async function takeFile(file) {
    run?.abort();
    list = null;
    byId("listed").hidden = true;
    byId("done").hidden = true;
    tell(byId("problem-list"), "");
    const refuse = (text) => {
      tell(byId("problem-list"), text);
      refresh();
    };
    if (!file) return refuse("");
    if (!file.size) return refuse(`${file.name} is empty.`);
    if (file.size > Number(maxBytes)) {
      return refuse(`${file.name} has ${sayBytes(file.size)}; this page takes ${sayBytes(Number(maxBytes))}. Larger ones: tagstitch links mint.`);
    }
    let text;
    try {
      const bytes = await file.slice(0, HEAD_BYTES).arrayBuffer();
      // Streaming, so that a sign that the 64th kilobyte cuts in two is none that is wrong.
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    } catch {
      return refuse(`${file.name} is no UTF-8 text. In Excel: save as “CSV UTF-8”.`);
    }
    if (text.includes("\0")) return refuse(`${file.name} is no CSV file. In Excel: save as “CSV UTF-8”.`);
    list = { file, text, isWhole: file.size <= HEAD_BYTES };
    byId("delimiter").value = guessDelimiter(text);
    readHead();
    guessColumns();
    byId("listed").hidden = false;
    refresh();
  }

  function readHead() {
    const rows = readRows(list.text, byId("delimiter").value, SHOWN_ROWS + 1);
    list.width = Math.max(...rows.map((row) => row.length), 0);
    const hasHeader = byId("has-header").checked;
    list.names = Array.from({ length: list.width }, (_, at) => (hasHeader && rows[0][at]?.trim()) || `column ${at + 1}`);
    list.shown = hasHeader ? rows.slice(1) : rows;
    byId("list-name").textContent = list.file.name;
    byId("list-facts").textContent = `${sayBytes(list.file.size)} · ${plural(list.width, "column", "columns")}`;
    for (const [id, first] of [["column", []], ["consent-column", ["none"]]]) {
      const select = byId(id);
      const before = select.value;
      select.replaceChildren(...first.map((text) => new Option(text, "-1")), ...list.names.map((name, at) => new Option(name, String(at))));
      if ([...select.options].some((option) => option.value === before)) select.value = before;
    }
    drawSample();
  }

  function guessColumns() {
    const find = (pattern) => list.names.findIndex((name) => pattern.test(name.trim()));
    const guesses = [/^(customer|kunden?|client|contact|subscriber|user|member)[ _-]?(id|no|nr|number|nummer|ref|key)?$/i, /^(id|external[ _-]?id|crm[ _-]?id|key)$/i, /mail/i];
    const column = guesses.map(find).find((at) => at >= 0) ?? 0;
    byId("column").value = String(column);
    const consent = find(/consent|opt.?in|newsletter|einwilligung|permission/i);
    byId("consent-column").value = String(consent);
    if (consent >= 0) form.querySelector(".more").open = true; // what was guessed about consent must be seen
    guessIdentifier();
    drawSample();
  }

  function guessIdentifier() {
    const at = Number(byId("column").value);
    const holdsMails = list.shown.some((row) => /\S@\S/.test(row[at] || ""));
    const options = [...byId("identifier").options];
    const mail = options.find((option) => /mail/i.test(option.value));
    if (holdsMails && mail) byId("identifier").value = mail.value;
    else byId("identifier").value = (options.find((option) => option.dataset.personal === "0") || options[0])?.value ?? "";
  }

  function drawSample() {
    const chosen = Number(byId("column").value);
    const mark = (cell, at) => {
      cell.classList.toggle("chosen", at === chosen);
      return cell;
    };
    const head = make("tr");
    head.append(...list.names.map((name, at) => mark(make("th", "", name), at)));
    head.childNodes.forEach((cell) => cell.setAttribute("scope", "col"));
    const rows = list.shown.slice(0, SHOWN_ROWS - 1).map((row) => {
      const tr = make("tr");
      tr.append(...list.names.map((_, at) => mark(make("td", "", row[at] ?? ""), at)));
      return tr;
    });
    const [thead, tbody] = [make("thead"), make("tbody")];
    thead.append(head);
    tbody.append(...rows);
    byId("sample").replaceChildren(thead, tbody);
  }

  const drop = byId("drop");
  byId("file").addEventListener("change", (event) => takeFile(event.target.files[0]));
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    takeFile(event.dataTransfer.files[0]);
  });
  // A file that misses the place would replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

  // --- step 2: what the links say ---

  const picked = (name) => form.querySelector(`input[name="${name}"]:checked`).value;
  const isLasting = (kind) => kind === "unsubscribe" || kind === "preferences";
  const HINTS = {
    link: () => "Put the field's merge tag where the mail has its link: the whole address is in it.",
    token: () => `Put it behind every address in your mails: ?${parameter}= and the field's merge tag. Any number of links, no new upload for them.`,
    redirect: () => `It begins with ${base}, records the click before the page is loaded, and leads to the address.`,
  };

  function readOptions() {
    const kind = picked("kind");
    const value = (id) => byId(id).value.trim();
    const days = value("days");
    const isRecipient = kind === "recipient";
    return {
      column: Number(byId("column").value || -1),
      identifier: byId("identifier").value,
      kind,
      form: isLasting(kind) ? "redirect" : picked("form"),
      campaign: isRecipient ? "" : value("campaign"),
      message: isRecipient ? "" : value("message"),
      link: kind === "message" ? value("link") : "",
      target: isLasting(kind) ? "" : value("target"),
      days: days && !isLasting(kind) ? Number(days) : null,
      consent_column: Number(byId("consent-column").value || -1),
      delimiter: byId("delimiter").value,
      has_header: byId("has-header").checked,
      is_test: byId("is-test").checked,
      sealed: byId("sealed").checked,
    };
  }

  function wrap(options, state, isLast, piece) {
    const head = JSON.stringify({ options, state, is_last: isLast });
    return { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: new Blob([head, "\n", piece]) };
  }

  const MISSING = { campaign: "Give the campaign a name.", target: "Give the address that the link leads to." };

  function findMissing(options) {
    if (!list) return "list";
    if (options.kind === "message" && !options.campaign) return "campaign";
    if (options.form !== "token" && !isLasting(options.kind) && !options.target) return "target";
    return "";
  }

  let previewNumber = 0;
  let previewTimer;
  let isUsable = false;

  function refresh() {
    const kind = picked("kind");
    const shownForm = picked("form");
    for (const element of form.querySelectorAll("[data-for]")) element.hidden = !element.dataset.for.split(" ").includes(kind);
    byId("target-field").hidden = isLasting(kind) || shownForm === "token";
    byId("form-hint").textContent = HINTS[shownForm]();
    byId("days").placeholder = kind === "recipient" ? "396" : "90";
    const note = byId("private-note");
    if (note) note.hidden = !(isLasting(kind) || shownForm === "redirect");
    byId("step-2-fields").disabled = !list || run !== null;
    byId("step-2").classList.toggle("waits", !list);
    setUsable(false);
    clearTimeout(previewTimer);
    const number = ++previewNumber;
    previewTimer = setTimeout(() => preview(number), 300);
  }

  function setUsable(usable, text) {
    isUsable = usable;
    byId("start").disabled = !usable || run !== null;
    byId("step-3").classList.toggle("waits", !usable);
    byId("start-note").textContent = text ?? (list ? "" : "Nothing is chosen yet.");
  }

  function showProblem(text, field) {
    for (const element of form.querySelectorAll("[aria-invalid]")) element.removeAttribute("aria-invalid");
    tell(byId("problem-form"), text);
    const ids = { label: "campaign", email: "identifier", consent: "consent-column" };
    const element = text && byId(ids[field] || field);
    if (element && element.matches("input, select")) {
      element.setAttribute("aria-invalid", "true");
      element.setAttribute("aria-describedby", "problem-form");
    }
  }

  async function preview(number) {
    const options = readOptions();
    const missing = findMissing(options);
    if (missing) {
      byId("previews").replaceChildren();
      byId("previews-note").textContent = missing === "list" ? "Choose a list first." : MISSING[missing];
      showProblem("", "");
      if (list) byId("start-note").textContent = MISSING[missing];
      return;
    }
    try {
      const answer = await ask("/preview", wrap(options, "", list.isWhole, list.file.slice(0, HEAD_BYTES)));
      const { previews } = await answer.json();
      if (number !== previewNumber) return;
      showProblem("", "");
      showPreviews(previews);
    } catch (error) {
      if (number !== previewNumber) return;
      byId("previews").replaceChildren();
      byId("previews-note").textContent = "";
      showProblem(error.message, error.field);
    }
  }

  function showPreviews(previews) {
    let shared = null;
    byId("previews").replaceChildren(
      ...previews.map((each) => {
        const item = make("li");
        item.append(make("span", "at", String(each.line)), make("span", "who", each.reference || "–"));
        if (each.refused) item.append(make("span", "refused", each.message));
        else {
          const made = make("span", "made");
          // The token is what is new in it; what all links begin with stands once.
          const at = each.made.search(/[mrupMRUP][0-9a-z]+\.[A-Za-z0-9_-]+[.A-Za-z0-9_-]*$/);
          const before = each.made.slice(0, Math.max(at, 0));
          made.append(before === shared ? "…" : before, make("b", "", each.made.slice(Math.max(at, 0))));
          shared = before || shared;
          made.title = each.made;
          item.append(made);
        }
        return item;
      }),
    );
    const refused = previews.filter((each) => each.refused).length;
    const note = byId("previews-note");
    if (!previews.length) note.textContent = "The list has no rows.";
    else if (refused === previews.length) note.textContent = "None of these rows can be used: is this the right column, and the right kind?";
    else note.textContent = refused ? "Rows in red keep their place and get the plain address: nobody is sent a broken link." : "";
    setUsable(previews.length > 0 && (refused < previews.length || previews.length === 10), `${sayBytes(list.file.size)} to tag.`);
  }

  form.addEventListener("input", (event) => {
    const id = event.target.id;
    if (id === "file" || !list) return id === "file" ? undefined : refresh();
    if (id === "delimiter" || id === "has-header") {
      readHead();
      guessColumns();
    }
    if (id === "column") {
      guessIdentifier();
      drawSample();
    }
    byId("done").hidden = true;
    refresh();
  });

  // --- step 3: the tagged list ---

  const REASONS = {
    empty: "no customer in this column",
    nobody: "a value that names nobody (null, guest, 0 and the like)",
    email: "an e-mail address where your own id was promised",
    length: "too long",
    value: "not of the form that its kind has, or neither yes nor no about consent",
  };

  async function tagPiece(options, state, at, signal) {
    const end = Math.min(at + PIECE_BYTES, list.file.size);
    for (let tries = 1; ; tries++) {
      try {
        const answer = await ask("/tag", { ...wrap(options, state, end === list.file.size, list.file.slice(at, end)), signal });
        return new Uint8Array(await answer.arrayBuffer());
      } catch (error) {
        if (signal.aborted || !error.retry || tries === TRIES) throw error;
        byId("progress-note").textContent = `${error.message} Trying again.`;
        await sleep(500 * 2 ** tries);
      }
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isUsable || run) return;
    const options = readOptions();
    const { file } = list;
    const tagged = [];
    const refused = [];
    const reasons = {};
    let head = { state: "", taken: 0, made: 0, refused: 0, recorded: true };
    run = new AbortController();
    const { signal } = run;
    const began = performance.now();
    const setRunning = (isRunning) => {
      byId("stop").hidden = byId("running").hidden = !isRunning;
      byId("file").disabled = byId("step-2-fields").disabled = byId("start").disabled = isRunning;
    };
    byId("done").hidden = true;
    tell(byId("problem-run"), "");
    byId("progress").value = 0;
    byId("progress-note").textContent = "";
    setRunning(true);
    let problem = "";
    try {
      while (head.taken < file.size) {
        const bytes = await tagPiece(options, head.state, head.taken, signal);
        const end = bytes.indexOf(10);
        head = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
        tagged.push(new Blob([bytes.subarray(end + 1, end + 1 + head.tagged_bytes)]));
        refused.push(new Blob([bytes.subarray(end + 1 + head.tagged_bytes)]));
        for (const [word, count] of Object.entries(head.reasons)) reasons[word] = (reasons[word] || 0) + count;
        byId("progress").value = head.taken / file.size;
        const left_s = ((performance.now() - began) / 1000) * (file.size / head.taken - 1);
        byId("progress-note").textContent = `${plural(head.made, "link", "links")}${left_s > 2 ? ` · ${Math.ceil(left_s)} s left` : ""}`;
      }
    } catch (error) {
      problem = signal.aborted ? "Stopped. There is no tagged list, and no record of one." : error.message;
    }
    run = null;
    setRunning(false);
    if (problem) tell(byId("problem-run"), problem);
    else finish(options, head, new Blob(tagged, { type: "text/csv" }), new Blob(refused, { type: "text/csv" }), reasons);
    setUsable(isUsable, byId("start-note").textContent);
  });

  byId("stop").addEventListener("click", () => run?.abort());
  window.addEventListener("beforeunload", (event) => run && event.preventDefault());

  let urls = [];
  function finish(options, head, tagged, refused, reasons) {
    for (const url of urls) URL.revokeObjectURL(url);
    urls = [];
    const name = list.file.name.replace(/\.[^.]*$/, "");
    const offer = (link, blob, suffix) => {
      urls.push(URL.createObjectURL(blob));
      link.href = urls.at(-1);
      link.download = `${name}-${suffix}.csv`;
      link.hidden = false;
    };
    const done = byId("done");
    const take = byId("take");
    const takeRefused = byId("take-refused");
    take.hidden = takeRefused.hidden = true;
    if (head.made) offer(take, tagged, "tagged");
    if (head.refused) {
      offer(takeRefused, refused, "refused");
      takeRefused.textContent = head.refused === 1 ? "Take the refused row" : `Take the ${numbers.format(head.refused)} refused rows`;
    }
    byId("new-column").textContent = options.form === "token" ? "lt" : "link";
    done.lastElementChild.hidden = !head.made;
    byId("done-fact").textContent = head.made
      ? `${plural(head.made, "link is", "links are")} made${head.refused ? `, ${plural(head.refused, "row", "rows")} could not be used` : ""}.` +
        (head.recorded ? "" : " The store is away: the record of it waits in the collector's folder.")
      : "No link was made: every row was refused.";
    byId("reasons").replaceChildren(
      ...Object.entries(reasons).map(([word, count]) => {
        const item = make("li");
        item.append(make("b", "", plural(count, "row", "rows")), `: ${REASONS[word] || word}`);
        return item;
      }),
    );
    done.hidden = false;
    done.focus();
  }

  // --- results ---

  const COLUMNS = [
    ["sent", "Sent"],
    ["clicks", "Clicks"],
    ["confirmed", "Confirmed"],
    ["people", "People"],
    ["converted", "Converted"],
    ["value", "Value"],
    ["forwarded", "Forwarded"],
    ["machines", "Machines"],
    ["unsubscribed", "Unsubscribed"],
  ];
  const MORE = [
    ["recipients", "Different links"],
    ["scanners", "Scanners"],
    ["prefetches", "Prefetches"],
    ["previews", "Previews"],
    ["bots", "Bots"],
    ["opens", "Opens"],
    ["private_opens", "Opens by a proxy"],
    ["second_devices", "Second devices"],
    ["replayed", "Replayed"],
    ["expired", "Expired"],
    ["revoked", "Revoked"],
    ["early", "Before it was sent"],
    ["unfilled", "Merge tag not filled"],
    ["test", "Test mails"],
    ["forged", "Forged"],
  ];
  const MACHINES = ["scanners", "prefetches", "previews", "bots"];
  const sum = (row, names) => names.reduce((total, name) => total + Number(row[name] || 0), 0);
  const day = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

  function setDays(count) {
    const last = new Date();
    const first = new Date(last.getFullYear(), last.getMonth(), last.getDate() - count + 1);
    byId("first").value = day(first);
    byId("last").value = day(last);
  }
  setDays(30);

  const asked = byId("asked");
  let resultNumber = 0;
  let chart = null; // { days, first, last }

  async function loadResults() {
    if (!byId("site").value) {
      tell(byId("problem-results"), "There is no site in this space yet: tagstitch site add.");
      return;
    }
    const number = ++resultNumber;
    const query = new URLSearchParams(new FormData(asked));
    byId("csv").href = `${PATH}/results.csv?${query}`;
    byId("loading").textContent = byId("found").hidden ? "Asking the store …" : "";
    byId("found").classList.add("old");
    try {
      const answer = await ask(`/results?${query}`);
      const found = await answer.json();
      if (number !== resultNumber) return;
      tell(byId("problem-results"), "");
      showResults(found);
    } catch (error) {
      if (number !== resultNumber) return;
      tell(byId("problem-results"), error.message);
      if (!byId("found").hidden) tell(banner, "What is shown is what was read last.");
      byId("none").hidden = true;
    }
    byId("loading").textContent = "";
  }

  function showResults({ campaigns, days, totals, first, last }) {
    const isEmpty = !campaigns.length;
    tell(banner, "");
    byId("none").hidden = !isEmpty;
    byId("found").hidden = isEmpty;
    byId("found").classList.remove("old");
    byId("csv").hidden = isEmpty;
    if (isEmpty) return;
    const { clicks, sent, confirmed } = totals;
    const once = new Set(campaigns.map((row) => row.campaign)).size > 1 ? "each once a campaign" : "";
    const figures = [
      ["Clicks by people", clicks, sent ? `of ${numbers.format(sent)} sent` : ""],
      ["Confirmed by a touch", confirmed, clicks ? `${Math.round((100 * confirmed) / clicks)} %` : ""],
      ["Converted", totals.converted, totals.converted ? once : ""],
      ["Opened by machines", sum(totals, MACHINES), ""],
    ];
    byId("figures").replaceChildren(
      ...figures.map(([name, value, note]) => {
        const box = make("div");
        const dd = make("dd", "", numbers.format(value));
        dd.append(make("small", "", note || " "));
        box.append(make("dt", "", name), dd);
        return box;
      }),
    );
    showTable(campaigns);
    showUnfilled(campaigns);
    chart = { days, first, last };
    drawChart();
  }

  /** A mistake in a mailing that its sender can still mend. */
  function showUnfilled(campaigns) {
    const wrong = campaigns.filter((row) => Number(row.unfilled));
    const visits = wrong.reduce((total, row) => total + Number(row.unfilled), 0);
    const names = [...new Set(wrong.map((row) => row.campaign || "a campaign without a name"))].join(", ");
    tell(
      byId("unfilled"),
      visits
        ? `${plural(visits, "visit", "visits")} by ${names} came with a merge tag that was not filled: the field is empty for some contacts, or its name is misspelt in the mail. They were not recognised.`
        : "",
    );
  }

  function showTable(campaigns) {
    const has = (name) => name === "machines" || campaigns.some((row) => row[name] !== undefined);
    const isUsed = (name) => name !== "value" || campaigns.some((row) => Number(row.value));
    const columns = COLUMNS.filter(([name]) => has(name) && isUsed(name));
    const head = make("tr");
    head.append(...["Campaign", ...columns.map(([, label]) => label)].map((label) => make("th", "", label)));
    head.childNodes.forEach((cell) => cell.setAttribute("scope", "col"));
    document.querySelector(".campaigns thead").replaceChildren(head);
    const rows = campaigns.flatMap((row, index) => {
      const tr = make("tr");
      const first = make("td");
      const name = make("button", "name", row.campaign || "without a name");
      name.type = "button";
      name.setAttribute("aria-expanded", "false");
      name.setAttribute("aria-controls", `told-${index}`);
      first.append(name);
      const parts = [row.message, row.link].filter(Boolean);
      if (parts.length) first.append(make("small", "", parts.join(" · ")));
      tr.append(first);
      for (const [key, label] of columns) {
        const value = key === "machines" ? sum(row, MACHINES) : Number(row[key] || 0);
        const cell = make("td", value ? "" : "zero", numbers.format(value));
        cell.dataset.name = label;
        if (key === "sent" && value && !Number(row.sent_is_told ?? 1)) cell.title = "As many links were made; nobody has told how many mails went out.";
        tr.append(cell);
      }
      const told = make("tr", "told");
      told.id = `told-${index}`;
      told.hidden = true;
      const cell = make("td");
      cell.colSpan = columns.length + 1;
      const dl = make("dl");
      for (const [key, label] of MORE) {
        if (row[key] === undefined) continue;
        const box = make("div");
        box.append(make("dt", "", label), make("dd", Number(row[key]) ? "" : "zero", numbers.format(Number(row[key]))));
        dl.append(box);
      }
      cell.append(dl);
      told.append(cell);
      name.addEventListener("click", () => {
        told.hidden = !told.hidden;
        name.setAttribute("aria-expanded", String(!told.hidden));
      });
      return [tr, told];
    });
    byId("campaigns").replaceChildren(...rows);
  }

  function draw(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  /** The top of the scale: 1, 2 or 5 and noughts. */
  function roundUp(value) {
    const step = 10 ** Math.floor(Math.log10(Math.max(1, value)));
    return [1, 2, 5, 10].map((each) => each * step).find((each) => each >= value);
  }

  function drawChart() {
    const place = byId("chart-drawing");
    byId("chart").hidden = !chart.days.length;
    if (!chart.days.length) return;
    const byDay = new Map();
    for (const row of chart.days) {
      const known = byDay.get(row.day) || { people: 0, machines: 0 };
      byDay.set(row.day, { people: known.people + Number(row.clicks || 0), machines: known.machines + sum(row, MACHINES) });
    }
    const all = [];
    for (let at = Date.parse(chart.first); at <= Date.parse(chart.last); at += 86_400_000) {
      const name = new Date(at).toISOString().slice(0, 10);
      all.push({ name, ...(byDay.get(name) || { people: 0, machines: 0 }) });
    }
    const width = Math.max(260, place.clientWidth);
    const height = 150;
    const [left, bottom, top] = [34, 20, 10];
    const most = roundUp(Math.max(...all.map((each) => each.people + each.machines), 1));
    const scale = (value) => (value / most) * (height - bottom - top);
    const people = all.reduce((total, each) => total + each.people, 0);
    const best = all.reduce((a, b) => (b.people > a.people ? b : a));
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
    svg.setAttribute(
      "aria-label",
      `Clicks by day from ${chart.first} to ${chart.last}: ${plural(people, "click", "clicks")} by people, most on ${best.name} with ${best.people}.`,
    );
    for (const value of [0, most / 2, most]) {
      if (!Number.isInteger(value)) continue;
      const y = height - bottom - scale(value);
      svg.append(draw("line", { x1: left, x2: width, y1: y, y2: y }), draw("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, numbers.format(value)));
    }
    const step = (width - left) / all.length;
    all.forEach((each, index) => {
      const x = left + index * step + step * 0.12;
      const bar = draw("g", {});
      bar.append(draw("title", {}, `${each.name}: ${plural(each.people, "click", "clicks")} by people, ${each.machines} by machines`));
      let y = height - bottom;
      for (const name of ["people", "machines"]) {
        const size = scale(each[name]);
        if (!size) continue;
        y -= size;
        bar.append(draw("rect", { class: name, x, y, width: Math.max(1, step * 0.76), height: size, rx: Math.min(2, size / 2) }));
      }
      svg.append(bar);
      const isMiddle = index === Math.floor(all.length / 2) && width > 480 && all.length > 6;
      if (index === 0 || index === all.length - 1 || isMiddle) {
        const anchor = index === 0 ? "start" : isMiddle ? "middle" : "end";
        const place_x = index === 0 ? left : isMiddle ? x + step * 0.38 : width;
        if (all.length > 1 || index === 0) svg.append(draw("text", { x: place_x, y: height - 4, "text-anchor": anchor }, each.name));
      }
    });
    place.replaceChildren(svg);
  }

  asked.addEventListener("submit", (event) => event.preventDefault());
  asked.addEventListener("change", loadResults);
  for (const button of document.querySelectorAll("[data-days]")) {
    button.addEventListener("click", () => {
      setDays(Number(button.dataset.days));
      loadResults();
    });
  }
  new ResizeObserver(() => chart && !byId("view-results").hidden && drawChart()).observe(byId("chart"));

  refresh();
})();
