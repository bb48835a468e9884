// How far down a page was seen and how long somebody was at it, without a timer.
//
// Time counts while the page is visible and focused, until 15 s after the last sign of a person. It is added up when
// something happens. Layout is read where it is clean: when the page has scrolled, and when its size has changed.

import { whenIdle } from "./browser";
import { listen } from "./composed";
import { quiet } from "./quiet";
import type { Props } from "./wire";

const ACTIVE_MS = 15_000;

/**
 * Begin to watch. The returned function tells what there is to say since it was called last: the lowest point that was
 * seen, in percent of the page's length, and the seconds of engaged time; undefined where that is nothing new.
 * `isNewPage`: what follows is about another page of a single-page app.
 */
export function watchEngagement(): (isNewPage?: boolean) => Props | undefined {
  const page = document.documentElement;
  let isOn = false;
  let countedMs = 0; // time has been counted up to here
  let untilMs = 0; // time counts up to here without a further sign
  let engagedMs = 0;
  let length = 0; // of the page; 0 until it is laid out
  let seen = 0; // lower edge of the window, where it was lowest
  let told: unknown;

  const count = quiet((sign?: unknown) => {
    const now = performance.now();
    if (isOn) engagedMs += Math.max(0, Math.min(now, untilMs) - countedMs);
    countedMs = now;
    isOn = !document.hidden && document.hasFocus();
    if (sign) untilMs = now + ACTIVE_MS;
  });
  const measure = quiet(() => {
    length = page.scrollHeight;
    seen = Math.max(seen, scrollY + innerHeight);
  });
  count(1);
  listen("pointerdown pointermove keydown focus blur visibilitychange", count);
  // The page's own scrolling; what scrolls inside it may do so by itself.
  addEventListener("scroll", (event) => {
    count(event);
    measure();
  });
  whenIdle(() => new ResizeObserver(measure).observe(page), 0);

  return (isNewPage) => {
    count();
    const engaged_s = Math.round(engagedMs / 100) / 10;
    const scroll_percent = Math.min(100, Math.round((seen / length) * 100)) || undefined;
    // Less than a second waits for more: a page is hidden by two signs, with a moment in between.
    const isNews = engagedMs >= 1000 || scroll_percent !== told;
    if (isNews || isNewPage) engagedMs = 0;
    told = isNewPage ? undefined : scroll_percent;
    if (isNewPage) seen = length && innerHeight;
    return isNews ? { scroll_percent, engaged_s } : undefined;
  };
}
