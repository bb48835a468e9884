// How people get on with forms: their names and their outcome, never a value.
//
// One form at a time: who turns to another leaves the one before. A form is begun with the first entry, not with the
// focus, which pages set themselves. What becomes of an attempt is known at the end of its task: a page's own script may
// find fields invalid after the submit event. And only what follows a submit event or the press of a button is an
// attempt: pages also ask for validity with every key. Forms inside shadow trees cannot be followed from outside.

import { findOnPath, isForUs, listen } from "./composed";
import { quiet } from "./quiet";
import type { Track } from "./wire";

const MAX_FIELDS = 20;

/** Watch all forms. The returned function is to be called when the page is left: a form that was begun is abandoned. */
export function watchForms(track: Track): () => void {
  // Of the form that somebody is at.
  let element: HTMLFormElement | undefined;
  let form: string;
  let fields: string[]; // that had the focus or an entry, in that order
  let last_field: string | undefined;
  let outcome = ""; // what will be noted next; abandoned only when the form is left, "" not at all
  let isAttempt = false; // in this task

  const settle = quiet((isLeft?: boolean) => {
    isAttempt = false;
    if (!outcome || (!isLeft && outcome === "abandoned")) return;
    track("form", { form, outcome, fields, last_field });
    if (outcome === "submitted") element = undefined;
    outcome = outcome === "invalid" ? "abandoned" : "";
  });

  const onEvent = (event: Event): void => {
    const { type, target } = event;
    const field = target as HTMLInputElement;
    const isSubmit = type === "submit";
    const isButton = findOnPath(event, "button,[type=submit]");
    const touched = isSubmit ? (target as HTMLFormElement) : field.form;
    if (isSubmit || (isButton && type === "click")) {
      isAttempt = true;
      setTimeout(settle);
    }
    if (!touched || !isForUs(event)) return;
    if (touched !== element) {
      settle(true);
      element = touched;
      // Attributes, not properties: a field called `id` takes the property's place.
      form = touched.getAttribute("id") || touched.getAttribute("name") || "";
      fields = [];
      last_field = undefined;
      outcome = "";
    }
    if (isSubmit) outcome = "submitted";
    else if (type === "invalid") {
      if (isAttempt) outcome = type;
    } else if (!isButton && type !== "click") {
      last_field = field.name || field.id;
      if (last_field && !fields.includes(last_field) && fields.length < MAX_FIELDS) fields.push(last_field);
      if (type === "input") outcome = "abandoned";
    }
  };
  listen("focusin input click submit invalid", onEvent);
  return () => settle(true);
}
