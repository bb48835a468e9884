// A real OpenID provider for tests: sign-in with a form, code flow with PKCE, ID tokens with `amr`, keys that rotate.
//
// Prints its address as one line; an argument is the page that people come back to. Besides OpenID's own paths: POST /control/rotate publishes a new key before the
// earlier ones and signs with it, POST /control/retire takes all but the newest away.

import { createServer } from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const CLIENTS = ["our-client-id", "other-client-id"];
const REDIRECT = process.argv[2];
const keys = [];
let provider;

const addKey = async (algorithm) => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  keys.unshift({ ...(await exportJWK(privateKey)), kid: `key-${keys.length + 1}`, use: "sig", alg: algorithm });
};

const makeProvider = (issuer) => {
  const made = new Provider(issuer, {
    jwks: { keys },
    clients: CLIENTS.map((client_id) => ({
      client_id,
      token_endpoint_auth_method: "none",
      redirect_uris: [REDIRECT],
      id_token_signed_response_alg: keys[0].alg,
    })),
    claims: { openid: ["sub", "amr", "acr"], email: ["email", "email_verified"] },
    conformIdTokenClaims: false,
    clientBasedCORS: () => true, // a page buys its token by itself
    cookies: { keys: ["of a test"] },
    features: { devInteractions: { enabled: false } },
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "PS256", "EdDSA"] },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, email: `${accountId}@shop.example`, email_verified: accountId !== "stranger" }),
    }),
    loadExistingGrant: async (context) => {
      const { client, session } = context.oidc;
      const grant = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid email");
      await grant.save();
      return grant;
    },
  });
  made.on("server_error", (_, error) => console.error(error));
  return made;
};

const readForm = async (request) => {
  let body = "";
  for await (const part of request) body += part;
  return new URLSearchParams(body);
};

const answerInteraction = async (request, response) => {
  if (request.method === "GET") {
    response.setHeader("content-type", "text/html");
    response.end(`<form method="post"><input name="login"><input name="methods"><input name="class"><button>Sign in</button></form>`);
    return;
  }
  const form = await readForm(request);
  const amr = (form.get("methods") || "pwd").split(" ");
  const login = { accountId: form.get("login"), amr, acr: form.get("class") || undefined };
  await provider.interactionFinished(request, response, { login });
};

const server = createServer(async (request, response) => {
  const path = request.url.split("?")[0];
  if (path.startsWith("/interaction/")) return answerInteraction(request, response);
  if (request.method === "POST" && path.startsWith("/control/")) {
    if (path === "/control/rotate") await addKey(keys.length % 2 ? "ES256" : "RS256");
    else keys.splice(1);
    provider = makeProvider(provider.issuer);
    response.end(JSON.stringify(keys.map((key) => key.kid)));
    return;
  }
  provider.callback()(request, response);
});
server.listen(0, "127.0.0.1", async () => {
  await addKey("RS256");
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = makeProvider(issuer);
  console.log(issuer);
});
