/** The lab of the BGP benchmark: the table as files to replay, the replay process, and one receiver at a time. */
import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { announcements, endOfRib, type Feed, withdrawals } from './bgp-encode.ts';
import { type Counts, cpuOf, NEXT_HOP4, NEXT_HOP6, pause, type Receiver } from './bgp-receivers.ts';
import { Replayer } from './bgp-replayer.ts';
import { makeTable, parseOrigins, type Table } from './bgp-table.ts';

const ROOT = join(import.meta.dirname, '../../..');
const DATA = join(ROOT, 'test/bench/data');
const PACKAGE = join(DATA, 'node_modules/@ip-location-db/asn');
const SEED = 42;
/** Longest time to wait for a receiver to have a table. */
const LIMIT_MS = 240_000;

/** A first AS number of senders; the sender at 127.0.1.N has FIRST_ASN + N - 1. */
const FIRST_ASN = 65101;

export interface Sizes {
  readonly v4: number;
  readonly v6: number;
}

/** What a phase took. */
export interface Took {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly counts: Counts;
}

export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export class BgpLab {
  readonly dir = mkdtempSync(join(tmpdir(), 'mlshim-bench-bgp-'));
  readonly replayer = new Replayer();
  readonly tables: readonly [Table, Table];
  readonly #files = new Map<string, string>();

  constructor(sizes: Sizes) {
    if (!existsSync(PACKAGE)) {
      const quiet: ExecFileSyncOptions = { cwd: DATA, stdio: ['ignore', 'ignore', 'inherit'] };
      execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], quiet);
    }
    const table = (family: 4 | 6, count: number): Table =>
      makeTable(parseOrigins(family, readFileSync(join(PACKAGE, `asn-ipv${family}-num.csv`), 'latin1')), count, SEED);
    this.tables = [table(4, sizes.v4), table(6, sizes.v6)];
  }

  /** Prefixes of both families. */
  get prefixes(): number {
    return this.tables[0].count + this.tables[1].count;
  }

  /** Loopback addresses of senders (1) or of those who are told (2). */
  addresses(net: 1 | 2, count: number): string[] {
    return Array.from({ length: count }, (_, i) => `127.0.${net}.${i + 1}`);
  }

  asn(index: number): number {
    return FIRST_ASN + index;
  }

  /** The whole table as sender `index` tells it, then End-of-RIB. */
  load(index: number): string {
    return this.file(`load-${index}`, () => {
      const feed = this.feed(index);
      return [...this.tables.map((t) => announcements(t, feed)), endOfRib(4), endOfRib(6)];
    });
  }

  withdrawal(): string {
    return this.file('withdrawal', () => this.tables.map((t) => withdrawals(t)));
  }

  feed(index: number, other: Partial<Feed> = {}): Feed {
    return { asn: this.asn(index), nextHop4: NEXT_HOP4, nextHop6: NEXT_HOP6, ...other };
  }

  /** Buffers made once per run, and kept as files for the replay process. */
  file(name: string, make: () => readonly Buffer[]): string {
    const known = this.#files.get(name);
    if (known !== undefined) return known;
    const path = join(this.dir, name);
    writeFileSync(path, Buffer.concat(make()));
    this.#files.set(name, path);
    return path;
  }

  /** Wait until the receiver's counters are as wanted; times are from `began`. */
  async reach(
    receiver: Receiver,
    began: number,
    cpuBefore: number,
    isReached: (c: Counts) => boolean,
    what: string,
  ): Promise<Took> {
    for (;;) {
      await pause(receiver.pollMs);
      const counts = await receiver.counts();
      const at = monotonicMs();
      if (isReached(counts))
        return { seconds: (at - began) / 1000, cpuSeconds: cpuOf(receiver.pid) - cpuBefore, counts };
      if (at - began > LIMIT_MS)
        throw new Error(`${receiver.name}: ${what} is not done after ${LIMIT_MS} ms: ${JSON.stringify(counts)}`);
    }
  }

  close(): void {
    this.replayer.end();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
