/**
 * Commands of BIRD's control socket, as looking glasses, exporters and people with birdc send them: words are whole,
 * options of `show route` come in any order. Parses; answers nothing.
 */
import { Addr, type Prefix, Prefix as PrefixValue } from '../lib/addr.ts';

/** What `show route` is asked about. */
export interface RouteCommand {
  readonly kind: 'routes';
  /** The longest prefix that holds this one. */
  readonly for?: Addr | Prefix;
  /** Exactly this prefix. */
  readonly net?: Prefix;
  /** This prefix and all inside it. */
  readonly in?: Prefix;
  /** The same two as conditions: all tables are looked at, and finding nothing is no failure. */
  readonly whereNet?: Prefix;
  readonly whereIn?: Prefix;
  readonly protocol?: string;
  /** What a peer is told, or is not told. */
  readonly export?: string;
  readonly noExport?: string;
  readonly tables?: readonly string[];
  /** Last AS of the path. */
  readonly lastAs?: number;
  readonly all: boolean;
  readonly primary: boolean;
  readonly filtered: boolean;
  readonly count: boolean;
  readonly stats: boolean;
}

/** An order about protocols whose name is `name`, matches it as a pattern, or all. */
export interface OrderCommand {
  readonly kind: 'enable' | 'disable' | 'restart' | 'reload';
  readonly name: ProtocolName;
  readonly direction: 'in' | 'out' | 'both';
  /** Told to the peer (RFC 9003). */
  readonly text: string;
}

/** A plain name, a pattern with * and ?, or all. */
export type ProtocolName = { readonly name: string } | { readonly pattern: string } | 'all';

export type BirdCommand =
  | { readonly kind: 'restrict' | 'status' | 'memory' }
  | { readonly kind: 'symbols'; readonly of: 'all' | 'table' | 'protocol'; readonly name: string | undefined }
  | { readonly kind: 'protocols'; readonly name: ProtocolName; readonly all: boolean }
  | {
      readonly kind: 'configure';
      readonly what: 'load' | 'check' | 'confirm' | 'undo';
      readonly timeoutS: number | undefined;
    }
  | RouteCommand
  | OrderCommand;

/** A command that cannot be understood, in BIRD's words. */
export class Mistake {
  /** Tells it from a command, some of which have a text too. */
  readonly isMistake = true;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

interface Token {
  readonly text: string;
  readonly isQuoted: boolean;
}

/** Longest command taken. */
export const MAX_COMMAND = 4096;

/** The command of a line without its end. */
export function parseCommand(line: string): BirdCommand | Mistake {
  const words = tokens(line);
  if (words === undefined) return new Mistake('Unterminated string');
  const t = new Tokens(words);
  const command = commandOf(t);
  if (command instanceof Mistake) return command;
  return t.isEnd ? command : unexpected(t.peek);
}

function commandOf(t: Tokens): BirdCommand | Mistake {
  const first = t.next();
  switch (first?.text) {
    case 'restrict':
      return { kind: 'restrict' };
    case 'show':
      return showOf(t);
    case 'enable':
    case 'disable':
    case 'restart':
      return orderOf(first.text, t);
    case 'reload': {
      const direction = t.take('in') ? 'in' : t.take('out') ? 'out' : 'both';
      const order = orderOf('reload', t);
      return order instanceof Mistake ? order : { ...order, direction };
    }
    case 'configure':
      return configureOf(t);
    default:
      return unexpected(first);
  }
}

function showOf(t: Tokens): BirdCommand | Mistake {
  const what = t.next();
  switch (what?.text) {
    case 'status':
    case 'memory':
      return { kind: what.text };
    case 'symbols': {
      const of = t.take('table') ? 'table' : t.take('protocol') ? 'protocol' : 'all';
      return { kind: 'symbols', of, name: of === 'all' ? t.next()?.text : undefined };
    }
    case 'protocols': {
      const all = t.take('all');
      return { kind: 'protocols', name: t.isEnd ? 'all' : nameOf(t.next()!), all };
    }
    case 'route':
      return routesOf(t);
    default:
      return unexpected(what);
  }
}

function nameOf(word: Token): ProtocolName {
  return word.isQuoted ? { pattern: word.text } : { name: word.text };
}

function orderOf(kind: OrderCommand['kind'], t: Tokens): OrderCommand | Mistake {
  const word = t.next();
  if (word === undefined) return unexpected(word);
  const text = t.peek?.isQuoted === true ? t.next()!.text : '';
  const isAll = word.text === 'all' && !word.isQuoted;
  return { kind, name: isAll ? 'all' : nameOf(word), direction: 'both', text };
}

function configureOf(t: Tokens): BirdCommand | Mistake {
  const what = t.take('check') ? 'check' : t.take('confirm') ? 'confirm' : t.take('undo') ? 'undo' : 'load';
  if (what === 'load') t.take('soft');
  let timeoutS: number | undefined;
  if (what === 'load' && t.take('timeout')) timeoutS = /^\d+$/.test(t.peek?.text ?? '') ? Number(t.next()!.text) : 300;
  return { kind: 'configure', what, timeoutS };
}

function routesOf(t: Tokens): RouteCommand | Mistake {
  const c: { -readonly [K in keyof RouteCommand]: RouteCommand[K] } = {
    kind: 'routes',
    all: false,
    primary: false,
    filtered: false,
    count: false,
    stats: false,
  };
  const tables: string[] = [];
  for (let word = t.next(); word !== undefined; word = t.next()) {
    switch (word.text) {
      case 'all':
      case 'primary':
      case 'filtered':
      case 'count':
      case 'stats':
        c[word.text] = true;
        break;
      case 'table':
        tables.push(t.next()?.text ?? '');
        break;
      case 'protocol':
        c.protocol = t.next()?.text ?? '';
        break;
      case 'export':
        c.export = t.next()?.text ?? '';
        break;
      case 'noexport':
        c.noExport = t.next()?.text ?? '';
        break;
      case 'for': {
        const what = t.next()?.text ?? '';
        const addr = what.includes('/') ? undefined : Addr.parse(what);
        const prefix = addr ?? prefixOf(what);
        if (prefix instanceof Mistake) return prefix;
        c.for = prefix;
        break;
      }
      case 'in': {
        const prefix = prefixOf(t.next()?.text ?? '');
        if (prefix instanceof Mistake) return prefix;
        c.in = prefix;
        break;
      }
      case 'where': {
        const bad = whereOf(t, c);
        if (bad !== undefined) return bad;
        break;
      }
      default: {
        if (!/^[0-9a-fA-F:.]+(\/\d+)?$/.test(word.text)) return unexpected(word);
        const prefix = prefixOf(word.text);
        if (prefix instanceof Mistake) return prefix;
        c.net = prefix;
      }
    }
  }
  if (tables.length > 0) c.tables = tables;
  return c;
}

/** The conditions looking glasses ask for: `net ~ P`, `net ~ [ P+ ]`, `net = P`, `bgp_path.last = N`. */
function whereOf(t: Tokens, c: { whereIn?: Prefix; whereNet?: Prefix; lastAs?: number }): Mistake | undefined {
  const what = t.next();
  const operator = t.next();
  if (what?.text === 'bgp_path.last' && operator?.text === '=' && /^\d+$/.test(t.peek?.text ?? '')) {
    c.lastAs = Number(t.next()!.text);
    return undefined;
  }
  if (what?.text !== 'net' || (operator?.text !== '~' && operator?.text !== '=')) return unexpected(what);
  const isSet = t.take('[');
  const word = t.next()?.text ?? '';
  if (isSet && !t.take(']')) return unexpected(t.peek);
  const prefix = prefixOf(word.replace(/\+$/, ''));
  if (prefix instanceof Mistake) return prefix;
  // A set without `+` holds the prefix itself; a plain prefix holds all inside it.
  if (operator.text === '~' && (!isSet || word.endsWith('+'))) c.whereIn = prefix;
  else c.whereNet = prefix;
  return undefined;
}

function prefixOf(text: string): Prefix | Mistake {
  const loose = text.includes('/') ? PrefixValue.parseLoose(text) : undefined;
  if (loose === undefined) return unexpected({ text, isQuoted: false });
  if (loose.addr.equals(loose.prefix.addr)) return loose.prefix;
  const family = loose.prefix.family === 4 ? 'IPv4' : 'IPv6';
  return new Mistake(`Invalid ${family} prefix ${text}, maybe you wanted ${loose.prefix}`);
}

function unexpected(word: Token | undefined): Mistake {
  const what =
    word === undefined || word.text === ''
      ? 'END'
      : word.isQuoted
        ? 'TEXT'
        : /^\d+$/.test(word.text)
          ? 'NUM'
          : /^[A-Za-z_][\w-]*$/.test(word.text)
            ? 'CF_SYM_UNDEFINED'
            : `'${word.text[0]}'`;
  return new Mistake(`syntax error, unexpected ${what}`);
}

class Tokens {
  readonly #all: readonly Token[];
  #at = 0;

  constructor(all: readonly Token[]) {
    this.#all = all;
  }

  get isEnd(): boolean {
    return this.#at >= this.#all.length;
  }

  get peek(): Token | undefined {
    return this.#all[this.#at];
  }

  next(): Token | undefined {
    return this.#all[this.#at++];
  }

  /** Whether the next word is this one; it is passed then. */
  take(word: string): boolean {
    if (this.peek?.text !== word || this.peek.isQuoted) return false;
    this.#at++;
    return true;
  }
}

/** Words, quoted texts, and brackets as words of their own; undefined when a text does not end. */
function tokens(line: string): Token[] | undefined {
  const out: Token[] = [];
  const pattern = /\s+|#.*$|"([^"]*)"|[[\]]|[^\s"[\]#;]+|(")|;/gy;
  for (let m = pattern.exec(line); m !== null; m = pattern.exec(line)) {
    if (m[2] !== undefined) return undefined;
    if (m[1] !== undefined) out.push({ text: m[1], isQuoted: true });
    else if (!/^(\s|#|;)/.test(m[0])) out.push({ text: m[0], isQuoted: false });
  }
  return out;
}
