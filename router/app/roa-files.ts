/**
 * Reads files of ROAs for the routing worker: at the start, when a file changes, and every `refresh`. A file that cannot be
 * read or understood leaves the ROAs of its last good reading in place. The form of the files is bgp/rpki/roa-file.ts's.
 */
import { open, stat } from 'node:fs/promises';
import { RoaFileReader } from '../../bgp/rpki/roa-file.ts';
import type { VrpList } from '../../bgp/rpki/vrp.ts';
import type { RoaFileConfig } from '../config/rpki.ts';
import { type Instant, systemClock, wallClockMs } from '../lib/clock.ts';
import { systemReason } from '../lib/reason.ts';

/** How often it is looked whether a file has changed. */
const LOOK_MS = 2_000;
/** Octets parsed in one turn: about a millisecond. */
const CHUNK = 64 * 1024;
/** More than three times what rpki-client writes for the whole Internet. */
const MAX_OCTETS = 512 * 1024 * 1024;
const FETCH_TIMEOUT_MS = 60_000;

export class RoaFile {
  readonly config: RoaFileConfig;
  /** The last reading failed with this. */
  lastError = '';
  failures = 0;
  readAt: Instant | undefined;
  /** When what was read had been written, wall clock. */
  writtenAtMs: number | undefined;
  readonly #refreshMs: number;
  readonly #loaded: (list: VrpList) => void;
  readonly #failed: (why: string) => void;
  /** What the file looked like when it was read last. */
  #seen = '';
  #nextRefresh = 0;
  #timer: NodeJS.Timeout | undefined;
  #isReading = false;
  #isStopped = false;
  #again = false;
  /** Told when a reading that began after they came has ended. */
  #waiting: (() => void)[] = [];

  /**
   * @param loaded told everything the file says, after each successful reading
   * @param failed told why a reading failed, once until the reason changes
   */
  constructor(config: RoaFileConfig, refreshS: number, loaded: (list: VrpList) => void, failed: (why: string) => void) {
    this.config = config;
    this.#refreshMs = refreshS * 1000;
    this.#loaded = loaded;
    this.#failed = failed;
  }

  start(): void {
    void this.#look();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    for (const told of this.#waiting.splice(0)) told();
  }

  /** Read it now, whether it has changed or not. Resolves when that has been done, well or not. */
  refresh(): Promise<void> {
    this.#nextRefresh = 0;
    clearTimeout(this.#timer);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    if (this.#isReading) {
      this.#again = true;
      return;
    }
    this.#isReading = true;
    const served = this.#waiting.splice(0);
    const isDue = systemClock.now() >= this.#nextRefresh;
    if (isDue) this.#nextRefresh = systemClock.now() + this.#refreshMs;
    try {
      if (this.config.isUrl) {
        if (isDue) await this.#take(() => this.#fetch());
      } else {
        const s = await stat(this.config.location);
        const looks = `${s.ino} ${s.size} ${s.mtimeMs}`;
        if (isDue || looks !== this.#seen) {
          this.#seen = looks;
          await this.#take(() => this.#read());
          this.writtenAtMs = s.mtimeMs;
        }
      }
    } catch (e) {
      this.#fail(reasonOf(e));
    }
    this.#isReading = false;
    for (const told of served) told();
    if (this.#isStopped) return;
    const pause = this.#again ? 0 : this.config.isUrl ? Math.min(this.#refreshMs, LOOK_MS) : LOOK_MS;
    this.#again = false;
    this.#timer = setTimeout(() => void this.#look(), pause);
  }

  async #take(read: () => Promise<VrpList>): Promise<void> {
    const list = await read();
    if (this.#isStopped) return;
    this.lastError = '';
    this.readAt = systemClock.now();
    this.#loaded(list);
  }

  #fail(why: string): void {
    this.failures++;
    if (this.lastError !== why) this.#failed(why);
    this.lastError = why;
  }

  async #read(): Promise<VrpList> {
    const file = await open(this.config.location, 'r');
    try {
      const chunk = new Uint8Array(CHUNK);
      return await parse(async () => {
        const { bytesRead } = await file.read(chunk, 0, CHUNK, null);
        return bytesRead === 0 ? undefined : chunk.subarray(0, bytesRead);
      });
    } finally {
      await file.close();
    }
  }

  async #fetch(): Promise<VrpList> {
    const response = await fetch(this.config.location, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    if (!response.ok || response.body === null) throw new Error(`the server says ${response.status}`);
    const written = Date.parse(response.headers.get('last-modified') ?? '');
    const reader = response.body.getReader();
    const list = await parse(async () => (await reader.read()).value);
    this.writtenAtMs = Number.isNaN(written) ? wallClockMs() : written;
    return list;
  }
}

/** @param next the next octets, undefined at the end */
async function parse(next: () => Promise<Uint8Array | undefined>): Promise<VrpList> {
  const reader = new RoaFileReader();
  const text = new TextDecoder('utf-8', { fatal: true });
  let octets = 0;
  for (let chunk = await next(); chunk !== undefined; chunk = await next()) {
    octets += chunk.length;
    if (octets > MAX_OCTETS) throw new Error(`longer than ${MAX_OCTETS >> 20} MiB`);
    for (let at = 0; at < chunk.length; at += CHUNK) {
      reader.push(text.decode(chunk.subarray(at, at + CHUNK), { stream: true }));
      // A chunk per turn: timers and sessions come first.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return reader.end();
}

/** `line 12: host bits set in 10.0.0.1/24` */
function reasonOf(e: unknown): string {
  const { name, cause } = e as Error;
  if (name === 'TimeoutError') return `no answer within ${FETCH_TIMEOUT_MS / 1000} s`;
  return systemReason(cause instanceof Error ? cause : e); // fetch says why in the cause
}
