// What of a page has no name for who cannot see it, and what is too faint for who hardly can. An expression, to be evaluated.
(() => {
  // By its label, its own text, or what says so (Accessible Name and Description Computation 1.2).
  const controls = "a, button, input:not([hidden], [type=hidden]), select, summary, [role=img], nav, [role=region], form[role]";
  const isNamed = (e) =>
    e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length || e.hasAttribute("aria-labelledby");
  const nameless = [...document.querySelectorAll(controls)].filter((e) => !isNamed(e)).map((e) => e.outerHTML.slice(0, 100));

  // Of each text that is seen: its colour on what is behind it, 4.5 to 1 (WCAG 2.2, 1.4.3).
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) =>
    0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const findBehind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = read(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility() || ["SCRIPT", "OPTION"].includes(e.tagName) || e.closest("svg")) continue;
    const pair = [luminance(read(getComputedStyle(e).color)), luminance(findBehind(e))].sort((x, y) => y - x);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) faint.push([node.data.trim().slice(0, 40), e.className, contrast]);
  }
  return { nameless, faint };
})()
