/**
 * `mlshim doctor` on a host whose ways out are narrower than its uplinks believe: a router that says so, one that drops without a
 * word, and two uplinks behind one gateway. As an ordinary user, without a router and with one that runs.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check } from '../../router/cli/doctor.ts';
import { impediment, probeHost } from '../../router/kernel/host-probes.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { wgKeyPair } from '../kit/peer.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';

/** Beyond the router: an open path, one of 1400 octets that is told, and one of 1400 octets that is not. */
const ENDS = { open: '203.0.113.1', told: '203.0.113.2', silent: '203.0.113.3', six: '2001:db8:9::1' } as const;
const NARROW = 1400;

const missing = Lab.missing();
const { it } = labTests(missing);
const kernelLacks = missing ?? impediment(await probeHost({ vrf: false, wireguard: true }));
const inKernel = labTests(kernelLacks).it;

const tunnel = (name: string, endpoint: string): string =>
  `  ${name}: { wireguard: { private_key: ${wgKeyPair().privateKey}, peers: [{ public_key: ${wgKeyPair().publicKey}, endpoint: '${endpoint}:51820' }] } }\n`;

const config = (roas: string): string => `backend: userspace
uplinks:
${tunnel('open', ENDS.open)}${tunnel('told', ENDS.told)}${tunnel('silent', ENDS.silent)}${tunnel('six', `[${ENDS.six}]`)}  eth: { kernel: { interface: eth0 }, probe: { to: ${ENDS.open} } }
rules: [{ use: [open, told] }]
bgp:
  asn: 4242420001
  router_id: 10.0.0.1
  rpki: { files: [${roas}] }
  peers: [{ name: p, asn: 4242420002, via: open, address: 'fe80::2', hold_time: 0s, import: all, export: none }]
`;

/** host - router - one namespace behind a link of each kind. */
async function narrowWays(lab: Lab): Promise<string> {
  const host = await lab.namespace('h');
  const router = await lab.namespace('r');
  const ip = (ns: string, ...words: string[]): Promise<string> => lab.host('ip', ['-n', ns, ...words]);
  await lab.veth('eth0', host, '192.0.2.1/24', router, '192.0.2.2/24');
  await ip(host, 'addr', 'add', '2001:db8:1::1/64', 'dev', 'eth0', 'nodad');
  await ip(router, 'addr', 'add', '2001:db8:1::2/64', 'dev', 'eth0', 'nodad');
  await ip(host, 'route', 'add', 'default', 'via', '192.0.2.2');
  await ip(host, 'route', 'add', 'default', 'via', '2001:db8:1::2');
  await lab.ok(router, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  for (const [i, [name, v4]] of Object.entries(ENDS).slice(0, 3).entries()) {
    const end = await lab.namespace(name);
    await lab.veth(name, router, `10.0.${i}.1/24`, end, `10.0.${i}.2/24`);
    await ip(end, 'addr', 'add', `${v4}/32`, 'dev', 'lo');
    await ip(end, 'route', 'add', 'default', 'via', `10.0.${i}.1`);
    await ip(router, 'route', 'add', `${v4}/32`, 'via', `10.0.${i}.2`);
    // The far end of a veth takes nothing that is larger than its own MTU, and tells nobody.
    if (name === 'silent') await ip(end, 'link', 'set', 'silent', 'mtu', String(NARROW));
    if (name !== 'told') continue;
    await ip(end, 'addr', 'add', `${ENDS.six}/128`, 'dev', 'lo', 'nodad');
    for (const [ns, n] of [
      [router, 1],
      [end, 2],
    ] as const)
      await ip(ns, 'addr', 'add', `2001:db8:2::${n}/64`, 'dev', name, 'nodad');
    await ip(end, 'route', 'add', 'default', 'via', '2001:db8:2::1');
    await ip(router, 'route', 'add', `${ENDS.six}/128`, 'via', '2001:db8:2::2');
    await ip(router, 'link', 'set', name, 'mtu', String(NARROW));
  }
  return host;
}

it('narrow paths, a gateway for two, hold times and ROAs are found without a router and with one', async (t) => {
  const lab = new Lab();
  try {
    const host = await narrowWays(lab);
    const echo = 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range';
    await lab.ok(host, 'sh', ['-c', echo]);
    const router = new Router(lab, host);
    const roas = join(lab.dir, 'roas.json');
    writeFileSync(roas, '{"roas":[]}');
    router.write(config(roas));
    const checks = async (): Promise<(name: string) => Check[]> => {
      const { stdout, stderr, status } = await router.cli(['doctor', '--json', '-c', router.config]);
      t.is(status, 1, stderr);
      const all = (JSON.parse(stdout) as { checks: Check[] }).checks;
      return (name) => all.filter((c) => c.name === name);
    };
    const pathsOf = (found: (name: string) => Check[]) =>
      found('path-mtu').map((c) => [/^uplink (\w+)/.exec(c.text)![1], c.verdict, /\{ mtu: (\d+) \}/.exec(c.hint)?.[1]]);
    const found = await checks();
    const paths = pathsOf(found);
    t.deepEqual(paths.slice(0, 2), [
      ['open', 'ok', undefined],
      ['told', 'warn', String(NARROW - 60)],
    ]);
    t.deepEqual(paths.slice(3), [
      ['six', 'warn', String(NARROW - 80)],
      ['eth', 'ok', undefined],
    ]);
    const [name, verdict, mtu] = paths[2]!;
    t.deepEqual([name, verdict], ['silent', 'fail']);
    t.true(Number(mtu) <= NARROW + 14 - 60 && Number(mtu) > NARROW - 60 - 16, `${mtu} octets`);
    t.like(found('two-uplinks-one-gateway'), [{ verdict: 'warn' }]);
    t.regex(found('two-uplinks-one-gateway')[0]!.text, /open and told both leave by 192\.0\.2\.2 on eth0/);
    t.like(found('hold-timer'), [{ verdict: 'warn' }]);
    t.regex(found('hold-timer')[0]!.text, /configured hold time is 0/);
    t.like(found('roa-age'), [{ verdict: 'ok' }]);
    t.like(found('router'), [{ text: 'no router runs in this environment' }]);
    await router.up();
    const running = await checks();
    t.deepEqual(pathsOf(running), paths);
    t.like(running('roa-age'), [{ verdict: 'ok' }]);
    t.deepEqual(running('hold-timer'), [], 'no session stands');
    t.regex(running('router')[0]!.text, /the router has \d+ problem/);
    await router.down();
  } finally {
    await lab.close();
  }
});

inKernel('the way of a tunnel is measured past rules that lead everything into it', async (t) => {
  const lab = new Lab();
  try {
    const router = new Router(lab, await narrowWays(lab), ROOT_ACCOUNT);
    const inside = tunnel('told', ENDS.told).replace('wireguard: {', 'wireguard: { addresses: [10.100.0.2/24],');
    router.write(`backend: kernel\nisolation: device\nuplinks:\n${inside}rules: [{ use: told }]\n`);
    await router.up();
    const { stdout, stderr } = await router.cli(['doctor', '--json', '-c', router.config]);
    const { checks } = JSON.parse(stdout) as { checks: Check[] };
    // The tunnel itself would take 1360 octets with as much around them.
    t.like(
      checks.filter((c) => c.name === 'path-mtu'),
      [{ verdict: 'warn', hint: `wireguard: { mtu: ${NARROW - 60} } fits` }],
      stderr,
    );
    t.is(await router.down(), 0);
  } finally {
    await lab.close();
  }
});
