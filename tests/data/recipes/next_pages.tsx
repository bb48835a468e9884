// Two pages of the pages router inside the recipe's _app, and a way from one to the other.
import { type ComponentType, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import App from "../../../examples/nextjs/pages/_app";

interface PageProps {
  go: () => void;
}

const First = ({ go }: PageProps) => <button onClick={go}>on</button>;
const Second = () => <h1>second</h1>;

function Root() {
  const [shown, show] = useState<ComponentType<PageProps>>(() => First);
  const go = () => {
    history.pushState(null, "", "/next/second");
    show(() => Second);
  };
  return <App Component={shown} pageProps={{ go }} />;
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Root />
    </StrictMode>,
  );
}
