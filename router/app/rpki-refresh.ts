/** One refresh of ROAs: asks every source that is in use and waits, no longer than it may, until each has answered. */
import { type Instant, systemClock } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import type { RoaFile } from './roa-files.ts';
import type { RtrServer } from './rtr-server.ts';

export class RpkiRefresh {
  /**
   * Sources that were asked in vain, each with the reason: `roas.json: no such file`.
   * Rejects with MlshimError TIMEOUT when one has neither answered nor failed in time.
   */
  readonly ended: Promise<readonly string[]>;
  readonly #servers: readonly RtrServer[];
  readonly #files: readonly RoaFile[];
  readonly #isLoading: () => boolean;
  readonly #unread = new Set<RoaFile>();
  readonly #began: Instant = systemClock.now();
  readonly #until: Instant;
  /** Of each cache: its last failure, and how many more it may have. */
  readonly #failures = new Map<RtrServer, { readonly last: unknown; readonly left: number }>();
  #end: (failed: readonly string[] | MlshimError) => void = () => undefined;

  /**
   * @param servers those that run
   * @param isLoading something that was said is not in the table yet
   */
  constructor(servers: readonly RtrServer[], files: readonly RoaFile[], withinMs: number, isLoading: () => boolean) {
    this.#servers = servers;
    this.#files = files;
    this.#isLoading = isLoading;
    this.#until = (this.#began + withinMs) as Instant;
    const timer = setTimeout(() => this.#end(this.#timeout(withinMs)), withinMs);
    this.ended = new Promise((resolve, reject) => {
      this.#end = (what) => {
        clearTimeout(timer);
        if (what instanceof MlshimError) reject(what);
        else resolve(what);
      };
    });
    for (const file of files) {
      this.#unread.add(file);
      void file.refresh().then(() => {
        this.#unread.delete(file);
        this.look();
      });
    }
    for (const server of servers) {
      const { lastError, isFailing } = server.client;
      this.#failures.set(server, { last: lastError, left: isFailing ? 0 : 1 });
      server.refresh();
    }
    this.look();
  }

  /** Something may have changed. */
  look(): void {
    for (const server of this.#servers) this.#countFailure(server);
    const isWaiting = this.#servers.some((s) => this.#isOpen(s)) || this.#unread.size > 0 || this.#isLoading();
    if (!isWaiting) this.#end(this.#failed());
  }

  #countFailure(server: RtrServer): void {
    const { client } = server;
    const { last, left } = this.#failures.get(server)!;
    if (client.isFailing && client.lastError !== last)
      this.#failures.set(server, { last: client.lastError, left: left - 1 });
  }

  /** It may still answer. A good cache that has begun a new session fails once, and that is not the end. */
  #isOpen(server: RtrServer): boolean {
    const { client, isRunning } = server;
    if (!isRunning || this.#hasAnswered(server)) return false;
    const isPaused = client.state === 'waiting' && (client.deadline() ?? Infinity) > this.#until;
    return this.#failures.get(server)!.left >= 0 && !isPaused;
  }

  #hasAnswered({ client }: RtrServer): boolean {
    return (
      client.synchronizedAt !== undefined && client.synchronizedAt >= this.#began && client.state === 'synchronized'
    );
  }

  #failed(): string[] {
    const servers = this.#servers.filter((s) => s.isRunning && !this.#hasAnswered(s));
    const files = this.#files.filter((f) => f.lastError !== '');
    return [
      ...servers.map((s) => `${s.config.name}: ${s.client.lastError?.text ?? s.client.state}`),
      ...files.map((f) => `${f.config.name}: ${f.lastError}`),
    ];
  }

  #timeout(withinMs: number): MlshimError {
    const servers = this.#servers.filter((s) => this.#isOpen(s)).map((s) => `${s.config.name} (${s.client.state})`);
    const files = [...this.#unread].map((f) => f.config.name);
    const silent = [...servers, ...files].join(', ') || 'the table is still being filled';
    return new MlshimError(
      'TIMEOUT',
      `no complete answer within ${withinMs / 1000} s: ${silent}; what was known before stays`,
    );
  }
}
