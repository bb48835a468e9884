// What listeners for the whole page need: to be many, to be first, and to know which elements an event went through. At
// the window the target is only the outermost host of a shadow tree, so the path is looked at instead.

import { quiet } from "./quiet";

/** Listen to each type (words, with a space between), before anything on the page. What `run` throws stays here. */
export function listen(types: string, run: (event: never) => void): void {
  for (const type of types.split(" ")) addEventListener(type, quiet(run as (event: Event) => void), true);
}

/** The innermost element that the event went through and that matches. */
export function findOnPath<E extends Element>(event: Event, selector: string): E | undefined {
  return event.composedPath().find((node) => node instanceof Element && node.matches(selector)) as E | undefined;
}

/** The innermost link that the event went through. */
export function findLink(event: Event): HTMLAnchorElement | undefined {
  return findOnPath(event, "a[href]");
}

/** Whether a person did it, and on a part of the page that the site lets us look at. */
export function isForUs(event: Event): boolean {
  return event.isTrusted && !findOnPath(event, "[data-ts-ignore]");
}
