// Times in the reader's own zone. What the server sent is right without this, in UTC.
"use strict";
(() => {
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (number) => String(number).padStart(2, "0");
  const clock = (time) => `${two(time.getHours())}:${two(time.getMinutes())}`;
  const seconds = (time) => `${clock(time)}:${two(time.getSeconds())}`;
  const day = (time) => `${MONTHS[time.getMonth()]} ${time.getDate()}`;
  const iso = (time) => `${String(time.getFullYear()).padStart(4, "0")}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const FORMS = {
    minute: (time) => clock(time),
    second: (time) => seconds(time),
    date: (time) => day(time),
    span: (time) => `${day(time)} ${clock(time)}`,
    row: (time) => `${day(time)} ${seconds(time)}.${String(time.getMilliseconds()).padStart(3, "0")}`,
    full: (time) => `${iso(time)} ${seconds(time)}.${String(time.getMilliseconds()).padStart(3, "0")}`,
  };

  window.seestack = {
    /** Returns a time, in milliseconds or as text of RFC 3339, in one of the forms. */
    tell: (moment, form) => {
      const time = new Date(moment);
      return Number.isNaN(time.getTime()) ? String(moment) : (FORMS[form] ?? FORMS.full)(time);
    },
    /** Calls `change` with the document now, and with each part of it that is replaced later. */
    enhance: (change) => {
      change(document);
      document.addEventListener("seestack:replaced", (event) => change(event.target));
    },
  };

  const localInput = (time) => `${iso(time)}T${seconds(time)}`;

  seestack.enhance((root) => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const place of root.querySelectorAll("[data-zone]")) place.textContent = zone;
    for (const element of root.querySelectorAll("time[datetime]")) {
      element.title = element.textContent;
      element.textContent = seestack.tell(element.dateTime, element.dataset.form);
    }
    for (const element of root.querySelectorAll("[data-moment]")) {
      element.textContent = seestack.tell(element.dataset.moment, element.dataset.form);
    }
    for (const form of root.querySelectorAll("form[data-range]")) {
      const inputs = form.querySelectorAll("input[type=datetime-local]");
      for (const input of inputs) if (input.value) input.value = localInput(new Date(`${input.value}Z`));
      // The address has UTC, so that it means the same to whoever gets it.
      form.addEventListener("formdata", ({ formData }) => {
        for (const input of inputs) {
          if (input.value) formData.set(input.name, new Date(input.value).toISOString());
        }
      });
    }
  });
})();
