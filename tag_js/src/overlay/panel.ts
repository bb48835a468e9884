// The panel on the page: what was sent, held and refused and why, the newest first.
//
// It stands in a closed shadow root, so that neither the page's style nor the tag's own listeners look inside, and gets
// its style by a constructed sheet: strict content security policies and Trusted Types have nothing to object to.

import type { Note } from "../modules";
import { quiet } from "../quiet";
import { type Counts, createLedger } from "./ledger";
import { LOOKS, place } from "./looks";
import { make } from "./make";
import { makeRow, PURPOSES } from "./row";

const MAX_ROWS = 200;
const MARGIN = 12;
const STEP = 24; // of an arrow key, pixels

/** Open the panel. Returns what shows one more note in it. */
export function openPanel(): (note: Note) => void {
  const host = document.createElement("tagstitch-debug");
  host.dataset.tsIgnore = ""; // for the tag's own listeners
  const root = host.attachShadow({ mode: "closed" });
  const looks = new CSSStyleSheet();
  const position = new CSSStyleSheet();
  looks.replaceSync(LOOKS);
  root.adoptedStyleSheets = [looks, position];

  const ledger = createLedger();
  let isClosed = false;

  const makeButton = (label: string, sign: string, run: () => void): HTMLButtonElement => {
    const button = make("button", { "aria-label": label, title: label }, sign);
    button.addEventListener("click", quiet(run));
    return button;
  };

  const grip = makeButton("Move with the arrow keys", "⠿", () => {});
  const site = make("span", {});
  const fold = makeButton("Collapse", "–", () => {
    const isSmall = section.classList.toggle("small");
    fold.setAttribute("aria-expanded", `${!isSmall}`);
    fold.textContent = isSmall ? "+" : "–";
    moveTo(right, bottom);
  });
  fold.setAttribute("aria-expanded", "true");
  const header = make(
    "header",
    {},
    grip,
    make("b", {}, "tagstitch"),
    site,
    makeButton("Clear the list", "⌫", () => rows.replaceChildren()),
    fold,
    makeButton("Close until the next page", "×", () => {
      isClosed = true;
      host.remove();
    }),
  );
  const chips = make("ul", { "aria-label": "Consent" });
  const filters = ["sent", "held", "refused"].map((kind) => {
    const filter = makeButton("", kind, () => {
      rows.className = rows.className === kind ? "" : kind;
      for (const other of filters) other.setAttribute("aria-pressed", `${other.className === rows.className}`);
    });
    filter.className = kind;
    filter.prepend(make("b", {}));
    filter.setAttribute("aria-pressed", "false");
    return filter;
  });
  const rows = make("ol", { "aria-label": "What the tag did, newest first" });
  const section = make(
    "section",
    { "aria-label": "tagstitch debug panel" },
    header,
    chips,
    make("p", { role: "group", "aria-label": "Show only" }, ...filters),
    rows,
    make("em", {}, "Nothing yet."),
  );

  let right = 0;
  let bottom = 0;
  const moveTo = (x: number, y: number): void => {
    const within = (value: number, room: number): number => Math.max(0, Math.min(Math.round(value), room));
    right = within(x, innerWidth - section.offsetWidth);
    bottom = within(y, innerHeight - section.offsetHeight);
    position.replaceSync(place(right, bottom));
  };
  header.addEventListener(
    "pointerdown",
    quiet((down: PointerEvent) => {
      const pressed = (down.target as Element).closest("button");
      if (pressed && pressed !== grip) return;
      const startX = right + down.clientX;
      const startY = bottom + down.clientY;
      header.setPointerCapture(down.pointerId); // which also ends the moving
      header.onpointermove = quiet((event: PointerEvent) => moveTo(startX - event.clientX, startY - event.clientY));
    }),
  );
  header.onlostpointercapture = () => {
    header.onpointermove = null;
  };
  grip.addEventListener("keydown", (event) => {
    const key = event.key;
    const x = +(key === "ArrowLeft") - +(key === "ArrowRight");
    const y = +(key === "ArrowUp") - +(key === "ArrowDown");
    if (!x && !y) return;
    event.preventDefault();
    moveTo(right + x * STEP, bottom + y * STEP);
  });

  const refresh = (): void => {
    const { counts, letters, site: name } = ledger.read();
    for (const filter of filters) {
      (filter.firstChild as Element).textContent = `${counts[filter.className as keyof Counts]} `;
    }
    site.textContent = name;
    chips.replaceChildren();
    for (const letter in PURPOSES) {
      const isGranted = letters && letters.indexOf(letter) >= 0;
      const sign = letters === undefined ? "?" : isGranted ? "✓" : "✕";
      chips.append(make("li", { class: isGranted ? "sent" : "" }, `${PURPOSES[letter]} ${sign}`));
    }
  };

  root.append(section);
  document.documentElement.append(host);
  refresh();
  moveTo(MARGIN, MARGIN);

  return (note) => {
    ledger.take(note);
    if (isClosed) return;
    rows.prepend(makeRow(note));
    if (rows.children.length > MAX_ROWS) (rows.lastChild as Element).remove();
    refresh();
    // A framework that takes over the whole document may have thrown the panel out.
    if (!host.isConnected) document.documentElement.append(host);
  };
}
