// Keeps our mistakes and the browser's refusals to ourselves: a page must never see an exception of the tag.

/** The same function, without exceptions. For everything that the browser calls: listeners, timers, idle callbacks. */
export function quiet<Args extends unknown[]>(run: (...args: Args) => void): (...args: Args) => void {
  return (...args) => {
    try {
      run(...args);
    } catch {
      // Sandboxed frames forbid cookies, locked-down pages replace globals: then there is nothing to be done.
    }
  };
}
