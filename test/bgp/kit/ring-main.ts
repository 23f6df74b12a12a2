/**
 * A program for bgp-ring.test.ts, run as root inside a network namespace of its own: a ring of BIRD, mlshim, FRR and GoBGP,
 * then the same ring with a second BIRD in mlshim's place. Prints the best AS path of each prefix at each router, of both.
 */
import { drive, Speaker } from '../../../bgp/speaker.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { Bird, run, until } from './bird.ts';
import { Bgpd } from './frr-bgpd.ts';
import { Gobgp } from './gobgp.ts';
import { hostTransport } from './loopback.ts';

/** In the order of the ring; router n has AS 65000 + n, address 10.0.0.n and TCP port 1790 + n. */
const BIRD = 1;
const US = 2;
const FRR = 3;
const GOBGP = 4;
const ALL = [BIRD, US, FRR, GOBGP];
const as = (n: number): number => 65000 + n;
const at = (n: number): string => `10.0.0.${n}`;
const port = (n: number): number => 1790 + n;
const neighboursOf = (n: number): number[] => [n === 1 ? 4 : n - 1, n === 4 ? 1 : n + 1];
/** Each router has a prefix of its own; two share one, and one prefix comes with a longer path. */
const networksOf = (n: number): string[] => [`172.20.${n}.0/24`, ...(n === BIRD || n === FRR ? ['172.20.9.0/24'] : [])];
const TOTAL = 5;

type Paths = Readonly<Record<string, string>>;

const birdConfig = (n: number): string => `router id ${at(n)};
protocol device {}
ipv4 table hops;
protocol static { ipv4 { table hops; }; route 10.0.0.0/24 via "lo"; }
protocol static own { ipv4; ${networksOf(n)
  .map((p) => `route ${p} blackhole;`)
  .join(' ')} }
${neighboursOf(n)
  .map(
    (m) => `protocol bgp to${m} {
  local ${at(n)} port ${port(n)} as ${as(n)}; neighbor ${at(m)} port ${port(m)} as ${as(m)};
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export all; igp table hops; next hop self; };
}`,
  )
  .join('\n')}
`;

const frrConfig = (n: number): string => `router bgp ${as(n)}
 bgp router-id ${at(n)}
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp bestpath compare-routerid
${neighboursOf(n)
  .map(
    (m) => ` neighbor ${at(m)} remote-as ${as(m)}
 neighbor ${at(m)} port ${port(m)}
 neighbor ${at(m)} ebgp-multihop
 neighbor ${at(m)} update-source ${at(n)}
 neighbor ${at(m)} timers connect 1
 neighbor ${at(m)} advertisement-interval 0`,
  )
  .join('\n')}
 address-family ipv4 unicast
${networksOf(n)
  .map((p) => `  network ${p}`)
  .join('\n')}
`;

const gobgpConfig = (n: number): string => `[global.config]
  as = ${as(n)}
  router-id = "${at(n)}"
  port = ${port(n)}
  local-address-list = ["${at(n)}"]
[global.route-selection-options.config]
  external-compare-router-id = true
${neighboursOf(n)
  .map(
    (m) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${at(m)}"
    peer-as = ${as(m)}
  [neighbors.timers.config]
    connect-retry = 2
    idle-hold-time-after-reset = 1
  [neighbors.transport.config]
    remote-port = ${port(m)}
    local-address = "${at(n)}"
  [neighbors.ebgp-multihop.config]
    enabled = true`,
  )
  .join('\n')}
`;

async function birdPaths(bird: Bird): Promise<Paths> {
  const out: Record<string, string> = {};
  let prefix = '';
  for (const line of (await bird.ask('show route primary all table master4')).split('\n')) {
    prefix = /^(\d\S+\/\d+)/.exec(line)?.[1] ?? prefix;
    if (/\[own /.test(line)) out[prefix] = '';
    const path = /BGP\.as_path: ?(.*)$/.exec(line);
    if (path !== null) out[prefix] = path[1]!.trim();
  }
  return out;
}

async function frrPaths(frr: Bgpd): Promise<Paths> {
  const { routes } = JSON.parse(await frr.ask('show bgp ipv4 unicast json')) as {
    routes: Record<string, { path: string; bestpath?: boolean }[]>;
  };
  return Object.fromEntries(
    Object.entries(routes).map(([prefix, paths]) => [prefix, paths.find((p) => p.bestpath)?.path ?? '?']),
  );
}

async function gobgpPaths(gobgp: Gobgp): Promise<Paths> {
  const rib = JSON.parse(await gobgp.ask('global rib -j')) as Record<
    string,
    { best?: boolean; attrs: { type: number; as_paths?: { asns: number[] }[] }[] }[]
  >;
  return Object.fromEntries(
    Object.entries(rib).map(([prefix, [best]]) => {
      const path = best!.attrs.find((a) => a.type === 2)?.as_paths ?? [];
      return [prefix, path.flatMap((s) => s.asns).join(' ')];
    }),
  );
}

interface Middle {
  paths(): Promise<Paths>;
  stop(): Promise<void>;
}

async function mlshim(): Promise<Middle> {
  const transport = hostTransport(at(US), port(US));
  const speaker = new Speaker({
    asn: as(US),
    routerId: Addr.parse(at(US))!,
    clock: systemClock,
    random: Math.random,
    transport,
    sink: { apply: () => undefined },
    resolver: { isUp: () => true, subscribe: () => undefined },
    networks: networksOf(US).map((p) => ({ prefix: Prefix.parse(p)! })),
  });
  for (const m of neighboursOf(US)) {
    speaker.addPeer({
      name: `to${m}`,
      link: 'lo',
      address: Addr.parse(at(m))!,
      localAddress: Addr.parse(at(US))!,
      port: port(m),
      asn: as(m),
      multihop: true,
      import: 'accept-all',
      export: 'accept-all',
      connectRetryMs: 300,
    });
  }
  const stopDriving = drive(speaker, systemClock, (ms, fire) => {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  });
  speaker.start();
  await transport.listening();
  return {
    paths: async () => Object.fromEntries([...speaker.routes('best')].map((r) => [r.prefix, r.asPath])),
    stop: async () => {
      speaker.shutdown();
      stopDriving();
      await transport.close();
    },
  };
}

async function secondBird(): Promise<Middle> {
  const bird = new Bird();
  await bird.start(birdConfig(US));
  return { paths: () => birdPaths(bird), stop: () => bird.remove() };
}

/** The best paths everywhere once nothing changes any more. */
async function ring(middleOf: () => Promise<Middle>): Promise<Record<string, Paths>> {
  const bird = new Bird();
  const frr = new Bgpd();
  const gobgp = new Gobgp({ host: at(GOBGP), port: 50051 });
  let middle: Middle | undefined;
  try {
    middle = await middleOf();
    await bird.start(birdConfig(BIRD));
    await frr.start(frrConfig(FRR), { address: at(FRR), port: port(FRR) });
    await gobgp.start(gobgpConfig(GOBGP));
    for (const p of networksOf(GOBGP)) await gobgp.ask(`global rib add ${p} -a ipv4`);
    let before = '';
    let now: Record<string, Paths> = {};
    let since = systemClock.now();
    await until(
      async () => {
        now = {
          bird: await birdPaths(bird),
          middle: await middle!.paths(),
          frr: await frrPaths(frr),
          gobgp: await gobgpPaths(gobgp),
        };
        const text = JSON.stringify(now);
        if (text !== before) since = systemClock.now();
        before = text;
        const isWhole = Object.values(now).every((paths) => Object.keys(paths).length === TOTAL);
        // Route advertisement takes FRR and GoBGP up to a second: settled is what has stood for three.
        return isWhole && systemClock.now() - since > 3000;
      },
      'best paths that stand still',
      60_000,
    );
    return now;
  } finally {
    await middle?.stop();
    await Promise.all([bird.remove(), frr.remove(), gobgp.remove()]);
  }
}

await run('ip', ['link', 'set', 'lo', 'up']);
for (const n of ALL) await run('ip', ['addr', 'add', `${at(n)}/32`, 'dev', 'lo']);
const withUs = await ring(mlshim);
const withBird = await ring(secondBird);
process.stdout.write(JSON.stringify({ withUs, withBird }));
