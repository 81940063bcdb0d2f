// The theme that the reader chose is set before anything is drawn; without a choice it is that of the system.
"use strict";
(() => {
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const root = document.documentElement;
  const chosen = () => localStorage.getItem("theme") ?? "auto";
  const apply = () => {
    if (chosen() === "auto") delete root.dataset.theme;
    else root.dataset.theme = chosen();
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-switch]");
    if (!button) return;
    const tell = () => {
      button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[chosen()] ?? "◐ Auto";
      button.setAttribute("aria-label", `Theme: ${chosen()}`);
    };
    button.hidden = false;
    tell();
    button.addEventListener("click", () => {
      localStorage.setItem("theme", NEXT[chosen()] ?? "auto");
      apply();
      tell();
    });
  });
})();
