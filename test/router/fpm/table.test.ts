import test from 'ava';
import fc from 'fast-check';
import type { NextHop } from '../../../router/fib/shared.ts';
import { ROUTE_KIND_NAMES, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import type { FpmHop } from '../../../router/fpm/message.ts';
import { FpmSession } from '../../../router/fpm/session.ts';
import { FpmTable } from '../../../router/fpm/table.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { fibRoutes } from '../../kit/fib-routes.ts';
import * as kit from './kit.ts';

const at = (ms: number): Instant => ms as Instant;

/** A table over a real FIB; gateways 10.0.N.x are behind link N, interface 9 is link 9. */
function room(confirms = false) {
  const fib = new FibWriter();
  const applied: number[] = [];
  let hasLinks = true;
  const resolve = ({ gateway, ifindex, weight }: FpmHop): NextHop[] => {
    if (!hasLinks) return [];
    if (gateway?.family === 4 && gateway.a3 >>> 16 === 0x0a00)
      return [{ link: (gateway.a3 >>> 8) & 255, gateway, weight }];
    return ifindex === 9 ? [{ link: 9, gateway, weight }] : [];
  };
  const table = new FpmTable({
    apply: (changes) => {
      applied.push(changes.length);
      fib.apply(changes);
    },
    resolve,
    vrfOf: (number) => (number === 254 ? 0 : undefined),
    holdMs: 120_000,
    staleMs: 60_000,
  });
  let session = new FpmSession(table, confirms);
  table.sessionBegan(at(0));
  const shown = (): Record<string, string> =>
    Object.fromEntries(
      fibRoutes(fib, 0).map((r) => [
        String(r.prefix),
        [ROUTE_KIND_NAMES[r.kind], ...r.nextHops.map((h) => `${h.gateway ?? '-'}%${h.link}*${h.weight ?? 1}`)]
          .join(' ')
          .replace(/^unicast /, ''),
      ]),
    );
  return {
    table,
    fib,
    applied,
    shown,
    session: () => session,
    send: (...messages: number[][]) => session.receive(kit.frame(...messages)),
    reconnect: (now: number) => {
      session = new FpmSession(table, confirms);
      table.sessionBegan(at(now));
    },
    links: (has: boolean) => {
      hasLinks = has;
      table.linksChanged();
    },
  };
}

const add = (prefix: string, ...attributes: number[][]): number[] => kit.route(kit.NEWROUTE, prefix, { attributes });
const byId = (prefix: string, id: number): number[] => add(prefix, kit.attribute(30, kit.u32(id)));
const remove = (prefix: string): number[] => kit.route(kit.DELROUTE, prefix);
const hop = (id: number, gateway: string): number[] =>
  kit.nextHop(id, 2, [kit.attribute(6, kit.address(gateway)), kit.attribute(5, kit.u32(3))]);

test('routes come, are replaced and go; what is replaced never leaves a gap', (t) => {
  const { send, shown, applied, table } = room();
  send(add('10.1.0.0/16', kit.gateway('10.0.1.1')));
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.1.1%1*1' });
  // dplane_fpm_nl says a replacement as withdrawal and route in one frame: one change reaches the FIB.
  send(remove('10.1.0.0/16'), add('10.1.0.0/16', kit.gateway('10.0.2.1')));
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.2.1%2*1' });
  t.deepEqual(applied, [1, 1]);
  t.is(table.protocolOf(0, Prefix.parse('10.1.0.0/16')!), 'ospf');
  send(remove('10.1.0.0/16'));
  t.deepEqual(shown(), {});
  t.is(table.protocolOf(0, Prefix.parse('10.1.0.0/16')!), undefined);
  send(remove('10.1.0.0/16'));
  t.deepEqual(table.stats, { installed: 0, unresolved: 0, stale: 0, nextHops: 0, ignored: 0 });
});

test('kinds without a way on and weighted groups reach the FIB', (t) => {
  const { send, shown } = room();
  send(kit.route(kit.NEWROUTE, '10.1.0.0/16', { type: 6 }), kit.route(kit.NEWROUTE, 'fd00:1::/32', { type: 7 }));
  send(add('10.2.0.0/16', kit.attribute(9, [...kit.member(3, 1, '10.0.1.1'), ...kit.member(3, 3, '10.0.2.1')])));
  send(add('fd00:2::/32', kit.gateway('fe80::5'), kit.oif(9)));
  t.deepEqual(shown(), {
    '10.1.0.0/16': 'blackhole',
    'fd00:1::/32': 'unreachable',
    '10.2.0.0/16': '10.0.1.1%1*1 10.0.2.1%2*3',
    'fd00:2::/32': 'fe80::5%9*1',
  });
});

test('a change of a numbered next hop reaches every route behind it, also through groups', (t) => {
  const { send, shown, table } = room();
  send(byId('10.1.0.0/16', 7), byId('10.2.0.0/16', 5));
  t.deepEqual(shown(), {}, 'numbers that are not known yet lead nowhere');
  t.like(table.stats, { unresolved: 2, nextHops: 0 });
  send(
    hop(5, '10.0.1.1'),
    hop(6, '10.0.2.1'),
    kit.group(7, [
      [5, 1],
      [6, 2],
    ]),
  );
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.1.1%1*1 10.0.2.1%2*2', '10.2.0.0/16': '10.0.1.1%1*1' });
  send(hop(5, '10.0.3.1'));
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.3.1%3*1 10.0.2.1%2*2', '10.2.0.0/16': '10.0.3.1%3*1' });
  send(kit.nextHop(5, 2, [kit.attribute(4, [])]));
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.2.1%2*2', '10.2.0.0/16': 'blackhole' });
  send(kit.nextHopGone(6));
  t.deepEqual(shown(), { '10.1.0.0/16': 'blackhole', '10.2.0.0/16': 'blackhole' });
  send(kit.nextHopGone(5), kit.nextHopGone(7));
  t.deepEqual(shown(), {});
  t.like(table.stats, { installed: 0, unresolved: 2, nextHops: 0 });
});

test("the client's own kernel, other tables and martians are not for us", (t) => {
  const { send, shown, table } = room();
  const own = { protocol: 2, attributes: [kit.gateway('10.0.1.1')] };
  send(kit.route(kit.NEWROUTE, '0.0.0.0/0', own));
  send(kit.route(kit.NEWROUTE, '10.3.0.0/16', { table: 100, attributes: [kit.gateway('10.0.1.1')] }));
  for (const martian of ['127.0.0.0/8', '224.0.0.0/4', 'fe80::/64', 'ff02::/16']) send(add(martian, kit.oif(9)));
  t.deepEqual(shown(), {});
  t.is(table.stats.ignored, 6);
  // A connected route that takes a protocol's place ends it.
  send(add('10.1.0.0/16', kit.gateway('10.0.1.1')));
  send(kit.route(kit.NEWROUTE, '10.1.0.0/16', own));
  t.deepEqual(shown(), {});
});

test('what is on links of the client that stand for none of ours is kept aside without complaint', (t) => {
  const { send, shown, table } = room();
  send(
    add('10.1.0.0/16', kit.oif(4)),
    add('10.2.0.0/16', kit.oif(9)),
    add('fd00::/16', kit.gateway('fe80::1'), kit.oif(4)),
  );
  t.deepEqual(shown(), { '10.2.0.0/16': '-%9*1' });
  t.like(table.stats, { installed: 1, unresolved: 1 });
});

test('routes outlive their session for the hold time', (t) => {
  const { send, shown, table } = room();
  send(add('10.1.0.0/16', kit.gateway('10.0.1.1')));
  t.is(table.deadline(), undefined);
  table.sessionEnded(at(1000));
  t.is(table.deadline(), at(121_000));
  table.tick(at(120_999));
  t.deepEqual(Object.keys(shown()), ['10.1.0.0/16']);
  table.tick(at(121_000));
  t.deepEqual(shown(), {});
  t.is(table.deadline(), undefined);
});

test('after a reconnect what is told again stays, the rest goes when it is stale', (t) => {
  const { send, shown, table, reconnect } = room();
  send(
    hop(5, '10.0.1.1'),
    byId('10.1.0.0/16', 5),
    byId('10.1.0.0/16', 5),
    byId('10.2.0.0/16', 5),
    byId('10.3.0.0/16', 5),
  );
  table.sessionEnded(at(1000));
  reconnect(2000);
  t.is(table.stats.stale, 3);
  t.is(table.stats.nextHops, 0);
  // The new session's numbers mean something else.
  send(hop(5, '10.0.2.1'), byId('10.1.0.0/16', 5));
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.2.1%2*1', '10.2.0.0/16': '10.0.1.1%1*1', '10.3.0.0/16': '10.0.1.1%1*1' });
  send(remove('10.3.0.0/16'));
  t.is(table.stats.stale, 1);
  // A second reconnect does not prolong what nobody told since the first.
  table.sessionEnded(at(30_000));
  reconnect(31_000);
  t.is(table.deadline(), at(62_000));
  table.tick(at(62_000));
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.2.1%2*1' });
  table.tick(at(91_000));
  t.deepEqual(shown(), {});
});

test('routes follow our links', (t) => {
  const { send, shown, links, table } = room();
  send(add('10.1.0.0/16', kit.gateway('10.0.1.1')), kit.route(kit.NEWROUTE, '10.2.0.0/16', { type: 6 }));
  links(false);
  t.deepEqual(shown(), { '10.2.0.0/16': 'blackhole' });
  t.like(table.stats, { installed: 1, unresolved: 1 });
  links(true);
  t.deepEqual(shown(), { '10.1.0.0/16': '10.0.1.1%1*1', '10.2.0.0/16': 'blackhole' });
});

test('a large change is applied in slices, each by a tick of its own', (t) => {
  const { send, table, applied } = room();
  send(hop(5, '10.0.1.1'));
  for (let i = 0; i < 5000; i += 500)
    send(...Array.from({ length: 500 }, (_, k) => byId(`10.${100 + ((i + k) >> 8)}.${(i + k) & 255}.0/24`, 5)));
  t.is(table.stats.installed, 5000);
  applied.length = 0;
  send(hop(5, '10.0.2.1'));
  t.deepEqual(applied, [2048]);
  t.is(table.deadline(), at(0));
  table.tick(at(1));
  table.tick(at(1));
  t.deepEqual(applied, [2048, 2048, 904]);
  table.tick(at(1));
  t.is(table.deadline(), undefined);
});

test('routes that reached the FIB are confirmed when asked for', (t) => {
  const { send } = room(true);
  const { reply } = send(add('10.1.0.0/16', kit.gateway('10.0.1.1')), add('10.2.0.0/16', kit.gateway('192.0.2.1')));
  t.is(reply.length, 1);
  t.deepEqual([...reply[0]!.subarray(0, 2)], [1, 1]);
  t.is(reply[0]![4 + 16 + 8 + 1], 0x40);
  t.deepEqual(room(false).send(add('10.1.0.0/16', kit.gateway('10.0.1.1'))).reply, []);
});

test('a session counts what it does not know and ends at what is no FPM', (t) => {
  const { session, send } = room();
  send(kit.netlink(28, [0, 0, 0, 0]), kit.route(kit.NEWROUTE, '10.0.0.0/40'));
  t.deepEqual(session().receive(Uint8Array.of(1, 77, 0, 4)), { reply: [] });
  t.deepEqual(session().counters, { messages: 0, unknown: 2, malformed: 1 });
  t.is(session().encoding, 'netlink');
  t.is(session().receive(Uint8Array.of(3, 1, 0, 4)).fault, 'FPM version 3 instead of 1');
});

test('whatever is told in whatever order, the FIB is what the last words say', (t) => {
  const id = fc.integer({ min: 1, max: 4 });
  const prefix = fc.integer({ min: 0, max: 5 }).map((n) => `10.${n}.0.0/16`);
  const step = fc.oneof(
    fc.tuple(fc.constant('hop' as const), id, fc.integer({ min: 1, max: 9 })),
    fc.tuple(fc.constant('gone' as const), id, fc.constant(0)),
    fc.tuple(fc.constant('route' as const), prefix, id),
    fc.tuple(fc.constant('remove' as const), prefix, fc.constant(0)),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 7 }), (steps, batch) => {
      const { send, shown, table } = room();
      const hops = new Map<number, number>();
      const routes = new Map<string, number>();
      let messages: number[][] = [];
      for (const [kind, key, value] of steps) {
        if (kind === 'hop') hops.set(key as number, value);
        else if (kind === 'gone') hops.delete(key as number);
        else if (kind === 'route') routes.set(key as string, value);
        else routes.delete(key as string);
        if (kind === 'hop') messages.push(hop(key as number, `10.0.${value}.1`));
        else if (kind === 'gone') messages.push(kit.nextHopGone(key as number));
        else messages.push(kind === 'route' ? byId(key as string, value) : remove(key as string));
        if (messages.length >= batch) send(...messages.splice(0));
      }
      send(...messages);
      messages = [];
      const expected = [...routes].flatMap(([p, n]) =>
        hops.has(n) ? [[p, `10.0.${hops.get(n)}.1%${hops.get(n)}*1`]] : [],
      );
      t.deepEqual(shown(), Object.fromEntries(expected));
      t.is(table.stats.installed, expected.length);
      t.is(table.stats.unresolved, routes.size - expected.length);
      t.is(table.stats.nextHops, hops.size);
    }),
    { seed: 254, numRuns: 300 },
  );
});

test('external routes rank between those of BGP neighbours and of our own AS', (t) => {
  const { send, fib } = room();
  send(add('10.1.0.0/16', kit.gateway('10.0.1.1')));
  const prefix = Prefix.parse('10.1.0.0/16')!;
  fib.apply([{ vrf: 0, prefix, source: RouteSource.Ibgp, nextHops: [{ link: 2 }] }]);
  t.is(fib.lookupRoute(0, Addr.parse('10.1.2.3')!)[0]?.source, RouteSource.External);
  fib.apply([{ vrf: 0, prefix, source: RouteSource.Ebgp, nextHops: [{ link: 2 }] }]);
  t.is(fib.lookupRoute(0, Addr.parse('10.1.2.3')!)[0]?.source, RouteSource.Ebgp);
});
