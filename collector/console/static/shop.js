// The banner of the demo shop, and the events of its forms. The page itself tells the tag the answer given earlier;
// this file takes a new one. Invariant: nothing is written to the device before somebody has pressed a button.
"use strict";

(() => {
  const COOKIE = "demo_consent";
  const LETTERS = { analytics: "a", identity: "i", fingerprint: "f", personalisation: "p", marketing: "m" };
  const AGE_S = 180 * 24 * 3600;

  const banner = document.getElementById("consent");
  const purposes = document.getElementById("purposes");
  const [all, none, choose, selected] = ["all", "none", "choose", "selected"].map((choice) =>
    banner.querySelector(`[data-consent-choice="${choice}"]`),
  );
  const boxes = () => [...purposes.querySelectorAll("input")];

  function open(byHand) {
    banner.hidden = false;
    document.body.classList.add("asks");
    if (byHand) document.getElementById("consent-title").focus();
  }

  function close() {
    banner.hidden = true;
    document.body.classList.remove("asks");
    showPurposes(false);
  }

  function showPurposes(show) {
    purposes.hidden = !show;
    selected.hidden = !show;
    choose.setAttribute("aria-expanded", String(show));
    choose.textContent = show ? "Hide purposes" : "Choose purposes";
  }

  function answer(granted) {
    const letters = Object.keys(LETTERS)
      .filter((name) => granted[name])
      .map((name) => LETTERS[name])
      .join("");
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${COOKIE}=${letters || "-"}; Path=/demo; Max-Age=${AGE_S}; SameSite=Lax${secure}`;
    for (const box of boxes()) box.checked = Boolean(granted[box.name]);
    banner.dataset.consent = "asked";
    window.tagstitch?.("consent", granted);
    close();
  }

  const same = (value) => Object.fromEntries(Object.keys(LETTERS).map((name) => [name, value]));
  all.addEventListener("click", () => answer(same(true)));
  none.addEventListener("click", () => answer(same(false)));
  choose.addEventListener("click", () => showPurposes(purposes.hidden));
  selected.addEventListener("click", () => {
    answer(Object.fromEntries(boxes().map((box) => [box.name, box.checked])));
  });
  purposes.addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-open-consent]")) {
    button.addEventListener("click", () => open(true));
  }
  banner.addEventListener("keydown", (event) => {
    // Escape closes a banner that was opened by hand; the first question stays until it is answered.
    if (event.key === "Escape" && banner.dataset.consent === "asked") close();
  });
  if (banner.dataset.consent === "open") open(false);

  // What a form does is counted as it is sent; the tag gets it out while the page goes away.
  for (const form of document.querySelectorAll("form[data-track]")) {
    form.addEventListener("submit", () => {
      window.tagstitch?.("track", form.dataset.track, JSON.parse(form.dataset.props));
    });
  }
})();
