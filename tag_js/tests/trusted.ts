// Events as a person makes them: in the tests' browser a script cannot, so they are marked by hand.

/** Dispatch an event that says it is trusted, composed and bubbling like those of the browser. */
export function act(target: EventTarget, type: string, more: Record<string, unknown> = {}): void {
  const event = new Event(type, { bubbles: type !== "invalid", composed: type !== "submit" && type !== "invalid" });
  for (const [key, value] of Object.entries({ isTrusted: true, button: 0, ...more })) {
    Object.defineProperty(event, key, { value });
  }
  target.dispatchEvent(event);
}

/** Put HTML on the page; returns the element with the id `it`. */
export function put(html: string): HTMLElement {
  document.body.innerHTML = html;
  return document.getElementById("it") as HTMLElement;
}
