import test from 'ava';
import type { Check } from '../../../router/cli/doctor.ts';
import { checkPaths, type PathFacts } from '../../../router/cli/doctor-paths.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { WgDevices } from '../../../router/control/messages.ts';
import type { FirstHop, PathMtu } from '../../../router/kernel/host-paths.ts';
import { Addr } from '../../../router/lib/addr.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const OTHER_KEY = 'CAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PEER = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const addr = (text: string): Addr => Addr.parse(text)!;

const tunnel = (name: string, endpoint: string, key = KEY): string =>
  `  ${name}: { wireguard: { private_key: ${key}, peers: [{ public_key: ${PEER}, endpoint: '${endpoint}' }] } }\n`;

/** What the checks say of a host where every path is as told. */
async function checks(yaml: string, facts: Partial<PathFacts>, running?: WgDevices): Promise<Check[]> {
  const { config, diagnostics } = parseConfig({ shown: 'x.yaml', path: '/x.yaml', text: yaml }, {});
  if (config === undefined) throw new Error(JSON.stringify(diagnostics));
  const said: Check[] = [];
  const nothing: PathFacts = {
    probe: async () => 'ENETUNREACH',
    hop: () => undefined,
    resolve: async () => undefined,
  };
  await checkPaths((name, verdict, text, hint = '') => said.push({ name, verdict, text, hint }), config, running, {
    ...nothing,
    ...facts,
  });
  return said;
}

const fits =
  (octets: number, how: PathMtu['how'], asked: string[] = []): PathFacts['probe'] =>
  async (path) => {
    asked.push(`${path.to} ${path.octets}`);
    return { octets, how };
  };

test('what a tunnel sends is as large as its mtu and WireGuard around it, in both families', async (t) => {
  const one = `uplinks:\n${tunnel('a', '192.0.2.1:7')}`;
  const six = `uplinks:\n${tunnel('a', '[2001:db8::1]:7')}`;
  const asked: string[] = [];
  t.like(await checks(one, { probe: fits(1480, 'answered', asked) }), [
    { verdict: 'ok', text: 'uplink a: packets of 1420 octets, 1480 with WireGuard around them, get to 192.0.2.1' },
  ]);
  t.like(await checks(six, { probe: fits(1500, 'unopposed', asked) }), [{ verdict: 'ok' }]);
  t.deepEqual(asked, ['192.0.2.1 1480', '2001:db8::1 1500']);
  t.like(await checks(one, { probe: fits(1400, 'unopposed') }), [
    { verdict: 'warn', hint: 'wireguard: { mtu: 1340 } fits' },
  ]);
  const [lost] = await checks(one, { probe: fits(1440, 'lost') });
  t.like(lost, { verdict: 'fail', hint: 'wireguard: { mtu: 1380 } fits' });
  t.regex(lost!.text, /to 192\.0\.2\.1 are lost without a word; 1380 octets get there/);
  t.like(await checks(one, {}), [{ verdict: 'warn' }]);
});

test("a path of the host is asked by its probe's target, an endpoint by its name's address", async (t) => {
  const asked: string[] = [];
  const resolve = async (host: string) => (host === 'peer.example' ? addr('192.0.2.9') : undefined);
  const yaml = `uplinks:
  eth: { kernel: { interface: not-there }, probe: { to: 192.0.2.7 } }
  silent: { kernel: { interface: nor-this } }
${tunnel('a', 'peer.example:7')}${tunnel('b', 'nobody.example:7', OTHER_KEY)}`;
  const said = await checks(yaml, { resolve, probe: fits(1480, 'answered', asked) });
  t.deepEqual(asked, ['192.0.2.7 1500', '192.0.2.9 1480']);
  t.deepEqual(
    said.map((c) => [c.name, c.verdict]),
    [
      ['path-mtu', 'warn'],
      ['path-mtu', 'warn'],
      ['path-mtu', 'ok'],
    ],
  );
  t.is(said[0]!.text, 'uplink b: its endpoint nobody.example has no address here');
  t.regex(said[1]!.hint, /set the mtu of the interface to 1480/);
});

test('where a peer is now is what the router says', async (t) => {
  const asked: string[] = [];
  const running = {
    devices: [{ name: 'a', peers: [{ public_key: PEER, endpoint: '198.51.100.9:7' }] }],
  } as unknown as WgDevices;
  const yaml = `uplinks:\n${tunnel('a', 'peer.example:7')}`;
  await checks(yaml, { probe: fits(1480, 'answered', asked) }, running);
  t.deepEqual(asked, ['198.51.100.9 1480']);
});

const hop = (device: string, gateway?: string, neighbour = ''): FirstHop => ({
  device,
  gateway: gateway === undefined ? undefined : addr(gateway),
  neighbour,
});

test('two uplinks of a group that leave by one gateway have no sum', async (t) => {
  const two = (rules: string): string =>
    `uplinks:\n${tunnel('a', '192.0.2.1:7')}${tunnel('b', '192.0.2.2:7', OTHER_KEY)}${rules}`;
  const group = 'rules: [{ use: [a, b] }]\n';
  const gateways = async (yaml: string, a: FirstHop, b: FirstHop) =>
    (await checks(yaml, { hop: ({ to }) => (String(to) === '192.0.2.1' ? a : b) })).filter(
      (c) => c.name === 'two-uplinks-one-gateway',
    );
  const [same] = await gateways(two(group), hop('eth0', '10.0.0.1'), hop('eth0', '10.0.0.1'));
  t.like(same, { verdict: 'warn' });
  t.regex(same!.text, /uplinks a and b both leave by 10\.0\.0\.1 on eth0/);
  const cases: [FirstHop, FirstHop, string][] = [
    [hop('eth0', '10.0.0.1'), hop('eth0', '10.0.0.2'), 'ok'],
    [hop('eth0', '10.0.0.1'), hop('eth0'), 'warn'],
    [hop('eth0', '192.168.1.1', 'aa:1'), hop('wlan0', '192.168.1.1', 'aa:1'), 'warn'],
    [hop('eth0', '192.168.1.1', 'aa:1'), hop('wlan0', '192.168.1.1', 'aa:2'), 'ok'],
    [hop('eth0', '192.168.1.1'), hop('wlan0', '192.168.1.1'), 'ok'],
  ];
  for (const [a, b, verdict] of cases)
    t.like(
      await gateways(two(group), a, b),
      [{ verdict }],
      JSON.stringify([a, b], (_, v) => String(v)),
    );
  const apart = two('rules: [{ match: { port: 25 }, use: a }, { use: b }]\n');
  t.deepEqual(await gateways(apart, hop('eth0', '10.0.0.1'), hop('eth0', '10.0.0.1')), [], 'no group has both');
});
