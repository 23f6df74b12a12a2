import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { DESCRIPTOR } from '../../../router/fpm/descriptor.ts';
import { FPM_MAX_FRAME, FpmFrameReader, FpmType, fpmFrame } from '../../../router/fpm/frame.ts';
import type { FpmMessage } from '../../../router/fpm/message.ts';
import { confirmNetlink, decodeNetlink } from '../../../router/fpm/netlink.ts';
import { decodeProtobuf } from '../../../router/fpm/protobuf.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import * as kit from './kit.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..', '..');
const STREAM = readFileSync(join(ROOT, 'test/golden/fpm/frr-8.4.4-dplane_fpm_nl-stream.bin'));

/** Addresses as text, so that expectations can be read. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Addr || v instanceof Prefix ? String(v) : v)));

function decodeStream(octets: Uint8Array, cuts: readonly number[] = []): FpmMessage[] {
  const reader = new FpmFrameReader();
  const messages: FpmMessage[] = [];
  const places = [0, ...cuts.map((c) => c % (octets.length + 1)).sort((a, b) => a - b), octets.length];
  for (let i = 1; i < places.length; i++) {
    const frames = reader.push(octets.subarray(places[i - 1], places[i]));
    if (typeof frames === 'string') throw new Error(frames);
    for (const f of frames) messages.push(...decodeNetlink(f.payload).messages);
  }
  return messages;
}

test('what zebra 8.4.4 sends is understood: groups, link-local next hops, withdrawals', (t) => {
  const messages = plain(decodeStream(STREAM)) as Record<string, unknown>[];
  t.is(messages.length, 21);
  const route = (prefix: string) => messages.find((m) => m['kind'] === 'route' && m['prefix'] === prefix);
  const hop = (id: number) => messages.find((m) => m['kind'] === 'nexthop' && m['id'] === id)?.['what'];
  const made = { kind: 'route', table: 254, protocol: 'static', type: 'unicast', metric: 20 };
  t.deepEqual(route('172.22.0.0/16'), { ...made, prefix: '172.22.0.0/16', hops: 14 });
  t.deepEqual(hop(14), [
    { id: 15, weight: 1 },
    { id: 16, weight: 1 },
  ]);
  t.deepEqual(hop(15), { gateway: '10.8.0.3', ifindex: 3, weight: 1 });
  t.deepEqual(hop(16), { gateway: '10.8.0.4', ifindex: 3, weight: 1 });
  t.deepEqual(route('fd42::/16'), { ...made, prefix: 'fd42::/16', hops: 12 });
  t.deepEqual(hop(12), { gateway: 'fe80::2', ifindex: 3, weight: 1 });
  t.like(route('10.8.0.0/24'), { protocol: 'kernel', hops: 2 });
  t.deepEqual(
    messages.filter((m) => m['kind'] === 'withdrawal').map((m) => m['prefix']),
    ['172.20.0.0/14', '172.22.0.0/16', 'fd42::/16'],
  );
});

test('framing ignores chunk borders', (t) => {
  const whole = plain(decodeStream(STREAM));
  fc.assert(
    fc.property(fc.array(fc.nat()), (cuts) => {
      t.deepEqual(plain(decodeStream(STREAM, cuts)), whole);
    }),
    { seed: 2620, numRuns: 100 },
  );
});

test('a stream that is not FPM is refused with a reason', (t) => {
  t.is(new FpmFrameReader().push(Uint8Array.of(2, 1, 0, 4)), 'FPM version 2 instead of 1');
  t.is(new FpmFrameReader().push(Uint8Array.of(1, 1, 0, 3)), 'FPM frame of 3 octets, less than its header');
  t.is(fpmFrame(1, new Uint8Array(FPM_MAX_FRAME)), undefined);
  t.deepEqual(new FpmFrameReader().push(fpmFrame(9, Uint8Array.of(5))!), [{ type: 9, payload: Uint8Array.of(5) }]);
});

test('every form of an rtnetlink route is read', (t) => {
  const one = (...attributes: number[][]) =>
    plain(decodeNetlink(Uint8Array.from(kit.route(kit.NEWROUTE, '10.1.0.0/16', { attributes }))).messages[0]) as {
      hops: unknown;
    };
  t.deepEqual(one(kit.oif(4), kit.gateway('10.0.0.1')).hops, [{ gateway: '10.0.0.1', ifindex: 4, weight: 1 }]);
  t.deepEqual(one(kit.oif(4), kit.attribute(7, kit.address('10.0.0.9'))).hops, [
    { ifindex: 4, weight: 1, source: '10.0.0.9' },
  ]);
  const via = kit.attribute(18, [10, 0, ...kit.address('fe80::1')]);
  t.deepEqual(one(kit.oif(4), via).hops, [{ gateway: 'fe80::1', ifindex: 4, weight: 1 }]);
  const multipath = kit.attribute(9, [...kit.member(4, 1, '10.0.0.1'), ...kit.member(5, 20, '10.0.1.1')]);
  t.deepEqual(one(multipath).hops, [
    { gateway: '10.0.0.1', ifindex: 4, weight: 1 },
    { gateway: '10.0.1.1', ifindex: 5, weight: 20 },
  ]);
  // An encapsulation (MPLS, SRv6) does not make the route unreadable.
  t.deepEqual(one(kit.attribute(21, [1, 0]), kit.attribute(22 | 0x8000, [1, 2]), kit.oif(4)).hops, [
    { ifindex: 4, weight: 1 },
  ]);
  t.like(one(kit.attribute(15, kit.u32(1000)), kit.attribute(6, kit.u32(42))), { table: 1000, metric: 42 });
});

test('route types, default routes and what is nothing to us', (t) => {
  const of = (fields: kit.RouteFields, prefix = '10.1.0.0/16') =>
    decodeNetlink(Uint8Array.from(kit.route(kit.NEWROUTE, prefix, fields)));
  const types = [1, 6, 7, 8].map((type) => (of({ type }).messages[0] as { type: string }).type);
  t.deepEqual(types, ['unicast', 'blackhole', 'unreachable', 'prohibit']);
  t.deepEqual(of({ type: 5 }), { messages: [], unknown: 1, malformed: 0 }, 'multicast');
  t.like(plain(of({}, '0.0.0.0/0').messages[0]), { prefix: '0.0.0.0/0' });
  t.like(plain(of({}, '::/0').messages[0]), { prefix: '::/0' });
  const bare = kit.netlink(kit.NEWROUTE, [2, 0, 0, 0, 254, 12, 0, 1, 0, 0, 0, 0]);
  t.like(plain(decodeNetlink(Uint8Array.from(bare)).messages[0]), { prefix: '0.0.0.0/0', protocol: 'bird' });
  t.deepEqual(decodeNetlink(Uint8Array.from(kit.netlink(28, [1, 2, 3, 4]))), {
    messages: [],
    unknown: 1,
    malformed: 0,
  });
});

test('a bad message is counted, and the good ones beside it count', (t) => {
  const good = kit.route(kit.NEWROUTE, '10.1.0.0/16', { attributes: [kit.oif(4)] });
  const badLength = kit.route(kit.NEWROUTE, '10.1.0.0/33');
  const badGateway = kit.route(kit.NEWROUTE, '10.1.0.0/16', { attributes: [kit.attribute(5, [1, 2, 3])] });
  const badGroup = kit.nextHop(3, 0, [kit.attribute(2, [1, 2, 3])]);
  const noId = kit.netlink(kit.NEWNEXTHOP, [2, 0, 0, 0, 0, 0, 0, 0]);
  const all = decodeNetlink(Uint8Array.from([badLength, good, badGateway, badGroup, noId, good].flat()));
  t.is(all.messages.length, 2);
  t.is(all.malformed, 4);
  t.like(decodeNetlink(Uint8Array.from([...good, 200, 0, 0, 0])), { malformed: 1 });
});

test('a route is confirmed by its own octets with RTM_F_OFFLOAD', (t) => {
  const taken = kit.route(kit.NEWROUTE, '10.1.0.0/16', { attributes: [kit.oif(4)] });
  const other = kit.route(kit.NEWROUTE, '10.2.0.0/16', { attributes: [kit.oif(4)] });
  const gone = kit.route(kit.DELROUTE, '10.1.0.0/16');
  const payload = Uint8Array.from([...gone, ...taken, ...other]);
  const [answer, ...more] = confirmNetlink(payload, (r) => String(r.prefix) === '10.1.0.0/16');
  t.deepEqual(more, []);
  const expected = Uint8Array.from(taken);
  expected[16 + 8 + 1] = 0x40;
  t.deepEqual(answer, expected);
});

test('no octets make a decoder throw', (t) => {
  const octets = fc.uint8Array({ maxLength: 200 });
  const bodies = fc.oneof(
    octets,
    // Mutations of what is right get further than noise.
    fc.tuple(fc.nat(STREAM.length - 1), fc.nat(255)).map(([at, value]) => {
      const copy = Uint8Array.from(STREAM);
      copy[at] = value;
      return copy.subarray(4);
    }),
    fc
      .tuple(fc.constantFrom(24, 25, 104, 105), octets)
      .map(([type, body]) => Uint8Array.from(kit.netlink(type, [2, ...body]))),
  );
  fc.assert(
    fc.property(bodies, (body) => {
      const d = decodeNetlink(body);
      t.true(d.messages.length + d.unknown + d.malformed >= (body.length > 0 ? 1 : 0));
      confirmNetlink(body, () => true);
      decodeProtobuf(body);
      new FpmFrameReader().push(body);
    }),
    { seed: 24, numRuns: 3000 },
  );
});

test('the descriptor is the one fpm.proto describes', (t) => {
  const proto = readFileSync(join(ROOT, 'router/fpm/fpm.proto'), 'utf8');
  t.deepEqual(plain(protobuf.parse(proto, new protobuf.Root(), { keepCase: true }).root.toJSON()), DESCRIPTOR);
});

/** A protobuf field of type "length-delimited", and one of type varint or fixed32. */
const nested = (number: number, ...parts: number[][]): number[] => {
  const body = parts.flat();
  return [(number << 3) | 2, body.length, ...body];
};
const varint = (number: number, value: number): number[] => [number << 3, value];
const fixed = (number: number, value: number): number[] => [(number << 3) | 5, ...kit.u32(value)];

/** vrf 0, IPv4, unicast, and a key of so many bits in these octets: what both messages begin with. */
const key = (length: number, ...octets: number[]): number[] => [
  ...varint(1, 0),
  ...varint(2, 1),
  ...varint(3, 1),
  ...nested(4, nested(1, varint(1, length), nested(2, octets))),
];

test('a protobuf route is read from octets written by hand', (t) => {
  const hop = nested(9, nested(2, varint(1, 3)), nested(3, nested(1, fixed(1, 0x0a080002))));
  const rest = [...varint(5, 1), ...varint(6, 7), ...varint(8, 20), ...hop];
  const add = (...head: number[]) => Uint8Array.from([...varint(1, 1), ...nested(2, head, rest)]);
  t.deepEqual(plain(decodeProtobuf(add(...key(14, 0xac, 0x14))).messages), [
    {
      kind: 'route',
      table: 254,
      prefix: '172.20.0.0/14',
      protocol: 'ospf',
      type: 'unicast',
      metric: 20,
      hops: [{ gateway: '10.8.0.2', ifindex: 3, weight: 1 }],
    },
  ]);
  t.like(decodeProtobuf(add(...key(14, 0xac))), { malformed: 1 }, 'fewer octets than bits');
  t.like(decodeProtobuf(add(...key(33, 1, 2, 3, 4))), { malformed: 1 });
  t.like(decodeProtobuf(Uint8Array.from([...varint(1, 1), ...nested(2, key(8, 10))])), { malformed: 1 }, 'no protocol');
  t.like(decodeProtobuf(Uint8Array.from(varint(1, 3))), { unknown: 1 }, 'an SRv6 SID');
  const gone = Uint8Array.from([...varint(1, 2), ...nested(3, key(14, 0xac, 0x14))]);
  t.deepEqual(plain(decodeProtobuf(gone).messages), [{ kind: 'withdrawal', table: 254, prefix: '172.20.0.0/14' }]);
});

test('both encodings of one route mean the same', (t) => {
  const root = protobuf.Root.fromJSON(DESCRIPTOR as protobuf.INamespace);
  const type = root.lookupType('fpm.Message');
  const octets = type
    .encode(
      type.fromObject({
        type: 'ADD_ROUTE',
        add_route: {
          vrf_id: 0,
          address_family: 'IPV6',
          sub_address_family: 'UNICAST',
          key: { prefix: { length: 16, bytes: Uint8Array.of(0xfd, 0x42) } },
          protocol: 'OSPF',
          metric: 30,
          nexthops: [
            { if_id: { index: 4 }, address: { v6: { bytes: Addr.parse('fe80::1')!.toBytes() } } },
            { if_id: { index: 5 }, address: { v6: { bytes: Addr.parse('fe80::1')!.toBytes() } } },
          ],
        },
      }),
    )
    .finish();
  const attributes = [
    kit.attribute(6, kit.u32(30)),
    kit.attribute(9, [...kit.member(4, 1, 'fe80::1'), ...kit.member(5, 1, 'fe80::1')]),
  ];
  const same = decodeNetlink(Uint8Array.from(kit.route(kit.NEWROUTE, 'fd42::/16', { attributes })));
  t.deepEqual(plain(decodeProtobuf(octets)), plain(same));
  t.is(FpmType.Protobuf, 2);
});
