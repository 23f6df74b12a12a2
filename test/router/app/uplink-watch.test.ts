import { createServer, type Server } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { UplinkWatch, type WatchedUplink } from '../../../router/app/uplink-watch.ts';
import { Addr } from '../../../router/lib/addr.ts';

const LOCAL = Addr.parse('127.0.0.1')!;

async function listening(t: ExecutionContext, port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer((s) => s.on('error', () => undefined));
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { server, port: (server.address() as { port: number }).port };
}

const uplink = (name: string, port: number | undefined): WatchedUplink => ({
  name,
  way: { device: undefined, source: undefined },
  probe:
    port === undefined
      ? undefined
      : { targets: [LOCAL], question: { kind: 'tcp', port }, everyMs: 20, timeoutMs: 1000, fall: 2, rise: 2 },
  capacity: 0,
  isUp: true,
});

/** A watch whose states can be waited for. */
class States {
  readonly watch: UplinkWatch;
  readonly told: string[] = [];
  #wake: () => void = () => undefined;

  constructor(t: ExecutionContext) {
    this.watch = new UplinkWatch({
      onState: (name, state, reason) => {
        this.told.push(`${name} ${state}: ${reason}`);
        this.#wake();
      },
    });
    // The watch keeps no process alive.
    const alive = setInterval(() => undefined, 1000);
    t.teardown(() => {
      clearInterval(alive);
      this.watch.close();
    });
  }

  async until(text: string, times = 1): Promise<void> {
    while (this.told.filter((s) => s === text).length < times)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

test('an uplink follows its probes, and what is known of it stays over a reload', async (t) => {
  const { server, port } = await listening(t);
  const s = new States(t);
  s.watch.configure([uplink('fiber', port), uplink('lte', undefined)]);
  await s.until('fiber up: probes are answered');
  await new Promise((resolve) => server.close(resolve));
  await s.until('fiber down: connection refused');
  t.deepEqual(
    s.watch.ways.map((w) => w.isUsable),
    [false, true],
  );
  s.watch.configure([uplink('lte', undefined), uplink('fiber', port)]);
  t.deepEqual(
    s.watch.ways.map((w) => w.isUsable),
    [true, false],
    'by the new order',
  );
  await listening(t, port);
  await s.until('fiber up: probes are answered', 2);
  t.like(s.watch.report()[1], { name: 'fiber', state: 'up', failures: 1, isProbed: true });
  t.true(s.watch.report()[1]!.rttMs! >= 0);
});

test('an interface that goes takes its uplink with it', async (t) => {
  const s = new States(t);
  s.watch.configure([uplink('fiber', undefined)]);
  s.watch.linkState('fiber', false);
  t.deepEqual(s.told, ['fiber down: the link is down']);
  t.false(s.watch.ways[0]!.isUsable);
  s.watch.linkState('fiber', true);
  t.true(s.watch.ways[0]!.isUsable);
  s.watch.tunnelState('fiber', false);
  t.is(s.told.at(-1), 'fiber down: handshakes are not answered');
  s.watch.tunnelState('fiber', true);
  t.true(s.watch.ways[0]!.isUsable);
});

test('a drained uplink stays so over a reload', (t) => {
  const s = new States(t);
  s.watch.configure([uplink('fiber', undefined)]);
  t.true(s.watch.drain('fiber', true));
  t.false(s.watch.drain('dsl', true));
  s.watch.configure([{ ...uplink('fiber', 9), isUp: false }]);
  t.like(s.watch.report()[0], { isDrained: true, isUsable: false });
});
