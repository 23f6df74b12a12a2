import test from 'ava';
import fc from 'fast-check';
import {
  AS_TRANS,
  type AsPath,
  mergeAs4Path,
  pathLength,
  prepend,
  putAs4Path,
} from '../../../bgp/wire/attribute/as-path.ts';
import type { Attributes, NextHop, WireContext } from '../../../bgp/wire/attribute/model.ts';
import { putAttributes } from '../../../bgp/wire/attribute/table.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { isNlri, NlriCursor, prefixesOf, putPrefixValue } from '../../../bgp/wire/nlri.ts';
import { OctetWriter } from '../../../bgp/wire/octets.ts';
import { decodeUpdate, UpdatePacker } from '../../../bgp/wire/update.ts';
import { Addr, type Family, Prefix } from '../../../router/lib/addr.ts';
import { get16 } from '../../../router/lib/bytes.ts';
import { hex, hopText, messageOf, PLAIN_CONTEXT } from '../kit/describe.ts';

const EXTERNAL: WireContext = { ...PLAIN_CONTEXT, firstAs: 64601 };
/** Both families without extensions. */
const PLAIN_FAMILIES = { ipv4: PLAIN_FACTS, ipv6: PLAIN_FACTS };
const INTERNAL: WireContext = { ...PLAIN_CONTEXT, external: false };

const ORIGIN = '400101 00';
const PATH = '400206 0201 0000fc59'; // 64601
const HOP = '400304 0a090909';
const LOCAL_PREF = '400504 00000064';
const NLRI = '18 ac1401'; // 172.20.1.0/24
const REACH6 = '800e1a 0002 01 10 fd000009000000000000000000000001 00 20 fd420001';

function body(attributes: readonly string[], nlri: string = NLRI, withdrawn = ''): Uint8Array {
  const a = hex(attributes.join(''));
  const w = hex(withdrawn);
  const out = new OctetWriter();
  out.u16(w.length);
  out.put(w);
  out.u16(a.length);
  out.put(a);
  out.put(hex(nlri));
  return out.take();
}

/** "accepted", "withdrawn", "reset 3/1", with the words of mistakes that only cost an attribute. */
function outcome(octets: Uint8Array, context: WireContext): string {
  const u = decodeUpdate(octets, context);
  if ('handling' in u) return `reset ${u.code}/${u.subcode}`;
  const discarded = u.faults.filter((f) => f.handling === 'discard').length;
  if (u.reach.length > 0) return discarded > 0 ? 'attribute discarded' : 'accepted';
  return u.withdrawn.length > 0 ? 'withdrawn' : 'nothing';
}

const BASE = [ORIGIN, PATH, HOP];
const BASE6 = [REACH6, ORIGIN, PATH];

// RFC 7606 §7 and its relatives: attributes, outcome from an external peer, outcome from an internal one (LOCAL_PREF added).
const CASES: readonly (readonly [string, readonly string[], string, string])[] = [
  ['a complete UPDATE', BASE, 'accepted', 'accepted'],
  ['ORIGIN of two octets', ['400102 0000', PATH, HOP], 'withdrawn', 'withdrawn'],
  ['ORIGIN of no octets', ['400100', PATH, HOP], 'withdrawn', 'withdrawn'],
  ['ORIGIN 3', ['400101 03', PATH, HOP], 'withdrawn', 'withdrawn'],
  ['ORIGIN 255', ['400101 ff', PATH, HOP], 'withdrawn', 'withdrawn'],
  // RFC 7606 §3 (c) speaks of the Optional and Transitive bits only.
  ['ORIGIN marked partial', ['600101 00', PATH, HOP], 'accepted', 'accepted'],
  ['ORIGIN marked optional', ['c00101 00', PATH, HOP], 'withdrawn', 'withdrawn'],
  ['ORIGIN not transitive', ['000101 00', PATH, HOP], 'withdrawn', 'withdrawn'],
  ['ORIGIN missing', [PATH, HOP], 'withdrawn', 'withdrawn'],
  ['ORIGIN twice', [ORIGIN, '400101 02', PATH, HOP], 'attribute discarded', 'attribute discarded'],
  ['AS_PATH missing', [ORIGIN, HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH marked optional', [ORIGIN, 'c00206 0201 0000fc59', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH not transitive', [ORIGIN, '000206 0201 0000fc59', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH marked partial', [ORIGIN, '600206 0201 0000fc59', HOP], 'accepted', 'accepted'],
  ['AS_PATH segment of type 0', [ORIGIN, '400206 0001 0000fc59', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH segment of unknown type', [ORIGIN, '400206 0501 0000fc59', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH segment that overruns', [ORIGIN, '400206 0202 0000fc59', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH segment of 255 that overruns', [ORIGIN, '400206 02ff 0000fc59', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH segment without numbers', [ORIGIN, '400202 0200', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH that is AS 0 alone (RFC 7607)', [ORIGIN, '400206 0201 00000000', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH with an octet left over', [ORIGIN, '400207 0201 0000fc59 02', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH segment of length zero', [ORIGIN, '400208 0201 0000fc59 0200', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH with AS 0 (RFC 7607)', [ORIGIN, '40020a 0202 0000fc59 00000000', HOP], 'withdrawn', 'withdrawn'],
  ['AS_PATH with an AS_SET (RFC 9774)', [ORIGIN, '40020c 0201 0000fc59 0101 0000fc5a', HOP], 'withdrawn', 'withdrawn'],
  [
    'AS_PATH with a confederation segment',
    [ORIGIN, '40020c 0201 0000fc59 0301 0000fc5a', HOP],
    'withdrawn',
    'withdrawn',
  ],
  ['AS_PATH of another first AS', [ORIGIN, '400206 0201 0000fc60', HOP], 'withdrawn', 'accepted'],
  ['AS_PATH empty', [ORIGIN, '400200', HOP], 'withdrawn', 'accepted'],
  ['NEXT_HOP missing', [ORIGIN, PATH], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP of five octets', [ORIGIN, PATH, '400305 0a09090900'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP of three octets', [ORIGIN, PATH, '400303 0a0909'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP of no octets', [ORIGIN, PATH, '400300'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP of sixteen octets', [ORIGIN, PATH, '400310 fd000009000000000000000000000001'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP marked optional', [ORIGIN, PATH, 'c00304 0a090909'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP 0.0.0.0', [ORIGIN, PATH, '400304 00000000'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP 127.0.0.1', [ORIGIN, PATH, '400304 7f000001'], 'withdrawn', 'withdrawn'],
  ['NEXT_HOP multicast', [ORIGIN, PATH, '400304 e0000001'], 'withdrawn', 'withdrawn'],
  ['MULTI_EXIT_DISC of three octets', [...BASE, '800403 000000'], 'withdrawn', 'withdrawn'],
  ['MULTI_EXIT_DISC of five octets', [...BASE, '800405 0000000000'], 'withdrawn', 'withdrawn'],
  ['MULTI_EXIT_DISC of no octets', [...BASE, '800400'], 'withdrawn', 'withdrawn'],
  ['MULTI_EXIT_DISC not optional', [...BASE, '000404 00000001'], 'withdrawn', 'withdrawn'],
  ['MULTI_EXIT_DISC marked transitive', [...BASE, 'c00404 00000001'], 'withdrawn', 'withdrawn'],
  ['ATOMIC_AGGREGATE with a value', [...BASE, '400601 00'], 'attribute discarded', 'attribute discarded'],
  ['ATOMIC_AGGREGATE marked optional', [...BASE, 'c00600'], 'withdrawn', 'withdrawn'],
  ['ATOMIC_AGGREGATE not transitive', [...BASE, '000600'], 'withdrawn', 'withdrawn'],
  ['AGGREGATOR of six octets', [...BASE, 'c00706 fc5901020304'], 'attribute discarded', 'attribute discarded'],
  ['AGGREGATOR of five octets', [...BASE, 'c00705 0000fc5901'], 'attribute discarded', 'attribute discarded'],
  ['AGGREGATOR of nine octets', [...BASE, 'c00709 0000fc590102030400'], 'attribute discarded', 'attribute discarded'],
  ['AGGREGATOR not transitive', [...BASE, '800708 0000fc59 01020304'], 'withdrawn', 'withdrawn'],
  ['AGGREGATOR not optional', [...BASE, '400708 0000fc59 01020304'], 'withdrawn', 'withdrawn'],
  ['AGGREGATOR AS 0 (RFC 7607)', [...BASE, 'c00708 00000000 01020304'], 'attribute discarded', 'attribute discarded'],
  ['COMMUNITIES of five octets', [...BASE, 'c00805 0000000100'], 'withdrawn', 'withdrawn'],
  ['COMMUNITIES of no octets', [...BASE, 'c00800'], 'withdrawn', 'withdrawn'],
  ['COMMUNITIES not transitive', [...BASE, '800804 0000fc59'], 'withdrawn', 'withdrawn'],
  ['ORIGINATOR_ID', [...BASE, '800904 01020304'], 'attribute discarded', 'accepted'],
  ['ORIGINATOR_ID of three octets', [...BASE, '800903 010203'], 'attribute discarded', 'withdrawn'],
  ['ORIGINATOR_ID of five octets', [...BASE, '800905 0102030405'], 'attribute discarded', 'withdrawn'],
  ['ORIGINATOR_ID marked transitive', [...BASE, 'c00904 01020304'], 'withdrawn', 'withdrawn'],
  ['CLUSTER_LIST', [...BASE, '800a04 01020304'], 'attribute discarded', 'accepted'],
  ['CLUSTER_LIST of six octets', [...BASE, '800a06 010203040506'], 'attribute discarded', 'withdrawn'],
  ['CLUSTER_LIST of no octets', [...BASE, '800a00'], 'attribute discarded', 'withdrawn'],
  ['CLUSTER_LIST marked transitive', [...BASE, 'c00a04 01020304'], 'withdrawn', 'withdrawn'],
  ['EXTENDED COMMUNITIES of seven octets', [...BASE, 'c01007 00020000000000'], 'withdrawn', 'withdrawn'],
  ['EXTENDED COMMUNITIES of no octets', [...BASE, 'c01000'], 'withdrawn', 'withdrawn'],
  ['EXTENDED COMMUNITIES of nine octets', [...BASE, 'c01009 000200000000000000'], 'withdrawn', 'withdrawn'],
  ['EXTENDED COMMUNITIES not transitive', [...BASE, '801008 0002000000000000'], 'withdrawn', 'withdrawn'],
  ['LARGE_COMMUNITY of eleven octets', [...BASE, 'c0200b 0000000000000000000000'], 'withdrawn', 'withdrawn'],
  ['LARGE_COMMUNITY of no octets', [...BASE, 'c02000'], 'withdrawn', 'withdrawn'],
  ['LARGE_COMMUNITY of thirteen octets', [...BASE, `c0200d ${'00'.repeat(13)}`], 'withdrawn', 'withdrawn'],
  ['LARGE_COMMUNITY not transitive', [...BASE, `80200c ${'00'.repeat(12)}`], 'withdrawn', 'withdrawn'],
  ['ONLY_TO_CUSTOMER of two octets', [...BASE, 'c02302 0001'], 'withdrawn', 'withdrawn'],
  // RFC 9234 §5 names the length only.
  ['ONLY_TO_CUSTOMER of AS 0', [...BASE, 'c02304 00000000'], 'accepted', 'accepted'],
  ['ONLY_TO_CUSTOMER of five octets', [...BASE, 'c02305 0000fc5900'], 'withdrawn', 'withdrawn'],
  ['ONLY_TO_CUSTOMER of no octets', [...BASE, 'c02300'], 'withdrawn', 'withdrawn'],
  ['ONLY_TO_CUSTOMER not transitive', [...BASE, '802304 0000fc59'], 'withdrawn', 'withdrawn'],
  ['AS4_PATH from a 4-octet peer', [...BASE, 'c01106 0201 0000fc59'], 'attribute discarded', 'attribute discarded'],
  // RFC 6793 §4.1 discards both from such a peer, whatever they look like.
  ['AS4_PATH not transitive', [...BASE, '801106 0201 0000fc59'], 'attribute discarded', 'attribute discarded'],
  ['AS4_PATH that is broken', [...BASE, 'c01106 0001 0000fc59'], 'attribute discarded', 'attribute discarded'],
  ['AS4_AGGREGATOR of seven octets', [...BASE, 'c01207 0000fc59010203'], 'attribute discarded', 'attribute discarded'],
  [
    'AS4_AGGREGATOR from a 4-octet peer',
    [...BASE, 'c01208 0000fc5901020304'],
    'attribute discarded',
    'attribute discarded',
  ],
  ['unknown optional transitive attribute', [...BASE, 'c0ee03 010203'], 'accepted', 'accepted'],
  ['unknown optional attribute', [...BASE, '80ee03 010203'], 'accepted', 'accepted'],
  ['unknown well-known attribute', [...BASE, '40ee03 010203'], 'reset 3/2', 'reset 3/2'],
  ['an attribute that overruns the list', [...BASE, 'c008ff 0001'], 'withdrawn', 'withdrawn'],
  ['a list that ends inside an attribute header', [...BASE, 'c0'], 'withdrawn', 'withdrawn'],
  ['an extended length cut short', [...BASE, 'd00800'], 'withdrawn', 'withdrawn'],
  ['MP_REACH_NLRI twice', [REACH6, ...BASE, REACH6], 'reset 3/1', 'reset 3/1'],
  ['MP_REACH_NLRI marked transitive', [REACH6.replace('80', 'c0'), ...BASE], 'withdrawn', 'withdrawn'],
  ['MP_REACH_NLRI cut short', [...BASE, '800e03 000201'], 'reset 3/9', 'reset 3/9'],
  ['MP_REACH_NLRI not optional', [REACH6.replace('80', '40'), ...BASE], 'withdrawn', 'withdrawn'],
  ['MP_REACH_NLRI of no octets and other flags', [...BASE, 'c00e00'], 'reset 3/9', 'reset 3/9'],
  ['MP_REACH_NLRI of no octets', [...BASE, '800e00'], 'reset 3/9', 'reset 3/9'],
  ['MP_REACH_NLRI without next hop', [...BASE, '800e05 0002 01 00 00'], 'reset 3/9', 'reset 3/9'],
  ['MP_REACH_NLRI whose next hop overruns', [...BASE, '800e0c 0002 01 40 fd00000900000000'], 'reset 3/9', 'reset 3/9'],
  [
    'MP_REACH_NLRI with a next hop of five octets',
    [...BASE, '800e0a 0002 01 05 0102030405 00'],
    'reset 3/9',
    'reset 3/9',
  ],
  [
    'MP_REACH_NLRI with a prefix of 129 bits',
    [...BASE, '800e16 0002 01 10 fd000009000000000000000000000001 00 81'],
    'reset 3/9',
    'reset 3/9',
  ],
  ['MP_UNREACH_NLRI cut short', [...BASE, '800f02 0002'], 'reset 3/9', 'reset 3/9'],
  ['MP_UNREACH_NLRI marked transitive', [...BASE, 'c00f03 0002 01'], 'withdrawn', 'withdrawn'],
  ['MP_UNREACH_NLRI twice', [...BASE, '800f03 0002 01', '800f03 0002 01'], 'reset 3/1', 'reset 3/1'],
  ['MP_UNREACH_NLRI with a broken prefix', [...BASE, '800f05 0002 01 40 fd'], 'reset 3/9', 'reset 3/9'],
  ['MP_REACH_NLRI of a family we do not speak', [...BASE, '800e05 0019 46 00 00'], 'accepted', 'accepted'],
];

for (const [what, attributes, external, internal] of CASES) {
  test(`${what}: ${external}, from an internal peer: ${internal}`, (t) => {
    t.is(outcome(body(attributes), EXTERNAL), external);
    // At the front, so that it is found also when the list is broken at its end.
    t.is(outcome(body([LOCAL_PREF, ...attributes]), INTERNAL), internal);
  });
}

test('flags of LOCAL_PREF and of what only an internal peer may say are looked at first (RFC 7606 §3 (c))', (t) => {
  for (const context of [INTERNAL, EXTERNAL]) {
    t.is(outcome(body([...BASE, 'c00504 00000064']), context), 'withdrawn');
    t.is(outcome(body([...BASE, '000504 00000064']), context), 'withdrawn');
  }
  for (const length of ['00', '03 000064', '05 0000000064'])
    t.is(outcome(body([...BASE, `4005${length}`]), INTERNAL), 'withdrawn');
});

test('LOCAL_PREF is mandatory from internal peers and discarded from external ones', (t) => {
  t.is(outcome(body(BASE), INTERNAL), 'withdrawn');
  t.is(outcome(body([...BASE, '400503 000064']), INTERNAL), 'withdrawn');
  t.is(outcome(body([...BASE, LOCAL_PREF]), EXTERNAL), 'attribute discarded');
});

test('LOCAL_PREF is optional from another member of a confederation (RFC 5065 §5.2)', (t) => {
  const border: WireContext = { ...INTERNAL, confederation: 'border', firstAs: 64601 };
  const routes = [ORIGIN, '400206 0301 0000fc59', HOP];
  t.is(outcome(body(routes), border), 'accepted');
  t.is(outcome(body([...routes, LOCAL_PREF]), border), 'accepted');
  t.is(outcome(body([...routes, '400503 000064']), border), 'withdrawn');
});

test('lengths that do not fit the message and malformed prefixes cost the session', (t) => {
  t.is(outcome(hex('0005 18ac14'), EXTERNAL), 'reset 3/1');
  t.is(outcome(hex('0000 0005 4001'), EXTERNAL), 'reset 3/1');
  t.is(outcome(body(BASE, '21 ac140100 00'), EXTERNAL), 'reset 3/10');
  t.is(outcome(body(BASE, '18 ac14'), EXTERNAL), 'reset 3/10');
  t.is(outcome(body([], '', '18 ac14'), EXTERNAL), 'reset 3/10');
});

test('an error in a message without reachable prefixes costs the session unless it only discards (RFC 7606 §5.2)', (t) => {
  t.is(outcome(body(['400101 03', PATH], '', NLRI), EXTERNAL), 'reset 3/6');
  t.is(outcome(body(['c00706 fc5901020304'], '', NLRI), EXTERNAL), 'withdrawn');
});

test('a broken attribute withdraws the prefixes of both families in the message', (t) => {
  const u = decodeUpdate(body([REACH6, '400101 03', PATH, HOP]), EXTERNAL);
  if ('handling' in u) return t.fail(u.words);
  t.deepEqual(u.withdrawn.flatMap((n) => prefixesOf(n).map(String)).sort(), ['172.20.1.0/24', 'fd42:1::/32']);
  t.is(u.attributes, undefined);
});

test('the Partial flag of an attribute we know is read over, and not passed on', (t) => {
  const u = decodeUpdate(body([ORIGIN, PATH, HOP, 'e00804 fbff0005']), EXTERNAL);
  if ('handling' in u) throw new Error(u.words);
  t.deepEqual(u.attributes?.communities, [0xfbff0005]);
  t.deepEqual(u.faults, []);
  const w = new OctetWriter();
  putAttributes(w, u.attributes!, undefined, true);
  t.regex(Buffer.from(w.take()).toString('hex'), /c00804fbff0005/);
});

test('the prefixes of an MP attribute with wrong flags are withdrawn, the session stays (RFC 7606 §3 (c))', (t) => {
  const withdrawn = (...attributes: string[]) => {
    const u = decodeUpdate(body(attributes, ''), EXTERNAL);
    return 'handling' in u ? u.words : [u.reach.length, ...u.withdrawn.flatMap((n) => prefixesOf(n).map(String))];
  };
  t.deepEqual(withdrawn(REACH6.replace('80', 'c0'), ORIGIN, PATH), [0, 'fd42:1::/32']);
  t.deepEqual(withdrawn('c00f08 0002 01 20 fd420001'), [0, 'fd42:1::/32']);
});

test('a large community that is repeated is kept and sent once (RFC 8092 §3)', (t) => {
  const [one, two] = ['000000010000000200000003', '000000010000000200000004'];
  const many = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? one : two)).join('');
  for (const [length, values] of [
    ['24', one + one + two],
    ['30', one + two + one + two],
    ['24', two + one + two],
    ['01e0', many],
  ] as const) {
    const u = decodeUpdate(body([...BASE, `${length.length > 2 ? 'd0' : 'c0'}20${length}${values}`]), EXTERNAL);
    if ('handling' in u) return t.fail(u.words);
    t.deepEqual(u.faults, []);
    const list = values.startsWith(two) ? [1, 2, 4, 1, 2, 3] : [1, 2, 3, 1, 2, 4];
    t.deepEqual(u.attributes?.largeCommunities, list);
    t.is(u.wire, undefined, 'not to be stored as it came');
  }
  const u = decodeUpdate(body([...BASE, `c02018${one}${two}`]), EXTERNAL);
  if ('handling' in u) return t.fail(u.words);
  t.not(u.wire, undefined);
  // Also where a policy or the configuration repeats one.
  const w = new OctetWriter();
  putAttributes(w, { ...u.attributes!, largeCommunities: [1, 2, 3, 1, 2, 4, 1, 2, 3] }, undefined, true);
  t.true(Buffer.from(w.take()).toString('hex').endsWith(`c02018${one}${two}`));
});

test('a classic NEXT_HOP speaks for classic prefixes only', (t) => {
  const u = decodeUpdate(body([REACH6, ...BASE]), EXTERNAL);
  if ('handling' in u) return t.fail(u.words);
  t.deepEqual(
    u.reach.map((r) => [r.nlri.family, hopText(r.nextHop)]),
    [
      [6, 'fd00:9::1'],
      [4, '10.9.9.9'],
    ],
  );
});

test('an IPv4 prefix with an IPv6 next hop needs the capability of RFC 8950', (t) => {
  const reach4 = `800e2c 0001 01 20 ${'00'.repeat(16)} fe80${'00'.repeat(13)}01 00 ${NLRI} 08 0a`;
  t.is(outcome(body([reach4, ORIGIN, PATH], ''), EXTERNAL), 'reset 3/9', 'a length that lies');
  const good = reach4.replace('800e2c', '800e2b');
  t.is(outcome(body([good, ORIGIN, PATH], ''), EXTERNAL), 'accepted');
  t.is(outcome(body([good, ORIGIN, PATH], ''), { ...EXTERNAL, families: PLAIN_FAMILIES }), 'reset 3/9');
});

test('an IPv6 route that points nowhere is withdrawn, not fatal', (t) => {
  const nowhere = `800e1a 0002 01 10 ${'00'.repeat(16)} 00 20 fd420001`;
  t.is(outcome(body([nowhere, ORIGIN, PATH], ''), EXTERNAL), 'withdrawn');
  t.is(outcome(body(BASE6, ''), EXTERNAL), 'accepted');
});

test('families that were not negotiated are not heard', (t) => {
  t.is(outcome(body(BASE6, ''), { ...EXTERNAL, families: { ipv4: PLAIN_FACTS } }), 'nothing');
  t.is(outcome(body(BASE), { ...EXTERNAL, families: { ipv6: PLAIN_FACTS } }), 'nothing');
});

test('the end of the initial table is recognized for all families', (t) => {
  const vpn = { ...EXTERNAL, families: { ...EXTERNAL.families, vpnv4: PLAIN_FACTS, vpnv6: PLAIN_FACTS } };
  const end = (octets: Uint8Array) => {
    const u = decodeUpdate(octets, vpn);
    return 'handling' in u ? u.words : u.endOfRib;
  };
  t.is(end(hex('0000 0000')), 'ipv4');
  t.is(end(body(['800f03 0002 01'], '')), 'ipv6');
  t.is(end(body(['900f0003 0002 01'], '')), 'ipv6');
  t.is(end(body(['800f03 0001 80'], '')), 'vpnv4');
  t.is(end(body(['900f0003 0002 80'], '')), 'vpnv6');
  t.is(end(body(['800f03 0001 04'], '')), undefined, 'not a family of the session');
  t.is(end(body(['800f08 0002 01 20 fd420001'], '')), undefined);
  // RFC 4724 §2: "with no withdrawn NLRI". A default route is one octet.
  t.is(end(body(['800f04 0002 01 00'], '')), undefined);
  t.is(end(body(['800f04 0001 01 00'], '')), undefined);
  t.is(end(body(['800f03 0002 01'], '', '00')), undefined);
  t.is(end(body(['900f0003 0002 01'], '00')), undefined);
});

test('the path of a two-octet peer is rebuilt from AS4_PATH (RFC 6793)', (t) => {
  const old: WireContext = { ...EXTERNAL, fourOctetAs: false, firstAs: undefined };
  const path = (attributes: readonly string[]) => {
    const u = decodeUpdate(body(attributes), old);
    return 'handling' in u ? u.words : [u.attributes?.asPath.map((s) => s.asns), u.attributes?.aggregator?.asn];
  };
  const as2 = '40020a 0204 fc59 5ba0 5ba0 0007';
  const as4 = 'c0110e 0203 fcde9bca fcde9bcb 00000007';
  t.deepEqual(path([ORIGIN, as2, HOP, as4]), [[[64601, 4242447306, 4242447307, 7]], undefined]);
  // An AGGREGATOR that is not AS_TRANS was changed by an old speaker: both AS4 attributes are void.
  const aggregators = ['c00706 0007 01020304', 'c01208 fcde9bca 01020304'];
  t.deepEqual(path([ORIGIN, as2, HOP, as4, ...aggregators]), [[[64601, AS_TRANS, AS_TRANS, 7]], 7]);
  const trans = ['c00706 5ba0 01020304', 'c01208 fcde9bca 01020304'];
  t.deepEqual(path([ORIGIN, as2, HOP, as4, ...trans]), [[[64601, 4242447306, 4242447307, 7]], 4242447306]);
  // RFC 9774 §3: an AS_SET is refused wherever it stands.
  const withSet = 'c0110c 0201 fcde9bca 0101 fcde9bcb';
  t.is(outcome(body([ORIGIN, as2, HOP, withSet]), old), 'withdrawn');
  // A malformed AS4_PATH is dropped, the message is used; so is one with other flags (RFC 6793 §6).
  t.deepEqual(path([ORIGIN, as2, HOP, as4.replace('c0', '80')]), [[[64601, AS_TRANS, AS_TRANS, 7]], undefined]);
  t.deepEqual(path([ORIGIN, as2, HOP, as4.replace('0203', '0003')]), [[[64601, AS_TRANS, AS_TRANS, 7]], undefined]);
  t.deepEqual(path([ORIGIN, as2, HOP, 'c00706 5ba0 01020304', 'c01207 fcde9bca 010203']), [
    [[64601, AS_TRANS, AS_TRANS, 7]],
    AS_TRANS,
  ]);
  t.deepEqual(path([ORIGIN, as2, HOP, 'c01105 0201 fcde9b']), [[[64601, AS_TRANS, AS_TRANS, 7]], undefined]);
});

test('confederation segments stay out of AS4_PATH (RFC 6793 §3)', (t) => {
  const as4Of = (...asPath: AsPath): string => {
    const w = new OctetWriter();
    putAs4Path(w, asPath);
    return Buffer.from(w.take()).toString('hex');
  };
  const member = { type: 3, asns: [4242420001] };
  t.is(as4Of(member, { type: 2, asns: [7, 4242420002] }), 'c0110a020200000007fcde3122');
  t.is(as4Of(member, { type: 2, asns: [7] }), '');
});

test('an AS4_PATH longer than AS_PATH is ignored', (t) => {
  const seq = (...asns: number[]) => [{ type: 2, asns }];
  t.deepEqual(mergeAs4Path(seq(1, 2), seq(7, 8, 9)), seq(1, 2));
  t.deepEqual(mergeAs4Path(seq(1, 2), seq(7)), seq(1, 7));
  t.deepEqual(mergeAs4Path(seq(1, 2), []), seq(1, 2));
});

test('confederation segments of AS_PATH stay in the path that is rebuilt (RFC 6793 §4.2.3)', (t) => {
  const seq = (...asns: number[]) => ({ type: 2, asns });
  const confed = (...asns: number[]) => ({ type: 3, asns });
  t.deepEqual(mergeAs4Path([confed(64601), seq(AS_TRANS)], [seq(4242420001)]), [confed(64601), seq(4242420001)]);
  t.deepEqual(mergeAs4Path([confed(64601), seq(5, AS_TRANS)], [seq(70000)]), [confed(64601), seq(5, 70000)]);
  t.deepEqual(mergeAs4Path([seq(5), confed(64601), seq(AS_TRANS)], [seq(70000)]), [seq(5), confed(64601), seq(70000)]);
  // Not next to what is put in front.
  t.deepEqual(mergeAs4Path([seq(5, 6), confed(64601), seq(AS_TRANS)], [seq(6, 70000)]), [seq(5, 6, 70000)]);
});

test('prepending opens a new segment when the first one is full', (t) => {
  const full = [{ type: 2, asns: Array.from({ length: 255 }, (_, i) => i + 1) }];
  t.deepEqual(prepend(full, 9)[0], { type: 2, asns: [9] });
  t.is(pathLength(prepend(full, 9, 3)), 258);
  t.deepEqual(prepend([], 9, 2), [{ type: 2, asns: [9, 9] }]);
});

const anyPrefix = (family: Family): fc.Arbitrary<Prefix> =>
  fc
    .tuple(
      fc.uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 }),
      fc.nat(family === 4 ? 32 : 128),
    )
    .map(([b, length]) => Prefix.containing(Addr.fromBytes(b)!, length)!);

const word = fc.nat(0xffffffff);
const words = (group: number) =>
  fc.array(fc.array(word, { minLength: group, maxLength: group }), { maxLength: 70 }).map((a) => a.flat());
const asn = fc.integer({ min: 1, max: 0xffffffff });

const anyAttributes: fc.Arbitrary<Attributes> = fc.record({
  origin: fc.nat(2),
  asPath: fc.array(fc.record({ type: fc.constant(2), asns: fc.array(asn, { minLength: 1, maxLength: 80 }) }), {
    maxLength: 3,
  }),
  med: fc.option(word, { nil: undefined }),
  localPref: word,
  atomicAggregate: fc.boolean(),
  aggregator: fc.option(fc.record({ asn, identifier: word }), { nil: undefined }),
  communities: words(1),
  extendedCommunities: words(2),
  largeCommunities: words(3),
  originatorId: fc.option(word, { nil: undefined }),
  clusterList: words(1),
  otc: fc.option(word, { nil: undefined }),
  unknown: fc.array(
    fc.record({ flags: fc.constant(0xe0), code: fc.constant(200), value: fc.uint8Array({ maxLength: 400 }) }),
    { maxLength: 1 },
  ),
});

const anyLinkLocal = word.map((n) => Addr.v6(0xfe800000 | 0, 0, 0, n | 0));
const anyGlobal6 = word.map((n) => Addr.v6(0xfd000000 | 0, n | 0, 1, 1));
const anyHop6: fc.Arbitrary<NextHop> = fc.oneof(
  anyLinkLocal.map((linkLocal) => ({ global: undefined, linkLocal })),
  anyGlobal6.map((global) => ({ global, linkLocal: undefined })),
  fc.tuple(anyGlobal6, anyLinkLocal).map(([global, linkLocal]) => ({ global, linkLocal })),
);
const anyHop4: fc.Arbitrary<NextHop> = fc.oneof(
  fc.nat(0xffffff).map((n) => ({ global: Addr.v4(0x0a000000 + n), linkLocal: undefined })),
  anyHop6,
);

test('routes survive packing and decoding, whatever the message size, link-local form and AS width', (t) => {
  const family = fc.constantFrom<Family>(4, 6);
  const scene = family.chain((f) =>
    fc.record({
      family: fc.constant(f),
      prefixes: fc.uniqueArray(anyPrefix(f), { minLength: 1, maxLength: 400, selector: String }),
      hop: f === 4 ? anyHop4 : anyHop6,
      attributes: anyAttributes,
      maxMessage: fc.constantFrom(4096, 65535),
      linkLocalForm: fc.constantFrom('native' as const, 'double' as const, 'single' as const),
      fourOctetAs: fc.boolean(),
    }),
  );
  fc.assert(
    fc.property(scene, (s) => {
      const chunks: Uint8Array[] = [];
      const packer = new UpdatePacker(s, (octets) => chunks.push(octets));
      if (!packer.reach(s.family, s.attributes, s.hop)) return; // does not fit any message
      const one = new OctetWriter();
      const cursor = new NlriCursor();
      for (const p of s.prefixes) {
        one.clear();
        putPrefixValue(one, p);
        cursor.over({ family: s.family, hasPathIds: false, bytes: one.take() }).next();
        packer.add(cursor.w0, cursor.w1, cursor.w2, cursor.w3, cursor.length);
      }
      packer.flush();
      const stream = new Uint8Array(Buffer.concat(chunks));
      const got: string[] = [];
      for (let at = 0; at < stream.length; ) {
        const length = get16(stream, at + 16);
        t.true(length <= s.maxMessage);
        const context = { ...INTERNAL, fourOctetAs: s.fourOctetAs };
        const u = decodeUpdate(messageOf(stream.subarray(at, at + length)).body, context);
        at += length;
        if ('handling' in u) throw new Error(u.words);
        if (u.faults.length > 0) throw new Error(u.faults[0]!.words);
        for (const r of u.reach) {
          t.is(hopText(r.nextHop), hopText(s.hop));
          got.push(...prefixesOf(r.nlri).map(String));
        }
        t.deepEqual(
          u.attributes?.asPath.flatMap((x) => x.asns),
          s.attributes.asPath.flatMap((x) => x.asns),
        );
        t.deepEqual({ ...u.attributes, asPath: 0 }, { ...s.attributes, asPath: 0 });
      }
      t.deepEqual(got, s.prefixes.map(String));
    }),
    { seed: 4760, numRuns: 150 },
  );
});

test('no octets make the decoder throw, and prefixes it accepts can be read to the end', (t) => {
  const valid = body([REACH6, ...BASE, 'c00808 0000ffff ffffff01', 'c0200c 000000010000000200000003']);
  const mutated = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }).map((edits) => {
    const b = valid.slice();
    for (const [at, value] of edits) b[at] = value;
    return b;
  });
  const cut = fc.tuple(mutated, fc.nat(valid.length)).map(([b, n]) => (n < 4 ? b : b.slice(0, n)));
  const noise = fc.uint8Array({ minLength: 4, maxLength: 200 });
  const facts = fc
    .record({ extendedNextHop: fc.boolean(), receivesPathIds: fc.boolean() })
    .map((f) => ({ ...PLAIN_FACTS, ...f }));
  const contexts = fc.record({
    fourOctetAs: fc.boolean(),
    external: fc.boolean(),
    families: fc.record({ ipv4: facts, ipv6: facts }, { requiredKeys: [] }),
    firstAs: fc.constantFrom(undefined, 64601),
  });
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.oneof(mutated, cut, noise), contexts, (octets, context) => {
        const u = decodeUpdate(octets, context);
        if ('handling' in u) return u.handling === 'reset';
        for (const n of [...u.withdrawn, ...u.reach.map((r) => r.nlri)]) {
          if (!isNlri(n.bytes, n.family, n.hasPathIds)) return false;
          prefixesOf(n);
        }
        return u.reach.length === 0 || u.attributes !== undefined;
      }),
      { seed: 7606, numRuns: 5000 },
    ),
  );
});
