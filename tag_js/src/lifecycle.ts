// The life of a page. No unload listener: it would keep the page out of the back-forward cache.

export interface LifecycleListener {
  /** The page goes away, perhaps for good. May be called twice: browsers disagree on the order of the two signs. */
  onHide(): void;
  /** The page can be seen again. `isRestored`: it came out of the back-forward cache, as a new view of it. */
  onShow(isRestored: boolean): void;
}

export function watchLifecycle(listener: LifecycleListener): void {
  addEventListener("pagehide", () => listener.onHide());
  document.addEventListener("visibilitychange", () => {
    document.visibilityState === "hidden" ? listener.onHide() : listener.onShow(false);
  });
  addEventListener("pageshow", (event) => event.persisted && listener.onShow(true));
  addEventListener("online", () => listener.onShow(false));
}

/** Run now, or once a page that was rendered in advance is really shown. */
export function whenActivated(run: () => void): void {
  if ((document as { prerendering?: boolean }).prerendering) {
    document.addEventListener("prerenderingchange", run, { once: true });
  } else run();
}
