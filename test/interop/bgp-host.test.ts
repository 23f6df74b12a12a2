/**
 * A daemon of this machine feeds the router by plain BGP over loopback (`host: true`): BIRD of the distribution and a whole
 * mlshim, both as ordinary users. One session is opened by us, the other by BIRD.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Answers, BgpPeerStatus, RouteStatus } from '../../router/control/messages.ts';
import { formatKey, generatePrivateKey, publicKey } from '../../wg/keys.ts';
import { Bird, hasBird, until } from '../bgp/kit/bird.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { labTests, notInstalled } from '../kit/it.ts';
import { Side } from '../router/app/pair.ts';

const ASN = 4242420001;
const BIRD_ASN = 4242420002;

interface Ports {
  readonly ours: number;
  readonly bird: number;
}

const YAML = ({ ours, bird }: Ports): string => `uplinks:
  tunnel:
    wireguard:
      private_key: ${formatKey(generatePrivateKey())}
      addresses: [10.77.0.1/24, "fd77::1/64"]
      peers: [{ public_key: ${formatKey(publicKey(generatePrivateKey()))}, allowed_ips: [10.77.0.0/24, "fd77::/64"] }]
bgp:
  asn: ${ASN}
  policy: transit
  router_id: 10.77.0.1
  host_listen: [127.0.0.1:${ours}, 127.0.0.4:${ours}]
  networks: [10.78.0.0/24, "fd78::/48"]
  peers:
    - { name: dialled, asn: ${BIRD_ASN}, address: 127.0.0.2, port: ${bird}, host: true, local_address: 127.0.0.1 }
    - { name: dialling, asn: ${BIRD_ASN}, address: 127.0.0.3, host: true, passive: true }
`;

const BIRD = ({ ours, bird }: Ports): string => `router id 10.0.0.2;
protocol device {}
ipv4 table t4;
protocol static s4 { ipv4; route 198.51.100.0/24 blackhole; route 203.0.113.0/24 blackhole; route 192.0.2.0/24 blackhole; }
protocol static s6 { ipv6; route 2001:db8::/32 blackhole; }
protocol static more { ipv4 { table t4; }; route 198.18.0.0/15 blackhole; }
protocol static hops4 { ipv4; route 10.77.0.0/24 via "lo"; }
protocol static hops6 { ipv6; route fd77::/64 via "lo"; }
filter out4 {
  if source != RTS_STATIC || net ~ [ 10.0.0.0/8+ ] then reject;
  bgp_next_hop = 10.77.0.9;
  if net = 203.0.113.0/24 then bgp_next_hop = 127.0.0.9; # a martian
  if net = 192.0.2.0/24 then bgp_next_hop = 172.31.255.1; # nobody knows the way
  accept;
}
template bgp loop {
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 30;
}
protocol bgp dialled from loop {
  local 127.0.0.2 port ${bird} as ${BIRD_ASN};
  neighbor 127.0.0.1 port ${ours} as ${ASN};
  passive on;
  ipv4 { import all; export filter out4; };
  ipv6 { import all; export where proto = "s6"; next hop address fd77::9; };
}
protocol bgp dialling from loop {
  local 127.0.0.3 port ${bird} as ${BIRD_ASN};
  neighbor 127.0.0.4 port ${ours} as ${ASN};
  ipv4 { table t4; igp table master4; import none; export where proto = "more"; next hop address 10.77.0.9; };
}
`;

const NAME = 'routes of a daemon on loopback reach the FIB, ours reach it, and what nobody could forward to is refused';

labTests(notInstalled({ bird2: hasBird() })).it(NAME, async (t) => {
  const ports = { ours: await freePort(), bird: await freePort() };
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  const router = new Side(dir, '10.77.0.1');
  const bird = new Bird();
  t.teardown(async () => {
    router.cli('down', '--now');
    await bird.remove();
    rmSync(dir, { recursive: true, force: true });
  });
  writeFileSync(join(dir, 'mlshim.yaml'), YAML(ports), { mode: 0o600 });
  const up = router.cli('up', '-c', 'mlshim.yaml');
  t.is(up.status, 0, up.stderr);
  await bird.start(BIRD(ports));

  const learned = (): RouteStatus[] =>
    router.json<Answers['route_show']>('route', 'show').routes.filter((r) => r.origin === 'ebgp');
  await until(() => learned().length === 3, 'three routes of BIRD in the FIB');
  t.deepEqual(
    learned().map((r) => [r.prefix, r.next_hops.map((h) => `${h.gateway} ${h.uplink}`).join()]),
    [
      ['198.18.0.0/15', '10.77.0.9 tunnel'],
      ['198.51.100.0/24', '10.77.0.9 tunnel'],
      ['2001:db8::/32', 'fd77::9 tunnel'],
    ],
  );
  const { peers } = router.json<{ peers: BgpPeerStatus[] }>('bgp');
  t.deepEqual(
    peers.map((p) => [p.name, p.state, p.uplink, p.local_address, p.received]),
    [
      ['dialled', 'Established', '(host)', '127.0.0.1', 3], // the martian did not count
      ['dialling', 'Established', '(host)', '127.0.0.4', 1],
    ],
  );
  const shown = await bird.ask('show route all protocol dialled');
  t.regex(shown, /10\.78\.0\.0\/24[\s\S]*BGP\.next_hop: 10\.77\.0\.1/);
  t.regex(shown, /fd78::\/48[\s\S]*BGP\.next_hop: fd77::1/);
});
