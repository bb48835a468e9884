import type { ReactNode } from "react";
import { Tagstitch } from "./tagstitch";

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <Tagstitch />
        {children}
      </body>
    </html>
  );
}
