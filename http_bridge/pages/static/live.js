// Puts requests on top of the list as they arrive. While it is paused, the newest wait; while nobody looks, none is asked for.
"use strict";
(() => {
  const MOST_ROWS = 200;
  const place = document.querySelector("[data-events]");
  const body = place.querySelector("tbody");
  const state = document.querySelector("[data-state]");
  const missed = document.querySelector("[data-missed]");
  const pause = document.querySelector("[data-pause]");
  const empty = document.querySelector("[data-empty]");
  let source = null;
  let isPaused = false;
  let waiting = [];
  let waitingCount = 0;
  let leftOut = 0;

  const tell = (text) => { if (state.textContent !== text) state.textContent = text; };
  const add = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html; // rows that the server rendered, in which all telemetry is text
    const rows = [...template.content.children];
    body.prepend(...rows);
    for (const row of rows) {
      row.classList.add("new");
      row.dispatchEvent(new Event("seestack:replaced", { bubbles: true }));
    }
    while (body.children.length > MOST_ROWS) body.lastElementChild.remove();
    empty.hidden = true;
  };
  const receive = ({ data }) => {
    const { html, count, dropped } = JSON.parse(data);
    leftOut += dropped;
    if (leftOut) {
      missed.hidden = false;
      missed.textContent = `${leftOut.toLocaleString("en")} requests were left out: more arrived than this page could take.`;
    }
    if (!isPaused) {
      add(html);
      return;
    }
    waiting.push(html);
    waitingCount += count;
    while (waiting.length > MOST_ROWS) waiting.shift();
    tell(`Paused. ${waitingCount.toLocaleString("en")} more arrived.`);
  };
  const follow = () => {
    if (source || document.hidden) return;
    tell(isPaused ? "Paused." : "Connecting.");
    source = new EventSource(place.dataset.events);
    source.addEventListener("open", () => { if (!isPaused) tell("Following."); });
    source.addEventListener("message", receive);
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) {
        tell("Connecting again.");
        return;
      }
      source = null;
      tell("Not following: the server refused, or the session has ended. Load the page again.");
    });
  };
  const stop = () => {
    source?.close();
    source = null;
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (isPaused) {
      tell("Paused.");
      return;
    }
    for (const html of waiting) add(html);
    waiting = [];
    waitingCount = 0;
    tell(source ? "Following." : "Connecting.");
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stop();
      tell("Not followed while this tab was hidden.");
    } else {
      follow();
    }
  });
  follow();
})();
