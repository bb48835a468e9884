// The page's slots: elements that say by attribute what they show of the profile. Their own content is what stands where
// nothing is known, and comes back when that is so again. What comes from the profile is text, never HTML; an address
// must be http(s).

import type { Offer, Profile } from "../api";
import { quiet } from "../quiet";
import type { Track } from "../wire";
import { watchOffers } from "./offers";

const SLOTS = "[data-ts-text],[data-ts-show],[data-ts-offer],[data-ts-field],[data-ts-link]";

/**
 * Returns a function that fills the slots of the page and those to come; without a profile it notes that a new view of
 * the page begins. `isAwaited`: slots may come even where there are none.
 */
export function createSlots(track: Track, isAwaited: unknown): (profile?: Profile) => void {
  const texts = new WeakMap<Element, ChildNode[]>(); // what ours took the place of
  const links = new WeakMap<Element, string>(); // the page's own address
  const place = watchOffers(track);
  let profile: Profile;

  const each = (name: string, root: ParentNode, run: (element: HTMLElement, value: string) => void): void => {
    for (const element of root.querySelectorAll<HTMLElement>(`[data-ts-${name}]`)) {
      quiet(run)(element, element.getAttribute(`data-ts-${name}`) as string);
    }
  };
  const putText = (element: Element, value: unknown): void => {
    const own = texts.get(element);
    const text = readText(value);
    // In these, text is a program.
    if (text && !/^(script|style)$/i.test(element.localName)) {
      texts.set(element, own || [...element.childNodes]);
      if (element.textContent !== text) element.textContent = text;
    } else if (own) {
      texts.delete(element);
      element.replaceChildren(...own);
    }
  };
  const putLink = (element: Element, value: unknown): void => {
    if (!element.matches("a[href]")) return;
    const own = links.get(element) || (element.getAttribute("href") as string);
    const text = readText(value);
    links.set(element, own);
    element.setAttribute("href", own); // stays where the new one is none, or throws
    const { protocol, href } = new URL(text, document.baseURI);
    if (text && /^https?:/.test(protocol)) element.setAttribute("href", href);
  };
  const fill = (): void => {
    const { known, traits, audiences, offers } = profile;
    const placed = new Map<Element, Offer>();
    const facts = [
      known && "known",
      ...audiences.map((name) => `audience:${name}`),
      ...Object.entries(traits).flatMap(([name, value]) => [`trait:${name}`, `trait:${name}=${value}`]),
    ];
    each("text", document, (element, name) => putText(element, traits[name]));
    each("show", document, (element, condition) => {
      const fact = condition.replace(/^!/, "");
      element.hidden = facts.includes(fact) === (fact !== condition);
    });
    each("offer", document, (element, slot) => {
      const offer = offers.find((one) => one.slot === slot);
      if (offer) placed.set(element, offer);
      each("field", element, (field, name) => putText(field, offer?.content[name]));
      each("link", element, (link, name) => putLink(link, offer?.content[name]));
    });
    place(placed);
  };

  const isSlot = (node: Node): unknown =>
    (node as Element).matches?.(SLOTS) || (node as Element).querySelector?.(SLOTS);
  const observer = new MutationObserver(
    quiet((records: MutationRecord[]) => {
      if (records.some(({ addedNodes }) => [...addedNodes].some(isSlot))) fill();
    }),
  );
  return (next) => {
    if (!next) return place();
    profile = next;
    fill();
    if (isAwaited || isSlot(document)) observer.observe(document, { childList: true, subtree: true });
  };
}

/** A text, a number, a truth value as text; "" for all else: what is not there, and what every object has. */
function readText(value: unknown): string {
  return /^[snb]/.test(typeof value) ? `${value}` : "";
}
