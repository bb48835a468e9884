// The tagged link's token: taken off the address bar at once, before other scripts, referrers and bookmarks see it.
//
// The token is never stored on the device and never put anywhere but into a beacon.

/** Return `url` without the token, and the token; "" where there is none. A short value is somebody else's. */
export function splitLink(url: string, parameter: string): [url: string, token: string] {
  let token = "";
  const rest = url.replace(
    new RegExp(`([?&])${parameter}=([\\w.~-]{20,2048})(&|(?=#|$))`),
    (_, before: string, value: string, after: string) => {
      token = value;
      return after && before;
    },
  );
  return [rest, token];
}

/** Take the token off the address bar. `landing` is the address as the snippet found it, where it was first. */
export function takeLink(parameter: string, landing: string | undefined): string {
  const [url, token] = splitLink(location.href, parameter);
  if (!token) return landing ? splitLink(landing, parameter)[1] : "";
  // The prototype's own function: a router or another tag may have put its own on `history`, and would see the token.
  History.prototype.replaceState.call(history, history.state, "", url);
  return token;
}
