import { Worker } from 'node:worker_threads';
import test from 'ava';
import { type NextHop, type RouteChange, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { words } from './oracle.ts';

const UPDATES = 100_000;

/**
 * Every address i of the test is matched by its own route over link 2i+1, its own route over link 2i+2, or the covering
 * route over link 1_000_000: any other answer is torn or foreign.
 */
const ADDRESSES = 64;
const COVER = 60_000;

function setUp(): { writer: FibWriter; own4: Prefix[]; own6: Prefix[] } {
  const writer = new FibWriter();
  const cover: readonly NextHop[] = [{ link: COVER }];
  const changes: RouteChange[] = ['10.0.0.0/8', 'fd00::/16'].map((x) => ({
    vrf: 0,
    prefix: Prefix.parse(x)!,
    source: RouteSource.Static,
    nextHops: cover,
  }));
  // Neighbours in the same chunks and blocks, which never change.
  for (let i = 0; i < ADDRESSES; i++)
    changes.push(
      {
        vrf: 0,
        prefix: Prefix.containing(Addr.v4((10 << 24) | (i << 16) | 0x0180), 25)!,
        source: RouteSource.Static,
        nextHops: cover,
      },
      {
        vrf: 0,
        prefix: Prefix.containing(Addr.v6(0xfd000000, i << 8, 0, 0x100), 120)!,
        source: RouteSource.Static,
        nextHops: cover,
      },
    );
  writer.apply(changes);
  // Lengths cover both levels of each structure.
  const own4 = Array.from(
    { length: ADDRESSES },
    (_, i) => Prefix.containing(Addr.v4((10 << 24) | (i << 16) | 0x0101), 22 + (i % 11))!,
  );
  const own6 = Array.from(
    { length: ADDRESSES },
    (_, i) => Prefix.containing(Addr.v6(0xfd000000, i << 8, 0, 1), 62 + (i % 67))!,
  );
  return { writer, own4, own6 };
}

async function race(
  writer: FibWriter,
  updates: (i: number) => RouteChange[],
): Promise<{ lookups: number; wrong: string[]; moved: number }> {
  const worker = new Worker(new URL('./concurrent-reader.js', import.meta.url), {
    workerData: { fib: writer.shared, addresses: ADDRESSES, cover: COVER },
  });
  const message = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  await message(); // it is reading
  const changes: RouteChange[] = [];
  for (let i = 0; changes.length < UPDATES; i++) changes.push(...updates(i));
  for (let i = 0; i < changes.length; i += 8) {
    writer.apply(changes.slice(i, i + 8));
    const shared = writer.takeChangedShared();
    if (shared !== undefined) worker.postMessage(shared);
  }
  worker.postMessage('stop');
  const result = await message();
  await worker.terminate();
  return result as { lookups: number; wrong: string[]; moved: number };
}

for (const size of ['small', 'large'] as const)
  test(`a reader in another thread never sees a torn or foreign answer (${size} tables)`, async (t) => {
    const { writer, own4, own6 } = setUp();
    if (size === 'large')
      writer.apply(
        Array.from({ length: 52_000 }, (_, i) => ({
          vrf: 0,
          prefix: Prefix.containing(Addr.v4((20 << 24) + (i << 8)), 24)!,
          source: RouteSource.Ebgp,
          nextHops: [{ link: 500 }],
        })),
      );
    const next = words(99);
    const hops = Array.from({ length: 2 * ADDRESSES + 2 }, (_, i): readonly NextHop[] => [{ link: i + 1 }]);
    const result = await race(writer, () => {
      const i = next() % ADDRESSES;
      const nextHops = [undefined, hops[2 * i], hops[2 * i + 1]][next() % 3];
      return [own4[i]!, own6[i]!].map((prefix) => ({ vrf: 0, prefix, source: RouteSource.Static, nextHops }));
    });
    t.deepEqual(result.wrong, []);
    t.true(result.lookups > 100_000, `${result.lookups} lookups`);
    t.true(result.moved > 100, `${result.moved} changes seen`);
  });
