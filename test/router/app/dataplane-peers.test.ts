/**
 * What the data plane does for BGP's neighbours, in one worker that talks to itself over its loopback link: BFD sessions, and
 * streams with passwords and TTLs.
 */
import test from 'ava';
import type { BfdView } from '../../../bgp/bfd/bfd.ts';
import type { DataplaneStats, FromDataplane, StreamSecurity } from '../../../router/app/dataplane-protocol.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { posted } from '../../../router/lib/post.ts';
import { type DataplaneUnderTest, startDataplane } from '../../kit/dataplane.ts';

type Event = Exclude<FromDataplane, { readonly kind: 'reply' }>;

/** A data plane, and a way to wait for what it tells. */
async function start(): Promise<{
  d: DataplaneUnderTest;
  heard: <E extends Event>(is: (e: Event) => e is E) => Promise<E>;
}> {
  const events: Event[] = [];
  let wake: () => void = () => undefined;
  const d = await startDataplane({
    onEvent: (e) => {
      if (e.kind === 'reply') return;
      events.push(e);
      wake();
    },
  });
  return {
    d,
    heard: async (is) => {
      for (;;) {
        const at = events.findIndex(is);
        if (at >= 0) return events.splice(at, 1)[0] as never;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

const change =
  (name: string, to: string) =>
  (e: Event): e is Extract<Event, { readonly kind: 'bfd-change' }> =>
    e.kind === 'bfd-change' && e.change.name === name && e.change.to === to;

const watch = (d: DataplaneUnderTest, name: string, local: string, remote: string, link: string): void =>
  d.client.send({
    kind: 'bfd-watch',
    name,
    target: posted({ remote: Addr.parse(remote)!, local: Addr.parse(local)!, link, multihop: link === '' }),
    // Both ends are in one thread: when it has to wait for a processor, neither sends. Only patience tells that from a fault.
    settings: { minTxUs: 50_000, minRxUs: 50_000, multiplier: 100 },
  });

test('two BFD sessions over several hops find each other, and one that ends on purpose says so', async (t) => {
  t.timeout(20_000);
  const { d, heard } = await start();
  try {
    watch(d, 'x', '127.0.0.3', '127.0.0.4', '');
    watch(d, 'y', '127.0.0.4', '127.0.0.3', '');
    await heard(change('x', 'Up'));
    await heard(change('y', 'Up'));
    const { result } = await d.client.request({ kind: 'bfd-show' }).reply;
    const { sessions, drops } = result as { sessions: BfdView[]; drops: Record<string, number> };
    // The first session may speak before the data plane has heard of the second one.
    const { 'no-session': early = 0, ...others } = drops;
    t.deepEqual(others, {});
    t.true(early <= 1, `${early} packets were nobody's`);
    t.like(sessions, { length: 2, 0: { names: ['x'], remote: '127.0.0.4', state: 'Up', multihop: true } });
    d.client.send({ kind: 'bfd-unwatch', name: 'y' });
    const { change: down } = await heard(change('x', 'Down'));
    t.true(down.isRemoteAdminDown);
  } finally {
    await d.stop();
  }
  t.deepEqual(d.logs, []);
});

for (const address of ['127.0.0.1', '::1'])
  test(`a single hop is one link and TTL 255: a session with ourselves at ${address} comes up`, async (t) => {
    t.timeout(20_000);
    const { d, heard } = await start();
    try {
      watch(d, 'self', address, address, 'lo');
      await heard(change('self', 'Up'));
      d.client.send({ kind: 'bfd-unwatch', name: 'self' });
      const { result } = await d.client.request({ kind: 'bfd-show' }).reply;
      t.deepEqual((result as { sessions: BfdView[] }).sessions, []);
    } finally {
      await d.stop();
    }
  });

test('a listener takes from each remote what its terms say, and may be told other ones', async (t) => {
  t.timeout(20_000);
  const { d, heard } = await start();
  const accepted = (e: Event): e is Extract<Event, { readonly kind: 'accepted' }> => e.kind === 'accepted';
  const fds: number[] = [];
  const connect = (local: string, security: StreamSecurity) =>
    d.client.request({ kind: 'stream-connect', vrf: 0, remote: '127.0.0.9', port: 179, local, security }).reply;
  const stats = async (): Promise<DataplaneStats> =>
    (await d.client.request({ kind: 'stats' }).reply).result as DataplaneStats;
  const until = async (what: (s: DataplaneStats) => number | undefined): Promise<void> => {
    while (!((what(await stats()) ?? 0) > 0)) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  try {
    const { id, reply } = d.client.request({
      kind: 'stream-listen',
      vrf: 0,
      port: 179,
      terms: [
        { from: '127.0.0.0/8', link: undefined, password: 'all' },
        { from: '127.0.0.2/32', link: undefined, password: 'two', ttl: 255, minTtl: 255 },
      ],
    });
    t.is((await reply).errno, 0);
    for (const [local, password] of [
      ['127.0.0.1', 'all'],
      ['127.0.0.2', 'two'],
    ] as const) {
      const { result, errno } = await connect(local, { password, ttl: 255, minTtl: 255 * Number(password === 'two') });
      t.is(errno, 0, local);
      fds.push((result as { fd: number }).fd);
      const a = await heard(accepted);
      t.like(a, { remote: local, local: '127.0.0.9', link: 'lo' });
      fds.push(a.fd);
    }
    // The general password is not the one of this remote, and its packets must have TTL 255.
    void connect('127.0.0.2', { password: 'all', ttl: 255 });
    await until((s) => s.counters['tcp_signatureWrong']);
    void connect('127.0.0.2', { password: 'two', ttl: 254 });
    await until((s) => s.drops['ttl-security']);
    void connect('127.0.0.3', {});
    await until((s) => s.counters['tcp_signatureMissing']);
    d.client.send({ kind: 'stream-secure', listen: id, terms: [] });
    const { result, errno } = await connect('127.0.0.4', {});
    t.is(errno, 0);
    fds.push((result as { fd: number }).fd);
    const open = await heard(accepted);
    // Attempts of before get through as well, now that nothing is asked any more.
    fds.push(open.fd);
  } finally {
    for (const fd of fds) d.native.close(fd);
    await d.stop();
  }
});
