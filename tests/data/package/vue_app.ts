// A Vue app with routes of its own. The tag comes from examples/vue.
import { consent, track } from "tagstitch-tag";
import { createApp, h, ref, watchEffect } from "vue";
import { type Customer, useTagstitch } from "../../../examples/vue/tagstitch";

createApp({
  setup() {
    const path = ref(location.pathname);
    const customer = ref<Customer | undefined>(undefined);
    useTagstitch(customer);
    watchEffect(() => {
      document.title = `vue ${path.value}`;
    });
    addEventListener("popstate", () => {
      path.value = location.pathname;
    });
    const go = (to: string) => {
      history.pushState(null, "", to);
      path.value = to;
    };
    const button = (text: string, onClick: () => void) => h("button", { onClick }, text);
    return () => [
      h("h1", path.value),
      button("consent", () => consent({ analytics: true, identity: true })),
      button("basket", () => go("/vue/basket")),
      button("sign in", () => {
        customer.value = { id: "4711", signature: "1.2.ab" };
      }),
      button("sign out", () => {
        customer.value = undefined;
      }),
      button("buy", () => track("add_to_cart", { items: [{ item_id: "A-1" }], value: 12.5, currency: "EUR" })),
    ];
  },
}).mount("#root");
