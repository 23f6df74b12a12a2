/** What our sessions negotiate and keep, against the BIRD of the distribution on loopback addresses. */
import type { ExecutionContext } from 'ava';
import type { PeerConfig, SpeakerOptions } from '../../bgp/speaker.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { Bird, hasBird, until } from '../bgp/kit/bird.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { Node, OUR_AS, THEIR_AS } from '../bgp/kit/node.ts';
import { labTests } from '../kit/it.ts';

const { it: interop } = labTests(hasBird() ? undefined : 'not installed: bird2');

interface Setup {
  /** Lines of BIRD's `protocol bgp`. */
  readonly protocol?: string;
  /** Lines of both channels. */
  readonly channel?: string;
  readonly extra?: string;
  readonly peer?: Partial<PeerConfig>;
  readonly speaker?: Partial<SpeakerOptions>;
}

/** A BIRD and a speaker of ours that are configured for each other and not started. */
async function pair(t: ExecutionContext, s: Setup) {
  const bird = new Bird();
  const [birdPort, ourPort] = [await freePort(), await freePort()];
  const node = new Node({
    port: ourPort,
    peers: [{ name: 'bird', address: Addr.parse('127.0.0.2')!, port: birdPort, ...s.peer }],
    ...(s.speaker !== undefined && { speaker: s.speaker }),
  });
  t.teardown(async () => {
    await node.stop();
    await bird.remove();
  });
  const config = `
router id 10.0.0.2;
ipv4 table h4;
ipv6 table h6;
protocol device {}
protocol static s4 { ipv4; route 172.20.1.0/24 blackhole; route 172.20.2.0/24 blackhole; }
protocol static s6 { ipv6; route fd42:1::/48 blackhole; }
protocol static hops4 { ipv4 { table h4; }; route 10.9.9.1/32 via "lo"; }
protocol static hops6 { ipv6 { table h6; }; route fd00:9::1/128 via "lo"; }
${s.extra ?? ''}
protocol bgp peer1 {
  local 127.0.0.2 port ${birdPort} as ${THEIR_AS};
  neighbor 127.0.0.1 port ${ourPort} as ${OUR_AS};
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 30;
  ${s.protocol ?? ''}
  ipv4 { import all; export where source = RTS_STATIC; next hop address 10.9.9.2; igp table h4; ${s.channel ?? ''} };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:9::2; igp table h6; ${s.channel ?? ''} };
}
`;
  return { bird, node, config };
}

const routesOf = async (bird: Bird): Promise<string> => bird.ask('show route protocol peer1');

interop('BIRD restarts and its routes stay in use until it has told them again (RFC 4724)', async (t) => {
  const { bird, node, config } = await pair(t, { protocol: 'graceful restart on; graceful restart time 60;' });
  await bird.start(config);
  await node.start();
  await until(() => node.fib.size === 3, 'routes');
  t.true(node.session('bird')!.capabilities.peer.some((c) => c.startsWith('graceful restart 60 s')));
  await bird.kill();
  await until(() => node.session('bird')!.state !== 'Established', 'end of the session');
  t.is(node.fib.size, 3);
  t.is(node.session('bird')!.routes.ipv4.stale, 2);
  // It comes back with a route less.
  await bird.start(config.replace('route 172.20.2.0/24 blackhole;', ''), ['-R']);
  await until(() => node.session('bird')!.restart.length === 0, 'end of the restart');
  await until(() => node.fib.size === 2, 'the forgotten route gone');
  t.deepEqual(node.gaps, ['172.20.2.0/24'], 'no other route was gone for a moment');
  t.is(node.session('bird')!.establishments, 2);
});

interop('BIRD keeps our routes while we restart, and we select routes when it has told its own', async (t) => {
  const { bird, node, config } = await pair(t, {
    protocol: 'graceful restart on;',
    peer: { gracefulRestart: true },
    speaker: { gracefulRestart: { restartTimeS: 60 } },
  });
  await bird.start(config);
  await node.start();
  await until(() => node.fib.size === 3, 'routes');
  await until(async () => (await routesOf(bird)).includes('fd42:beef::/48'), 'our routes');
  await node.crash();
  await until(
    async () => /BGP state:\s+(?!Established)/.test(await bird.ask('show protocols all peer1')),
    'end in BIRD',
  );
  t.true((await routesOf(bird)).includes('172.20.229.0/27'), 'BIRD forwards by our stale routes');
  await node.start({ keptForwarding: true });
  t.is(node.fib.size, 3);
  await until(() => node.settlements === 1, 'end of our restart');
  t.is(node.fib.size, 3);
  t.deepEqual(node.gaps, []);
  t.true(node.session('bird')!.capabilities.local.some((c) => /restarting.*forwarding kept/.test(c)));
  const theirs = await routesOf(bird);
  t.true(theirs.includes('172.20.229.0/27') && theirs.includes('fd42:beef::/48'));
});

interop('the routes of a BIRD that is away for long are the last choice (RFC 9494)', async (t) => {
  const { bird, node, config } = await pair(t, {
    protocol:
      'graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 3600;',
  });
  await bird.start(config);
  await node.start();
  await until(() => node.fib.size === 3, 'routes');
  t.true(
    node.session('bird')!.capabilities.peer.includes('long-lived restart, ipv4 unicast 3600 s, ipv6 unicast 3600 s'),
  );
  await bird.kill();
  const isLingering = (): boolean => {
    const { restart } = node.session('bird')!;
    return restart.length === 2 && restart.every((r) => r.phase === 'lingering');
  };
  await until(isLingering, 'the long absence');
  t.is(node.fib.size, 3);
  for (const route of node.speaker.routes('in')) t.deepEqual(route.communities, ['llgr-stale']);
  await bird.start(config, ['-R']);
  await until(() => node.session('bird')!.restart.length === 0, 'its return');
  for (const route of node.speaker.routes('in')) t.deepEqual(route.communities, []);
  t.deepEqual(node.gaps, []);
});

interop('BIRD and we tell each other several paths to a prefix (RFC 7911)', async (t) => {
  const { bird, node, config } = await pair(t, {
    channel: 'add paths on;',
    peer: { addPath: 'both' },
    extra: `
protocol static t4 { ipv4; route 172.20.1.0/24 unreachable { bgp_path.prepend(4242420009); }; }
`,
  });
  await bird.start(config);
  await node.start();
  const prefix = Prefix.parse('172.20.1.0/24')!;
  const heard = () => [...node.speaker.routes('in', { prefix })];
  await until(() => heard().length === 2, 'two paths');
  t.deepEqual(
    heard()
      .map((r) => r.asPath)
      .sort(),
    [`${THEIR_AS}`, `${THEIR_AS} 4242420009`],
  );
  t.is(new Set(heard().map((r) => r.pathId)).size, 2);
  // A path goes by its identifier, the other one stays.
  await bird.ask('disable t4');
  await until(() => heard().length === 1, 'one path');
  await bird.ask('enable t4');
  await until(() => heard().length === 2, 'two paths again');
  // What we send has identifiers as well.
  await until(async () => (await routesOf(bird)).includes('172.20.229.0/27'), 'our routes');
  t.regex(await bird.ask('show protocols all peer1'), /Add-path\s+RX: ipv4 ipv6\s+TX: ipv4 ipv6/i);
  node.speaker.withdraw(Prefix.parse('172.20.229.0/27')!);
  await until(async () => !(await routesOf(bird)).includes('172.20.229.0/27'), 'withdrawal by identifier');
  t.is(node.session('bird')!.faults, 0);
  t.is(node.session('bird')!.state, 'Established');
});

/** Values of an attribute that BIRD shows of routes we told it. */
const shown = (text: string, attribute: string): string[] =>
  [...text.matchAll(new RegExp(`BGP\\.${attribute}: (.*)`, 'g'))].map((m) => m[1]!);
const otcOf = (node: Node) => new Map([...node.speaker.routes('in')].map((r) => [r.prefix, r.otc]));

interop('a provider marks its routes for customers only, and we keep the mark (RFC 9234)', async (t) => {
  const { bird, node, config } = await pair(t, {
    protocol: 'local role provider; require roles;',
    peer: { role: 'customer', strictRole: true },
  });
  await bird.start(config);
  await node.start();
  await until(() => node.fib.size === 3, 'routes');
  t.true(node.session('bird')!.capabilities.peer.includes('role provider'));
  for (const [prefix, otc] of otcOf(node)) t.is(otc, THEIR_AS, prefix);
  await until(async () => (await routesOf(bird)).includes('172.20.229.0/27'), 'our routes');
  t.deepEqual(shown(await bird.ask('show route protocol peer1 all'), 'otc'), [], 'what goes up has no mark');
  t.regex(await bird.ask('show protocols all peer1'), /Role: provider|role provider/i);
});

interop('we mark routes for a customer, and refuse what leaks up from it (RFC 9234)', async (t) => {
  // BIRD without a role would tell a provider what it must not: nothing there stops it.
  const leaking = {
    protocol: '',
    extra: 'protocol static leak { ipv4; route 172.20.3.0/24 blackhole { bgp_otc = 4242420099; }; }',
    peer: { role: 'provider' },
  } as const;
  const { bird, node, config } = await pair(t, leaking);
  await bird.start(config);
  await node.start();
  await until(() => [...node.speaker.routes('in')].length === 4, 'four routes');
  const refused = [...node.speaker.routes('in')].filter((r) => r.refused !== undefined);
  t.deepEqual(
    refused.map((r) => [r.prefix, r.otc, r.refused]),
    [['172.20.3.0/24', 4242420099, 'leaked: only to customers (RFC 9234)']],
  );
  t.false(node.fib.has('172.20.3.0/24'));
  const text = async (): Promise<string> => bird.ask('show route protocol peer1 all');
  await until(async () => shown(await text(), 'otc').length === 2, 'our marks in BIRD');
  t.deepEqual(shown(await text(), 'otc'), [String(OUR_AS), String(OUR_AS)]);
});

interop('a role that does not fit is refused by BIRD with "role mismatch", and by us', async (t) => {
  const { bird, node, config } = await pair(t, { protocol: 'local role provider;', peer: { role: 'provider' } });
  await bird.start(config);
  await node.start();
  await until(() => node.session('bird')!.lastError?.text.includes('role mismatch') === true, 'the refusal');
  t.is(node.session('bird')!.establishments, 0);
});

interop('a refresh that BIRD asks for, or we, has a beginning and an end (RFC 7313)', async (t) => {
  const { bird, node, config } = await pair(t, {});
  await bird.start(config);
  await node.start();
  await until(() => node.fib.size === 3, 'routes');
  await until(async () => (await routesOf(bird)).includes('fd42:beef::/48'), 'our routes');
  t.true(node.session('bird')!.capabilities.peer.includes('enhanced refresh'));
  t.true(node.speaker.peerRefresh('bird', 'in'));
  // BoRR and EoRR of two families.
  await until(() => node.session('bird')!.messages.received.refresh >= 4, 'the marks');
  await until(() => node.session('bird')!.restart.length === 0, 'the end of the refresh');
  t.deepEqual(node.gaps, []);
  await bird.ask('reload in peer1');
  await until(() => node.session('bird')!.messages.sent.refresh >= 6, 'our marks');
  t.true((await routesOf(bird)).includes('fd42:beef::/48'));
  t.is(node.session('bird')!.state, 'Established');
});

interop('a peer beyond its limit is told the limit, and waits for its time', async (t) => {
  const { bird, node, config } = await pair(t, {
    // What it is told stands there until it tries again.
    protocol: 'error wait time 60, 60;',
    peer: { maxPrefixes: { limit: 1, action: 'restart', restartAfterMs: 60_000 } },
  });
  await bird.start(config);
  await node.start();
  await until(() => node.session('bird')!.lastError?.text.includes('maximum number of prefixes') === true, 'the limit');
  await until(async () => /number of prefixes/i.test(await bird.ask('show protocols all peer1')), 'the words in BIRD');
  t.is(node.fib.size, 0);
  t.is(node.session('bird')!.establishments, 1);
});

interop('BIRD connects from a range and becomes a peer', async (t) => {
  const { bird, node, config } = await pair(t, {});
  await bird.start(config);
  await node.start();
  node.speaker.removePeer('bird');
  node.speaker.addRange({
    name: 'guests',
    link: 'lo',
    range: Prefix.parse('127.0.0.0/8')!,
    asn: 'external',
    multihop: true,
    import: 'accept-all',
    export: 'accept-all',
    nextHop4: Addr.parse('10.9.9.1')!,
    nextHop6: Addr.parse('fd00:9::1')!,
  });
  await until(() => node.fib.size === 3, 'routes of the guest');
  const guest = node.session('guests-127.0.0.2');
  t.is(guest?.asn, THEIR_AS);
  t.is(guest?.range, 'guests');
  await bird.kill();
  await until(() => node.speaker.snapshot().length === 0, 'the guest is forgotten');
  t.is(node.fib.size, 0);
});
