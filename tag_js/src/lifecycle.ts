// The life of a page. No unload listener: it would keep the page out of the back-forward cache.

import { quiet } from "./quiet";

export interface LifecycleListener {
  /** The page goes away, perhaps for good. May be called twice: browsers disagree on the order of the two signs. */
  onHide(): void;
  /** The page can be seen again, or the network is back. `isRestored`: out of the back-forward cache, a new view. */
  onShow(isRestored: boolean): void;
}

export function watchLifecycle(listener: LifecycleListener): void {
  const hide = quiet(() => listener.onHide());
  const show = quiet((isRestored: boolean) => listener.onShow(isRestored));
  addEventListener("pagehide", hide);
  document.addEventListener("visibilitychange", () => {
    document.visibilityState === "hidden" ? hide() : show(false);
  });
  addEventListener("pageshow", (event) => event.persisted && show(true));
  addEventListener("online", () => show(false));
}

/** Run now, or once a page that was rendered in advance is really shown. */
export function whenActivated(run: () => void): void {
  if ((document as { prerendering?: boolean }).prerendering) {
    document.addEventListener("prerenderingchange", quiet(run), { once: true });
  } else run();
}
