import test from 'ava';
import { afterPolicy, beforePolicy, type ExportSettings, mayExport, type RouteSender } from '../../bgp/export.ts';
import { afterImport, changesEveryRoute, type ImportSettings } from '../../bgp/import-rules.ts';
import { type LocalAs, ownAsesOf, type Relation, relationOf } from '../../bgp/relation.ts';
import { asPathText } from '../../bgp/wire/attribute/as-path.ts';
import { parseCommunity } from '../../bgp/wire/attribute/communities.ts';
import type { Attributes } from '../../bgp/wire/attribute/model.ts';
import { PLAIN } from './kit/filter.ts';

const CONFEDERATION = { id: 100, members: [65002, 65003] };

function settings(o: Partial<ExportSettings> & { relation?: Relation; localAs?: LocalAs } = {}): ExportSettings {
  const { relation = 'external', localAs } = o;
  return {
    relation,
    isClient: false,
    isBilateral: false,
    own: ownAsesOf(relation, 65001, undefined, localAs),
    memberAs: 65001,
    asOverride: false,
    removePrivateAs: undefined,
    gracefulShutdown: false,
    ...o,
  };
}

const sender = (relation: Relation, isClient = false): RouteSender => ({ relation, isClient });
const labelled = (...texts: string[]): Attributes => ({ ...PLAIN, communities: texts.map((c) => parseCommunity(c)!) });

test('a peer is external, internal or in another member AS of the confederation', (t) => {
  for (const [asn, expected] of [
    [65001, 'internal'],
    [65002, 'confederation'],
    [65009, 'external'],
    ['external', 'external'],
    ['internal', 'internal'],
    [[1, 2], 'external'],
  ] as const) {
    t.is(relationOf(asn, 65001, CONFEDERATION), expected, String(asn));
  }
  t.is(relationOf(65002, 65001, undefined), 'external');
});

// Each row: from, to, communities, whether the route is told.
const INSIDE = settings({ relation: 'internal' });
const CLIENT = settings({ relation: 'internal', isClient: true });
const MEMBER = settings({ relation: 'confederation' });
const OUTSIDE = settings();
const EXPORTS: readonly (readonly [RouteSender | undefined, ExportSettings, readonly string[], boolean])[] = [
  [undefined, INSIDE, [], true],
  [sender('external'), INSIDE, [], true],
  [sender('internal'), INSIDE, [], false],
  [sender('internal'), CLIENT, [], true],
  [sender('internal', true), INSIDE, [], true],
  [sender('internal', true), CLIENT, [], true],
  [sender('internal'), OUTSIDE, [], true],
  [sender('internal'), MEMBER, [], true],
  [sender('confederation'), INSIDE, [], true],
  [sender('confederation'), MEMBER, [], true],
  [undefined, INSIDE, ['no-export'], true],
  [undefined, MEMBER, ['no-export'], true],
  [undefined, OUTSIDE, ['no-export'], false],
  [undefined, INSIDE, ['no-export-subconfed'], true],
  [undefined, MEMBER, ['no-export-subconfed'], false],
  [undefined, OUTSIDE, ['no-export-subconfed'], false],
  [undefined, INSIDE, ['1:1', 'no-advertise'], false],
  [undefined, OUTSIDE, ['no-peer'], true],
  [undefined, { ...OUTSIDE, isBilateral: true }, ['no-peer'], false],
  [undefined, { ...INSIDE, isBilateral: true }, ['no-peer'], true],
];

for (const [from, to, communities, expected] of EXPORTS) {
  const who = from === undefined ? 'our own' : `a route of ${from.isClient ? 'a client' : `an ${from.relation} peer`}`;
  const whom = `${to.isClient ? 'a client' : to.relation}${to.isBilateral ? ' (bilateral)' : ''}`;
  const labels = communities.length === 0 ? '' : ` with ${communities.join(' ')}`;
  test(`${who}${labels} is ${expected ? '' : 'not '}told to ${whom}`, (t) => {
    t.is(mayExport(labelled(...communities), from, to), expected);
  });
}

// Each row: path, settings, the peer's AS, path on the wire. Ours is AS 65001.
const path = (text: string): Attributes => ({
  ...PLAIN,
  asPath: [...text.matchAll(/\(([\d ]+)\)|([\d ]+)/g)].flatMap(([, confed, plain]) => {
    const asns = (confed ?? plain)!.trim().split(' ').map(Number);
    return (confed ?? plain)!.trim() === '' ? [] : [{ type: confed === undefined ? 2 : 3, asns }];
  }),
});
const PATHS: readonly (readonly [string, ExportSettings, number, string])[] = [
  ['64601 64602', OUTSIDE, 64700, '65001 64601 64602'],
  ['', OUTSIDE, 64700, '65001'],
  ['64601', settings({ localAs: { asn: 65009 } }), 64700, '65009 65001 64601'],
  ['64601', settings({ localAs: { asn: 65009, replaceAs: true } }), 64700, '65009 64601'],
  ['64700 64601', settings({ asOverride: true }), 64700, '65001 65001 64601'],
  ['64700 64601', settings({ asOverride: true, localAs: { asn: 65009, replaceAs: true } }), 64700, '65009 65009 64601'],
  ['64601 64602', settings({ removePrivateAs: 'whole' }), 3, '65001'],
  ['64601 7 64602', settings({ removePrivateAs: 'whole' }), 3, '65001 64601 7 64602'],
  ['64601 7 4200000001', settings({ removePrivateAs: 'all' }), 3, '65001 7'],
  ['64601 7 64602', settings({ removePrivateAs: 'replace' }), 3, '65001 65001 7 65001'],
  ['64601 7 64602', settings({ removePrivateAs: 'all' }), 64602, '65001 7 64602'],
  ['(65002 65003) 64601', OUTSIDE, 64700, '65001 64601'],
  ['(65002) 64601', MEMBER, 65003, '(65001 65002) 64601'],
  ['64601', MEMBER, 65003, '(65001) 64601'],
  ['', MEMBER, 65003, '(65001)'],
  ['(65002) 64601', INSIDE, 65001, '(65002) 64601'],
];

for (const [before, to, peerAs, after] of PATHS) {
  test(`the path "${before}" is told to ${to.relation} AS ${peerAs} as "${after}"`, (t) => {
    t.is(asPathText(afterPolicy(path(before), 100, peerAs, to, undefined).asPath), after);
  });
}

test('outside, a confederation is one AS', (t) => {
  t.deepEqual(ownAsesOf('external', 65001, CONFEDERATION, undefined), { session: 100, prepended: [100] });
  t.deepEqual(ownAsesOf('external', 65001, CONFEDERATION, { asn: 7 }), { session: 7, prepended: [7, 100] });
  t.deepEqual(ownAsesOf('confederation', 65001, CONFEDERATION, undefined), { session: 65001, prepended: [] });
  t.deepEqual(ownAsesOf('internal', 65001, CONFEDERATION, undefined), { session: 65001, prepended: [] });
});

test('LOCAL_PREF, MED and non-transitive communities stay inside; a confederation is inside', (t) => {
  const a = { ...PLAIN, med: 5, localPref: 200, extendedCommunities: [0x40040001, 7, 0x00020001, 7] };
  const from = sender('external');
  const out = (to: ExportSettings) => afterPolicy(beforePolicy(a, from, to), 100, 1, to, undefined);
  t.like(out(OUTSIDE), { med: undefined, localPref: undefined });
  t.deepEqual(out(OUTSIDE).extendedCommunities, [0x00020001, 7]);
  t.like(out(MEMBER), { med: 5, localPref: 200 });
  t.is(out(MEMBER).extendedCommunities.length, 4);
  t.like(out(INSIDE), { med: 5, localPref: 200 });
  t.is(beforePolicy(a, undefined, OUTSIDE).med, 5, 'a MED of our own is told');
});

test('a reflector names the originator and itself, and leaves both out of what leaves the AS', (t) => {
  const reflection = { originator: 0x0a000001, clusterId: 0x0a0000ff };
  const first = afterPolicy(PLAIN, 100, 65001, CLIENT, reflection);
  t.like(first, { originatorId: 0x0a000001, clusterList: [0x0a0000ff] });
  const second = afterPolicy(first, 100, 65001, CLIENT, { originator: 9, clusterId: 8 });
  t.like(second, { originatorId: 0x0a000001, clusterList: [8, 0x0a0000ff] });
  for (const to of [OUTSIDE, MEMBER]) {
    t.like(afterPolicy(second, 100, 1, to, undefined), { originatorId: undefined, clusterList: [] });
  }
});

test('a session about to be shut down marks what it tells (RFC 8326)', (t) => {
  const gshut = parseCommunity('graceful-shutdown')!;
  for (const relation of ['external', 'internal'] as const) {
    const to = settings({ relation, gracefulShutdown: true });
    const once = afterPolicy(labelled('1:1'), 100, 1, to, undefined);
    t.deepEqual(once.communities, [parseCommunity('1:1')!, gshut]);
    t.deepEqual(afterPolicy(once, 100, 1, to, undefined).communities, once.communities);
  }
});

// Each row: settings, communities received, whether the peer is external, LOCAL_PREF, path and communities stored.
const IMPORTS: readonly (readonly [ImportSettings, string, boolean, number | undefined, string, string[]])[] = [
  [{}, '1:1', true, undefined, '64601 64602', ['1:1']],
  [{}, 'graceful-shutdown', true, 0, '64601 64602', ['graceful-shutdown']],
  [{}, 'graceful-shutdown', false, undefined, '64601 64602', ['graceful-shutdown']],
  [{ gracefulShutdown: true }, '1:1', false, 0, '64601 64602', ['1:1']],
  [{ localAs: { asn: 65009 } }, '1:1', true, undefined, '65009 64601 64602', ['1:1']],
  [{ localAs: { asn: 65009, noPrepend: true } }, '1:1', true, undefined, '64601 64602', ['1:1']],
  [{ acceptBlackhole: true }, '1:1', true, undefined, '64601 64602', ['1:1']],
  [{ acceptBlackhole: true }, 'blackhole', true, undefined, '64601 64602', ['blackhole', 'no-export']],
  [{}, 'blackhole', true, undefined, '64601 64602', ['blackhole']],
];

for (const [how, label, isExternal, localPref, pathText, communities] of IMPORTS) {
  test(`a route with ${label} from ${isExternal ? 'outside' : 'inside'} under ${JSON.stringify(how)}`, (t) => {
    const a = labelled(label);
    const stored = afterImport(a, a.communities, how, isExternal);
    t.is(stored.localPref, localPref);
    t.is(asPathText(stored.asPath), pathText);
    t.deepEqual(stored.communities, labelled(...communities).communities);
    t.is(stored === a, localPref === undefined && pathText.startsWith('646') && communities.length === 1);
  });
}

test('only settings that touch every route say so', (t) => {
  t.false(changesEveryRoute({ acceptBlackhole: true, localAs: { asn: 1, noPrepend: true } }));
  t.true(changesEveryRoute({ localAs: { asn: 1 } }));
  t.true(changesEveryRoute({ gracefulShutdown: true }));
});
