// The page's own elements: they are in the HTML, so a missing one is a mistake.

/** The element with this id. */
export function element<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element \`${id}\``);
  return found as unknown as T;
}
