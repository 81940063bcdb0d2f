// Asks for the page again every so often, and puts what has changed in its place; not while nobody looks at it.
"use strict";
(() => {
  const button = document.querySelector("[data-refresh]");
  const live = () => document.querySelector("[data-live]");
  if (!button || !live()) return;
  const every = Number(button.dataset.refresh) * 1000;
  let isOn = localStorage.getItem("refresh") !== "off";
  let asked = Date.now();
  let timer = 0;

  const tell = () => {
    button.setAttribute("aria-pressed", String(isOn));
    button.hidden = false;
  };
  const isBusy = () => live().matches(":focus-within") && live().querySelector(".tip:not([hidden])") !== null;
  const plan = () => {
    clearTimeout(timer);
    if (isOn && !document.hidden) timer = setTimeout(ask, Math.max(0, asked + every - Date.now()));
  };
  const ask = async () => {
    asked = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-SeeStack-Refresh": "1" }, redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 401) {
        location.reload(); // the session has ended: the server says where to go
        return;
      }
      if (answer.ok && !isBusy()) replace(await answer.text());
    } catch {
      // The server cannot be reached now; the next time may be better.
    }
    plan();
  };
  const replace = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-live]");
    if (!fresh) {
      location.reload();
      return;
    }
    const place = document.activeElement?.closest("[data-live]") ? pathTo(document.activeElement) : null;
    live().replaceWith(document.adoptNode(fresh));
    if (place) follow(place)?.focus({ preventScroll: true });
    live().dispatchEvent(new Event("seestack:replaced", { bubbles: true }));
  };
  // Where an element stands, so that what has taken its place can have the focus.
  const pathTo = (element) => {
    const path = [];
    for (let each = element; each !== live(); each = each.parentElement) {
      path.unshift([...each.parentElement.children].indexOf(each));
    }
    return path;
  };
  const follow = (path) => path.reduce((element, at) => element?.children[at], live());

  button.addEventListener("click", () => {
    isOn = !isOn;
    localStorage.setItem("refresh", isOn ? "on" : "off");
    tell();
    plan();
  });
  document.addEventListener("visibilitychange", plan);
  tell();
  plan();
})();
