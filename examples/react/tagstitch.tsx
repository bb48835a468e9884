"use client"; // for Next.js; elsewhere it says nothing

import { useEffect, useRef } from "react";
import { identify, reset, start } from "tagstitch-tag";

export interface Customer {
  id: string;
  /** Made by your server: see docs/sign-identify.md. */
  signature: string;
}

/** Once, anywhere in the app: <Tagstitch customer={customer} />. */
export function Tagstitch({ customer }: { customer?: Customer | undefined }) {
  const known = useRef<string | undefined>(undefined);

  useEffect(() => {
    start({ site: "shop", consent: "required" });
  }, []);

  useEffect(() => {
    if (customer?.id === known.current) return;
    if (customer) identify(customer.id, { signature: customer.signature });
    else reset(); // has signed out
    known.current = customer?.id;
  }, [customer]);

  return null;
}
