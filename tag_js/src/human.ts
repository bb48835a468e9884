// A sign that a human has opened the page: links in mails are fetched by scanners too.

import { listen } from "./composed";
import { quiet } from "./quiet";
import type { HumanSignal } from "./wire";

const DWELL_S = 5;

/** Call back once: at the first trusted pointer, key or touch, or after 5 s in which the page was visible and focused. */
export function awaitHuman(onHuman: (signal: HumanSignal) => void): void {
  let seconds = 0;
  let isDone = false; // the listeners stay, and say nothing more
  const stop = quiet((signal: string) => {
    clearInterval(timer);
    if (!isDone) onHuman(signal as HumanSignal);
    isDone = true;
  });
  listen("pointerdown keydown touchstart", (event: Event) => {
    if (event.isTrusted) stop(event.type.replace(/down|start/, ""));
  });
  const timer = setInterval(() => {
    if (!document.hidden && document.hasFocus() && ++seconds >= DWELL_S) stop("dwell");
  }, 1000);
}
