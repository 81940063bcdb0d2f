// Shows a chosen request beside the list without loading the page again.
"use strict";
seestack.enhance((root) => {
  const beside = root.querySelector(".beside");
  if (!beside) return;
  const panel = beside.querySelector("[data-details]");
  const place = panel.querySelector("[data-place]");

  const write = (item, at) => {
    const address = new URL(location.href);
    for (const [name, value] of [["item", item], ["at", at]]) {
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
    }
    history.replaceState(null, "", address);
  };
  const mark = (chosen) => {
    for (const row of beside.querySelectorAll("[data-row]")) {
      const isChosen = chosen !== null && row.contains(chosen);
      row.classList.toggle("chosen", isChosen);
      if (isChosen) chosen.setAttribute("aria-current", "true");
      else row.querySelector("a[data-item]").removeAttribute("aria-current");
    }
  };
  const show = async (anchor) => {
    const { item, at } = anchor.dataset;
    const address = `/request?${new URLSearchParams({ item, at })}`;
    const answer = await fetch(address, { redirect: "manual" }).catch(() => null);
    const text = answer?.ok ? await answer.text() : "";
    const found = new DOMParser().parseFromString(text, "text/html").querySelector("[data-request]");
    if (!found) {
      location.assign(anchor.href);
      return;
    }
    place.replaceChildren(...found.childNodes);
    panel.hidden = false;
    beside.classList.add("with-details");
    mark(anchor);
    write(item, at);
    place.dispatchEvent(new Event("seestack:replaced", { bubbles: true }));
  };
  const close = () => {
    panel.hidden = true;
    beside.classList.remove("with-details");
    const chosen = beside.querySelector("a[aria-current]");
    mark(null);
    write(null, null);
    chosen?.focus();
  };

  beside.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (event.target.closest("[data-close]")) {
      event.preventDefault();
      close();
      return;
    }
    const anchor = event.target.closest("[data-row]")?.querySelector("a[data-item]");
    if (anchor && !getSelection().toString()) {
      event.preventDefault();
      show(anchor);
    }
  });
  beside.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) close();
  });
});
