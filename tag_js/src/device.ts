// What the tag keeps on the device besides its cookie, and in the cookie's place where cookies are refused: local storage;
// session storage where that is forbidden; nothing where both are. Never called before analytics was consented to, but to
// remove.

/** Read what is kept under a name; "" where there is nothing. */
export function recall(name: string): string {
  return findStore()?.getItem(name) || "";
}

/** Keep a text under a name; "" removes it. Returns whether it is kept: a storage may be full. */
export function keep(name: string, text: string): boolean {
  try {
    const store = findStore() as Storage;
    text ? store.setItem(name, text) : store.removeItem(name);
    return true;
  } catch {
    return false;
  }
}

/** Read what was kept as JSON; undefined where there is nothing, or nothing of ours. */
export function recallJson(name: string): unknown {
  try {
    return JSON.parse(recall(name));
  } catch {
    return undefined;
  }
}

/** A sandboxed frame, and a browser that blocks cookies, throw where a storage is only named. */
function findStore(): Storage | undefined {
  for (const name of ["localStorage", "sessionStorage"] as const) {
    try {
      return window[name];
    } catch {
      // The next one.
    }
  }
  return undefined;
}
