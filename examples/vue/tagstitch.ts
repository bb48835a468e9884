import { identify, reset, start } from "tagstitch-tag";
import { type Ref, watch } from "vue";

export interface Customer {
  id: string;
  /** Made by your server: see docs/sign-identify.md. */
  signature: string;
}

/** Once, in the setup of the app: useTagstitch(customer). */
export function useTagstitch(customer: Ref<Customer | undefined>): void {
  start({ site: "shop", consent: "required" });
  watch(
    customer,
    (now, before) => {
      if (now) identify(now.id, { signature: now.signature });
      else if (before) reset(); // has signed out
    },
    { immediate: true },
  );
}
