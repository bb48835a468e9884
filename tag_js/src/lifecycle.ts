// The life of a page. No unload listener: it would keep the page out of the back-forward cache.

import { listen } from "./composed";

/**
 * `onHide`: the page goes away, perhaps for good; may be called twice, because browsers disagree on the order of the two
 * signs. `onShow`: the page can be seen again, or the network is back; `isRestored`: out of the back-forward cache, a
 * new view.
 */
export function watchLifecycle(onHide: () => void, onShow: (isRestored: boolean) => void): void {
  listen("pagehide", onHide);
  listen("visibilitychange", () => (document.hidden ? onHide() : onShow(false)));
  listen("pageshow", (event: PageTransitionEvent) => event.persisted && onShow(true));
  listen("online", () => onShow(false));
}

/** Run now, or once a page that was rendered in advance is really shown. */
export function whenActivated(run: () => void): void {
  if ((document as { prerendering?: boolean }).prerendering) {
    listen("prerenderingchange", run);
  } else run();
}
