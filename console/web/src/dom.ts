// Building and updating elements. Text becomes text nodes; there is no way to pass markup.

export type Child = Node | string | number | null | false;

type Attrs = Record<string, string | number | boolean | ((e: Event) => void)>;

/** An element: functions are listeners, true is a bare attribute, false and "" leave it out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attrs: Attrs,
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (typeof value === "function") el.addEventListener(name, value);
    else if (value === true) el.setAttribute(name, "");
    else if (value !== false && value !== "") el.setAttribute(name, String(value));
  }
  append(el, children);
  return el;
}

export function append(el: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === false) continue;
    el.append(typeof child === "number" ? String(child) : child);
  }
}

/** A link when it is http or https, else plain text: a sender may put anything where a URL belongs. */
export function link(url: string, text: string): Node {
  if (!isWebUrl(url)) return document.createTextNode(text);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text);
}

export function isWebUrl(url: string): boolean {
  if (!/^https?:\/\//i.test(url)) return false;
  try {
    new URL(url);
    return true;
  } catch {
    return false;
  }
}

/** Names and values; what has no value is left out. */
export function facts(rows: [string, Child][]): HTMLElement {
  const list = h("dl", { class: "facts" });
  for (const [name, value] of rows)
    if (value !== "" && value !== null && value !== false)
      append(list, [h("dt", {}, name), h("dd", {}, value)]);
  return list;
}

interface Kept {
  el: HTMLElement;
  seen: string;
}

const kept = new WeakMap<Element, Map<string, Kept>>();

/**
 * Makes the children of `parent` show `items`, touching only what differs, so that focus, open
 * <details>, selection and scroll position survive a live update.
 */
export function keyed<T>(
  parent: Element,
  items: readonly T[],
  keyOf: (item: T, index: number) => string,
  render: (item: T) => HTMLElement,
): void {
  const before = kept.get(parent) ?? new Map<string, Kept>();
  const after = new Map<string, Kept>();
  items.forEach((item, index) => {
    let key = keyOf(item, index);
    while (after.has(key)) key += "+";
    const seen = JSON.stringify(item);
    const old = before.get(key);
    if (old && old.seen === seen) after.set(key, old);
    else after.set(key, { el: old ? swap(old.el, render(item)) : render(item), seen });
  });
  place(parent, [...after.values()].map((k) => k.el));
  kept.set(parent, after);
}

/** Puts `fresh` where `old` is, with what the reader had opened and focused. */
function swap(old: HTMLElement, fresh: HTMLElement): HTMLElement {
  const opened = old.querySelectorAll("details");
  fresh.querySelectorAll("details").forEach((d, i) => {
    const was = opened[i];
    if (was) d.open = was.open;
  });
  const targets = (el: HTMLElement) => el.querySelectorAll<HTMLElement>("a, button, summary");
  const focused = [...targets(old)].indexOf(document.activeElement as HTMLElement);
  old.replaceWith(fresh);
  if (focused >= 0) targets(fresh)[focused]?.focus({ preventScroll: true });
  return fresh;
}

/** Orders the children with the fewest moves: moving an element would drop its focus. */
function place(parent: Element, wanted: HTMLElement[]): void {
  const keep = new Set<Element>(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  let at: Element | null = parent.firstElementChild;
  for (const el of wanted) {
    if (el !== at) {
      if (el.contains(document.activeElement)) moveAround(parent, el, at);
      else parent.insertBefore(el, at);
    }
    at = el.nextElementSibling;
  }
}

/** Brings `el` before `at` by moving what lies between, so that `el` itself stays in the tree. */
function moveAround(parent: Element, el: Element, at: Element | null): void {
  const between: Element[] = [];
  for (let e = at; e && e !== el; e = e.nextElementSibling) between.push(e);
  for (const e of between.reverse()) parent.insertBefore(e, el.nextElementSibling);
}

/** Which items a list has when it has not all: "the newest 500 messages"; and where the others are. */
export interface Part {
  these: string;
  note?: string;
  others?: { text: string; href: string };
}

function partNote({ these, note = "", others }: Part): HTMLElement {
  const where = others !== undefined && h("a", { href: others.href }, others.text);
  return h("p", { class: "quiet part" }, `Only ${these} are here. ${note} `, where);
}

/** A list that shows its first `limit` items until it is asked for all of them. */
export class LongList<T> {
  readonly el = h("div", {});
  private readonly list = h("ul", { class: "plain" });
  private readonly empty = h("p", { class: "quiet" });
  private readonly more = h("button", { type: "button", class: "small", click: () => this.all() });
  private readonly note = h("div", {});
  private items: readonly T[] = [];
  private part: Part | null = null;

  constructor(
    nothing: string,
    private limit: number,
    private readonly keyOf: (item: T) => string,
    private readonly render: (item: T) => HTMLElement,
  ) {
    this.empty.textContent = nothing;
    this.el.append(this.empty, this.list, this.more, this.note);
  }

  /** `part`: there are more than these. */
  set(items: readonly T[], part: Part | null): void {
    this.items = items;
    this.part = part;
    this.empty.hidden = items.length > 0;
    this.more.hidden = items.length <= this.limit;
    this.more.textContent = `Show ${part?.these ?? `all ${items.length.toLocaleString("en")}`}`;
    keyed(this.list, items.slice(0, this.limit), this.keyOf, this.render);
    keyed(this.note, part ? [part] : [], () => "part", partNote);
  }

  private all(): void {
    this.limit = Infinity;
    this.set(this.items, this.part);
  }
}
