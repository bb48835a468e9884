// Stands in for next/script with its default strategy, as its documentation describes it: the element is appended after
// hydration, with every attribute that it was given, once for an id or an address.
import { useEffect } from "react";

const seen = new Set<string>();

export default function Script({ children, ...rest }: { children?: string; id?: string; src?: string }) {
  useEffect(() => {
    const key = rest.id || rest.src || "";
    if (seen.has(key)) return;
    seen.add(key);
    const element = document.createElement("script");
    for (const [name, value] of Object.entries(rest)) element.setAttribute(name, value);
    if (children) element.textContent = children;
    document.body.append(element);
  }, []);
  return null;
}
