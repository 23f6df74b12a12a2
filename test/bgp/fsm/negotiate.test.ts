/** What two OPENs agree on, family by family. */
import test from 'ava';
import { localOpen, type Negotiated, negotiate, type OpenSettings } from '../../../bgp/fsm/negotiate.ts';
import { type Capability, capabilityText, FORWARDING_KEPT, RestartFlag } from '../../../bgp/wire/capability.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { encodeOpen, type Open } from '../../../bgp/wire/message.ts';
import { openOf, PLAIN_OFFER } from '../kit/describe.ts';

const US: OpenSettings = {
  localAs: 64600,
  peerAs: 64601,
  identifier: 0x0a000001,
  holdTimeS: 90,
  families: ['ipv4', 'ipv6'],
  ...PLAIN_OFFER,
};
const THEM: OpenSettings = { ...US, localAs: 64601, peerAs: 64600, identifier: 0x0a000002 };
const RESTART = { restartTimeS: 120, isRestarting: false, keptForwarding: true, longLivedS: 0 };

function agreed(ours: Partial<OpenSettings>, theirs: Partial<OpenSettings>, extra: Capability[] = []): Negotiated {
  const open = localOpen({ ...THEM, ...theirs });
  // What a peer says has been on the wire.
  const heard = openOf(encodeOpen({ ...open, capabilities: [...open.capabilities, ...extra] }));
  const n = negotiate({ ...US, ...ours }, heard, new Uint8Array());
  if ('handling' in n) throw new Error(n.words);
  return n;
}

function refusal(ours: Partial<OpenSettings>, peer: Open): string {
  const n = negotiate({ ...US, ...ours }, peer, new Uint8Array());
  return 'handling' in n ? `${n.code}/${n.subcode} ${n.words}` : 'accepted';
}

test('families without extensions', (t) => {
  const n = agreed({}, { families: ['ipv6'] });
  t.deepEqual(n.families, ['ipv6']);
  t.deepEqual(n.context.families, { ipv6: PLAIN_FACTS });
});

test('families nobody here knows are shown and otherwise ignored', (t) => {
  const evpn: Capability = { kind: 'multiprotocol', afi: 25, safi: 70 };
  const n = agreed({}, {}, [evpn, { kind: 'unknown', code: 200, value: new Uint8Array([1, 2]) }]);
  t.deepEqual(n.families, ['ipv4', 'ipv6']);
  const texts = n.peer.capabilities.map(capabilityText);
  t.true(texts.includes('multiprotocol afi-25 safi-70'));
  t.true(texts.includes('capability 200'));
});

test('add-path is agreed in each direction and family on its own (RFC 7911)', (t) => {
  const facts = (ours: OpenSettings['addPath'], theirs: OpenSettings['addPath']) => {
    const { receivesPathIds, sendsPathIds } = agreed({ addPath: ours }, { addPath: theirs }).context.families.ipv4!;
    return { receivesPathIds, sendsPathIds };
  };
  const [none, receive, send, both] = [
    { receive: false, send: false },
    { receive: true, send: false },
    { receive: false, send: true },
    { receive: true, send: true },
  ];
  t.deepEqual(facts(both, both), { receivesPathIds: true, sendsPathIds: true });
  t.deepEqual(facts(receive, both), { receivesPathIds: true, sendsPathIds: false });
  t.deepEqual(facts(both, receive), { receivesPathIds: false, sendsPathIds: true });
  t.deepEqual(facts(send, send), { receivesPathIds: false, sendsPathIds: false });
  t.deepEqual(facts(both, none), { receivesPathIds: false, sendsPathIds: false });
  const one: Capability = { kind: 'add-path', entries: [{ afi: 2, safi: 1, mode: 3 }] };
  const { ipv4, ipv6 } = agreed({ addPath: both }, {}, [one]).context.families;
  t.false(ipv4!.receivesPathIds);
  t.true(ipv6!.receivesPathIds);
  const odd: Capability = { kind: 'add-path', entries: [{ afi: 1, safi: 1, mode: 7 }] };
  t.false(agreed({ addPath: both }, {}, [odd]).context.families.ipv4!.receivesPathIds, 'a mode without a meaning');
});

test('graceful restart says for each family whether packets were forwarded meanwhile (RFC 4724)', (t) => {
  const n = agreed(
    { restart: { ...RESTART, families: ['ipv4', 'ipv6'] } },
    { restart: { ...RESTART, restartTimeS: 77, isRestarting: true, families: ['ipv4'] } },
  );
  t.deepEqual(n.restart, { isRestarting: true, timeS: 77 });
  t.true(n.notificationRestart, 'RFC 8538');
  t.deepEqual(n.context.families.ipv4!.restart, { keptForwarding: true });
  t.is(n.context.families.ipv6!.restart, undefined);
  t.is(agreed({}, { restart: { ...RESTART, families: ['ipv4'] } }).restart, undefined, 'we do not speak of restarts');
  t.is(agreed({ restart: { ...RESTART, families: ['ipv4'] } }, {}).restart, undefined, 'the peer does not');
});

test('long-lived restart needs the capability of RFC 4724 beside its own (RFC 9494)', (t) => {
  const ours = { restart: { ...RESTART, families: ['ipv4'] } } as const;
  const theirs = { restart: { ...RESTART, families: ['ipv4'], longLivedS: 86_400 } } as const;
  t.deepEqual(agreed(ours, theirs).context.families.ipv4!.longLived, { keptForwarding: true, staleS: 86_400 });
  const alone: Capability = {
    kind: 'long-lived-restart',
    families: [{ afi: 1, safi: 1, flags: FORWARDING_KEPT, staleS: 3600 }],
  };
  t.is(agreed(ours, {}, [alone]).context.families.ipv4!.longLived, undefined);
});

test('IPv6 next hops of VPN-IPv4 routes are read whatever the session runs over, and that is told (RFC 8950 §4)', (t) => {
  const families = ['ipv4', 'vpnv4'] as const;
  const octets = (extendedNextHop: boolean): string =>
    Buffer.from(encodeOpen(localOpen({ ...US, families, extendedNextHop }))).toString('hex');
  // Code 5: AFI 1, SAFI 128, next hop AFI 2; with IPv4 unicast before it.
  t.true(octets(false).includes('0506' + '000100800002'));
  t.true(octets(true).includes('050c' + '000100010002' + '000100800002'));
});

test('the restart capabilities have the octets of the RFCs', (t) => {
  const restart = { ...RESTART, isRestarting: true, families: ['ipv6'], longLivedS: 0x010203 } as const;
  const octets = Buffer.from(encodeOpen(localOpen({ ...US, restart }))).toString('hex');
  // Flags R and N with 120 s, AFI 2, SAFI 1, F.
  t.true(octets.includes('4006c0780002018047070002018001020341'), octets);
  const heard = openOf(encodeOpen(localOpen({ ...US, restart }))).capabilities;
  const gr = heard.find((c) => c.kind === 'graceful-restart');
  t.deepEqual(gr, {
    kind: 'graceful-restart',
    flags: RestartFlag.Restarting | RestartFlag.Notification,
    timeS: 120,
    families: [{ afi: 2, safi: 1, flags: FORWARDING_KEPT }],
  });
});

test('roles that answer each other are accepted, others refused with 2/11 (RFC 9234)', (t) => {
  const open = (role: OpenSettings['role'], extra: Capability[] = []): Open => {
    const o = localOpen({ ...THEM, role });
    return { ...o, capabilities: [...o.capabilities, ...extra] };
  };
  t.is(refusal({ role: 'customer' }, open('provider')), 'accepted');
  t.is(refusal({ role: 'provider' }, open('customer')), 'accepted');
  t.is(refusal({ role: 'peer' }, open('peer')), 'accepted');
  t.is(refusal({ role: 'route-server' }, open('route-server-client')), 'accepted');
  t.regex(refusal({ role: 'customer' }, open('customer')), /^2\/11 the peer is customer/);
  t.regex(refusal({ role: 'peer' }, open('route-server')), /^2\/11 /);
  t.is(refusal({ role: 'peer' }, open(undefined)), 'accepted', 'told by one side only');
  t.is(refusal({ role: 'peer', strictRole: true }, open(undefined)), '2/11 the peer tells no role');
  t.is(refusal({}, open('peer')), 'accepted');
  t.regex(refusal({ role: 'peer' }, open('peer', [{ kind: 'role', role: 3 }])), /^2\/11 the peer tells several/);
  t.is(refusal({ role: 'peer' }, open('peer', [{ kind: 'role', role: 4 }])), 'accepted', 'the same one twice');
  const internal = { localAs: 64601, role: 'customer' } as const;
  t.is(refusal(internal, open('customer')), 'accepted', 'roles are for external sessions');
});

test('a peer may be in any external AS, or in one of several', (t) => {
  const open = localOpen(THEM);
  t.is(refusal({ peerAs: 'external' }, open), 'accepted');
  t.is(refusal({ peerAs: 'internal' }, open), '2/2 the peer says it is AS 64601, expected an internal one');
  t.is(refusal({ peerAs: [64603, 64601] }, open), 'accepted');
  t.is(refusal({ peerAs: [64603] }, open), '2/2 the peer says it is AS 64601, expected one of 64603');
  t.is(
    refusal({ peerAs: 'external', localAs: 64601 }, open),
    '2/2 the peer says it is AS 64601, expected an external one',
  );
});

test('long messages are taken when we said so, and sent when the peer said so too (RFC 8654)', (t) => {
  const sizes = (ours: boolean, theirs: boolean) => {
    const n = agreed({ extendedMessages: ours }, { extendedMessages: theirs });
    return [n.receivesExtended, n.maxMessage];
  };
  t.deepEqual(sizes(true, true), [true, 65_535]);
  t.deepEqual(sizes(true, false), [true, 4096], 'its messages may be long although it does not take ours');
  t.deepEqual(sizes(false, true), [false, 4096]);
});

test('the link-local next hop capability and enhanced refresh count only when both sides have them', (t) => {
  t.true(agreed({ linkLocalCapability: true }, { linkLocalCapability: true }).linkLocalNextHop);
  t.false(agreed({ linkLocalCapability: true }, {}).linkLocalNextHop);
  t.true(agreed({}, {}).enhancedRefresh);
});
