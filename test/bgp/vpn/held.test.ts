/**
 * What is held from a peer: marked and swept at once whatever it is, counted as a list would count it, and left in slices; and what
 * VRFs have exported.
 */
import test from 'ava';
import fc from 'fast-check';
import type { Chore } from '../../../bgp/chores.ts';
import type { MonitoredSession } from '../../../bgp/monitor/monitor.ts';
import type { VpnFamily } from '../../../bgp/ports.ts';
import { Held, type HeldRoute } from '../../../bgp/vpn/held.ts';
import { type VpnPrefix, vpnKey } from '../../../bgp/vpn/nlri.ts';
import { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { UpdatePacker } from '../../../bgp/wire/update.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { hex } from '../kit/describe.ts';
import { messagesIn, openPeer, rd, rt } from '../kit/vpn.ts';

const hop = { global: Addr.parse('10.0.0.9')!, linkLocal: undefined };
const sender = { name: 'p', address: hop.global, relation: 'internal', isClient: false, identifier: 9 } as const;
const peer = openPeer(sender);
const accepted = { attributes: PLAIN_ATTRIBUTES, hop, weight: 0 };
const FAMILIES: readonly VpnFamily[] = ['vpnv4', 'vpnv6'];

function routeOf(held: Held, prefix: Prefix, isAccepted: boolean, name: VpnPrefix = named(prefix)): HeldRoute {
  const reached = { attributes: PLAIN_ATTRIBUTES, hop, octets: new Uint8Array(0) };
  const epoch = held.epoch(prefix.family === 4 ? 'vpnv4' : 'vpnv6');
  const facts = { number: 1, vrfs: [], isLabelled: false, isLongLived: false, sender };
  return { key: vpnKey(name), prefix: name, reached, accepted: isAccepted ? accepted : undefined, epoch, ...facts };
}

function named(prefix: Prefix): VpnPrefix {
  return { rd: rd('64601:1'), prefix, pathId: 0, label: 3 };
}

interface Known {
  isAccepted: boolean;
  isStale: boolean;
}

test('after any changes counts and routes are those of a plain list', (t) => {
  const prefixes = ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16', 'fd01::/48', 'fd02::/48'].map((p) => Prefix.parse(p)!);
  const change = fc.record({
    kind: fc.constantFrom('put', 'put', 'again', 'delete', 'stale', 'sweep', 'clean'),
    at: fc.nat(4),
    isAccepted: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const held = new Held(peer);
      const list = new Map<Prefix, Known>();
      for (const { kind, at, isAccepted } of changes) {
        const prefix = prefixes[at]!;
        const family = FAMILIES[prefix.family === 4 ? 0 : 1]!;
        const known = held.get(vpnKey(named(prefix)), named(prefix));
        const ofFamily = [...list].filter(([p]) => p.family === prefix.family);
        t.is(known === undefined, !list.has(prefix));
        if (kind === 'put') {
          held.put(routeOf(held, prefix, isAccepted));
          list.set(prefix, { isAccepted, isStale: false });
        } else if (kind === 'again' && known !== undefined) {
          held.toldAgain(known);
          list.get(prefix)!.isStale = false;
        } else if (kind === 'delete' && known !== undefined) {
          held.delete(known);
          list.delete(prefix);
        } else if (kind === 'stale') {
          held.markStale(family);
          for (const [, k] of ofFamily) k.isStale = true;
        } else if (kind === 'sweep') {
          held.sweep(family);
          for (const [p, k] of ofFamily) if (k.isStale) list.delete(p);
        } else if (kind === 'clean') {
          for (const route of held.routes()) if (held.isGone(route)) held.delete(route);
        }
        for (const [i, f] of FAMILIES.entries()) {
          const all = [...list].filter(([p]) => p.family === (i === 0 ? 4 : 6)).map(([, k]) => k);
          t.deepEqual(
            [held.received[f], held.accepted[f], held.stale[f]],
            [all.length, all.filter((k) => k.isAccepted).length, all.filter((k) => k.isStale).length],
          );
        }
        t.is(held.size, list.size);
        for (const p of prefixes) t.is(held.hasRefused(p), list.get(p)?.isAccepted === false);
      }
    }),
    { seed: 4724, numRuns: 500 },
  );
});

test('marking and sweeping a table looks at none of its routes', (t) => {
  const held = new Held(peer);
  let looks = 0;
  for (let i = 0; i < 2000; i++) {
    const prefix = Prefix.parse(`10.${i >> 8}.${i & 255}.0/24`)!;
    const name = named(prefix);
    const route = routeOf(held, prefix, i % 2 === 0, name);
    const get = () => {
      looks++;
      return name;
    };
    held.put(Object.defineProperty({ ...route }, 'prefix', { get }));
  }
  looks = 0;
  held.markStale('vpnv4');
  t.deepEqual([held.received.vpnv4, held.accepted.vpnv4, held.stale.vpnv4], [2000, 1000, 2000]);
  held.sweep('vpnv4');
  t.deepEqual([held.size, held.received.vpnv4, held.accepted.vpnv4, held.stale.vpnv4], [0, 0, 0, 0]);
  t.is(looks, 0);
});

/** A room with a peer whose routes 10.1.0.0/16 to 10.9.0.0/16 are in it, and what it has left for later. */
function roomOfOne() {
  const chores: Chore[] = [];
  const room = new VpnRoom({ localAs: 64601, vrfs: [], wake: () => undefined });
  room.attach((chore) => chores.push(chore));
  const context = { fourOctetAs: true, families: { vpnv4: PLAIN_FACTS } };
  const session = { peer: 'p', negotiated: { families: ['vpnv4'], context } } as unknown as MonitoredSession;
  room.up(session, peer);
  const tell = (n: number, localPref = 100): void => {
    const reach = hex(`0001 80 0c 0000000000000000 0a000009 00 68 000031 0000fc5900000001 0a0${n}`);
    room.update(session, { reach, unreach: undefined, isWithdrawn: false }, { ...PLAIN_ATTRIBUTES, localPref });
  };
  for (let n = 1; n < 10; n++) tell(n);
  const told = (): string[] =>
    [...room.routes(0)].flat().map((r) => `${r.name.prefix} ${r.bundle.attributes.localPref}`);
  return { room, chores, tell, told };
}

test('what is swept leaves the table in steps, and what is told again meanwhile stays once', (t) => {
  const { room, chores, tell, told } = roomOfOne();
  room.retention('p').markStale('vpnv4');
  tell(1);
  tell(2, 200);
  room.retention('p').sweep('vpnv4');
  t.is(room.counts.learned, 2, 'counted at once');
  t.is(told().length, 9);
  tell(3);
  tell(9, 300);
  t.is(room.counts.learned, 4);
  t.is(chores.length, 1);
  t.false(chores[0]!.step(2));
  t.false(chores[0]!.step(3));
  t.is(told().length, 7, 'routes 1 to 5 have been looked at, and 4 and 5 are gone');
  t.true(chores[0]!.step(100));
  t.deepEqual(told().sort(), ['10.1.0.0/16 100', '10.2.0.0/16 200', '10.3.0.0/16 100', '10.9.0.0/16 300']);
  room.retention('p').sweep('vpnv4');
  t.is(chores.length, 1, 'nothing is stale any more');
});

test('a peer that comes again while its old routes leave has the new ones', (t) => {
  const { room, chores, tell, told } = roomOfOne();
  room.down({ peer: 'p' } as MonitoredSession);
  room.retention('p').drop('vpnv4');
  t.is(room.counts.learned, 0);
  const context = { fourOctetAs: true, families: { vpnv4: PLAIN_FACTS } };
  room.up({ peer: 'p', negotiated: { families: ['vpnv4'], context } } as unknown as MonitoredSession, peer);
  tell(4, 50);
  while (!chores[0]!.step(2));
  t.deepEqual(told(), ['10.4.0.0/16 50']);
  t.is(room.counts.learned, 1);
});

test("what a VRF's session has exported leaves in steps when that ends, but for what the next one tells", (t) => {
  const chores: Chore[] = [];
  const red = { name: 'red', rd: rd('64601:1'), importTargets: [], exportTargets: [rt('64601:1')] };
  const room = new VpnRoom({ localAs: 64601, vrfs: [red], wake: () => undefined });
  room.attach((chore) => chores.push(chore));
  const end = room.endOf('red')!;
  const settings = { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'native' } as const;
  const tell = (...numbers: number[]): void => {
    const packer = new UpdatePacker(settings, (octets) => {
      for (const m of messagesIn([octets])) end.update(m.subarray(19));
    });
    packer.reach(4, { ...PLAIN_ATTRIBUTES, localPref: 100 }, hop);
    for (const n of numbers) packer.add(Prefix.parse(`10.${n}.0.0/16`)!.addr.a3, 0, 0, 0, 16);
    packer.flush();
  };
  const told = (): string[] =>
    [...room.routes(0)]
      .flat()
      .map((r) => String(r.name.prefix))
      .sort();
  end.begin(() => undefined);
  tell(1, 2, 3, 4, 5);
  t.is(told().length, 5);
  // Other targets: each route is to be exported again, when the session that told it is gone.
  room.setVrfs([{ ...red, exportTargets: [rt('64601:2')] }]);
  end.ended();
  end.begin(() => undefined);
  tell(2, 9);
  t.is(told().length, 6);
  t.is(chores.length, 2);
  while (!chores[0]!.step(2));
  t.is(told().length, 6);
  t.false(chores[1]!.step(2));
  t.is(told().length, 5, 'one of the first two has not been told again');
  while (!chores[1]!.step(2));
  t.deepEqual(told(), ['10.2.0.0/16', '10.9.0.0/16']);
  end.ended();
  while (!chores[2]!.step(2));
  t.deepEqual(told(), []);
  t.is(room.counts.exported, 0);
});
