// Renders the layout of the app router on a server, and prints it.
import { renderToString } from "react-dom/server";
import Layout from "../../../examples/nextjs/app/layout";

console.log(JSON.stringify(renderToString(<Layout>page</Layout>)));
