/**
 * The other ends of BGP sessions, as a process of its own: replays encoded buffers from any number of loopback addresses,
 * and reads what is told to it. It does next to nothing per octet, so that it is never what is measured; how long it takes
 * against a reader that only counts octets is part of every report.
 * Orders come and reports go over the process's IPC channel; instants are CLOCK_MONOTONIC in milliseconds.
 */
import { readFileSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { Digest } from './bgp-digest.ts';
import { KEEPALIVE, open } from './bgp-encode.ts';

export type Order =
  /** Open a session from `local`; `digest` keeps what is told, to be compared. */
  | {
      readonly kind: 'open';
      readonly id: number;
      readonly local: string;
      readonly remote: string;
      readonly port: number;
      readonly asn: number;
      readonly digest: boolean;
    }
  /** Send a file's octets in all sessions named, as fast as they are taken. */
  | { readonly kind: 'send'; readonly ids: readonly number[]; readonly file: string }
  | { readonly kind: 'close'; readonly ids: readonly number[] }
  /** How many prefixes a session with a digest knows, and how many octets it has read. */
  | { readonly kind: 'size'; readonly id: number }
  | { readonly kind: 'compare'; readonly a: number; readonly b: number }
  | { readonly kind: 'cpu' }
  /** How long a file's octets take to a reader in this process that only counts them. */
  | { readonly kind: 'alone'; readonly file: string };

export type Report =
  | { readonly kind: 'established'; readonly id: number; readonly at: number }
  | { readonly kind: 'sent'; readonly id: number; readonly began: number; readonly at: number }
  /** End-of-RIB of both families has been read. */
  | { readonly kind: 'complete'; readonly id: number; readonly at: number; readonly octets: number }
  | { readonly kind: 'closed'; readonly id: number; readonly why: string }
  | {
      readonly kind: 'compared';
      readonly prefixes: number;
      readonly differences: readonly string[];
      readonly count: number;
    }
  | { readonly kind: 'size'; readonly prefixes: number; readonly octets: number }
  | { readonly kind: 'cpu'; readonly seconds: number }
  | { readonly kind: 'alone'; readonly seconds: number };

const HOLD_S = 240;
const KEEPALIVE_MS = 60_000;
const HEADER = 19;
const Type = { open: 1, update: 2, notification: 3, keepalive: 4 } as const;

const report = (r: Report): void => {
  process.send!(r);
};
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

class Session {
  readonly #id: number;
  readonly #socket = new Socket();
  readonly digest: Digest | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #isUp = false;
  #octets = 0;
  readonly #ended = { 4: false, 6: false };
  #why = 'closed';
  readonly #timer: NodeJS.Timeout;

  constructor(o: Extract<Order, { kind: 'open' }>) {
    this.#id = o.id;
    this.digest = o.digest ? new Digest() : undefined;
    const socket = this.#socket;
    socket.setNoDelay();
    socket.connect({ host: o.remote, port: o.port, localAddress: o.local }, () => {
      socket.write(open(o.asn, o.local.split('.').map(Number), HOLD_S));
    });
    socket.on('data', (octets) => this.#read(octets));
    socket.on('error', (e) => {
      this.#why = e.message;
    });
    socket.on('close', () => {
      clearInterval(this.#timer);
      report({ kind: 'closed', id: this.#id, why: this.#why });
    });
    this.#timer = setInterval(() => this.#isUp && socket.write(KEEPALIVE), KEEPALIVE_MS);
  }

  get size(): { readonly prefixes: number; readonly octets: number } {
    return { prefixes: this.digest?.size ?? 0, octets: this.#octets };
  }

  send(octets: Buffer): void {
    const began = now();
    this.#socket.write(octets, () => report({ kind: 'sent', id: this.#id, began, at: now() }));
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(octets: Buffer): void {
    this.#octets += octets.length;
    const all = this.#rest.length === 0 ? octets : Buffer.concat([this.#rest, octets]);
    let at = 0;
    while (all.length - at >= HEADER) {
      const length = (all[at + 16]! << 8) | all[at + 17]!;
      if (all.length - at < length) break;
      this.#message(all, at, length);
      at += length;
    }
    this.#rest = all.subarray(at);
  }

  #message(b: Buffer, at: number, length: number): void {
    switch (b[at + 18]) {
      case Type.open:
        this.#socket.write(KEEPALIVE);
        break;
      case Type.keepalive:
        if (this.#isUp) break;
        this.#isUp = true;
        report({ kind: 'established', id: this.#id, at: now() });
        break;
      case Type.notification:
        this.#why = `NOTIFICATION ${b[at + 19]}/${b[at + 20]}`;
        break;
      case Type.update:
        if (length <= HEADER + 11) this.#endOfRib(b, at, length);
        this.digest?.update(b, at + HEADER, at + length);
        break;
    }
  }

  /** RFC 4724 §2: no routes at all, or an MP_UNREACH_NLRI that holds a family and nothing else. */
  #endOfRib(b: Buffer, at: number, length: number): void {
    const attributes = (b[at + 21]! << 8) | b[at + 22]!;
    const isEmpty4 = length === HEADER + 4;
    const isEmpty6 = (attributes === 6 || attributes === 7) && b[at + 24] === 15;
    if (!isEmpty4 && !isEmpty6) return;
    this.#ended[isEmpty4 ? 4 : 6] = true;
    if (!this.#ended[4] || !this.#ended[6]) return;
    report({ kind: 'complete', id: this.#id, at: now(), octets: this.#octets });
  }
}

const sessions = new Map<number, Session>();
const files = new Map<string, Buffer>();

function contents(file: string): Buffer {
  let octets = files.get(file);
  if (octets === undefined) files.set(file, (octets = readFileSync(file)));
  return octets;
}

function alone(octets: Buffer): void {
  const began = now();
  let left = octets.length;
  const server = createServer((socket) => {
    socket.on('data', (b) => {
      left -= b.length;
      if (left > 0) return;
      report({ kind: 'alone', seconds: (now() - began) / 1000 });
      socket.destroy();
      server.close();
    });
  });
  server.listen(0, '127.0.0.1', () => {
    const socket = new Socket();
    socket.on('error', () => undefined);
    socket.connect((server.address() as { port: number }).port, '127.0.0.1', () => socket.write(octets));
  });
}

function compare(a: number, b: number): void {
  const { prefixes, count, differences } = sessions.get(a)!.digest!.compare(sessions.get(b)!.digest!);
  report({ kind: 'compared', prefixes, count, differences });
}

process.on('message', (o: Order) => {
  switch (o.kind) {
    case 'open':
      sessions.set(o.id, new Session(o));
      break;
    case 'send': {
      const octets = contents(o.file);
      for (const id of o.ids) sessions.get(id)!.send(octets);
      break;
    }
    case 'close':
      for (const id of o.ids) sessions.get(id)?.close();
      break;
    case 'size':
      report({ kind: 'size', ...sessions.get(o.id)!.size });
      break;
    case 'compare':
      compare(o.a, o.b);
      break;
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      report({ kind: 'cpu', seconds: (user + system) / 1e6 });
      break;
    }
    case 'alone':
      alone(contents(o.file));
      break;
  }
});
// The benchmark is gone: so are we.
process.on('disconnect', () => process.exit());
