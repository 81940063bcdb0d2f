// Reading out a chart under the pointer or by arrow keys, and dragging over it to see that time alone.
"use strict";
seestack.enhance((root) => {
  for (const figure of root.querySelectorAll("figure[data-chart]")) {
    const data = JSON.parse(figure.dataset.chart);
    const svg = figure.querySelector(".inside");
    const count = data.rows.length;
    if (!count) continue;
    const isTime = "step" in data;
    const whole = data.end - data.start;

    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    tip.setAttribute("role", "status");
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    mark.setAttribute("class", "mark");
    mark.setAttribute("y", "10");
    mark.setAttribute("height", svg.querySelector(".plot").getAttribute("height"));
    mark.setAttribute("visibility", "hidden");
    svg.append(mark);
    figure.append(tip);
    figure.tabIndex = 0;

    let index = -1;
    let dragged = null;

    const share = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const momentAt = (place) => data.start + place * whole;
    const bounds = (at) => {
      if (!isTime) return [at / count, (at + 1) / count];
      const begin = data.first + at * data.step;
      return [Math.max(0, (begin - data.start) / whole), Math.min(1, (begin + data.step - data.start) / whole)];
    };
    const indexAt = (place) => {
      const at = isTime ? (momentAt(place) - data.first) / data.step : place * count;
      return Math.min(count - 1, Math.max(0, Math.floor(at)));
    };
    const highlight = ([begin, end]) => {
      mark.setAttribute("x", `${begin * 100}%`);
      mark.setAttribute("width", `${Math.max(0, end - begin) * 100}%`);
      mark.setAttribute("visibility", "visible");
    };
    const label = (at) => {
      if (!isTime) return data.labels[at];
      const begin = data.first + at * data.step;
      return seestack.tell(begin, whole > 2 * 86400000 || data.step >= 86400000 ? "span" : "second");
    };
    const show = (at) => {
      index = at;
      const lines = data.names.map((name, number) => `${name} ${data.rows[at][number]}`);
      tip.replaceChildren(...[label(at), ...lines].map((line, number) => {
        const element = document.createElement(number ? "span" : "b");
        element.textContent = line;
        return element;
      }));
      tip.hidden = false;
      const [begin, end] = bounds(at);
      const middle = (begin + end) / 2;
      const [outer, inner] = [figure.getBoundingClientRect(), svg.getBoundingClientRect()];
      tip.style.left = `${inner.left - outer.left + middle * inner.width}px`;
      tip.style.transform = `translateX(${-middle * 100}%)`;
      if (dragged === null) highlight([begin, end]);
    };
    const hide = () => {
      index = -1;
      tip.hidden = true;
      if (dragged === null) mark.setAttribute("visibility", "hidden");
    };

    figure.addEventListener("pointermove", (event) => {
      const place = share(event);
      if (dragged !== null) highlight([Math.min(dragged, place), Math.max(dragged, place)]);
      show(indexAt(place));
    });
    figure.addEventListener("pointerleave", hide);
    figure.addEventListener("blur", hide);
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) {
        show(index < 0 ? count - 1 : Math.min(count - 1, Math.max(0, index + step)));
        event.preventDefault();
      }
      if (event.key === "Enter" && index >= 0 && "zooms" in figure.dataset) {
        const [begin, end] = bounds(index);
        zoom(begin, end);
      }
      if (event.key === "Escape") hide();
    });

    if (!("zooms" in figure.dataset)) continue;

    const zoom = (begin, end) => {
      const address = new URL(location.href);
      for (const name of ["range", "cursor", "item", "at"]) address.searchParams.delete(name);
      address.searchParams.set("from", new Date(Math.floor(momentAt(begin))).toISOString());
      address.searchParams.set("to", new Date(Math.ceil(momentAt(end))).toISOString());
      location.assign(address);
    };
    figure.addEventListener("pointerdown", (event) => {
      if (event.button || event.pointerType === "touch") return;
      dragged = share(event);
      figure.setPointerCapture(event.pointerId);
      event.preventDefault();
      figure.focus({ preventScroll: true });
    });
    figure.addEventListener("pointerup", (event) => {
      if (dragged === null) return;
      const place = share(event);
      const [begin, end] = [Math.min(dragged, place), Math.max(dragged, place)];
      dragged = null;
      if ((end - begin) * svg.getBoundingClientRect().width >= 6) zoom(begin, end);
    });
    figure.addEventListener("pointercancel", () => { dragged = null; hide(); });
  }
});
