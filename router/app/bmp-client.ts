/**
 * Connections to BMP stations over the host's sockets: we connect, tell, and try again when a station goes away
 * (RFC 7854 §3.2). What peers send is passed on as it comes, and a station that does not keep up with it is dropped rather
 * than let its queue grow without end; it is told everything again when it is back. Tables wait for it instead.
 */
import { Socket } from 'node:net';
import type { BmpFeed } from '../../bgp/monitor/bmp-feed.ts';
import type { AddrPort } from '../config/bgp-model.ts';
import type { Logger } from '../lib/log.ts';
import { zoned } from './host-socket.ts';

/** First pause after a failed connection; it doubles up to the second. */
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 120_000;
const REPORT_MS = 60_000;
/** Octets that may wait for a station. */
const MAX_QUEUE = 64 << 20;
const FLUSH_MS = 500;

export class BmpClient {
  readonly #station: AddrPort;
  readonly #feed: BmpFeed;
  readonly #log: Logger;
  #socket: Socket | undefined;
  #retryMs = RETRY_MS;
  #timer: NodeJS.Timeout | undefined;
  #reports: NodeJS.Timeout | undefined;
  #isPumping = false;
  #isStopped = false;

  constructor(station: AddrPort, feed: BmpFeed, log: Logger) {
    this.#station = station;
    this.#feed = feed;
    this.#log = log;
  }

  start(): void {
    const socket = new Socket();
    this.#socket = socket;
    let why = 'closed by the station';
    socket.on('error', (e: NodeJS.ErrnoException) => {
      why = e.code ?? e.message;
    });
    socket.on('connect', () => this.#connected(socket));
    socket.on('drain', () => this.#pump());
    // A station never speaks (RFC 7854 §3.2); what comes is read away, so that its FIN is seen.
    socket.resume();
    socket.on('close', () => this.#closed(why));
    socket.connect(this.#station.port, zoned(this.#station.address, this.#station.zone));
  }

  /** Say goodbye and stay away; resolves when it has left. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    this.#feed.finish();
    socket.end();
    const limit = setTimeout(() => socket.destroy(), FLUSH_MS);
    await closed;
    clearTimeout(limit);
  }

  #connected(socket: Socket): void {
    this.#retryMs = RETRY_MS;
    this.#log.info('BMP station connected', { station: this.#name });
    const write = (octets: Uint8Array): void => {
      socket.write(octets);
      if (socket.writableLength > MAX_QUEUE) socket.destroy(new Error('the station does not keep up'));
    };
    this.#feed.connected(write, () => this.#pump());
    this.#reports = setInterval(() => this.#feed.report(), REPORT_MS).unref();
    this.#pump();
  }

  #closed(why: string): void {
    this.#feed.disconnected();
    clearInterval(this.#reports);
    if (this.#isStopped) return;
    this.#log.warn('BMP station is not connected', { station: this.#name, why, retry_s: this.#retryMs / 1000 });
    this.#timer = setTimeout(() => this.start(), this.#retryMs).unref();
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2);
  }

  /** One portion per turn of the event loop, and none while the socket is full. */
  #pump(): void {
    if (this.#isPumping || !this.#feed.hasWork) return;
    this.#isPumping = true;
    setImmediate(() => {
      this.#isPumping = false;
      if (this.#socket?.writableNeedDrain === true) return; // 'drain' goes on
      this.#feed.pump();
      this.#pump();
    });
  }

  get #name(): string {
    return `${this.#station.address} port ${this.#station.port}`;
  }
}
