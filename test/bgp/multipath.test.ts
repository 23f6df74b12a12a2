import test from 'ava';
import { weightsOf } from '../../bgp/rib/multipath.ts';
import type { Multipath, PeerConfig } from '../../bgp/speaker.ts';
import { bandwidthCommunity } from '../../bgp/wire/attribute/extended-communities.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { SimNet } from './kit/net.ts';

const PREFIX = '172.20.9.0/24';

/** A router with peers that all originate one prefix; each row is a peer's AS, and how its routes are taken. */
function fan(multipath: Multipath, peers: readonly (readonly [number, Partial<PeerConfig>])[]) {
  const net = new SimNet(41);
  const x = net.router('x', { asn: 64600, speaker: { multipath } });
  for (const [i, [asn, config]] of peers.entries()) {
    const peer = net.router(`p${i + 1}`, { asn, networks: [PREFIX] });
    net.join(x, peer, config, {});
  }
  net.start();
  net.run(10_000);
  return x;
}

const bandwidth = (mbit: number): Partial<PeerConfig> => ({
  import: [{ action: 'accept', set: { addExtendedCommunities: [bandwidthCommunity(64600, (mbit * 1e6) / 8)] } }],
  export: 'accept-all',
});
const weight = (n: number): Partial<PeerConfig> => ({
  import: [{ action: 'accept', set: { weight: n } }],
  export: 'accept-all',
});
const links = (x: ReturnType<typeof fan>) => x.fib.get(PREFIX)!.map((h) => h.link);

test('weights are whole numbers in the proportion of the bandwidths', (t) => {
  t.deepEqual(weightsOf([125e6, 62.5e6]), [256, 128]);
  t.deepEqual(weightsOf([1e9, 1]), [256, 1]);
  t.deepEqual(weightsOf([5, 5, 5]), [1, 1, 1]);
  t.deepEqual(weightsOf([5, 0, 5]), [1, 1, 1], 'a route without bandwidth makes all equal');
});

test('equal routes share the traffic up to max_paths', (t) => {
  const peers = [
    [64601, {}],
    [64602, {}],
    [64603, {}],
  ] as const;
  t.deepEqual(links(fan({ maxPaths: 4 }, peers)), ['x-p1', 'x-p2', 'x-p3']);
  t.deepEqual(links(fan({ maxPaths: 2 }, peers)), ['x-p1', 'x-p2']);
  t.deepEqual(links(fan({ maxPaths: 1 }, peers)), ['x-p1']);
});

test('strict multipath wants the same ASes in the paths', (t) => {
  const peers = [
    [64601, {}],
    [64602, {}],
    [64601, {}],
  ] as const;
  t.deepEqual(links(fan({ maxPaths: 4, relaxed: false }, peers)), ['x-p1', 'x-p3']);
});

test('flows are shared out by link bandwidth where it is asked for', (t) => {
  const peers = [
    [64601, bandwidth(100)],
    [64602, bandwidth(1000)],
  ] as const;
  const shares = (m: Multipath) =>
    fan(m, peers)
      .fib.get(PREFIX)!
      .map((h) => h.weight ?? 1);
  t.deepEqual(shares({ maxPaths: 4, weighted: true }), [26, 256]);
  t.deepEqual(shares({ maxPaths: 4 }), [1, 1]);
});

test('explain names the routes that share the traffic, and only those', (t) => {
  const x = fan({ maxPaths: 2 }, [
    [64601, {}],
    [64602, {}],
    [64603, {}],
  ]);
  t.deepEqual(
    x.speaker.explain(Prefix.parse(PREFIX)!).map((c) => [c.peer, c.lostAt, c.isMultipath]),
    [
      ['p1', undefined, false],
      ['p3', 'BGP identifier', false],
      ['p2', 'BGP identifier', true],
    ],
  );
});

test('the weight of an import rule comes before local preference and follows a change of policy', (t) => {
  const x = fan({ maxPaths: 1 }, [
    [64601, weight(1)],
    [64602, weight(2)],
  ]);
  t.deepEqual(links(x), ['x-p2']);
  t.is(x.speaker.explain(Prefix.parse(PREFIX)!)[1]?.lostAt, 'weight');
  x.speaker.setPolicies('p1', { import: [{ action: 'accept', set: { weight: 3 } }] });
  t.deepEqual(links(x), ['x-p1']);
  x.speaker.setPolicies('p1', { import: 'accept-all' });
  t.deepEqual(links(x), ['x-p2']);
});
