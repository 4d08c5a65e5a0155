(() => {
  "use strict";
  const list = document.getElementById("list");
  const said = document.getElementById("said");
  const token = list.dataset.token;
  // The shop keeps its sign-in under this name; the page itself is the same for everyone.
  const signIn = () => { try { return localStorage.getItem("vantage.jwt"); } catch { return null; } };
  // A random name of this browser for one day: unique visitors are counted without knowing who they are.
  const visitor = () => {
    const day = new Date().toISOString().slice(0, 10);
    try {
      const kept = JSON.parse(localStorage.getItem("vantage.visitor") || "null");
      if (kept && kept.day === day) return kept.id;
      const id = crypto.randomUUID();
      localStorage.setItem("vantage.visitor", JSON.stringify({ day, id }));
      return id;
    } catch { return null; }
  };
  const forgetSignIn = () => { try { localStorage.removeItem("vantage.jwt"); } catch { /* nothing is kept */ } };
  const headers = (jwt) => {
    return jwt ? { "Content-Type": "application/json", Authorization: "Bearer " + jwt } : { "Content-Type": "application/json" };
  };
  const pageView = crypto.randomUUID ? crypto.randomUUID()
    : "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) => (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));
  const toSignIn = () => { location.href = list.dataset.signIn + "?next=" + encodeURIComponent(location.href); };
  const offerSignIn = () => {
    const link = document.createElement("a");
    link.href = list.dataset.signIn + "?next=" + encodeURIComponent(location.href);
    link.textContent = "Sign in again";
    said.replaceChildren("Your sign-in has expired. ", link);
  };
  let counted = false;
  const count = () => {
    if (counted || document.visibilityState !== "visible") return;
    counted = true;
    const body = { page_view_id: pageView, visitor_id: visitor() };
    const send = (jwt) => fetch("/api/v2/wishlists/shared/" + token + "/views", { method: "POST", headers: headers(jwt), body: JSON.stringify(body), keepalive: true });
    const jwt = signIn();
    send(jwt).then((answer) => {
      if (!jwt || answer.status !== 401) return undefined;
      // The stored sign-in has expired: the same view counts as an anonymous reader's.
      forgetSignIn();
      offerSignIn();
      return send(null);
    }).catch(() => {});
  };
  document.addEventListener("visibilitychange", count);
  count();
  for (const picture of document.querySelectorAll(".picture img")) {
    picture.addEventListener("error", () => picture.remove());
    if (picture.complete && !picture.naturalWidth) picture.remove();
  }
  list.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-product]");
    if (!button) return;
    if (!signIn()) { toSignIn(); return; }
    button.disabled = true;
    const body = { product_id: button.dataset.product, source: "shared_wishlist", source_token: token };
    try {
      const answer = await fetch("/api/v2/wishlists/my/items", { method: "POST", headers: headers(signIn()), body: JSON.stringify(body) });
      if (answer.status === 401) { forgetSignIn(); toSignIn(); return; }
      const result = await answer.json();
      if (!answer.ok) throw new Error(result.message);
      button.textContent = "On your list";
      said.textContent = "Added to your list.";
    } catch (error) {
      button.disabled = false;
      said.textContent = error.message || "That did not work. Please try again.";
    }
  });
})();
