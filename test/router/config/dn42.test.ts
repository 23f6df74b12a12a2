import test from 'ava';
import { parseConfig } from '../../../router/config/load.ts';

const KEY = 'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
const OTHER = 'AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
const PSK = 'AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';

function parse(text: string) {
  const loaded = parseConfig({ shown: 'mlshim.yaml', path: '/etc/mlshim/mlshim.yaml', text }, {});
  if (loaded.config === undefined) throw new Error(loaded.diagnostics.map((d) => d.message).join('; '));
  return { ...loaded.config, warnings: loaded.diagnostics.map((d) => d.message) };
}

const FILE = `
source: { ipv4: 172.20.229.117, ipv6: 'fd42:229::117' }
bgp:
  asn: 4242420229
  router_id: 172.20.229.117
  networks: [172.20.229.112/28]
  policy: dn42
  rpki: { files: [roas.json, 'https://example.net/roas.json'], servers: [{ host: 192.0.2.1 }] }
  dn42: { private_key: ${KEY}, region: europe, country: 276, bandwidth: 100M }
  peers:
    - asn: 4242420263
      wireguard: { public_key: ${KEY}, endpoint: 'peer.example.net:20229' }
    - name: slow
      asn: 4242421080
      wireguard: { public_key: ${OTHER}, preshared_key: ${PSK}, listen_port: 0, mtu: 1380 }
      dn42: { bandwidth: 512k, latency: 60ms, max_path_length: 10 }
    - { asn: 4242420229, address: 'fd42:229::2' }
    - { asn: 4242420999, address: 127.0.0.1, host: true, import: all, dn42: { crypto: 36, latency: 1 } }
`;

test('a peer with a tunnel of its own needs its AS number, key and endpoint', (t) => {
  const { uplinks, bgp, warnings } = parse(FILE);
  t.deepEqual(warnings, []);
  const [tunnel, slow] = uplinks.map((u) => ({ name: u.name, ...u.wireguard! }));
  t.is(uplinks.length, 2);
  t.is(tunnel!.name, 'AS4242420263');
  t.deepEqual(
    tunnel!.addresses.map((a) => `${a.addr} in ${a.prefix}`),
    ['fe80::229 in fe80::/64', '172.20.229.117 in 172.20.229.117/32', 'fd42:229::117 in fd42:229::117/128'],
  );
  t.is(tunnel!.listenPort, 20263);
  t.is(tunnel!.mtu, 1420);
  t.false(tunnel!.installRoutes);
  t.deepEqual(tunnel!.peers[0]!.endpoint, { host: 'peer.example.net', port: 20229 });
  t.is(tunnel!.peers[0]!.keepaliveS, 25);
  t.deepEqual(tunnel!.peers[0]!.allowedIps.map(String), ['0.0.0.0/0', '::/0']);
  t.deepEqual([slow!.name, slow!.listenPort, slow!.mtu, slow!.peers[0]!.keepaliveS], ['slow', 0, 1380, 0]);

  const peer = bgp!.peers[0]!;
  t.is(String(peer.address), 'fe80::263');
  t.is(peer.via, 'AS4242420263');
  t.deepEqual(peer.families, ['ipv4', 'ipv6']);
  t.true(peer.extendedNextHop);
  t.is(peer.session.maxPrefixes, 9000);
  t.is(peer.importPolicy, 'dn42');
  t.is(peer.exportPolicy, 'dn42');
});

test('what a peer is told of its link comes from the peer, from all, and from the tunnel, in this order', (t) => {
  const { bgp } = parse(FILE);
  const [plain, slow, , local] = bgp!.peers;
  t.deepEqual(plain!.dn42, { latency: 'measured', bandwidth: 24, crypto: 34, maxPathLength: undefined });
  t.deepEqual(slow!.dn42, { latency: 5, bandwidth: 21, crypto: 35, maxPathLength: 10 });
  t.deepEqual(local!.dn42, { latency: 1, bandwidth: 24, crypto: 36, maxPathLength: undefined });
  t.like(bgp!.dn42, { region: 41, country: 276, latencyWindowS: 43_200, linkLocal: undefined, endpoint: undefined });
  t.is(bgp!.dn42.publicKey?.length, 32);
});

test('peers of our own AS and peers with policies of their own are not under the policy dn42', (t) => {
  const { bgp } = parse(FILE);
  const [, , inner, local] = bgp!.peers;
  t.deepEqual([inner!.importPolicy, inner!.exportPolicy, inner!.session.maxPrefixes], ['all', 'all', undefined]);
  t.deepEqual([local!.importPolicy, local!.exportPolicy], ['all', 'dn42']);
});

test('sources of ROAs become values', (t) => {
  const { rpki } = parse(FILE).bgp!;
  t.deepEqual(rpki!.files, [
    { name: 'roas.json', location: '/etc/mlshim/roas.json', isUrl: false },
    { name: 'https://example.net/roas.json', location: 'https://example.net/roas.json', isUrl: true },
  ]);
  t.like(rpki!.servers[0], { name: '192.0.2.1:8282', port: 8282, preference: 1, via: undefined, routed: false });
  t.is(rpki!.refreshS, 900);
});

test('the policy dn42 without a source of ROAs is a warning: nothing would be accepted', (t) => {
  const { warnings } = parse(FILE.replace(/ {2}rpki:.*\n/, ''));
  t.is(warnings.length, 1);
  t.regex(warnings[0]!, /no source of ROAs/);
});

test('another uplink may be reached by the name of a tunnel', (t) => {
  const { routes } = parse(`${FILE}routes: [{ to: 10.0.0.0/8, via: slow }]\n`);
  t.is(routes[0]!.targets[0]!.kind, 'uplink');
});
