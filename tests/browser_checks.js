// What a page must be for people with weak eyes, without a mouse, or on a small screen. Returns what it is not.
(() => {
  const problems = [];
  const where = (node) => `${node.tagName.toLowerCase()}.${node.className?.baseVal ?? node.className} "${(node.textContent ?? "").trim().slice(0, 40)}"`;
  const colour = (text) => {
    const parts = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    return text.startsWith("color(srgb") ? [...parts.slice(0, 3).map((part) => part * 255), parts[3] ?? 1] : [...parts.slice(0, 3), parts[3] ?? 1];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((part, i) => a * part + (1 - a) * ground[i]);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(colour(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), over(colour(getComputedStyle(document.body).backgroundColor), [255, 255, 255]));
  };
  let measured = 0;
  const pairs = new Set();
  for (const node of document.querySelectorAll("body *")) {
    const style = getComputedStyle(node);
    const text = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    const box = node.getBoundingClientRect();
    if (!text || node.closest("svg") || !box.width || style.visibility === "hidden" || (node.tagName === "OPTION")) continue;
    const under = ground(node);
    const ratio = contrast(over(colour(style.color), under), under);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    measured += 1;
    pairs.add(`${style.color} on ${under.map(Math.round)}`);
    if (ratio < needed) problems.push(`contrast ${ratio.toFixed(2)}: ${where(node)}`);
  }
  for (const node of document.querySelectorAll("input:not([type=hidden]), textarea, select")) {
    if (!node.labels?.length && !node.getAttribute("aria-label")) problems.push(`no label: ${where(node)}`);
    const border = contrast(over(colour(getComputedStyle(node).borderTopColor), ground(node)), ground(node.parentElement));
    if (!["checkbox", "radio"].includes(node.type) && border < 3) problems.push(`border ${border.toFixed(2)}: ${where(node)}`);
  }
  for (const node of document.querySelectorAll("a, button, summary")) {
    const box = node.getBoundingClientRect();
    if (!node.textContent.trim() && !node.getAttribute("aria-label")) problems.push(`no name: ${where(node)}`);
    const inline = getComputedStyle(node).display === "inline";
    if (box.width && !inline && (box.height < 24 || box.width < 24)) problems.push(`small: ${where(node)}`);
  }
  for (const node of document.querySelectorAll("table")) {
    if ([...node.querySelectorAll("th")].some((cell) => !cell.scope)) problems.push(`a heading without scope: ${where(node)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) problems.push("not one h1");
  if (!document.documentElement.lang || !document.title) problems.push("no language or title");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  if (new Set(ids).size !== ids.length) problems.push("an id twice");
  const wide = document.scrollingElement.scrollWidth - innerWidth;
  if (wide > 0) problems.push(`wider than the screen by ${wide}`);
  return { problems, measured, pairs: pairs.size };
})()
