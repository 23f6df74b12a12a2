/** Attributes at the limits of what their lengths can say: nothing wraps around, whatever a peer sends and policy adds. */
import test from 'ava';
import { localOpen } from '../../bgp/fsm/negotiate.ts';
import { AttrTable, MAX_SET_OCTETS, TOO_LARGE } from '../../bgp/rib/attrs.ts';
import { type LinkId, type Policy, Speaker, type Stream, type StreamHandler } from '../../bgp/speaker.ts';
import { MAX_PATH_ASNS } from '../../bgp/wire/attribute/as-path.ts';
import type { Attributes, WireContext } from '../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../bgp/wire/attribute/plain.ts';
import { encodeKeepalive, encodeOpen } from '../../bgp/wire/message.ts';
import { decodeCarefully, decodeUpdate, UpdatePacker } from '../../bgp/wire/update.ts';
import { Addr } from '../../router/lib/addr.ts';
import type { Instant } from '../../router/lib/clock.ts';
import { messageOf, PLAIN_CONTEXT, PLAIN_OFFER } from './kit/describe.ts';

const HOP = { global: Addr.parse('192.0.2.1')!, linkLocal: undefined };
const FIRST_AS = 65_101;

/** A path of so many ASes, `FIRST_AS` all of them but the last. */
function pathOf(count: number, last = FIRST_AS) {
  const asns = [...Array.from({ length: count - 1 }, () => FIRST_AS), last];
  const segments = Math.ceil(count / 255);
  return Array.from({ length: segments }, (_, i) => ({ type: 2, asns: asns.slice(255 * i, 255 * (i + 1)) }));
}

/** An UPDATE that announces 10.0.0.0/8. */
function update(attributes: Partial<Attributes>, fourOctetAs: boolean): Uint8Array {
  const out: Uint8Array[] = [];
  const settings = { fourOctetAs, maxMessage: 65_535, linkLocalForm: 'single' } as const;
  const packer = new UpdatePacker(settings, (octets) => out.push(octets.slice()));
  packer.reach(4, { ...PLAIN_ATTRIBUTES, ...attributes }, HOP);
  packer.add(0x0a000000, 0, 0, 0, 8);
  packer.flush();
  return out[0]!;
}

const communities = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

test('a path with more AS numbers than anybody needs is treated as withdrawn', (t) => {
  for (const fourOctetAs of [true, false]) {
    const context: WireContext = { ...PLAIN_CONTEXT, fourOctetAs };
    for (const decode of [decodeUpdate, decodeCarefully]) {
      const reached = (count: number) => {
        const u = decode(messageOf(update({ asPath: pathOf(count) }, fourOctetAs)).body, context);
        return 'handling' in u ? u.words : [u.reach.length, u.withdrawn.length, u.faults.map((f) => f.words)];
      };
      t.deepEqual(reached(MAX_PATH_ASNS), [1, 0, []]);
      t.deepEqual(reached(MAX_PATH_ASNS + 1), [
        0,
        1,
        [`AS_PATH with ${MAX_PATH_ASNS + 1} AS numbers`, 'AS_PATH is missing or malformed'],
      ]);
    }
  }
});

test('so is one that became as long by its AS4_PATH', (t) => {
  // A set counts as one AS of the path, however many numbers it has.
  const sets = Array.from({ length: 17 }, () => `01ff${'0000fdd1'.repeat(255)}`).join('');
  const as4 = Buffer.from(sets, 'hex');
  const path = Buffer.from(`0211${'fe4d'.repeat(17)}`, 'hex');
  const attribute = (flags: number, code: number, value: Uint8Array): Buffer =>
    Buffer.from([flags | 0x10, code, value.length >> 8, value.length & 255, ...value]);
  const list = Buffer.concat([
    attribute(0x40, 1, Buffer.from([0])),
    attribute(0x40, 2, path),
    attribute(0x40, 3, HOP.global.toBytes()),
    attribute(0xc0, 17, as4),
  ]);
  const head = Buffer.from([0, 0, list.length >> 8, list.length & 255]);
  const u = decodeUpdate(Buffer.concat([head, list, Buffer.from([8, 10])]), { ...PLAIN_CONTEXT, fourOctetAs: false });
  t.like(u, { reach: [], withdrawn: [{ family: 4 }], attributes: undefined });
});

test('a table of attribute sets refuses what does not fit into the attributes of a message', (t) => {
  const table = new AttrTable();
  // ORIGIN has 4 octets, an empty AS_PATH 3, the header of COMMUNITIES 4.
  const most = Math.floor((MAX_SET_OCTETS - 11) / 4);
  const fits = { ...PLAIN_ATTRIBUTES, communities: communities(most) };
  const id = table.internNumber(fits, HOP);
  t.deepEqual(table.decoded(id).communities, fits.communities);
  const larger = { ...PLAIN_ATTRIBUTES, communities: communities(most + 1) };
  t.is(table.internNumber(larger, HOP), TOO_LARGE);
  t.throws(() => table.intern(larger, HOP), { instanceOf: RangeError });
  table.sweep();
  t.is(table.octets, 0);
});

test('what only names the aggregator gives way where a message has no room for it (RFC 8654 §4)', (t) => {
  const aggregated = { atomicAggregate: true, aggregator: { asn: 70_000, identifier: 7 } };
  const told = (count: number, more: Partial<Attributes>, fourOctetAs = true) => {
    const out: Uint8Array[] = [];
    const settings = { fourOctetAs, maxMessage: 4096, linkLocalForm: 'single' } as const;
    const packer = new UpdatePacker(settings, (octets) => out.push(octets.slice()));
    if (!packer.reach(4, { ...PLAIN_ATTRIBUTES, communities: communities(count), ...more }, HOP)) return undefined;
    packer.add(0x0a000000, 0, 0, 0, 32);
    packer.flush();
    t.true(out[0]!.length <= 4096);
    const u = decodeUpdate(messageOf(out[0]!).body, {
      ...PLAIN_CONTEXT,
      fourOctetAs,
      external: true,
      firstAs: undefined,
    });
    return 'handling' in u ? u.words : [u.attributes?.communities.length, u.attributes?.aggregator, u.faults.length];
  };
  // Header 19, lengths 4, ORIGIN 4, an empty AS_PATH 3, NEXT_HOP 7, the header of COMMUNITIES 4, a prefix 5.
  const most = Math.floor((4096 - 46) / 4);
  t.deepEqual(told(most, {}), [most, undefined, 0]);
  t.is(told(most + 1, {}), undefined);
  t.deepEqual(told(most - 4, aggregated), [most - 4, aggregated.aggregator, 0]);
  t.deepEqual(told(most, aggregated), [most, undefined, 0]);
  t.deepEqual(told(most, aggregated, false), [most, undefined, 0]);
  t.is(told(most + 1, aggregated), undefined);
});

/** A speaker and a peer that knows no AS numbers of four octets (when `isOld`), and long messages. */
function speakerWith(policy: Policy, isOld: boolean) {
  let accept!: (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined;
  let now = 0;
  const speaker = new Speaker({
    asn: 65_002,
    routerId: Addr.parse('10.0.0.2')!,
    clock: { now: () => now as Instant },
    random: () => 1,
    transport: {
      connect: () => ({ abort: () => {} }),
      listen: (a) => {
        accept = a;
      },
    },
    sink: { apply: () => {} },
    resolver: { isUp: () => true, subscribe: () => {} },
  });
  speaker.start();
  const address = Addr.parse('10.8.1.2')!;
  const config = { name: 'p', address, link: 1, asn: FIRST_AS, passive: true, holdTimeS: 0 } as const;
  speaker.addPeer({ ...config, import: policy });
  const stream = { localAddress: Addr.parse('10.8.1.1')!, write: () => true, close: () => {} };
  const handler = accept(stream, address, 1)!;
  const facts = { localAs: FIRST_AS, peerAs: 65_002, identifier: 7, holdTimeS: 0, families: ['ipv4'] } as const;
  const open = localOpen({ ...PLAIN_OFFER, ...facts, extendedMessages: true });
  const capabilities = open.capabilities.filter((c) => !isOld || c.kind !== 'four-octet-as');
  handler.data(encodeOpen({ ...open, capabilities }));
  handler.data(encodeKeepalive());
  const receive = (octets: Uint8Array): void => {
    handler.data(octets);
    speaker.tick(++now as Instant);
  };
  const routes = () => [...speaker.routes('in')];
  return { speaker, receive, routes, view: () => speaker.snapshot()[0]! };
}

test('what outgrows a message when AS numbers get four octets is treated as withdrawn, and counted', (t) => {
  const { receive, routes, view, speaker } = speakerWith('accept-all', true);
  receive(update({ asPath: pathOf(1) }, false));
  t.is(view().lastFault, undefined);
  const path = { asPath: pathOf(3000) };
  receive(update(path, false));
  t.is(routes().length, 1);
  receive(update({ ...path, communities: communities(14_000) }, false));
  t.is(view().state, 'Established');
  t.is(routes().length, 0);
  t.is(view().lastFault, 'attributes of more than 65535 octets');
  t.is(speaker.totals.ipv4, 0);
});

test('a path that hides our own AS behind an overflow is not used', (t) => {
  const { receive, routes, view } = speakerWith('accept-all', true);
  receive(update({ asPath: pathOf(16_607, 65_002) }, false));
  t.is(view().state, 'Established');
  t.deepEqual(routes(), []);
  t.regex(view().lastFault!, /AS_PATH/);
});

test('a route that import policy makes too large is refused, and comes back when it does not', (t) => {
  const add = Array.from({ length: 20 }, (_, i) => 0xfe000000 + i);
  const { receive, routes, speaker, view } = speakerWith([{ action: 'accept', set: { addCommunities: add } }], false);
  receive(update({ asPath: pathOf(1), communities: communities(16_360) }, true));
  t.is(view().state, 'Established');
  t.is(routes()[0]!.refused, 'attributes of more than 65535 octets');
  t.is(speaker.totals.ipv4, 0);
  speaker.setPolicies('p', { import: 'accept-all' });
  receive(new Uint8Array(0));
  t.is(routes()[0]!.refused, undefined);
  t.is(speaker.totals.ipv4, 1);
});
