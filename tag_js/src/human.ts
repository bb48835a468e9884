// A sign that a human has opened the page: links in mails are fetched by scanners too.

import { quiet } from "./quiet";
import type { HumanSignal } from "./wire";

const SIGNALS = { pointerdown: "pointer", keydown: "key", touchstart: "touch" } as const;
const DWELL_S = 5;

/** Call back once: at the first trusted pointer, key or touch, or after 5 s in which the page was visible and focused. */
export function awaitHuman(onHuman: (signal: HumanSignal) => void): void {
  let seconds = 0;
  const stop = quiet((signal: HumanSignal) => {
    clearInterval(timer);
    for (const type in SIGNALS) removeEventListener(type, onInput, true);
    onHuman(signal);
  });
  const onInput = (event: Event): void => {
    if (event.isTrusted) stop(SIGNALS[event.type as keyof typeof SIGNALS]);
  };
  for (const type in SIGNALS) addEventListener(type, onInput, { capture: true, passive: true });
  const timer = setInterval(() => {
    if (document.visibilityState === "visible" && document.hasFocus() && ++seconds >= DWELL_S) stop("dwell");
  }, 1000);
}
