/**
 * Patterns for whole AS paths, written like file globs: `*` stands for any number of ASes, `+` for one or more, `?` for
 * one, `64512` for itself, `4242420000..4242429999` for one of a range, `{64512|64513}` for one of several.
 * `64512 * 64601` is a path that begins with AS 64512 and ends at AS 64601. No back-tracking: the time a path takes is
 * its length times the pattern's.
 */

import type { AsPath } from '../wire/attribute/as-path.ts';
import type { NumberRange } from './rule.ts';

/** What one place of a path may be; `repeats` = this and any number of further ASes. */
interface Part {
  readonly ranges: readonly NumberRange[] | undefined;
  readonly repeats: boolean;
  /** At least one AS. */
  readonly isNeeded: boolean;
}

const MAX_ASN = 0xffffffff;

/** A pattern made ready, or the reason why it is none. */
export class PathPattern {
  readonly #parts: readonly Part[];

  private constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  /** @returns words for people when the text is not a pattern */
  static parse(text: string): PathPattern | string {
    const parts: Part[] = [];
    for (const word of text.split(/\s+/)) {
      if (word === '') continue;
      const part = partOf(word);
      if (part === undefined) return `"${word}" is no part of a path pattern (an AS, FROM..TO, {A|B}, ?, + or *)`;
      parts.push(part);
    }
    return new PathPattern(parts);
  }

  matches(path: AsPath): boolean {
    const parts = this.#parts;
    // Places in the pattern that the path so far may have reached.
    let at = new Uint8Array(parts.length + 1);
    at[0] = 1;
    this.#skip(at);
    for (const segment of path) {
      for (const asn of segment.asns) {
        const next = new Uint8Array(parts.length + 1);
        for (let i = 0; i < parts.length; i++) {
          if (at[i] === 0) continue;
          const { ranges, repeats } = parts[i]!;
          if (ranges !== undefined && !ranges.some((r) => asn >= r.min && asn <= r.max)) continue;
          next[i + 1] = 1;
          if (repeats) next[i] = 1;
        }
        this.#skip(next);
        at = next;
      }
    }
    return at[parts.length] === 1;
  }

  /** Parts that may stand for nothing can be passed over. */
  #skip(at: Uint8Array): void {
    for (let i = 0; i < this.#parts.length; i++) if (at[i] === 1 && !this.#parts[i]!.isNeeded) at[i + 1] = 1;
  }
}

function partOf(word: string): Part | undefined {
  if (word === '*') return { ranges: undefined, repeats: true, isNeeded: false };
  if (word === '+') return { ranges: undefined, repeats: true, isNeeded: true };
  if (word === '?') return { ranges: undefined, repeats: false, isNeeded: true };
  const choices = word.startsWith('{') && word.endsWith('}') ? word.slice(1, -1).split('|') : [word];
  const ranges = choices.map(rangeOf);
  return ranges.every((r) => r !== undefined) ? { ranges, repeats: false, isNeeded: true } : undefined;
}

/** Numbers of "64512" or "64512..64520". */
export function rangeOf(text: string): NumberRange | undefined {
  const m = /^(\d{1,10})(?:\.\.(\d{1,10}))?$/.exec(text);
  if (m === null) return undefined;
  const min = Number(m[1]);
  const max = m[2] === undefined ? min : Number(m[2]);
  return max > MAX_ASN || min > max ? undefined : { min, max };
}
