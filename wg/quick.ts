/**
 * wg-quick(8) files, read and written. Every complaint is a value with its place, so that a caller can show all of them
 * at once. Commands (PostUp and its like) are never run: they come back as warnings. Does not resolve names.
 */
import { Addr, Prefix } from '../router/lib/addr.ts';
import { nearest } from '../router/lib/nearest.ts';
import { formatKey, parseKey, publicKey } from './keys.ts';
import type { WgDeviceConfig, WgEndpoint, WgPeerConfig } from './model.ts';

/** A place in the text: line and column count from 1. */
export interface QuickProblem {
  readonly line: number;
  readonly column: number;
  readonly length: number;
  readonly message: string;
}

export interface QuickAddress {
  readonly addr: Addr;
  readonly prefix: Prefix;
}

export interface QuickConfig {
  readonly device: WgDeviceConfig;
  readonly addresses: readonly QuickAddress[];
  readonly dns: readonly Addr[];
  readonly dnsSearch: readonly string[];
  readonly mtu: number | undefined;
  /** `auto`: allowed IPs become routes of the main table; a number: of that table; `off`: they become none. */
  readonly table: 'auto' | 'off' | number;
}

export interface QuickResult {
  /** Undefined when there is any error. */
  readonly config: QuickConfig | undefined;
  readonly errors: readonly QuickProblem[];
  readonly warnings: readonly QuickProblem[];
}

const INTERFACE_KEYS = [
  'PrivateKey',
  'ListenPort',
  'FwMark',
  'Address',
  'DNS',
  'MTU',
  'Table',
  'PreUp',
  'PostUp',
  'PreDown',
  'PostDown',
  'SaveConfig',
] as const;
const PEER_KEYS = ['PublicKey', 'PresharedKey', 'AllowedIPs', 'Endpoint', 'PersistentKeepalive'] as const;
const COMMANDS = new Set(['PreUp', 'PostUp', 'PreDown', 'PostDown']);
const LISTS = new Set(['Address', 'DNS', 'AllowedIPs']);

const MIN_MTU = 68; // RFC 791: what every module must forward
const MAX_MTU = 65471;

/** A value and its place. */
interface Piece {
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

interface PeerDraft {
  readonly at: Piece;
  name: string | undefined;
  publicKey: Uint8Array | undefined;
  presharedKey: Uint8Array | undefined;
  endpoint: WgEndpoint | undefined;
  readonly allowedIps: Prefix[];
  keepaliveS: number;
  readonly seen: Set<string>;
}

/** Parse the text of a wg-quick file. */
export function parseQuick(text: string): QuickResult {
  return new QuickParser().parse(text);
}

class QuickParser {
  readonly #errors: QuickProblem[] = [];
  readonly #warnings: QuickProblem[] = [];
  readonly #peers: PeerDraft[] = [];
  readonly #addresses: QuickAddress[] = [];
  readonly #dns: Addr[] = [];
  readonly #dnsSearch: string[] = [];
  readonly #seen = new Set<string>();
  #section: 'none' | 'interface' | 'peer' | 'unknown' = 'none';
  #interfaceAt: Piece | undefined;
  #privateKey: Uint8Array | undefined;
  #listenPort = 0;
  #fwmark = 0;
  #mtu: number | undefined;
  #table: 'auto' | 'off' | number = 'auto';

  parse(text: string): QuickResult {
    const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
    for (let i = 0; i < lines.length; i++) this.#line(lines[i]!, i + 1);
    const device = this.#finish();
    const failed = this.#errors.length > 0 || device === undefined;
    return {
      config: failed
        ? undefined
        : {
            device,
            addresses: this.#addresses,
            dns: this.#dns,
            dnsSearch: this.#dnsSearch,
            mtu: this.#mtu,
            table: this.#table,
          },
      errors: this.#errors,
      warnings: this.#warnings,
    };
  }

  #line(raw: string, line: number): void {
    const hash = raw.indexOf('#');
    if (hash >= 0) this.#comment(raw.slice(hash + 1));
    const code = hash < 0 ? raw : raw.slice(0, hash);
    const piece = trimmed(code, line, 1);
    if (piece.text === '') return;
    if (piece.text.startsWith('[')) {
      this.#open(piece);
      return;
    }
    const eq = code.indexOf('=');
    if (eq < 0) {
      this.#error(piece, 'expected "Key = Value"');
      return;
    }
    const key = trimmed(code.slice(0, eq), line, 1);
    const value = trimmed(code.slice(eq + 1), line, eq + 2);
    if (this.#section === 'none') this.#error(key, `${key.text} stands before the first section`);
    else if (this.#section !== 'unknown') this.#entry(key, value);
  }

  /** Tools that know names write them as "# friendly_name = X" or "# Name = X" into a peer's section. */
  #comment(text: string): void {
    const m = /^\s*(?:friendly_name|name)\s*=\s*(.+?)\s*$/i.exec(text);
    const peer = this.#peers.at(-1);
    if (m !== null && this.#section === 'peer' && peer !== undefined) peer.name ??= m[1];
  }

  #open(piece: Piece): void {
    const name = piece.text.toLowerCase();
    if (name === '[interface]') {
      if (this.#interfaceAt !== undefined) this.#error(piece, '[Interface] is given twice');
      this.#interfaceAt ??= piece;
      this.#section = 'interface';
    } else if (name === '[peer]') {
      this.#section = 'peer';
      this.#peers.push({
        at: piece,
        name: undefined,
        publicKey: undefined,
        presharedKey: undefined,
        endpoint: undefined,
        allowedIps: [],
        keepaliveS: 0,
        seen: new Set(),
      });
    } else {
      this.#section = 'unknown';
      this.#error(piece, `unknown section ${piece.text}: expected [Interface] or [Peer]`);
    }
  }

  #entry(key: Piece, value: Piece): void {
    const known: readonly string[] = this.#section === 'interface' ? INTERFACE_KEYS : PEER_KEYS;
    const name = known.find((k) => k.toLowerCase() === key.text.toLowerCase());
    if (name === undefined) {
      const hint = nearest(key.text, known);
      // A longer word may be key material on a mangled line: it is not repeated.
      const shown = key.text.length > 24 ? '' : ` ${key.text}`;
      this.#error(key, `unknown key${shown}${hint === undefined ? '' : ` (did you mean ${hint}?)`}`);
      return;
    }
    const peer = this.#section === 'peer' ? this.#peers.at(-1) : undefined;
    const seen = peer?.seen ?? this.#seen;
    if (COMMANDS.has(name)) {
      this.#warn(key, `${name} is ignored: commands are never run`);
      return;
    }
    if (seen.has(name) && !LISTS.has(name)) this.#warn(key, `${name} is given twice; the last one counts`);
    seen.add(name);
    if (value.text === '' && name !== 'AllowedIPs') {
      this.#error(key, `${name} has no value`);
      return;
    }
    if (peer === undefined) this.#interfaceEntry(name, key, value);
    else this.#peerEntry(peer, name, value);
  }

  #interfaceEntry(name: string, key: Piece, value: Piece): void {
    switch (name) {
      case 'PrivateKey':
        this.#privateKey = this.#key(value, 'PrivateKey') ?? this.#privateKey;
        break;
      case 'ListenPort':
        this.#listenPort = this.#number(value, 'port', 0, 65535) ?? 0;
        break;
      case 'FwMark':
        this.#fwmark = value.text.toLowerCase() === 'off' ? 0 : (this.#number(value, 'mark', 0, 0xffffffff) ?? 0);
        break;
      case 'Address':
        for (const piece of this.#list(value)) {
          const parsed = Prefix.parseLoose(piece.text);
          if (parsed === undefined) this.#error(piece, `"${piece.text}" is not an address with a prefix length`);
          else this.#addresses.push(parsed);
        }
        break;
      case 'DNS':
        for (const piece of this.#list(value)) {
          const addr = Addr.parse(piece.text);
          if (addr !== undefined) this.#dns.push(addr);
          else if (isHostName(piece.text) && !/^[\d.]+$/.test(piece.text)) this.#dnsSearch.push(piece.text);
          else this.#error(piece, `"${piece.text}" is neither an address nor a search domain`);
        }
        break;
      case 'MTU':
        this.#mtu = this.#number(value, 'MTU', MIN_MTU, MAX_MTU);
        break;
      case 'Table': {
        const word = value.text.toLowerCase();
        this.#table =
          word === 'auto' || word === 'off' ? word : (this.#number(value, 'table', 1, 0xffffffff) ?? 'auto');
        break;
      }
      case 'SaveConfig':
        if (!/^(true|false)$/i.test(value.text)) this.#error(value, 'SaveConfig is true or false');
        else if (value.text.toLowerCase() === 'true')
          this.#warn(key, 'SaveConfig is ignored: the file is never written');
        break;
    }
  }

  #peerEntry(peer: PeerDraft, name: string, value: Piece): void {
    switch (name) {
      case 'PublicKey':
        peer.publicKey = this.#key(value, 'PublicKey');
        break;
      case 'PresharedKey':
        peer.presharedKey = this.#key(value, 'PresharedKey');
        break;
      case 'AllowedIPs':
        for (const piece of this.#list(value)) {
          const parsed = Prefix.parseLoose(piece.text);
          if (parsed === undefined) this.#error(piece, `"${piece.text}" is not a prefix`);
          else peer.allowedIps.push(parsed.prefix);
        }
        break;
      case 'Endpoint': {
        const endpoint = parseEndpoint(value.text);
        if (endpoint === undefined)
          this.#error(value, `"${value.text}" is not HOST:PORT (an IPv6 address stands in brackets)`);
        else peer.endpoint = endpoint;
        break;
      }
      case 'PersistentKeepalive':
        peer.keepaliveS = value.text.toLowerCase() === 'off' ? 0 : (this.#number(value, 'interval', 0, 65535) ?? 0);
        break;
    }
  }

  #finish(): WgDeviceConfig | undefined {
    if (this.#interfaceAt === undefined) {
      this.#error({ text: ' ', line: 1, column: 1 }, 'there is no [Interface] section');
      return undefined;
    }
    if (!this.#seen.has('PrivateKey')) this.#error(this.#interfaceAt, '[Interface] has no PrivateKey');
    const keys = new Set<string>();
    const ours = this.#privateKey && formatKey(publicKey(this.#privateKey));
    const peers: WgPeerConfig[] = [];
    for (const draft of this.#peers) {
      if (draft.publicKey === undefined) {
        if (!draft.seen.has('PublicKey')) this.#error(draft.at, '[Peer] has no PublicKey');
        continue;
      }
      const id = formatKey(draft.publicKey);
      if (keys.has(id)) this.#error(draft.at, 'an earlier [Peer] has the same PublicKey');
      if (id === ours) this.#error(draft.at, '[Peer] has our own PublicKey');
      keys.add(id);
      peers.push({
        name: draft.name,
        publicKey: draft.publicKey,
        presharedKey: draft.presharedKey,
        endpoint: draft.endpoint,
        allowedIps: draft.allowedIps,
        keepaliveS: draft.keepaliveS,
      });
    }
    if (this.#privateKey === undefined) return undefined;
    return { privateKey: this.#privateKey, listenPort: this.#listenPort, fwmark: this.#fwmark, peers };
  }

  #list(value: Piece): Piece[] {
    const out: Piece[] = [];
    let at = 0;
    if (value.text === '') return out;
    for (const part of value.text.split(',')) {
      const piece = trimmed(part, value.line, value.column + at);
      if (piece.text === '') this.#error({ ...piece, text: ',' }, 'an empty entry in a list');
      else out.push(piece);
      at += part.length + 1;
    }
    return out;
  }

  /** A key's text is never repeated in the message. */
  #key(value: Piece, name: string): Uint8Array | undefined {
    const key = parseKey(value.text);
    if (key === undefined) this.#error(value, `${name} is not a key: expected 44 characters of base64`);
    return key;
  }

  #number(value: Piece, what: string, min: number, max: number): number | undefined {
    const n = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(value.text) ? Number(value.text) : Number.NaN;
    if (n >= min && n <= max) return n;
    this.#error(value, `"${value.text}" is no ${what} (${min} to ${max})`);
    return undefined;
  }

  #error(at: Piece, message: string): void {
    this.#errors.push({ line: at.line, column: at.column, length: Math.max(1, at.text.length), message });
  }

  #warn(at: Piece, message: string): void {
    this.#warnings.push({ line: at.line, column: at.column, length: Math.max(1, at.text.length), message });
  }
}

function trimmed(text: string, line: number, column: number): Piece {
  const start = text.length - text.trimStart().length;
  return { text: text.trim(), line, column: column + start };
}

function isHostName(text: string): boolean {
  return /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/.test(text);
}

/** HOST:PORT, where an IPv6 address stands in brackets and may carry a zone. */
export function parseEndpoint(text: string): WgEndpoint | undefined {
  const m = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (m === null) return undefined;
  const port = Number(m[3]);
  if (port < 1 || port > 65535) return undefined;
  if (m[1] !== undefined) {
    const percent = m[1].indexOf('%');
    const addr = Addr.parse(percent < 0 ? m[1] : m[1].slice(0, percent));
    return addr?.family === 6 ? { host: m[1], port } : undefined;
  }
  const host = m[2]!;
  if (/^[\d.]+$/.test(host)) return Addr.parse(host) === undefined ? undefined : { host, port };
  return isHostName(host) ? { host, port } : undefined;
}

export function formatEndpoint(e: WgEndpoint): string {
  return e.host.includes(':') ? `[${e.host}]:${e.port}` : `${e.host}:${e.port}`;
}
