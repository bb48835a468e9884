// The part of Next.js's types that its recipes use, as documented: Next.js itself is too big for these tests.

declare module "next/script" {
  import type { ReactElement, ScriptHTMLAttributes } from "react";
  export default function Script(
    props: ScriptHTMLAttributes<HTMLScriptElement> & { strategy?: string; [data: `data-${string}`]: string },
  ): ReactElement | null;
}

declare module "next/app" {
  import type { ComponentType } from "react";
  // biome-ignore lint/suspicious/noExplicitAny: as in Next.js: a page's properties are its own.
  export interface AppProps<P = any> {
    Component: ComponentType<P>;
    pageProps: P;
  }
}
