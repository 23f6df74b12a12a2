/** Several paths to a prefix (RFC 7911), between speakers in virtual time and octet by octet. */

import test from 'ava';
import { PLAIN_ATTRIBUTES } from '../../bgp/wire/attribute/plain.ts';
import { NlriCursor } from '../../bgp/wire/nlri.ts';
import { decodeUpdate, UpdatePacker } from '../../bgp/wire/update.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { messageOf, PLAIN_CONTEXT } from './kit/describe.ts';
import { SimNet, type SimRouter } from './kit/net.ts';

const PREFIX = '172.20.9.0/24';

/** Three origins of one prefix, a hub that tells all, and a collector behind it. */
function star(seed: number, limit?: number) {
  const net = new SimNet(seed);
  const hub = net.router('hub', { asn: 64600 });
  const origins = [1, 2, 3].map((i) => net.router(`o${i}`, { asn: 64600 + i, networks: [PREFIX, `172.20.${i}.0/24`] }));
  const cables = origins.map((o, i) => {
    // The longer the path, the worse the route: o1 is best.
    const prepend = [{ action: 'accept', set: { prepend: { asn: o.speaker.asn, times: i } } }] as const;
    return net.join(hub, o, {}, { export: prepend });
  });
  const collector = net.router('collector', { asn: 64699 });
  net.join(
    hub,
    collector,
    { addPath: 'send', ...(limit !== undefined && { addPathLimit: limit }) },
    { addPath: 'receive', export: 'reject-all' },
  );
  net.start();
  net.runUntil(() => hub.fib.size === 4 && collector.fib.size === 4);
  net.run(2000);
  return { net, hub, origins, collector, cables };
}

const paths = (r: SimRouter, prefix = PREFIX): string[] =>
  [...r.speaker.routes('in', { prefix: Prefix.parse(prefix)! })].map((p) => p.asPath).sort();

test('a collector is told all paths, each under an identifier of its own', (t) => {
  const { hub, collector } = star(1);
  t.deepEqual(paths(collector), ['64600 64601', '64600 64602 64602', '64600 64603 64603 64603']);
  const told = [...hub.speaker.routes('out', { peer: 'collector', prefix: Prefix.parse(PREFIX)! })];
  t.is(new Set(told.map((p) => p.pathId)).size, 3);
  const heard = [...collector.speaker.routes('in', { prefix: Prefix.parse(PREFIX)! })];
  t.deepEqual(heard.map((p) => p.pathId).sort(), told.map((p) => p.pathId).sort());
  t.is(collector.session('hub').routes.ipv4.received, 6);
  t.is(hub.session('collector').routes.ipv4.advertised, 6);
  const best = collector.speaker.explain(Prefix.parse(PREFIX)!).find((c) => c.isBest);
  t.is(best?.asPath, '64600 64601');
});

test('a path that goes is withdrawn by its identifier; the others keep theirs', (t) => {
  const { net, hub, origins, collector } = star(2);
  const ids = () =>
    new Map([...collector.speaker.routes('in', { prefix: Prefix.parse(PREFIX)! })].map((p) => [p.asPath, p.pathId]));
  const before = ids();
  origins[1]!.speaker.withdraw(Prefix.parse(PREFIX)!);
  net.run(1000);
  t.deepEqual(paths(collector), ['64600 64601', '64600 64603 64603 64603']);
  for (const [path, id] of ids()) t.is(id, before.get(path));
  // The best path stays, so the hub's own decision and its plain peers do not change.
  t.is(hub.fib.get(PREFIX)?.[0]?.link, 'hub-o1');
  origins[1]!.speaker.announce({ prefix: Prefix.parse(PREFIX)!, med: 5 });
  net.run(1000);
  t.is(paths(collector).length, 3);
});

test('when a session ends all its paths go, and the second best takes over', (t) => {
  const { net, hub, collector, cables } = star(3);
  net.setCable(cables[0]!, false);
  net.run(1000);
  t.deepEqual(paths(collector), ['64600 64602 64602', '64600 64603 64603 64603']);
  t.deepEqual(paths(collector, '172.20.1.0/24'), []);
  t.is(hub.fib.get(PREFIX)?.[0]?.link, 'hub-o2');
  net.setCable(cables[0]!, true);
  net.run(20_000);
  t.is(paths(collector).length, 3);
});

test('with a limit the best paths are told, in the order of the decision process', (t) => {
  const { net, collector, cables } = star(4, 2);
  t.deepEqual(paths(collector), ['64600 64601', '64600 64602 64602']);
  net.setCable(cables[0]!, false);
  net.run(1000);
  t.deepEqual(paths(collector), ['64600 64602 64602', '64600 64603 64603 64603']);
});

test('a refresh tells all paths again, and a change of policy only what it changes', (t) => {
  const { net, hub, collector } = star(5);
  const changes = collector.fibChanges;
  t.true(collector.speaker.peerRefresh('hub', 'in'));
  net.run(1000);
  t.is(collector.fibChanges, changes);
  t.is(paths(collector).length, 3);
  hub.speaker.setPolicies('collector', { export: [{ match: { maxPathLength: 2 }, action: 'accept' }] });
  net.run(1000);
  t.deepEqual(paths(collector), ['64600 64601', '64600 64602 64602']);
});

test('what a peer that reads one path is told does not depend on those that read several', (t) => {
  const { net, hub } = star(6);
  const plain = net.router('plain', { asn: 64698 });
  net.join(hub, plain);
  plain.speaker.start();
  net.runUntil(() => plain.fib.size === 4);
  t.deepEqual(paths(plain), ['64600 64601']);
  t.is(hub.session('plain').routes.ipv4.advertised, 4);
});

test('path identifiers stand before prefixes, in announcements, withdrawals and across messages', (t) => {
  const families = { ipv4: { ...PLAIN_CONTEXT.families.ipv4!, receivesPathIds: true } };
  families satisfies typeof PLAIN_CONTEXT.families;
  const context = {
    ...PLAIN_CONTEXT,
    families: { ...families, ipv6: { ...PLAIN_CONTEXT.families.ipv6!, receivesPathIds: true } },
  };
  for (const family of [4, 6] as const) {
    const out: Uint8Array[] = [];
    const packer = new UpdatePacker(
      { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single', pathIds: true },
      (octets) => out.push(octets),
    );
    const hop = { global: Addr.parse(family === 4 ? '10.9.9.9' : 'fd42::9')!, linkLocal: undefined };
    const attributes = {
      ...PLAIN_ATTRIBUTES,
      asPath: [{ type: 2, asns: [64601] }],
    };
    const COUNT = 2000;
    t.true(packer.reach(family, attributes, hop));
    for (let i = 0; i < COUNT; i++) packer.add((0xac140000 + (i << 8)) | 0, 0, 0, 0, 24, i);
    packer.withdraw(family);
    for (let i = 0; i < COUNT; i++) packer.add((0xac140000 + (i << 8)) | 0, 0, 0, 0, 24, 0xffffffff - i);
    packer.flush();
    const stream = Buffer.concat(out);
    const [reached, withdrawn]: [number[], number[]] = [[], []];
    const cursor = new NlriCursor();
    for (let at = 0; at < stream.length; ) {
      const length = stream.readUInt16BE(at + 16);
      t.true(length <= 4096);
      const u = decodeUpdate(messageOf(new Uint8Array(stream.subarray(at, at + length))).body, context);
      if ('handling' in u) return t.fail(u.words);
      for (const r of u.reach) for (cursor.over(r.nlri); cursor.next(); ) reached.push(cursor.pathId);
      for (const n of u.withdrawn) for (cursor.over(n); cursor.next(); ) withdrawn.push(cursor.pathId);
      at += length;
    }
    t.deepEqual(
      reached,
      Array.from({ length: COUNT }, (_, i) => i),
    );
    t.deepEqual(
      withdrawn,
      Array.from({ length: COUNT }, (_, i) => 0xffffffff - i),
    );
  }
});

test('a cursor that has read path identifiers does not remember them', (t) => {
  const bytes = new Uint8Array([0, 0, 0, 9, 8, 10]);
  const cursor = new NlriCursor().over({ family: 4, hasPathIds: true, bytes });
  t.true(cursor.next());
  t.is(cursor.pathId, 9);
  cursor.over({ family: 4, hasPathIds: false, bytes: new Uint8Array([8, 10]) });
  t.true(cursor.next());
  t.is(cursor.pathId, 0);
});
