/**
 * Learned path MTUs per destination (RFC 1191, RFC 8201). Fixed size, open addressing, entries expire after ten minutes.
 * Only errors that were matched with a flow of ours reach `learn`; matching is the caller's job.
 */

/** RFC 8201 §4: "an implementation SHOULD ... wait ... 10 minutes" before trying a larger size again. */
const LIFETIME_MS = 600_000;
const SLOTS = 1024;
/** Slots looked at per destination. */
const WINDOW = 8;
/** Deviation: Linux's floor (min_pmtu) instead of 68: smaller values are attacks in practice (pinned by path-mtu.test.ts). */
const FLOOR4 = 552;
/** RFC 8201 §4: "A node MUST NOT reduce its estimate of the Path MTU below the IPv6 minimum link MTU". */
const FLOOR6 = 1280;
/** RFC 1191 §7.1: plateaus, for routers that send no MTU. */
const PLATEAUS = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, FLOOR4];

/** vrf + 1, four address words, mtu, expiry: seven words per slot; a first word of 0 is an empty slot. */
const WORDS = 7;

export class PathMtuCache {
  readonly #slots = new Int32Array(SLOTS * WORDS);
  #used = 0;
  /** Grows whenever an answer changes. */
  generation = 0;

  /** Path MTU towards the address, at most `linkMtu`. */
  get(vrf: number, d0: number, d1: number, d2: number, d3: number, linkMtu: number): number {
    if (this.#used === 0) return linkMtu;
    const at = this.#find(vrf, d0, d1, d2, d3);
    return at < 0 ? linkMtu : Math.min(linkMtu, this.#slots[at + 5]!);
  }

  /**
   * A validated error says that packets of `quotedLength` octets did not fit.
   * @param mtu what the router says; 0 = it does not say (RFC 1191 §5)
   * @param current what we believed until now
   * @returns the new path MTU, or 0 when nothing changes
   */
  learn(
    vrf: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    mtu: number,
    quotedLength: number,
    current: number,
    nowMs: number,
  ): number {
    const isV4 = d0 === 0 && d1 === 0 && d2 === 0xffff;
    let next = mtu;
    if (isV4) {
      if (next === 0) next = plateauBelow(Math.min(quotedLength, current));
      if (next < FLOOR4) next = FLOOR4;
    } else if (next < FLOOR6) next = FLOOR6;
    if (next >= current) return 0;
    let at = this.#find(vrf, d0, d1, d2, d3);
    if (at < 0) at = this.#victim(vrf, d0, d1, d2, d3, nowMs);
    const s = this.#slots;
    if (s[at] === 0) this.#used++;
    s[at] = vrf + 1;
    s[at + 1] = d0;
    s[at + 2] = d1;
    s[at + 3] = d2;
    s[at + 4] = d3;
    s[at + 5] = next;
    s[at + 6] = (nowMs + LIFETIME_MS) | 0;
    this.generation = (this.generation + 1) | 0;
    return next;
  }

  /** Forget what has expired. Called about once a second. */
  expire(nowMs: number): void {
    if (this.#used === 0) return;
    const s = this.#slots;
    for (let at = 0; at < s.length; at += WORDS) {
      if (s[at] === 0 || ((nowMs - s[at + 6]!) | 0) < 0) continue;
      s[at] = 0;
      this.#used--;
      this.generation = (this.generation + 1) | 0;
    }
  }

  get size(): number {
    return this.#used;
  }

  // An entry lives in any slot of its window, empty ones may lie before it: every slot of the window is looked at.
  #find(vrf: number, d0: number, d1: number, d2: number, d3: number): number {
    const s = this.#slots;
    const home = slotOf(vrf, d0, d1, d2, d3);
    for (let i = 0; i < WINDOW; i++) {
      const at = ((home + i) & (SLOTS - 1)) * WORDS;
      if (s[at] === vrf + 1 && s[at + 4] === d3 && s[at + 1] === d0 && s[at + 2] === d1 && s[at + 3] === d2) return at;
    }
    return -1;
  }

  /** An empty slot of the window, or the one that expires first. */
  #victim(vrf: number, d0: number, d1: number, d2: number, d3: number, nowMs: number): number {
    const s = this.#slots;
    const home = slotOf(vrf, d0, d1, d2, d3);
    let best = (home & (SLOTS - 1)) * WORDS;
    for (let i = 0; i < WINDOW; i++) {
      const at = ((home + i) & (SLOTS - 1)) * WORDS;
      if (s[at] === 0) return at;
      if (((s[at + 6]! - nowMs) | 0) < ((s[best + 6]! - nowMs) | 0)) best = at;
    }
    return best;
  }
}

function slotOf(vrf: number, d0: number, d1: number, d2: number, d3: number): number {
  const h = Math.imul(d0 ^ vrf, 0x9e3779b1) ^ Math.imul(d1 ^ d2, 0x85ebca6b) ^ Math.imul(d3, 0xc2b2ae35);
  return (h ^ (h >>> 15)) & (SLOTS - 1);
}

function plateauBelow(length: number): number {
  for (const p of PLATEAUS) if (p < length) return p;
  return FLOOR4;
}
