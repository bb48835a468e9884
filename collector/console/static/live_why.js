// Why the shop shows its customers what it shows them: a card for each customer of late, made of what the stream says.
// Every text is set as text, never as markup. live.js listens to the stream, and passes each message on.
"use strict";

(() => {
  const HOUSE = ["4711", "4712", "4713", "4714"]; // as in live.js
  const section = document.getElementById("why");
  const list = document.getElementById("why-people");
  const offers = new Map(JSON.parse(section.dataset.offers).map((offer) => [offer.name, offer]));
  const levels = [...document.querySelectorAll(".levels [data-level][data-name]")].map((item) => item.dataset.name);
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const percent = new Intl.NumberFormat("en", { style: "percent" });
  let text = ""; // what is shown

  function make(tag, className, content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (content !== undefined) element.textContent = content;
    return element;
  }

  const atTime = (ms) => clock.format(new Date(ms));

  /** What a fact is called, what it says, why it is so, and how it is marked. */
  function describe(fact, facts) {
    if (fact.part === "audience") return ["audience", fact.name, `entered at ${atTime(fact.since_ms)}`, "in"];
    if (fact.part === "trait") {
      const level = `level ${fact.level} ${levels[fact.level] || ""}`.trim();
      return ["trait", `${fact.name} = “${fact.value}”`, `said by ${fact.source}, ${level}`, "said"];
    }
    const offer = offers.get(fact.name);
    const isIn = offer?.audience && facts.some((one) => one.part === "audience" && one.name === offer.audience);
    const whom = !offer ? "no longer configured" : !offer.audience ? "for everybody known" : `for ${offer.audience}`;
    const left = offer?.audience && !isIn ? ", left since" : "";
    if (fact.value === "held_out") {
      const share = offer ? `, as ${percent.format(offer.hold_out)} are` : "";
      return ["held out", fact.name, `${whom}${left}; sees the page's own words${share}, to compare with`, "held"];
    }
    const times = fact.times === 1 ? "once" : `${fact.times} times`;
    const clicked = fact.value === "clicked" ? ", clicked" : "";
    return ["offer", fact.name, `${whom}${left}; seen ${times}${clicked}, last at ${atTime(fact.since_ms)}`, "shown"];
  }

  function makeCard({ customer_id, customer_name, facts }) {
    const hue = HOUSE.indexOf(customer_id);
    const card = make("li", `hue-${hue < 0 ? "none" : hue}`);
    const name = customer_name || `Customer ${customer_id}`;
    const head = make("p", "why-head");
    const initials = customer_name ? name.replace(/(\p{L})\S*\s*/gu, "$1").slice(0, 2) : "#";
    head.append(make("span", "face", initials), make("b", "", name), make("span", "detail", `#${customer_id}`));
    head.firstChild.setAttribute("aria-hidden", "true");
    const rows = make("dl", "");
    for (const fact of facts) {
      const [title, said, why, mark] = describe(fact, facts);
      const row = make("div", "");
      const value = make("dd", "");
      value.append(make("b", "", said), make("small", "", why));
      row.append(make("dt", `why-${mark}`, title), value);
      rows.append(row);
    }
    card.append(head, rows);
    return card;
  }

  document.addEventListener("live-message", ({ detail }) => {
    const people = (detail.people || []).filter(({ facts }) => facts.length);
    const next = JSON.stringify(people);
    if (next === text) return;
    text = next;
    list.replaceChildren(...people.map(makeCard));
    section.hidden = !people.length;
  });
})();
