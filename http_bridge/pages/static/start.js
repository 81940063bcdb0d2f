// Goes on to the overview when a first request arrives, and copies commands.
"use strict";
(() => {
  const state = document.querySelector("[data-state]");
  const source = new EventSource("/live/events");
  const look = async () => {
    const answer = await fetch("/", { redirect: "manual" });
    const text = answer.ok ? await answer.text() : "";
    if (!text.includes("data-start")) location.reload();
  };
  source.addEventListener("open", () => {
    state.textContent = "Waiting for a first request.";
    look(); // it may have come before this page followed
  });
  source.addEventListener("message", () => location.reload());

  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
})();
