/**
 * Peers of the host's own sockets that are signed (RFC 2385), kept to neighbours (RFC 5082) and watched over a single hop
 * (RFC 5881), against BIRD, FRR and GoBGP, each in a namespace of its own: both directions of connecting, IPv4, IPv6 and
 * link-local addresses of an interface. Our router is nobody, without any capability; its kernel does the work.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import type { BfdSessions, BgpPeerStatus, BgpPeers, Status } from '../../router/control/messages.ts';
import { Bird } from '../bgp/kit/bird.ts';
import { Frr, frrMissing } from '../kit/frr.ts';
import { Lab } from '../kit/lab.ts';
import { wgKeyPair } from '../kit/peer.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  router: Router;
  bird: Bird;
  frr: Frr;
  birdNs: string;
  yaml: string;
  birdConf: string;
}

const missing =
  frrMissing() ?? Lab.missing('bird', 'birdc', 'gobgpd', 'gobgp', 'vtysh', 'tcpdump', 'iptables', 'sysctl');
const test = anyTest as TestFn<Context>;
const it = (name: string, body: (t: ExecutionContext<Context>) => Promise<void>): void => {
  if (missing === undefined)
    test.serial(name, async (t) => {
      t.timeout(120_000);
      await body(t);
    });
  else test.skip(`${name} (${missing})`, body);
};

const ASN = 4242420229;
const BIRD_ASN = 4242420053;
const FRR_ASN = 4242420077;
const GOBGP_ASN = 4242420099;
const PASSWORD = 'correct horse';
const BFD_SECRET = 'battery staple';
const INTERVAL_MS = 100;
const MULTIPLIER = 4;
/** BFD's clock, the wake-up and the Cease on a busy machine. */
const SLACK_MS = 600;

/** Sessions with BIRD, whose BFD knows a neighbour by its address: each has one of ours for itself. */
const WITH_BIRD = [
  { name: 'bird4-out', theirs: '192.0.2.2', ours: '192.0.2.1', isOurs: true },
  { name: 'bird4-in', theirs: '192.0.2.3', ours: '192.0.2.4', isOurs: false },
  { name: 'bird6-out', theirs: '2001:db8:b::2', ours: '2001:db8:b::1', isOurs: true },
  { name: 'bird6-in', theirs: '2001:db8:b::3', ours: '2001:db8:b::4', isOurs: false },
  { name: 'birdl-out', theirs: 'fe80::b2', ours: 'fe80::a1', isOurs: true },
  { name: 'birdl-in', theirs: 'fe80::b3', ours: 'fe80::a4', isOurs: false },
] as const;

const isLinkLocal = (address: string): boolean => address.startsWith('fe80:');
const scoped = (address: string, device: string): string => (isLinkLocal(address) ? `${address}%${device}` : address);

const AUTH = `auth: meticulous-keyed-sha1, password: "${BFD_SECRET}"`;
const BFD = `bfd: { interval: ${INTERVAL_MS}ms, multiplier: ${MULTIPLIER}, ${AUTH} }`;

const YAML = `uplinks:
  tunnel:
    wireguard:
      private_key: ${wgKeyPair().privateKey}
      addresses: [10.77.0.1/24, "fd77::1/64"]
      peers: [{ public_key: "${wgKeyPair().publicKey}", allowed_ips: [10.77.0.0/24, "fd77::/64"] }]
bgp:
  asn: ${ASN}
  policy: transit
  router_id: 192.0.2.1
  host_listen: ["[::]:179"]
  networks: [172.20.229.112/28, "fd42:229::/48"]
  peers:
${WITH_BIRD.map(
  ({ name, theirs, ours, isOurs }) =>
    `    - { name: ${name}, asn: ${BIRD_ASN}, address: "${scoped(theirs, 'toB')}", local_address: "${ours}", host: true, passive: ${!isOurs}, ttl_security: true, password: "${PASSWORD}", connect_retry: 1s, ${BFD} }\n`,
).join(
  '',
)}    - { name: frr4-out, asn: ${FRR_ASN}, address: 198.51.100.2, local_address: 198.51.100.1, host: true, ttl_security: true, password: "${PASSWORD}", connect_retry: 1s }
    - { name: frr6-in, asn: ${FRR_ASN}, address: "2001:db8:c::2", host: true, passive: true, ttl_security: true, password: "${PASSWORD}" }
    - { name: frrl-out, asn: ${FRR_ASN}, address: "fe80::c2%toC", host: true, connect_retry: 1s, password: "${PASSWORD}", bfd: { interval: ${INTERVAL_MS}ms } }
    - { name: gobgp4-out, asn: ${GOBGP_ASN}, address: 203.0.113.2, local_address: 203.0.113.1, host: true, multihop: false, password: "${PASSWORD}", connect_retry: 1s }
    - { name: gobgp-range, asn: ${GOBGP_ASN}, range: "2001:db8:d::/64", host: true, ttl_security: true, password: "${PASSWORD}" }
`;

const BIRD = `log stderr all;
router id 192.0.2.2;
protocol device {}
protocol static { ipv4; route 172.20.53.0/24 unreachable; }
protocol static { ipv6; route fd42:53::/48 unreachable; }
protocol bfd {
  accept direct;
  interface "toB" {
    interval ${INTERVAL_MS} ms; multiplier ${MULTIPLIER};
    authentication meticulous keyed sha1; password "${BFD_SECRET}";
  };
}
template bgp secured {
  direct; bfd on; ttl security on;
  connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 30;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };
  ipv6 { import all; export where source = RTS_STATIC; };
}
${WITH_BIRD.map(
  ({ name, theirs, ours, isOurs }) => `protocol bgp '${name}' from secured {
  local ${theirs} as ${BIRD_ASN}; neighbor ${scoped(ours, 'toB')} as ${ASN}; passive ${isOurs ? 'on' : 'off'}; password "${PASSWORD}";
}
`,
).join('')}`;

const BGPD = `router bgp ${FRR_ASN}
 bgp router-id 198.51.100.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.51.100.1 remote-as ${ASN}
 neighbor 198.51.100.1 passive
 neighbor 198.51.100.1 password ${PASSWORD.replace(' ', '-')}
 neighbor 198.51.100.1 ttl-security hops 1
 neighbor 2001:db8:c::1 remote-as ${ASN}
 neighbor 2001:db8:c::1 update-source 2001:db8:c::2
 neighbor 2001:db8:c::1 password ${PASSWORD.replace(' ', '-')}
 neighbor 2001:db8:c::1 ttl-security hops 1
 neighbor 2001:db8:c::1 timers connect 1
 neighbor fe80::a1 remote-as ${ASN}
 neighbor fe80::a1 interface toC
 neighbor fe80::a1 password ${PASSWORD.replace(' ', '-')}
 neighbor fe80::a1 passive
 neighbor fe80::a1 bfd
 neighbor fe80::a1 bfd profile fast
 address-family ipv4 unicast
  network 172.20.77.0/24
 exit-address-family
 address-family ipv6 unicast
  network fd42:77::/48
  neighbor 2001:db8:c::1 activate
  neighbor fe80::a1 activate
 exit-address-family`;
const BFDD = `bfd
 profile fast
  receive-interval ${INTERVAL_MS}
  transmit-interval ${INTERVAL_MS}`;

const gobgpNeighbor = (address: string, isPassive: boolean, more: string): string => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = ${ASN}
    auth-password = "${PASSWORD}"
  [neighbors.transport.config]
    passive-mode = ${isPassive}
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
${more}`;
const GOBGP = `[global.config]
  as = ${GOBGP_ASN}
  router-id = "203.0.113.2"
${gobgpNeighbor('203.0.113.1', true, '')}
${gobgpNeighbor(
  '2001:db8:d::1',
  false,
  `  [neighbors.ttl-security.config]
    enabled = true
    ttl-min = 255
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
    afi-safi-name = "ipv6-unicast"
`,
)}`;

const COUNT = WITH_BIRD.length + 3 + 2;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const a = await lab.namespace('a');
    // As in a container of Docker: low ports are for everybody.
    await lab.ok(a, 'sysctl', ['-qw', 'net.ipv4.ip_unprivileged_port_start=0']);
    const join_ = async (name: string, link: string, ours: readonly string[], theirs: readonly string[]) => {
      const ns = await lab.namespace(name);
      await lab.veth(link, a, ours[0]!, ns, theirs[0]!);
      for (const [where, list] of [
        [a, ours],
        [ns, theirs],
      ] as const)
        for (const address of list.slice(1))
          await lab.host('ip', [
            '-n',
            where,
            'addr',
            'add',
            address,
            'dev',
            link,
            ...(address.includes(':') ? ['nodad'] : []),
          ]);
      return ns;
    };
    const b = await join_(
      'b',
      'toB',
      ['192.0.2.1/24', '192.0.2.4/24', '2001:db8:b::1/64', '2001:db8:b::4/64', 'fe80::a1/64', 'fe80::a4/64'],
      ['192.0.2.2/24', '192.0.2.3/24', '2001:db8:b::2/64', '2001:db8:b::3/64', 'fe80::b2/64', 'fe80::b3/64'],
    );
    const c = await join_(
      'c',
      'toC',
      ['198.51.100.1/24', '2001:db8:c::1/64', 'fe80::a1/64'],
      ['198.51.100.2/24', '2001:db8:c::2/64', 'fe80::c2/64'],
    );
    const d = await join_('d', 'toD', ['203.0.113.1/24', '2001:db8:d::1/64'], ['203.0.113.2/24', '2001:db8:d::2/64']);
    const router = new Router(lab, a);
    Object.assign(t.context, {
      router,
      birdNs: b,
      yaml: YAML.replaceAll(/(frr.*)"correct horse"/g, '$1"correct-horse"'),
    });
    router.write(t.context.yaml);
    await router.up();
    const bird = new Bird(['nsenter', `--net=/run/netns/${b}`]);
    Object.assign(t.context, { bird, birdConf: BIRD });
    await bird.start(BIRD);
    const frr = new Frr(lab, c);
    t.context.frr = frr;
    await frr.start('zebra', '');
    await frr.start('bfdd', BFDD);
    await frr.start('bgpd', BGPD);
    writeFileSync(join(lab.dir, 'gobgp.toml'), GOBGP);
    lab.start(d, 'gobgpd', ['-t', 'toml', '-f', join(lab.dir, 'gobgp.toml'), '--pprof-disable']);
  });
  test.after.always('remove the lab', async (t) => {
    await t.context.bird?.remove();
    await t.context.lab.close();
  });
}

const peers = async (r: Router): Promise<readonly BgpPeerStatus[]> => (await r.json<BgpPeers>('bgp', 'show')).peers;
const peer = async (r: Router, name: string): Promise<BgpPeerStatus> => (await peers(r)).find((p) => p.name === name)!;
const counters = async (r: Router): Promise<Readonly<Record<string, number>>> =>
  (await r.json<Status>('status')).counters;

async function established({ lab, router }: Context, what: RegExp, count: number): Promise<void> {
  let shown = '';
  await lab
    .eventually(
      `${count} sessions ${what}`,
      async () => {
        const mine = (await peers(router)).filter((p) => what.test(p.name));
        shown = mine.map((p) => `${p.name} ${p.state} ${p.bfd} ${p.last_error}`).join('\n');
        return mine.filter((p) => p.state === 'Established').length === count;
      },
      60_000,
    )
    .catch((e: Error) => {
      throw new Error(`${e.message}\n${shown}`);
    });
}

/** Change BIRD's configuration, and back at the end of the test. */
async function rebird(t: ExecutionContext<Context>, change: (conf: string) => string): Promise<void> {
  const { bird, birdConf } = t.context;
  const conf = change(birdConf);
  t.not(conf, birdConf);
  writeFileSync(join(bird.dir, 'bird.conf'), conf);
  t.regex(await bird.ask('configure'), /Reconfigur/);
}

/** Other words for the password of some of BIRD's protocols. */
const instead =
  (names: readonly string[], words: string) =>
  (conf: string): string =>
    conf.replaceAll(/(protocol bgp '(.*)' from.*\n.*)password ".*";/g, (all, before: string, name: string) =>
      names.includes(name) ? `${before}${words}` : all,
    );

it('sessions with three vendors are signed: IPv4, IPv6, link-local; opened by us and by them', async (t) => {
  const { router, lab } = t.context;
  await established(t.context, /./, COUNT);
  const all = await peers(router);
  t.deepEqual(
    all.filter((p) => p.name.startsWith('birdl') || p.name.startsWith('frrl')).map((p) => [p.uplink, p.local_address]),
    [
      ['toB (host)', 'fe80::a1'],
      ['toB (host)', 'fe80::a4'],
      ['toC (host)', 'fe80::a1'],
    ],
  );
  t.true(all.some((p) => p.name === 'gobgp-range-2001:db8:d::2'));
  await lab.eventually('routes of all', async () =>
    (await peers(router)).every((p) => p.received > 0 || p.name.startsWith('gobgp')),
  );
});

it('every segment carries a signature that tcpdump finds valid, and TTL 255, in both directions', async (t) => {
  const { lab, router, birdNs } = t.context;
  await established(t.context, /^bird/, WITH_BIRD.length);
  for (const [name, filter] of [
    ['bird4-in', 'tcp port 179 and host 192.0.2.3'],
    ['birdl-out', 'tcp port 179 and host fe80::b2'],
  ] as const) {
    const dump = lab.start(birdNs, 'tcpdump', ['-nlv', '-c', '8', '-M', PASSWORD, '-i', 'toB', filter]);
    await dump.until(/listening on/);
    await router.cli(['bgp', 'peer', name, 'refresh']);
    t.is(await dump.exit(), 0);
    t.is(dump.stdout.match(/md5 valid/g)?.length, 8, dump.stdout);
    t.is(dump.stdout.match(/ttl 255|hlim 255/g)?.length, 8, dump.stdout);
  }
});

it('single-hop BFD comes up with BIRD, authenticated, and with FRR, and a path that breaks is noticed in time', async (t) => {
  const { lab, router, birdNs, bird } = t.context;
  const up = async (): Promise<BfdSessions> => {
    await lab.eventually('BFD is up', async () =>
      (await router.json<BfdSessions>('bfd')).sessions.every((s) => s.state === 'Up'),
    );
    return router.json<BfdSessions>('bfd');
  };
  await established(t.context, /^(bird|frrl)/, WITH_BIRD.length + 1);
  const { sessions } = await up();
  t.is(sessions.length, WITH_BIRD.length + 1);
  t.true(sessions.every((s) => !s.multihop && s.tx_ms === INTERVAL_MS));
  t.deepEqual(
    sessions.map((s) => s.auth),
    [...WITH_BIRD.map(() => 'meticulous-keyed-sha1'), ''],
  );
  t.is((await bird.ask('show bfd sessions')).match(/ Up /g)?.length, WITH_BIRD.length);
  const flaps = sessions.map((s) => s.flaps);
  for (const args of [
    ['-A', 'INPUT', '-i', 'toB', '-p', 'udp', '-j', 'DROP'],
    ['-A', 'OUTPUT', '-o', 'toB', '-p', 'udp', '-j', 'DROP'],
  ])
    for (const tables of ['iptables', 'ip6tables']) await lab.ok(birdNs, tables, args);
  const cut = performance.now();
  await router.daemon!.until(/peer down.*peer=birdl-in/, 10_000);
  const tookMs = performance.now() - cut;
  t.true(tookMs <= INTERVAL_MS * MULTIPLIER + SLACK_MS, `${tookMs} ms`);
  await lab.eventually(
    'all of them',
    async () => !(await peers(router)).some((p) => p.name.startsWith('bird') && p.bfd === 'Up'),
  );
  for (const tables of ['iptables', 'ip6tables']) await lab.ok(birdNs, tables, ['-F']);
  await established(t.context, /^bird/, WITH_BIRD.length);
  const after = (await up()).sessions.map((s) => s.flaps);
  t.deepEqual(
    after.map((n, i) => n > flaps[i]!),
    [...WITH_BIRD.map(() => true), false],
  );
});

it('BFD packets with another secret are not believed, and counted', async (t) => {
  const { lab, router } = t.context;
  await rebird(t, (conf) => conf.replace(BFD_SECRET, 'battery charger'));
  await lab.eventually('they are refused', async () => {
    const { sessions, drops } = await router.json<BfdSessions>('bfd');
    return (drops['authentication'] ?? 0) > 10 && sessions.filter((s) => s.auth !== '').every((s) => s.state !== 'Up');
  });
  await rebird(t, (conf) => `${conf}\n`);
  await established(t.context, /^bird/, WITH_BIRD.length);
  await lab.eventually('BFD is up', async () =>
    (await router.json<BfdSessions>('bfd')).sessions.every((s) => s.state === 'Up'),
  );
});

it('another password, or none, lets nobody in, is counted, and named where we connect', async (t) => {
  const { lab, router } = t.context;
  const names = ['bird4-out', 'bird4-in', 'bird6-in', 'birdl-out', 'birdl-in'];
  const others = WITH_BIRD.length - names.length;
  for (const [password, counter] of [
    ['password "another horse";', 'host_signatureWrong'],
    ['', 'host_signatureMissing'],
  ] as const) {
    const before = await counters(router);
    await rebird(t, instead(names, password));
    await lab.eventually(`${counter} grows`, async () => (await counters(router))[counter]! > before[counter]! + 2);
    await lab.eventually('our attempts time out', async () => {
      const all = await Promise.all(['bird4-out', 'birdl-out'].map((name) => peer(router, name)));
      return all.every((p) => `${p.last_error} ${p.retry_error}`.includes('connection timed out; check the password'));
    });
    for (const name of names) t.not((await peer(router, name)).state, 'Established', name);
    await established(t.context, /^bird6-out/, others);
    await rebird(t, (conf) => `${conf}\n`);
    await established(t.context, /^bird/, WITH_BIRD.length);
  }
});

it('a peer that sends from farther away does not get in, and its segments are counted', async (t) => {
  const { lab, router } = t.context;
  const before = await counters(router);
  await rebird(t, instead(['bird4-in', 'birdl-in'], `password "${PASSWORD}"; ttl security off;`));
  await lab.eventually('small TTLs are counted', async () => {
    const now = await counters(router);
    return now['host_ttlTooSmall']! > before['host_ttlTooSmall']!;
  });
  for (const name of ['bird4-in', 'birdl-in']) t.not((await peer(router, name)).state, 'Established');
  await rebird(t, (conf) => `${conf}\n`);
  await established(t.context, /^bird/, WITH_BIRD.length);
});

it('a reload gives listeners and attempts another password, for the sessions concerned alone', async (t) => {
  const { router, yaml } = t.context;
  await established(t.context, /./, COUNT);
  const ages = new Map((await peers(router)).map((p) => [p.name, p.establishments ?? 0]));
  const changed = /(name: bird[46]-(?:in|out).*)"correct horse"/g;
  router.write(yaml.replaceAll(changed, '$1"another horse"'));
  const done = await router.cli(['reload']);
  t.is(done.status, 0, done.stderr);
  const names = ['bird4-in', 'bird4-out', 'bird6-in', 'bird6-out'];
  await rebird(t, instead(names, 'password "another horse";'));
  await established(t.context, /./, COUNT);
  for (const p of await peers(router))
    if (!names.includes(p.name)) t.is(p.establishments, ages.get(p.name)!, `${p.name} was not touched`);
  router.write(yaml);
  t.is((await router.cli(['reload'])).status, 0);
  await rebird(t, (conf) => `${conf}\n`);
  await established(t.context, /./, COUNT);
});
