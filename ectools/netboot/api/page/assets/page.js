"use strict";
// Keeps the page as the fleet is. All that is shown comes from the server's own templates: parts of the page that have changed
// are replaced, and nothing is built here.
(() => {
  const PAUSE = 400; // milliseconds in which events are gathered; more where an update takes long
  const SHARE = 4; // times as long as an update took is nothing done after it
  const MOST_ROWS = 40; // of one request; where more have changed, the whole list is asked for
  const AGES = 10_000; // milliseconds between two looks at the ages
  const EVERYTHING = 60_000; // milliseconds after which all is asked for again: what no event tells, a line that is dead
  const PATIENCE = 15_000; // milliseconds for an answer
  const AGAIN = 3_000; // milliseconds before a line that was refused is opened anew

  const view = document.body.dataset.view;
  const live = document.getElementById("live");

  // As the server writes it: text.write_age.
  function writeAge(seconds) {
    const whole = Math.max(Math.floor(seconds), 0);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    return whole < 172800 ? `${Math.floor(whole / 3600)} h` : `${Math.floor(whole / 86400)} d`;
  }

  // The server's clock counts, and the browser's may be wrong: their difference is learnt from each answer.
  let ahead = 0;
  function setClock(date) {
    const server = Date.parse(date ?? "");
    if (!Number.isNaN(server)) ahead = Math.abs(Date.now() - server) > 2000 ? Date.now() - server : 0;
  }

  function updateAges(within) {
    const now = Date.now() - ahead;
    for (const time of within.querySelectorAll("time")) {
      const age = writeAge((now - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== age) time.textContent = age;
    }
  }

  const keyed = (within) =>
    new Map([...within.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));

  const FOCUSABLE = "a, button, input, select, summary, pre";

  // What an element is called by that stands in a fresh part too: another one in its place is not it.
  function nameOf(element) {
    if (element.form) return `${element.form.getAttribute("action")} ${element.name} ${element.type}`;
    if (element.matches("a")) return `to ${element.getAttribute("href")}`;
    const label = element.getAttribute("aria-label") ?? (element.querySelector(".hidden") ?? element).textContent;
    return `${element.localName} ${label}`;
  }

  function isChanged(control) {
    if (!control.matches("select")) return control.value !== control.defaultValue;
    const said = [...control.options].findIndex((option) => option.defaultSelected);
    return control.selectedIndex !== Math.max(said, 0);
  }

  // Whether somebody is about to send what they have entered there, or is entering it.
  const isFilledIn = (part) =>
    [...part.querySelectorAll("form input, form select")].some(
      (control) => control === document.activeElement || isChanged(control),
    );

  // Puts `fresh` in place of `old`; what has the focus, and what is opened, stays so. What is being filled in stays as it is.
  function replace(old, fresh) {
    if (isFilledIn(old)) return;
    const active = old !== document.activeElement && old.contains(document.activeElement) ? document.activeElement : null;
    const opened = new Map([...old.querySelectorAll("details")].map((each) => [nameOf(each.firstElementChild), each.open]));
    const next = document.importNode(fresh, true);
    for (const details of next.querySelectorAll("details")) {
      details.open = opened.get(nameOf(details.firstElementChild)) ?? details.open;
    }
    prepare(next);
    const same = active && [...next.querySelectorAll(FOCUSABLE)].find((each) => nameOf(each) === nameOf(active));
    old.replaceWith(next);
    same?.focus({ preventScroll: true });
    next.classList.add("changed");
  }

  const textOf = (part) => {
    const copy = part.cloneNode(true);
    copy.classList.remove("changed");
    for (const button of copy.querySelectorAll("[data-copy]")) button.hidden = true;
    for (const details of copy.querySelectorAll("details")) details.open = false;
    if (copy.getAttribute("class") === "") copy.removeAttribute("class");
    return copy.outerHTML;
  };

  function replaceChanged(fresh) {
    updateAges(document);
    updateAges(fresh);
    const there = keyed(document);
    for (const [key, part] of keyed(fresh)) {
      const old = there.get(key);
      if (old === undefined || part.querySelector("[data-part], [data-list]")) continue;
      if (textOf(old) !== textOf(part)) replace(old, part);
    }
    document.title = fresh.title;
    const summary = document.getElementById("summary")?.textContent;
    const announce = document.getElementById("announce");
    if (announce && summary && announce.textContent !== summary) announce.textContent = summary;
  }

  // Makes the order and the number of a list's members as in `fresh`; members that are there stay the same elements. `only`: the
  // list of that name, and no other.
  function arrange(fresh, only) {
    for (const list of document.querySelectorAll(only ? `[data-list="${only}"]` : "[data-list]")) {
      const wanted = fresh.querySelector(`[data-list="${list.dataset.list}"]`);
      if (wanted === null) return false;
      const there = keyed(list);
      const focus = document.activeElement;
      const members = [...wanted.children].map(
        (part) => there.get(part.dataset.part) ?? document.importNode(part, true),
      );
      if (members.length !== list.children.length || members.some((part, at) => part !== list.children[at])) {
        list.replaceChildren(...members);
        if (list.contains(focus)) focus.focus({ preventScroll: true });
      }
    }
    const lists = (within) => within.querySelectorAll("[data-list]").length;
    return lists(document) === lists(fresh);
  }

  async function load(url) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    setClock(answer.headers.get("Date"));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  async function loadAll() {
    const fresh = await load(location.href);
    // The list comes or goes as a whole: nothing fitted before, or nothing does now.
    if (arrange(fresh)) replaceChanged(fresh);
    else replace(document.getElementById("main"), fresh.getElementById("main"));
  }

  async function loadRows(names) {
    const query = new URLSearchParams(location.search);
    for (const name of names) query.append("name", name);
    const fresh = await load(`/rows?${query}`);
    arrange(fresh, "rollouts");
    const there = keyed(document);
    const theirs = keyed(fresh);
    for (const name of names) {
      const key = `node ${name}`;
      if (theirs.has(key) && !there.has(key)) return loadAll();
      if (!theirs.has(key)) there.get(key)?.remove(); // it fits the filter no longer
    }
    if (names.length > 0 && document.querySelector('[data-list="rows"]')?.children.length === 0) return loadAll();
    replaceChanged(fresh);
  }

  const changed = new Set();
  let all = false;
  let led = false; // a rollout has changed, which every answer has
  let timer = null;
  let busy = false;
  let took = 0;

  function schedule() {
    if (timer === null && !busy) timer = setTimeout(update, Math.max(PAUSE, SHARE * took));
  }

  async function update() {
    timer = null;
    busy = true;
    const names = [...changed];
    const everything = all || names.length > MOST_ROWS || view === "node";
    changed.clear();
    all = led = false;
    const began = performance.now();
    try {
      await (everything ? loadAll() : loadRows(names));
      if (source?.readyState === EventSource.OPEN) say(true);
    } catch (error) {
      all = true;
      say(false);
      setTimeout(schedule, AGAIN);
      return;
    } finally {
      busy = false;
      took = performance.now() - began;
    }
    if (changed.size > 0 || all || led) schedule();
  }

  function say(isLive) {
    const words = isLive ? "Live" : "Not live, trying again";
    live.classList.toggle("lost", !isLive);
    live.hidden = false;
    if (live.textContent !== words) live.textContent = words;
  }

  let source = null;
  function connect() {
    source?.close();
    source = new EventSource("/api/v1/events");
    source.onopen = () => {
      say(true);
      all = true; // what happened meanwhile
      schedule();
    };
    source.onerror = () => {
      say(false);
      // The browser tries again by itself, but not where an answer has refused it.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || connect(), AGAIN);
    };
    source.addEventListener("boot", (event) => {
      const { name } = JSON.parse(event.data);
      if (view === "node" && name !== document.querySelector("[data-subject]")?.dataset.subject) return;
      changed.add(name);
      schedule();
    });
    source.addEventListener("rollout", () => {
      led = true;
      schedule();
    });
    source.addEventListener("reset", () => {
      all = true;
      schedule();
    });
  }

  function prepare(within) {
    for (const button of within.querySelectorAll("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const command = button.parentElement.querySelector("code").textContent;
        // Only a page from this host, or by TLS, may write to the clipboard.
        if (navigator.clipboard) await navigator.clipboard.writeText(command);
        else getSelection().selectAllChildren(button.parentElement.querySelector("code"));
        button.firstChild.data = navigator.clipboard ? "Copied" : "Selected";
      });
    }
  }

  prepare(document);
  if (view !== "fleet" && view !== "node") return;
  setInterval(() => updateAges(document), AGES);
  setInterval(() => {
    if (document.hidden) return;
    all = true;
    schedule();
  }, EVERYTHING);
  // A browser has six connections to a host: pages that nobody looks at hold none.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source?.close();
    else connect();
  });
  connect();
})();
