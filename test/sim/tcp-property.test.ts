import test from 'ava';
import fc from 'fast-check';
import { TcpPair } from '../kit/tcp-host.ts';

const chaos = fc.record({
  seed: fc.nat(1_000_000),
  latencyMs: fc.integer({ min: 0, max: 40 }),
  rateMbps: fc.constantFrom(0, 5, 50, 500),
  loss: fc.constantFrom(0, 0.01, 0.1, 0.15),
  reorder: fc.constantFrom(0, 0.05, 0.3),
  duplicate: fc.constantFrom(0, 0.1),
  corrupt: fc.constantFrom(0, 0.02),
  coalesceUs: fc.constantFrom(0, 200),
  mtu: fc.constantFrom(576, 1280, 1420, 9000, 65_535),
  up: fc.nat(120_000),
  down: fc.nat(120_000),
  writeSize: fc.integer({ min: 1, max: 40_000 }),
  takesAtMost: fc.integer({ min: 50, max: 5000 }),
  sack: fc.boolean(),
  timestamps: fc.boolean(),
  windowScaling: fc.boolean(),
  noDelay: fc.boolean(),
  receiveBufferMax: fc.constantFrom(4000, 60_000, 1 << 24),
  pauses: fc.boolean(),
  startMs: fc.constantFrom(1000, 2 ** 31 - 700, 2 ** 32 - 700),
});

test('both streams arrive equal, whatever the network, the options and the owners do', (t) => {
  fc.assert(
    fc.property(chaos, (x) => {
      const p = new TcpPair(x.seed, { ...x, reorderMs: 20, queueBytes: 100_000 }, x.startMs, 512);
      const { sack, timestamps, windowScaling, noDelay, receiveBufferMax } = x;
      const settings = { sack, timestamps, windowScaling, noDelay, receiveBufferMax };
      const family = x.seed % 2 === 0 ? 4 : x.mtu < 1280 ? 4 : 6;
      const { client, server } = p.open({ client: settings, server: { receiveBufferMax }, family });
      client.toSend = x.up;
      server.toSend = x.down;
      for (const app of [client, server]) {
        app.writeSize = x.writeSize;
        app.takesAtMost = x.takesAtMost;
      }
      const isDone = (): boolean =>
        client.isPeerFinished &&
        server.isPeerFinished &&
        client.endErrno !== undefined &&
        server.endErrno !== undefined;
      for (let i = 0; i < 4000 && !isDone(); i++) {
        if (x.pauses) {
          client.isReading = i % 3 !== 0;
          server.isReading = i % 4 !== 1;
        }
        p.net.runUntil(isDone, 100);
        for (let k = 0; k < 10; k++) {
          client.connection?.pull();
          server.connection?.pull();
        }
      }
      t.deepEqual(
        [server.received, client.received, server.firstWrong, client.firstWrong, server.endErrno, client.endErrno],
        [x.up, x.down, -1, -1, 0, 0],
      );
      p.net.runFor(300_000);
      t.deepEqual([p.a.table.size, p.b.table.size], [0, 0]);
      t.deepEqual([p.a.pool.available, p.b.pool.available], [512, 512], 'every page came back');
    }),
    { seed: 793, numRuns: 120 },
  );
});
