/**
 * Reads files of ROAs in the forms that are in use, a piece at a time:
 *  - JSON with a list `roas` of {prefix, maxLength, asn}: dn42regsrv, rpki-client, Routinator, OctoRPKI, StayRTR;
 *  - BIRD's `route PREFIX max LENGTH as ASN;`, and the `roa PREFIX max LENGTH as ASN;` of BIRD 1.
 * Takes text in pieces so that a file of any size never holds the event loop. Does not open files.
 */

import { Prefix } from '../../router/lib/addr.ts';
import { VrpList } from './vrp.ts';

/** A mistake in a file. The file counts as unreadable: half of a list of ROAs would make valid routes invalid. */
export class RoaFileError extends Error {
  /** Counted from 1. */
  readonly line: number;

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

/** No ROA is nearly as long; bounds what a broken file makes us keep. */
const MAX_ITEM = 64 * 1024;
const MAX_ASN = 0xffffffff;

export class RoaFileReader {
  readonly #list = new VrpList();
  #reader: JsonReader | LineReader | undefined;
  #start = '';

  /** @throws RoaFileError */
  push(text: string): void {
    if (this.#reader === undefined) {
      this.#start += text;
      const first = this.#start.trimStart();
      if (first === '') return;
      this.#reader = first.startsWith('{') ? new JsonReader(this.#list) : new LineReader(this.#list);
      this.#reader.push(this.#start);
      this.#start = '';
    } else this.#reader.push(text);
  }

  /**
   * The file is at its end.
   * @throws RoaFileError
   */
  end(): VrpList {
    if (this.#reader === undefined) throw new RoaFileError(1, 'the file is empty');
    this.#reader.end();
    return this.#list;
  }
}

/** The whole text at once. @throws RoaFileError */
export function parseRoas(text: string): VrpList {
  const reader = new RoaFileReader();
  reader.push(text);
  return reader.end();
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;

/** Finds the objects of the list `roas` of the outermost object; everything else is passed over. */
class JsonReader {
  readonly #list: VrpList;
  #line = 1;
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  /** Text of the string or item being read. */
  #kept = '';
  #keeps = false;
  /** The last string of the outermost object, and the key whose value comes next. */
  #word = '';
  #key = '';
  #inRoas = false;
  #hasRoas = false;
  #itemLine = 1;
  #isDone = false;

  constructor(list: VrpList) {
    this.#list = list;
  }

  push(text: string): void {
    let from = this.#keeps ? 0 : -1;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (this.#inString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (c === BACKSLASH) this.#isEscaped = true;
        else if (c === QUOTE) {
          this.#inString = false;
          if (this.#depth === 1) {
            this.#word = this.#kept + text.slice(from, i);
            from = this.#forget();
          }
        }
        continue;
      }
      if (c <= 0x20) {
        if (c === NEWLINE) this.#line++;
        continue;
      }
      if (this.#isDone) throw this.#error('something follows the end of the document');
      const awaitsList = this.#depth === 1 && this.#key === 'roas';
      if (awaitsList && c !== 0x5b) throw this.#error('"roas" is not a list');
      if (c === QUOTE) {
        this.#inString = true;
        if (this.#depth === 1) from = this.#keep(i + 1);
        else if (this.#inRoas && this.#depth === 2) throw this.#error('expected a ROA');
      } else if (c === 0x7b || c === 0x5b) {
        if (awaitsList) {
          this.#inRoas = true;
          this.#hasRoas = true;
          this.#key = '';
        } else if (this.#inRoas && this.#depth === 2) {
          if (c !== 0x7b) throw this.#error('expected a ROA');
          this.#itemLine = this.#line;
          from = this.#keep(i);
        }
        this.#depth++;
      } else if (c === 0x7d || c === 0x5d) {
        this.#depth--;
        if (this.#inRoas && this.#depth === 2) {
          this.#item(this.#kept + text.slice(from, i + 1));
          from = this.#forget();
        } else if (this.#depth === 1) this.#inRoas = false;
        else if (this.#depth === 0) this.#isDone = true;
      } else if (this.#inRoas && this.#depth === 2) {
        if (c !== 0x2c) throw this.#error('expected a ROA');
      } else if (this.#depth === 1) this.#key = c === 0x3a ? this.#word : '';
    }
    if (!this.#keeps) return;
    this.#kept += text.slice(from);
    if (this.#kept.length > MAX_ITEM) throw this.#error('no ROA is this long');
  }

  end(): void {
    if (!this.#isDone) throw this.#error('the file is cut short');
    if (!this.#hasRoas) throw new RoaFileError(1, 'no list "roas"');
  }

  #keep(at: number): number {
    this.#keeps = true;
    this.#kept = '';
    return at;
  }

  #forget(): number {
    this.#keeps = false;
    this.#kept = '';
    return -1;
  }

  #item(text: string): void {
    let item: unknown;
    try {
      item = JSON.parse(text);
    } catch (e) {
      throw new RoaFileError(this.#itemLine, (e as Error).message);
    }
    const { prefix, maxLength, asn } = item as Record<string, unknown>;
    if (typeof prefix !== 'string') throw new RoaFileError(this.#itemLine, 'a ROA without "prefix"');
    addRoa(this.#list, this.#itemLine, prefix, maxLength, asn);
  }

  #error(message: string): RoaFileError {
    return new RoaFileError(this.#line, message);
  }
}

const ROUTE = /^(?:route|roa)\s+(\S+)\s+max\s+(\d+)\s+as\s+(\w+)\s*;$/i;

/** One ROA per line; comments and empty lines are passed over. */
class LineReader {
  readonly #list: VrpList;
  #line = 0;
  #rest = '';

  constructor(list: VrpList) {
    this.#list = list;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#take(line);
    if (this.#rest.length > MAX_ITEM) throw new RoaFileError(this.#line + 1, 'no ROA is this long');
  }

  end(): void {
    if (this.#rest !== '') this.#take(this.#rest);
  }

  #take(whole: string): void {
    this.#line++;
    const line = whole.replace(/#.*/, '').trim();
    if (line === '') return;
    const m = ROUTE.exec(line);
    if (m === null)
      throw new RoaFileError(this.#line, `expected "route PREFIX max LENGTH as ASN;", got "${line.slice(0, 60)}"`);
    addRoa(this.#list, this.#line, m[1]!, Number(m[2]), m[3]!);
  }
}

function addRoa(list: VrpList, line: number, text: string, max: unknown, as: unknown): void {
  const loose = Prefix.parseLoose(text);
  if (loose === undefined || !text.includes('/')) throw new RoaFileError(line, `"${text}" is not a prefix`);
  const { prefix } = loose;
  if (!prefix.addr.equals(loose.addr)) throw new RoaFileError(line, `host bits set in ${text}`);
  // rpki-client leaves it out where it is the prefix length.
  const maxLength = max ?? prefix.length;
  const most = prefix.family === 4 ? 32 : 128;
  if (typeof maxLength !== 'number' || !Number.isInteger(maxLength) || maxLength < prefix.length || maxLength > most)
    throw new RoaFileError(line, `maximum length ${String(max)} of ${prefix} is not in ${prefix.length}-${most}`);
  const asn = asnOf(as);
  if (asn === undefined) throw new RoaFileError(line, `"${String(as)}" is not an AS number`);
  list.addVrp({ prefix, maxLength, asn });
}

/** A number, or text with or without "AS"; 0 is one too (RFC 6483 §4). */
function asnOf(as: unknown): number | undefined {
  if (typeof as === 'number') return Number.isInteger(as) && as >= 0 && as <= MAX_ASN ? as : undefined;
  if (typeof as !== 'string') return undefined;
  const m = /^(?:AS)?(\d{1,10})$/i.exec(as);
  return m !== null && Number(m[1]) <= MAX_ASN ? Number(m[1]) : undefined;
}
