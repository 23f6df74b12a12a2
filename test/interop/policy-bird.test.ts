/**
 * How routes are passed on, against the BIRD of the distribution on loopback addresses: reflection, confederations, filters,
 * AS numbers and what a peer is told of graceful shutdown.
 * 127/8 next hops are martians (RFC 4271 §6.3), so all sides announce other addresses as their next hop.
 */
import { eachRoute, type PeerConfig, Speaker, type SpeakerOptions } from '../../bgp/speaker.ts';
import { parseCommunity } from '../../bgp/wire/attribute/communities.ts';
import { parseConfig } from '../../router/config/load.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { systemClock } from '../../router/lib/clock.ts';
import { formatKey, generatePrivateKey } from '../../wg/keys.ts';
import { Bird, hasBird, until } from '../bgp/kit/bird.ts';
import { driveByClock, freePort, hostTransport } from '../bgp/kit/loopback.ts';
import { labTests } from '../kit/it.ts';

const { it: interop } = labTests(hasBird() ? undefined : 'not installed: bird2');

const US = '127.0.0.1';

interface BirdPeer {
  readonly address: string;
  readonly port: number;
  readonly asn: number;
  /** The AS we are to it. */
  readonly ours: number;
  /** Lines of its `protocol bgp`. */
  readonly options?: string;
  /** Lines of its IPv4 channel. */
  readonly channel?: string;
  /** Static routes it announces, in BIRD's words. */
  readonly routes?: string;
}

function birdConfig(p: BirdPeer, ourPort: number): string {
  const last = p.address.split('.')[3];
  return `
router id 10.0.0.${last};
ipv4 table h4;
protocol device {}
protocol static s4 { ipv4; ${p.routes ?? ''} }
protocol static hops4 { ipv4 { table h4; }; route 10.9.0.0/16 via "lo"; }
protocol bgp peer1 {
  local ${p.address} port ${p.port} as ${p.asn};
  neighbor ${US} port ${ourPort} as ${p.ours};
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 30;
  ${p.options ?? ''}
  ipv4 { import all; export where source = RTS_STATIC; next hop address 10.9.9.${last}; igp table h4; ${p.channel ?? ''} };
}
`;
}

interface Us {
  readonly speaker: Speaker;
  readonly stop: () => Promise<void>;
}

async function ourRouter(port: number, peers: readonly PeerConfig[], options: Partial<SpeakerOptions>): Promise<Us> {
  const transport = hostTransport(US, port);
  const speaker = new Speaker({
    asn: 65001,
    routerId: Addr.parse('10.0.0.1')!,
    clock: systemClock,
    random: Math.random,
    transport,
    sink: eachRoute(() => {}),
    resolver: { isUp: () => true, subscribe: () => {} },
    ...options,
  });
  for (const peer of peers) speaker.addPeer(peer);
  const stopDriving = driveByClock(speaker);
  speaker.start();
  await transport.listening();
  return {
    speaker,
    stop: async () => {
      speaker.shutdown('test over');
      stopDriving();
      await transport.close();
    },
  };
}

/** Run `body` with us and a BIRD for each peer. */
async function withBirds(
  options: Partial<SpeakerOptions>,
  peers: readonly (readonly [BirdPeer, Partial<PeerConfig>])[],
  body: (us: Speaker, birds: readonly Bird[]) => Promise<void>,
): Promise<void> {
  const ourPort = await freePort();
  const birds = peers.map(() => new Bird());
  const us = await ourRouter(
    ourPort,
    peers.map(([p, config], i) => ({
      name: `bird${i}`,
      address: Addr.parse(p.address)!,
      link: 'lo',
      asn: p.asn,
      port: p.port,
      families: ['ipv4'],
      multihop: true,
      import: 'accept-all',
      export: 'accept-all',
      nextHop4: Addr.parse('10.9.9.1')!,
      connectRetryMs: 200,
      ...config,
    })),
    options,
  );
  try {
    await Promise.all(birds.map((bird, i) => bird.start(birdConfig(peers[i]![0], ourPort))));
    await body(us.speaker, birds);
  } finally {
    await us.stop();
    for (const bird of birds) await bird.remove();
  }
}

async function birdPeer(last: number, asn: number, ours: number, rest: Partial<BirdPeer> = {}): Promise<BirdPeer> {
  return { address: `127.0.0.${last}`, port: await freePort(), asn, ours, ...rest };
}

/** What BIRD knows of a route, once it has it. */
async function routeIn(bird: Bird, prefix: string): Promise<string> {
  const ask = () => bird.ask(`show route for ${prefix} protocol peer1 all`);
  await until(async () => (await ask()).includes('BGP.origin'), `${prefix} in bird`);
  return ask();
}

interop('bird as client: routes are reflected between two of them, with originator and cluster list', async (t) => {
  const one = await birdPeer(2, 65001, 65001, { routes: 'route 172.20.1.0/24 blackhole;' });
  const two = await birdPeer(3, 65001, 65001, { routes: 'route 172.20.2.0/24 blackhole;' });
  const client = { routeReflectorClient: true };
  const options = { clusterId: Addr.parse('10.0.0.99')!, networks: [{ prefix: Prefix.parse('172.20.9.0/24')! }] };
  await withBirds(
    options,
    [
      [one, client],
      [two, client],
    ],
    async (us, birds) => {
      const seen = await routeIn(birds[1]!, '172.20.1.0/24');
      t.regex(seen, /BGP\.originator_id: 10\.0\.0\.2\n/);
      t.regex(seen, /BGP\.cluster_list: 10\.0\.0\.99\n/);
      t.regex(seen, /BGP\.next_hop: 10\.9\.9\.2\n/, 'a reflector leaves the next hop alone');
      t.regex(await routeIn(birds[0]!, '172.20.2.0/24'), /BGP\.originator_id: 10\.0\.0\.3\n/);
      t.notRegex(await routeIn(birds[0]!, '172.20.9.0/24'), /originator_id/, 'our own route is not reflected');
      t.is(
        us.snapshot().reduce((n, p) => n + p.faults, 0),
        0,
      );
    },
  );
});

interop('bird as another member of our confederation: segments both ways, and the outside sees one AS', async (t) => {
  const member = await birdPeer(2, 65002, 65001, {
    options: 'confederation 64600; confederation member yes;',
    routes: 'route 172.20.1.0/24 blackhole { bgp_local_pref = 150; bgp_med = 7; };',
  });
  const outside = await birdPeer(3, 64999, 64600, { routes: 'route 172.20.2.0/24 blackhole;' });
  const options = {
    confederation: { id: 64600, members: [65002] },
    networks: [{ prefix: Prefix.parse('172.20.9.0/24')! }],
  };
  await withBirds(
    options,
    [
      [member, { nextHopSelf: true }],
      [outside, {}],
    ],
    async (us, birds) => {
      t.regex(await routeIn(birds[0]!, '172.20.9.0/24'), /BGP\.as_path: \(65001\)\n/);
      t.regex(await routeIn(birds[0]!, '172.20.2.0/24'), /BGP\.as_path: \(65001\) 64999\n/);
      t.regex(await routeIn(birds[1]!, '172.20.1.0/24'), /BGP\.as_path: 64600\n/);
      await until(() => [...us.routes('in')].length === 2, 'both routes here');
      const [route] = [...us.routes('in', { peer: 'bird0' })];
      t.like(route, { asPath: '(65002)', localPref: 150, med: 7 });
      t.is(
        us.snapshot().reduce((n, p) => n + p.faults, 0),
        0,
      );
    },
  );
});

interop('bird is told what the configuration gives our networks and aggregates', async (t) => {
  const text = `
bgp:
  asn: 65001
  router_id: 10.0.0.1
  dn42: { private_key: ${formatKey(generatePrivateKey())} }
  networks:
    - 172.20.9.0/24
    - { prefix: 172.20.10.0/24, med: 10, local_pref: 300, communities: [64511:5, 65001:1:2, 'rt:65001:7'] }
  aggregates: [{ prefix: 172.16.0.0/12, med: 20, communities: [64511:6, 65001:3:4] }]
`;
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: '/nowhere/m.yaml', text }, {});
  t.deepEqual(
    diagnostics.filter((d) => d.severity === 'error'),
    [],
  );
  const { networks, aggregates } = config!.bgp!;
  const [outside, inside] = [await birdPeer(2, 65002, 65001), await birdPeer(3, 65001, 65001)];
  const us = { networks, aggregates };
  await withBirds(us, [[outside, {}] as const, [inside, {}] as const], async (speaker, [external, internal]) => {
    t.notRegex(await routeIn(external!, '172.20.9.0/24'), /BGP\.(med|community|large_community)/);
    const labelled = await routeIn(external!, '172.20.10.0/24');
    t.regex(labelled, /BGP\.community: \(64511,5\)\n/);
    t.regex(labelled, /BGP\.large_community: \(65001, 1, 2\)\n/);
    t.regex(labelled, /BGP\.ext_community: \(rt, 65001, 7\)\n/);
    t.regex(labelled, /BGP\.med: 10\n/);
    t.regex(await routeIn(internal!, '172.20.10.0/24'), /BGP\.local_pref: 300\n/);
    const whole = await routeIn(external!, '172.16.0.0/12');
    t.regex(whole, /BGP\.community: \(64511,6\)\n/);
    t.regex(whole, /BGP\.large_community: \(65001, 3, 4\)\n/);
    t.regex(whole, /BGP\.med: 20\n/);
    // It changes while the route stays.
    speaker.announce({ ...networks[1]!, communities: [parseCommunity('64511:9')!] });
    await until(
      async () => (await routeIn(external!, '172.20.10.0/24')).includes('(64511,9)'),
      'the other community in bird',
    );
  });
});

interop('filters label and prefer routes of bird, and bird reads what they tell it', async (t) => {
  const peer = await birdPeer(2, 64999, 65001, {
    routes: `
      route 172.20.1.0/24 blackhole { bgp_community.add((64511,5)); bgp_large_community.add((64999,1,2)); };
      route 172.20.2.0/24 blackhole { bgp_ext_community.add((rt,64999,7)); bgp_path.prepend(4242420009); };
      route 172.20.3.0/30 blackhole;`,
  });
  const c = (text: string): number => parseCommunity(text)!;
  const config: Partial<PeerConfig> = {
    import: [
      {
        match: { prefixes: [{ prefix: Prefix.parse('172.20.0.0/14')!, minLength: 25, maxLength: 32 }] },
        action: 'reject',
      },
      { match: { largeCommunities: [[64999, { min: 0, max: 9 }, 2]] }, action: 'continue', set: { addLocalPref: 20 } },
      { match: { asPath: ['64999 * 4242420000..4242429999'] }, action: 'accept', set: { localPref: 70, med: 3 } },
      {
        match: { communities: [[64511, { min: 1, max: 9 }]] },
        action: 'accept',
        set: { addCommunities: [c('65001:1')] },
      },
    ],
    export: [
      {
        action: 'accept',
        set: {
          prepend: { times: 2 },
          addCommunities: [c('64511:33')],
          addLargeCommunities: [[65001, 4242421080, 1]],
          addExtendedCommunities: [[0x0002fde9, 9]],
          med: 42,
          origin: 2,
        },
      },
    ],
    defaultOriginate: true,
    gracefulShutdown: true,
  };
  const networks = [{ prefix: Prefix.parse('172.20.9.0/24')! }];
  await withBirds({ networks }, [[peer, config]], async (us, birds) => {
    const seen = await routeIn(birds[0]!, '172.20.9.0/24');
    t.regex(seen, /BGP\.as_path: 65001 65001 65001\n/);
    t.regex(seen, /BGP\.community: \(64511,33\) \(65535,0\)\n/);
    t.regex(seen, /BGP\.large_community: \(65001, 4242421080, 1\)\n/);
    t.regex(seen, /BGP\.ext_community: \(rt, 65001, 9\)\n/);
    t.regex(seen, /BGP\.med: 42\n/);
    t.regex(seen, /BGP\.origin: Incomplete\n/);
    t.regex(await routeIn(birds[0]!, '0.0.0.0/0'), /BGP\.as_path: 65001\n/);
    await until(() => [...us.routes('in')].length === 3, 'three routes of bird');
    const view = (prefix: string) => [...us.routes('in', { prefix: Prefix.parse(prefix)! })][0]!;
    t.deepEqual(view('172.20.1.0/24').communities, ['64511:5', '65001:1']);
    t.is(view('172.20.1.0/24').localPref, 0, 'a session about to be shut down is the last choice');
    t.like(view('172.20.2.0/24'), { med: 3, extendedCommunities: ['rt:64999:7'] });
    t.is(view('172.20.3.0/30').refused, 'refused by import policy');
    us.setPolicies('bird0', { import: 'accept-all', export: 'reject-all' });
    await until(
      async () => !(await birds[0]!.ask('show route protocol peer1')).includes('172.20.9.0/24'),
      'withdrawal',
    );
    t.is([...us.routes('in')].filter((r) => r.refused !== undefined).length, 0);
    t.is(us.snapshot()[0]!.establishments, 1, 'without a new session');
  });
});

interop('bird sees another AS of ours, without private numbers, and its own AS replaced', async (t) => {
  const site = await birdPeer(2, 64999, 3, { routes: 'route 172.20.1.0/24 blackhole;' });
  const twin = await birdPeer(3, 64999, 65001, { routes: 'route 172.20.2.0/24 blackhole;' });
  const plain = await birdPeer(4, 7, 65001);
  await withBirds(
    {},
    [
      [site, { localAs: { asn: 3 } }],
      [twin, { asOverride: true }],
      [plain, { removePrivateAs: 'all' }],
    ],
    async (_, birds) => {
      t.regex(await routeIn(birds[1]!, '172.20.1.0/24'), /BGP\.as_path: 65001 3 65001\n/);
      t.regex(await routeIn(birds[2]!, '172.20.2.0/24'), /BGP\.as_path: 65001\n/);
      t.regex(await routeIn(birds[2]!, '172.20.1.0/24'), /BGP\.as_path: 65001 3\n/);
      t.false((await birds[0]!.ask('show route protocol peer1')).includes('172.20.2.0/24'), 'bird finds its own AS');
    },
  );
});

interop('a bird that knows two-octet AS numbers only gets and gives whole paths (RFC 6793)', async (t) => {
  const old = await birdPeer(2, 64999, 65001, {
    options: 'enable as4 off;',
    routes: 'route 172.20.1.0/24 blackhole { bgp_path.prepend(4242420009); };',
  });
  const other = await birdPeer(3, 64998, 65001, {
    routes: 'route 172.20.2.0/24 blackhole { bgp_path.prepend(4242420010); };',
  });
  await withBirds(
    {},
    [
      [old, {}],
      [other, {}],
    ],
    async (us, birds) => {
      t.regex(await routeIn(birds[1]!, '172.20.1.0/24'), /BGP\.as_path: 65001 64999 4242420009\n/);
      t.regex(await routeIn(birds[0]!, '172.20.2.0/24'), /BGP\.as_path: 65001 64998 4242420010\n/);
      const [first, second] = us.snapshot();
      t.deepEqual([first!.fourOctetAs, second!.fourOctetAs], [false, true]);
      t.is(first!.faults, 0);
    },
  );
});

interop('well-known communities of bird are followed, and our own AS is taken as often as allowed', async (t) => {
  const [ours, discard] = ['bgp_path.prepend(65001);', 'bgp_community.add((65535,666));'];
  const sender = await birdPeer(2, 64999, 65001, {
    routes: `
      route 172.20.1.0/24 blackhole { ${ours} };
      route 172.20.2.0/24 blackhole { ${ours} ${ours} };
      route 172.20.3.3/32 blackhole { ${discard} };
      route 172.20.4.0/24 blackhole { bgp_community.add((65535,0)); };
      route 172.20.5.0/24 blackhole { bgp_community.add((65535,65281)); };
      route 172.20.6.0/24 blackhole;`,
  });
  const ways = new Map<string, string>();
  const sink = eachRoute(({ prefix, way }) => void ways.set(prefix.toString(), way?.kind ?? 'none'));
  const other = await birdPeer(3, 64998, 65001);
  await withBirds(
    { sink },
    [
      [sender, { allowOwnAs: 1, acceptBlackhole: true }],
      [other, {}],
    ],
    async (us, birds) => {
      await routeIn(birds[1]!, '172.20.6.0/24');
      await until(() => ways.size === 5, 'five ways');
      t.deepEqual([...ways].sort(), [
        ['172.20.1.0/24', 'unicast'],
        ['172.20.3.3/32', 'blackhole'],
        ['172.20.4.0/24', 'unicast'],
        ['172.20.5.0/24', 'unicast'],
        ['172.20.6.0/24', 'unicast'],
      ]);
      const view = (prefix: string) => [...us.routes('in', { prefix: Prefix.parse(prefix)! })][0]!;
      t.is(view('172.20.2.0/24').refused, 'our AS is in the path');
      t.is(view('172.20.4.0/24').localPref, 0, 'graceful shutdown');
      const told = await birds[1]!.ask('show route protocol peer1');
      // A route that discards its traffic stays with us (RFC 7999 §3.2), and so does one that is not to leave the AS.
      t.deepEqual(told.match(/172\.20\.\S+/g)?.sort(), ['172.20.1.0/24', '172.20.4.0/24', '172.20.6.0/24']);
    },
  );
});

interop('equal routes of two birds share the traffic, by link bandwidth where both tell it', async (t) => {
  // BIRD keeps the form that is not transitive from other ASes.
  const bandwidth = (float: string): string => `bgp_ext_community.add((generic, 0x0004fde7, ${float}));`;
  const routes = (float: string): string => `
      route 172.20.1.0/24 blackhole { ${bandwidth(float)} };
      route 172.20.2.0/24 blackhole;`;
  const slow = await birdPeer(2, 64999, 65001, { routes: routes('0x49742400') }); // 1,000,000 octets a second
  const fast = await birdPeer(3, 64999, 65001, { routes: routes('0x4a371b00') }); // 3,000,000
  const ways = new Map<string, string>();
  const sink = eachRoute(({ prefix, way }) => {
    ways.set(prefix.toString(), (way?.nextHops ?? []).map((h) => `${h.address} x ${h.weight ?? 1}`).join(', '));
  });
  const multipath = { maxPaths: 2, weighted: true };
  await withBirds(
    { sink, multipath },
    [
      [slow, {}],
      [fast, {}],
    ],
    async (us, birds) => {
      await until(() => [...ways.values()].filter((w) => w.includes(',')).length === 2, 'two next hops each');
      t.is(ways.get('172.20.2.0/24'), '10.9.9.2 x 1, 10.9.9.3 x 1');
      t.is(ways.get('172.20.1.0/24'), '10.9.9.2 x 85, 10.9.9.3 x 256', 'a third, in parts of 256');
      await birds[1]!.ask('disable peer1');
      await until(() => ways.get('172.20.1.0/24') === '10.9.9.2 x 1', 'the other alone');
      t.is(us.snapshot()[0]!.establishments, 1);
    },
  );
});
