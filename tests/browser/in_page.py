"""What tests run inside a page: waiting until it has painted, watching what it touches, reading what it keeps."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# When the browser has painted and told its observers, and is idle.
PAINTED = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestIdleCallback(() =>
  requestIdleCallback(() => requestIdleCallback(done))))))"""

# Notes every look at the device that a tag could take, from before the first script of the page.
SPY = """
window.touched = [];
const spy = (owner, name) => {
  const found = Object.getOwnPropertyDescriptor(owner, name);
  const note = (kind) => window.touched.push(kind + ' ' + name);
  if (found.get) Object.defineProperty(owner, name, {
    configurable: true,
    get() { note('get'); return found.get.call(this); },
    set(value) { note('set'); return found.set && found.set.call(this, value); },
  });
  else Object.defineProperty(owner, name, {
    configurable: true,
    value(...args) { note('call'); return found.value.apply(this, args); },
  });
};
spy(Document.prototype, 'cookie');
for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches']) spy(window, name);
for (const name of ['getItem', 'setItem']) spy(Storage.prototype, name);
for (const name of ['hardwareConcurrency', 'languages', 'webdriver', 'platform', 'maxTouchPoints', 'userAgent'])
  spy(name === 'webdriver' || name in Navigator.prototype ? Navigator.prototype : window, name);
spy(HTMLCanvasElement.prototype, 'getContext');
spy(Intl.DateTimeFormat.prototype, 'resolvedOptions');
"""


def read_profile(page: Page) -> dict[str, Any]:
    """Everything that a site can keep in this browser's profile."""
    kept = page.evaluate(
        """async () => ({
          local: {...localStorage}, session: {...sessionStorage},
          databases: (await indexedDB.databases()).map(one => one.name),
          caches: await caches.keys(), workers: (await navigator.serviceWorker.getRegistrations()).length,
        })"""
    )
    return {"cookies": page.context.cookies(), **kept}
