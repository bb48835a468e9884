import type { AppProps } from "next/app";
import Script from "next/script";

const QUEUE = "window.tagstitch=window.tagstitch||function(){(tagstitch.q=tagstitch.q||[]).push(arguments)}";

export default function App({ Component, pageProps }: AppProps) {
  return (
    <>
      <Script id="tagstitch-queue">{QUEUE}</Script>
      <Script src="/x/t.js" data-site="shop" data-consent="required" />
      <Component {...pageProps} />
    </>
  );
}
