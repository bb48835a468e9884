// Yields to the page: device signals are never in a hurry.

/** Resolve when the browser is idle, or after a moment where it cannot say so. */
export function nextIdle(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof requestIdleCallback === "function") requestIdleCallback(() => resolve(), { timeout: 500 });
    else setTimeout(resolve, 10);
  });
}
