// Which campaign an address belongs to, as a short digest: enough to see that it is another one.

// Parameters that say where a visit was bought or sent from. What is kept of them is the collector's business.
const CAMPAIGN =
  /^(utm_\w+|gclid|gbraid|wbraid|dclid|fbclid|msclkid|ttclid|twclid|li_fat_id|mc_cid|epik|rdt_cid|sccid|irclid)$/;

/** Digest of the campaign parameters in `search` and of a tagged link's token; "" where there are none. */
export function digestCampaign(search: string, token: string): string {
  let text = token;
  new URLSearchParams(search).forEach((value, name) => {
    if (CAMPAIGN.test(name)) text += `&${name}=${value}`;
  });
  // FNV-1a, 32 bit: a collision would only join two sessions.
  let digest = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return text && digest.toString(36);
}
