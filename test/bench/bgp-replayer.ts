/** The benchmark's hold on a replay process (bgp-replay.ts): orders as methods, reports as promises. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Order, Report } from './bgp-replay.ts';

type Of<K extends Report['kind']> = Extract<Report, { kind: K }>;

/** One session of the replay process. */
export interface End {
  readonly id: number;
  readonly local: string;
}

export class Replayer {
  readonly #child: ChildProcess;
  readonly #reports: Report[] = [];
  #waiters: (() => void)[] = [];
  #nextId = 1;
  #isGone = false;

  constructor() {
    this.#child = fork(join(import.meta.dirname, 'bgp-replay.js'), { execArgv: ['--max-old-space-size=4096'] });
    this.#child.on('message', (r: Report) => {
      this.#reports.push(r);
      this.#wake();
    });
    this.#child.on('exit', () => {
      this.#isGone = true;
      this.#wake();
    });
  }

  /** Open sessions and wait until they are established; returns them with the instants of the first and the last one. */
  async open(
    locals: readonly string[],
    to: { readonly address: string; readonly port: number },
    asn: (index: number) => number,
    digest = false,
  ): Promise<{ readonly ends: readonly End[]; readonly first: number; readonly last: number }> {
    const ends = locals.map((local) => ({ id: this.#nextId++, local }));
    for (const [i, { id, local }] of ends.entries())
      this.#order({ kind: 'open', id, local, remote: to.address, port: to.port, asn: asn(i), digest });
    const up = await Promise.all(ends.map((e) => this.#one('established', e.id)));
    const instants = up.map((r) => r.at);
    return { ends, first: Math.min(...instants), last: Math.max(...instants) };
  }

  /** Begin to send; `sent` resolves when the kernel has taken the last octet. */
  send(
    ends: readonly End[],
    file: string,
  ): { readonly sent: Promise<{ readonly began: number; readonly at: number }> } {
    this.#order({ kind: 'send', ids: ends.map((e) => e.id), file });
    const all = Promise.all(ends.map((e) => this.#one('sent', e.id)));
    return {
      sent: all.then((r) => ({ began: Math.min(...r.map((x) => x.began)), at: Math.max(...r.map((x) => x.at)) })),
    };
  }

  /** The instant at which all ends have read End-of-RIB of both families, and the octets they read. */
  async complete(ends: readonly End[]): Promise<{ readonly at: number; readonly octets: number }> {
    const all = await Promise.all(ends.map((e) => this.#one('complete', e.id)));
    return { at: Math.max(...all.map((r) => r.at)), octets: all.reduce((n, r) => n + r.octets, 0) };
  }

  async compare(a: End, b: End): Promise<Of<'compared'>> {
    this.#order({ kind: 'compare', a: a.id, b: b.id });
    return this.#next('compared');
  }

  async size(end: End): Promise<Of<'size'>> {
    this.#order({ kind: 'size', id: end.id });
    return this.#next('size');
  }

  async cpuSeconds(): Promise<number> {
    this.#order({ kind: 'cpu' });
    return (await this.#next('cpu')).seconds;
  }

  /** Seconds the octets of a file take when nobody does anything with them. */
  async alone(file: string): Promise<number> {
    this.#order({ kind: 'alone', file });
    return (await this.#next('alone')).seconds;
  }

  async close(ends: readonly End[]): Promise<void> {
    this.#order({ kind: 'close', ids: ends.map((e) => e.id) });
    for (const { id } of ends) await this.#find((r) => r.kind === 'closed' && r.id === id);
  }

  end(): void {
    this.#child.kill();
  }

  #order(o: Order): void {
    this.#child.send(o);
  }

  #next<K extends Report['kind']>(kind: K): Promise<Of<K>> {
    return this.#find((r) => r.kind === kind) as Promise<Of<K>>;
  }

  /** A report about one session; rejects when that session ends instead. */
  async #one<K extends 'established' | 'sent' | 'complete'>(kind: K, id: number): Promise<Of<K>> {
    const found = await this.#find((r) => (r.kind === kind || r.kind === 'closed') && r.id === id);
    if (found.kind === 'closed') throw new Error(`session ${id} ended before it was ${kind}: ${found.why}`);
    return found as Of<K>;
  }

  async #find(wanted: (r: Report) => boolean): Promise<Report> {
    for (;;) {
      const at = this.#reports.findIndex(wanted);
      if (at >= 0) return this.#reports.splice(at, 1)[0]!;
      if (this.#isGone) throw new Error('the replay process ended');
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
