/**
 * A program for bgp-ring.test.ts, run as root inside a network namespace of its own: a ring of BIRD, mlshim, FRR and GoBGP,
 * then the same ring with a second BIRD in mlshim's place. Prints the best AS path of each prefix at each router, of both.
 */
import { Speaker } from '../../../bgp/speaker.ts';
import { unicast } from '../../../bgp/wire/family.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { Bird, run, until } from './bird.ts';
import { Bgpd } from './frr-bgpd.ts';
import { Gobgp } from './gobgp.ts';
import { driveByClock, hostTransport } from './loopback.ts';

/** In the order of the ring; router n has AS 65000 + n, addresses 10.0.0.n and fd00:9::n, and TCP port 1790 + n. */
const BIRD = 1;
const US = 2;
const FRR = 3;
const GOBGP = 4;
const ALL = [BIRD, US, FRR, GOBGP];
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];
const as = (n: number): number => 65000 + n;
const at = (n: number, family: Family = 4): string => (family === 4 ? `10.0.0.${n}` : `fd00:9::${n}`);
const port = (n: number): number => 1790 + n;
const neighboursOf = (n: number): number[] => [n === 1 ? 4 : n - 1, n === 4 ? 1 : n + 1];

/** Routers that originate a prefix, each with how often its own AS stands in the path it tells. */
type Origins = Readonly<Record<number, number>>;

/** One router alone, two opposite or beside each other, more of them, and some that make their path longer. */
const ORIGINS: readonly Origins[] = [
  { [BIRD]: 0 },
  { [US]: 0 },
  { [FRR]: 0 },
  { [GOBGP]: 0 },
  { [BIRD]: 0, [FRR]: 0 },
  { [US]: 0, [GOBGP]: 0 },
  { [BIRD]: 0, [US]: 0 },
  { [FRR]: 0, [GOBGP]: 0 },
  { [BIRD]: 0, [US]: 0, [FRR]: 0 },
  { [BIRD]: 0, [US]: 0, [FRR]: 0, [GOBGP]: 0 },
  { [BIRD]: 1, [FRR]: 0 },
  { [BIRD]: 2, [FRR]: 0 },
  { [FRR]: 1, [US]: 0 },
  { [FRR]: 3, [US]: 0 },
  { [GOBGP]: 1, [BIRD]: 0 },
  { [GOBGP]: 2, [US]: 0 },
  { [BIRD]: 1, [FRR]: 1, [GOBGP]: 0 },
];
/** Prefixes of each family with the same origins. */
const EACH = 10;

interface Prefixed {
  readonly prefix: string;
  readonly origins: Origins;
}

function prefixes(family: Family): Prefixed[] {
  return ORIGINS.flatMap((origins, i) =>
    Array.from({ length: EACH }, (_, j) => ({
      prefix: family === 4 ? `172.20.${i}.${16 * j}/28` : `fd42:${(i + 1).toString(16)}:${(j + 1).toString(16)}::/48`,
      origins,
    })),
  );
}

const TABLES = { 4: prefixes(4), 6: prefixes(6) } as const;
const TOTAL = TABLES[4].length + TABLES[6].length;

/** What a router originates, and how much longer it makes the path. */
const networksOf = (n: number, family: Family): (readonly [prefix: string, more: number])[] =>
  TABLES[family].flatMap(({ prefix, origins }) => (origins[n] === undefined ? [] : [[prefix, origins[n]] as const]));

/** Best AS paths by prefix. */
type Paths = Readonly<Record<string, string>>;

const birdConfig = (n: number): string => `router id ${at(n)};
protocol device {}
ipv4 table hops4;
ipv6 table hops6;
protocol static { ipv4 { table hops4; }; route 10.0.0.0/24 via "lo"; }
protocol static { ipv6 { table hops6; }; route fd00:9::/64 via "lo"; }
${FAMILIES.map((f) => {
  const routes = networksOf(n, f).map(
    ([p, more]) => `route ${p} blackhole { ${`bgp_path.prepend(${as(n)}); `.repeat(more)}};`,
  );
  return `protocol static own${f} { ipv${f}; ${routes.join(' ')} }
${neighboursOf(n)
  .map(
    (m) => `protocol bgp to${m}v${f} {
  local ${at(n, f)} port ${port(n)} as ${as(n)}; neighbor ${at(m, f)} port ${port(m)} as ${as(m)};
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv${f} { import all; export all; igp table hops${f}; next hop self; };
}`,
  )
  .join('\n')}`;
}).join('\n')}
`;

const frrConfig = (n: number): string => `router bgp ${as(n)}
 bgp router-id ${at(n)}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp bestpath compare-routerid
${FAMILIES.flatMap((f) =>
  neighboursOf(n).map(
    (m) => ` neighbor ${at(m, f)} remote-as ${as(m)}
 neighbor ${at(m, f)} port ${port(m)}
 neighbor ${at(m, f)} ebgp-multihop
 neighbor ${at(m, f)} update-source ${at(n, f)}
 neighbor ${at(m, f)} timers connect 1
 neighbor ${at(m, f)} advertisement-interval 0`,
  ),
).join('\n')}
${FAMILIES.map(
  (f) => ` address-family ipv${f} unicast
${networksOf(n, f)
  .map(([p, more]) => `  network ${p}${more === 0 ? '' : ` route-map longer${more}`}`)
  .join('\n')}
${neighboursOf(n)
  .map((m) => `  neighbor ${at(m, f)} activate`)
  .join('\n')}
 exit-address-family`,
).join('\n')}
${[1, 2, 3].map((more) => `route-map longer${more} permit 10\n set as-path prepend${` ${as(n)}`.repeat(more)}`).join('\n')}
`;

const gobgpConfig = (n: number): string => `[global.config]
  as = ${as(n)}
  router-id = "${at(n)}"
  port = ${port(n)}
  local-address-list = ["${at(n)}", "${at(n, 6)}"]
[global.route-selection-options.config]
  external-compare-router-id = true
${FAMILIES.flatMap((f) =>
  neighboursOf(n).map(
    (m) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${at(m, f)}"
    peer-as = ${as(m)}
  [neighbors.timers.config]
    connect-retry = 2
    idle-hold-time-after-reset = 1
  [neighbors.transport.config]
    remote-port = ${port(m)}
    local-address = "${at(n, f)}"
  [neighbors.ebgp-multihop.config]
    enabled = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv${f}-unicast"`,
  ),
).join('\n')}
`;

async function birdPaths(bird: Bird): Promise<Paths> {
  const out: Record<string, string> = {};
  for (const f of FAMILIES) {
    let prefix = '';
    for (const line of (await bird.ask(`show route primary all table master${f}`)).split('\n')) {
      prefix = /^([0-9a-f]\S+\/\d+)/.exec(line)?.[1] ?? prefix;
      if (/\[own\d /.test(line)) out[prefix] = '';
      const path = /BGP\.as_path: ?(.*)$/.exec(line);
      if (path !== null) out[prefix] = path[1]!.trim();
    }
  }
  return out;
}

async function frrPaths(frr: Bgpd): Promise<Paths> {
  const out: Record<string, string> = {};
  for (const f of FAMILIES) {
    const { routes } = JSON.parse(await frr.ask(`show bgp ipv${f} unicast json`)) as {
      routes: Record<string, { path: string; bestpath?: boolean }[]>;
    };
    for (const [prefix, paths] of Object.entries(routes)) out[prefix] = paths.find((p) => p.bestpath)?.path ?? '?';
  }
  return out;
}

async function gobgpPaths(gobgp: Gobgp): Promise<Paths> {
  const out: Record<string, string> = {};
  for (const f of FAMILIES) {
    const rib = JSON.parse(await gobgp.ask(`global rib -j -a ipv${f}`)) as Record<
      string,
      { best?: boolean; attrs: { type: number; as_paths?: { asns: number[] }[] }[] }[]
    >;
    for (const [prefix, [best]] of Object.entries(rib)) {
      const path = best!.attrs.find((a) => a.type === 2)?.as_paths ?? [];
      out[prefix] = path.flatMap((s) => s.asns).join(' ');
    }
  }
  return out;
}

interface Middle {
  paths(): Promise<Paths>;
  stop(): Promise<void>;
}

async function mlshim(): Promise<Middle> {
  const transport = hostTransport([at(US), at(US, 6)], port(US));
  const speaker = new Speaker({
    asn: as(US),
    routerId: Addr.parse(at(US))!,
    clock: systemClock,
    random: Math.random,
    transport,
    sink: { apply: () => undefined },
    resolver: { isUp: () => true, subscribe: () => undefined },
    networks: FAMILIES.flatMap((f) => networksOf(US, f).map(([p]) => ({ prefix: Prefix.parse(p)! }))),
  });
  for (const family of FAMILIES) {
    for (const m of neighboursOf(US)) {
      speaker.addPeer({
        name: `to${m}v${family}`,
        link: 'lo',
        address: Addr.parse(at(m, family))!,
        localAddress: Addr.parse(at(US, family))!,
        families: [unicast(family)],
        port: port(m),
        asn: as(m),
        multihop: true,
        import: 'accept-all',
        export: 'accept-all',
        connectRetryMs: 300,
      });
    }
  }
  const stopDriving = driveByClock(speaker);
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
    for (const f of FAMILIES) {
      for (const [p, more] of networksOf(GOBGP, f)) {
        const path = more === 0 ? '' : ` aspath ${Array(more).fill(as(GOBGP)).join()}`;
        const out = await gobgp.ask(`global rib add ${p} origin igp${path} -a ipv${f}`);
        if (out !== '') throw new Error(`gobgp and ${p}: ${out}`);
      }
    }
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
for (const n of ALL) {
  await run('ip', ['addr', 'add', `${at(n)}/32`, 'dev', 'lo']);
  await run('ip', ['addr', 'add', `${at(n, 6)}/128`, 'dev', 'lo']);
}
const withUs = await ring(mlshim);
const withBird = await ring(secondBird);
process.stdout.write(JSON.stringify({ withUs, withBird }));
