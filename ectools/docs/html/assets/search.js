"use strict";
// Search over the options. Nothing is loaded before it is used, and nothing from anywhere but this directory.
(() => {
  const MOST_SHOWN = 50;
  const ENOUGH = 10; // hits from which on a term is not taken for a typing error
  const FRAME_PART = 8; // milliseconds of work before the browser gets its turn

  const LONGEST = 64; // letters of a term that are compared with those of a word
  const ROWS = Array.from({ length: 3 }, () => new Uint8Array(LONGEST + 4)); // of the table of distances

  const anchorOf = (name) => "opt-" + name.replace(/[*<> \[\]:"]/g, "_");

  class Index {
    constructor({ pages, counts, names, texts, values }) {
      this.names = names;
      this.texts = texts;
      this.values = values; // defaults, examples and what may be chosen, as they are written
      this.lowerValues = values.map((value) => value.toLowerCase());
      this.lower = names.map((name) => name.toLowerCase());
      this.pageOf = counts.flatMap((count, page) => Array(count).fill(pages[page]));
      // Short names first, and of those alike the one that turns a thing on. Never as much as a hit counts.
      this.worth = Float32Array.from(this.lower, (name) => (name.endsWith(".enable") ? 3 : 0) - Math.min(name.length, 100) / 10);
      this.numbers = new Map(); // word → its place in the lists below
      this.words = [];
      this.letters = []; // of each word, as bits
      this.inNames = []; // the options that have it in their name
      this.inTexts = [];
    }

    // Reads the words in turns, so that typing is never held up.
    async build() {
      let since = performance.now();
      for (let option = 0; option < this.names.length; option++) {
        for (const part of this.names[option].split(".")) {
          this.add(part.toLowerCase(), option, this.inNames);
          for (const word of part.split(/(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+/)) {
            this.add(word.toLowerCase(), option, this.inNames);
          }
        }
        for (const word of this.texts[option].toLowerCase().match(/[\p{L}\p{N}]{2,}/gu) ?? []) {
          this.add(word, option, this.inTexts);
        }
        if (performance.now() - since > FRAME_PART) {
          await new Promise((resume) => setTimeout(resume));
          since = performance.now();
        }
      }
      return this;
    }

    add(word, option, lists) {
      if (word.length < 2) return;
      let number = this.numbers.get(word);
      if (number === undefined) {
        number = this.words.length;
        this.numbers.set(word, number);
        this.words.push(word);
        this.letters.push(lettersOf(word));
        this.inNames.push([]);
        this.inTexts.push([]);
      }
      const list = lists[number];
      if (list[list.length - 1] !== option) list.push(option);
    }

    // {count, options}: how many fit all terms, and the best of them, best first.
    search(query) {
      const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
      let scores = null;
      for (const term of terms) {
        const own = this.scoreTerm(term);
        if (scores === null) scores = own;
        else addWhereBoth(scores, own);
      }
      return scores === null ? { count: 0, options: [] } : best(scores);
    }

    scoreTerm(term) {
      const scores = new Float32Array(this.names.length);
      let hits = this.scoreNames(term, scores);
      hits += this.scoreWords(term, scores);
      hits += this.scoreValues(term, scores);
      if (hits >= ENOUGH) return scores;
      if (hits === 0 && term.includes(".")) return this.scoreParts(term, scores);
      this.scoreLike(term, scores);
      return scores;
    }

    scoreNames(term, scores) {
      const below = "." + term;
      let hits = 0;
      for (let i = 0; i < scores.length; i++) {
        const name = this.lower[i];
        let at = name.indexOf(term);
        if (at < 0) continue;
        hits++;
        if (at > 0 && name[at - 1] !== ".") {
          const part = name.indexOf(below);
          if (part >= 0) at = part + 1;
        }
        const starts = at === 0 || name[at - 1] === ".";
        const after = name[at + term.length];
        const whole = starts && (after === undefined || after === ".");
        scores[i] = (name === term ? 1000 : whole ? 200 : starts ? 150 : 100) + (at === 0 ? 50 : 0) + this.worth[i];
      }
      return hits;
    }

    scoreWords(term, scores) {
      if (term.length < 2) return 0;
      let hits = 0;
      for (let number = 0; number < this.words.length; number++) {
        const word = this.words[number];
        if (!word.startsWith(term)) continue;
        hits += this.raise(scores, this.inTexts[number], word.length === term.length ? 40 : 20);
      }
      return hits;
    }

    // A value holds what no word is: addresses, paths, numbers. Less than a word of the description counts.
    scoreValues(term, scores) {
      let hits = 0;
      for (let i = 0; i < scores.length; i++) {
        if (!this.lowerValues[i].includes(term)) continue;
        if (scores[i] === 0) hits++;
        const own = 15 + this.worth[i];
        if (scores[i] < own) scores[i] = own;
      }
      return hits;
    }

    // The part of an option's values that a query is found in; empty where it is found elsewhere.
    findValue(option, query) {
      const term = query.toLowerCase().split(/\s+/).find((each) => this.lowerValues[option].includes(each));
      if (!term || this.lower[option].includes(term)) return "";
      const at = this.lowerValues[option].indexOf(term);
      const start = Math.max(0, this.values[option].lastIndexOf("\n", at) + 1, at - 60);
      return this.values[option].slice(start, start + 120).split("\n")[0];
    }

    // A mistyped path: each of its parts by itself.
    scoreParts(term, scores) {
      scores.fill(1);
      for (const part of term.split(".").filter(Boolean)) addWhereBoth(scores, this.scoreTerm(part));
      return scores;
    }

    scoreLike(term, scores) {
      if (term.length < 4 || term.length > LONGEST) return;
      const most = term.length < 8 ? 1 : 2;
      const letters = lettersOf(term);
      for (let number = 0; number < this.words.length; number++) {
        const word = this.words[number];
        if (word.length < term.length - most || bits(letters & ~this.letters[number]) > most) continue;
        const distance = distanceToStart(term, word, most);
        if (distance > most) continue;
        const rest = Math.max(0, word.length - term.length - most);
        const worth = 1 / (1 + distance + rest / 8);
        this.raise(scores, this.inNames[number], 40 + 50 * worth);
        this.raise(scores, this.inTexts[number], 12 + 10 * worth);
      }
    }

    raise(scores, options, score) {
      let fresh = 0;
      for (const option of options) {
        if (scores[option] === 0) fresh++;
        const own = score + this.worth[option];
        if (scores[option] < own) scores[option] = own;
      }
      return fresh;
    }
  }

  // Changes `scores`: what only one of the two has is in neither.
  function addWhereBoth(scores, others) {
    for (let i = 0; i < scores.length; i++) scores[i] = scores[i] > 0 && others[i] > 0 ? scores[i] + others[i] : 0;
  }

  function best(scores) {
    const options = [];
    let count = 0;
    for (let i = 0; i < scores.length; i++) {
      if (scores[i] <= 0) continue;
      count++;
      if (options.length === MOST_SHOWN && scores[i] <= scores[options[MOST_SHOWN - 1]]) continue;
      let place = options.length;
      while (place > 0 && scores[options[place - 1]] < scores[i]) place--;
      options.splice(place, 0, i);
      if (options.length > MOST_SHOWN) options.pop();
    }
    return { count, options };
  }

  function lettersOf(word) {
    let letters = 0;
    for (let i = 0; i < word.length; i++) letters |= 1 << (word.charCodeAt(i) & 31);
    return letters;
  }

  function bits(value) {
    let count = 0;
    for (; value; value &= value - 1) count++;
    return count;
  }

  // How many letters must be put in, left out, replaced or swapped until the word starts with the term; more than
  // `most` for anything above it. Only the band of the table that can stay within `most` is computed.
  function distanceToStart(term, word, most) {
    const width = Math.min(word.length, term.length + most);
    let [before, row, next] = ROWS;
    for (let j = 0; j <= width; j++) row[j] = j;
    for (let i = 1; i <= term.length; i++) {
      const from = Math.max(1, i - most);
      const to = Math.min(width, i + most);
      next[from - 1] = from === 1 ? i : most + 1;
      let least = next[from - 1];
      for (let j = from; j <= to; j++) {
        const same = term.charCodeAt(i - 1) === word.charCodeAt(j - 1);
        let cost = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (same ? 0 : 1));
        if (i > 1 && j > 1 && term[i - 1] === word[j - 2] && term[i - 2] === word[j - 1]) {
          cost = Math.min(cost, before[j - 2] + 1);
        }
        next[j] = cost;
        if (cost < least) least = cost;
      }
      for (let j = to + 1; j <= width; j++) next[j] = most + 1;
      if (least > most) return most + 1;
      [before, row, next] = [row, next, before];
    }
    let least = most + 1;
    for (let j = Math.max(0, term.length - most); j <= width; j++) least = Math.min(least, row[j]);
    return least;
  }

  let loading = null;

  function loadIndex() {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = "search-index.js";
      script.addEventListener("load", () => resolve(new Index(window.optionIndex).build()));
      script.addEventListener("error", () => reject(new Error("search-index.js cannot be loaded")));
      document.head.append(script);
    });
    return loading;
  }

  function startSearch(form) {
    const input = form.querySelector("input");
    const found = form.querySelector("#found");
    const status = form.querySelector("#search-status");
    const list = form.querySelector("#results");
    let index = null;
    let active = -1;

    function close() {
      found.hidden = true;
      input.setAttribute("aria-expanded", "false");
      activate(-1);
    }

    function activate(number) {
      list.children[active]?.setAttribute("aria-selected", "false");
      active = number;
      const item = list.children[active];
      if (!item) {
        input.removeAttribute("aria-activedescendant");
        return;
      }
      item.setAttribute("aria-selected", "true");
      item.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", item.id);
    }

    function item(option, number) {
      const li = document.createElement("li");
      li.id = `result-${number}`;
      li.setAttribute("role", "option");
      li.setAttribute("aria-selected", "false");
      const link = document.createElement("a");
      link.href = `${encodeURIComponent(index.pageOf[option])}#${encodeURIComponent(anchorOf(index.names[option]))}`;
      link.tabIndex = -1;
      const code = document.createElement("code");
      code.textContent = index.names[option];
      const text = document.createElement("p");
      text.textContent = index.texts[option].slice(0, 160);
      link.append(code, text);
      const value = index.findValue(option, input.value.trim());
      if (value) {
        const shown = document.createElement("p");
        shown.className = "value";
        shown.textContent = value;
        link.append(shown);
      }
      li.append(link);
      return li;
    }

    function show() {
      const query = input.value.trim();
      showInAddress(query);
      if (query === "") return close();
      found.hidden = false;
      input.setAttribute("aria-expanded", "true");
      if (index === null) {
        status.textContent = "Loading…";
        return;
      }
      const { count, options } = index.search(query);
      activate(-1);
      list.replaceChildren(...options.map(item));
      found.scrollTop = 0;
      const shown = count > options.length ? `, the best ${options.length} shown` : "";
      status.textContent = count === 0 ? "No option found" : count === 1 ? "1 option" : `${count} options${shown}`;
      activate(options.length ? 0 : -1);
    }

    function follow(link) {
      close();
      input.blur();
      const [page, hash] = link.href.split("#");
      if (page !== location.href.split(/[?#]/)[0]) return location.assign(link.href);
      showInAddress("");
      location.hash = hash; // also where it is the same: the browser scrolls there again
      const target = document.getElementById(decodeURIComponent(hash));
      target?.scrollIntoView();
      target?.querySelector("h2 a")?.focus({ preventScroll: true });
    }

    const load = () =>
      loadIndex().then(
        (built) => {
          if (index !== null) return;
          index = built;
          form.dataset.ready = "";
          if (document.activeElement === input) show();
        },
        (error) => {
          found.hidden = false;
          status.textContent = error.message;
        },
      );

    input.addEventListener("focus", load);
    input.addEventListener("focus", show);
    input.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("focusout", (event) => {
      if (!form.contains(event.relatedTarget)) close();
    });
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the input keeps the focus
    list.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      follow(link);
    });
    input.addEventListener("keydown", (event) => {
      const last = list.children.length - 1;
      const link = list.children[active]?.querySelector("a");
      if (event.key === "ArrowDown" && last >= 0) activate(active < last ? active + 1 : 0);
      else if (event.key === "ArrowUp" && last >= 0) activate(active > 0 ? active - 1 : last);
      else if (event.key === "Enter" && link && !found.hidden) follow(link);
      else if (event.key === "Escape" && !found.hidden) close();
      else if (event.key === "Escape") input.blur();
      else return;
      event.preventDefault();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input, textarea, select, [contenteditable]")) return;
      event.preventDefault();
      input.focus();
      input.select();
    });
    form.hidden = false;
    const asked = new URLSearchParams(location.search).get("q");
    if (asked) {
      input.value = asked;
      input.focus();
      load(); // a page in the background has no focus yet
      show();
    }
  }

  // The address of what is searched for, to be shared.
  function showInAddress(query) {
    const address = new URL(location.href);
    if ((address.searchParams.get("q") ?? "") === query) return;
    if (query) address.searchParams.set("q", query);
    else address.searchParams.delete("q");
    history.replaceState(history.state, "", address);
  }

  // An address whose option stands on another page, such as index.html#opt-NAME, leads there.
  async function followStrayAnchor() {
    const id = decodeURIComponent(location.hash.slice(1));
    if (!id.startsWith("opt-") || document.getElementById(id)) return;
    const { names, pageOf } = await loadIndex();
    const option = names.findIndex((name) => anchorOf(name) === id);
    if (option >= 0) location.replace(`${encodeURIComponent(pageOf[option])}#${encodeURIComponent(id)}`);
  }

  startSearch(document.querySelector("form[role=search]"));
  followStrayAnchor();
  addEventListener("hashchange", followStrayAnchor);
  if (matchMedia("(max-width: 56rem)").matches) {
    for (const contents of document.querySelectorAll("nav details")) contents.open = false;
  }
})();
