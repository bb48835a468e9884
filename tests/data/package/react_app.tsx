// A React app with routes of its own, in strict mode: effects run twice. The tag comes from examples/react.
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { consent, track } from "tagstitch-tag";
import { type Customer, Tagstitch } from "../../../examples/react/tagstitch";

function App() {
  const [path, setPath] = useState(location.pathname);
  const [customer, setCustomer] = useState<Customer | undefined>(undefined);

  useEffect(() => {
    const follow = () => setPath(location.pathname);
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  useEffect(() => {
    document.title = `react ${path}`;
  }, [path]);

  const go = (to: string) => {
    history.pushState(null, "", to);
    setPath(to);
  };
  return (
    <>
      <Tagstitch customer={customer} />
      <h1>{path}</h1>
      <button onClick={() => consent({ analytics: true, identity: true })}>consent</button>
      <button onClick={() => go("/react/basket")}>basket</button>
      <button onClick={() => setCustomer({ id: "4711", signature: "1.2.ab" })}>sign in</button>
      <button onClick={() => setCustomer(undefined)}>sign out</button>
      <button onClick={() => track("add_to_cart", { items: [{ item_id: "A-1" }], value: 12.5, currency: "EUR" })}>
        buy
      </button>
    </>
  );
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
