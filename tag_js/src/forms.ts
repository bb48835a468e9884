// How people get on with forms: their names and their outcome, never a value.
//
// One form at a time: who turns to another leaves the one before. A form is begun with the first entry, not with the
// focus, which pages set themselves. What becomes of an attempt is known at the end of its task: a page's own script may
// find fields invalid after the submit event. And only what follows a submit event or the press of a button is an
// attempt: pages also ask for validity with every key. Forms inside shadow trees cannot be followed from outside.

import { findOnPath, isForUs, listen } from "./composed";
import { quiet } from "./quiet";
import type { Track } from "./wire";

interface State {
  form: string;
  /** What will be noted next; abandoned only when the form is left, "" not at all. */
  outcome: string;
  /** Names of the fields that had the focus or an entry, in that order, at most 20. */
  fields: string[];
  last_field?: string;
  /** Here: when the first entry was made; 0 for none. */
  seconds: number;
}

/** Watch all forms. The returned function is to be called when the page is left: a form that was begun is abandoned. */
export function watchForms(track: Track): () => void {
  let form: HTMLFormElement | undefined | null;
  let state = { outcome: "" } as State;
  let isAttempt = false; // in this task

  const settle = quiet((isLeft?: boolean) => {
    isAttempt = false;
    const { outcome, seconds } = state;
    if (!outcome || (!isLeft && outcome === "abandoned")) return;
    track("form", { ...state, seconds: seconds && Math.round((Date.now() - seconds) / 100) / 10 });
    state.outcome = outcome === "invalid" ? "abandoned" : "";
    if (outcome === "submitted") form = null;
  });

  const onEvent = quiet((event: Event) => {
    const { type } = event;
    const target = event.target as HTMLInputElement;
    const isButton = findOnPath(event, "button,[type=submit]");
    const isSubmit = type === "submit";
    if (isSubmit || (type === "click" && isButton)) {
      isAttempt = true;
      setTimeout(settle);
    }
    const touched = isSubmit ? (event.target as HTMLFormElement) : target.form;
    if (type === "click" || !touched || !isForUs(event)) return;
    if (touched !== form) {
      settle(true);
      form = touched;
      state = { form: nameForm(form), outcome: "", fields: [], seconds: 0 };
    }
    if (isSubmit) state.outcome = "submitted";
    else if (type === "invalid") {
      if (isAttempt) state.outcome = type;
    } else if (!isButton) {
      const field = target.name || target.id;
      const { fields } = state;
      state.last_field = field;
      if (field && !fields.includes(field) && fields.length < 20) fields.push(field);
      if (type === "input") {
        state.outcome = "abandoned";
        state.seconds = state.seconds || Date.now();
      }
    }
  });
  listen("focusin input click submit invalid", onEvent);
  return () => settle(true);
}

/** Attributes, not properties: a field called `id` or `action` takes the property's place. */
function nameForm(form: HTMLFormElement): string {
  return (
    form.getAttribute("id") ||
    form.getAttribute("name") ||
    new URL(form.getAttribute("action") || "", location.href).pathname
  );
}
