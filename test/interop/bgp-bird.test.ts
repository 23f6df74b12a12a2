/**
 * Our speaker over real sockets against the BIRD of the distribution, both on loopback addresses and as ordinary user.
 * 127/8 next hops are martians (RFC 4271 §6.3), so both sides announce other addresses as their next hop.
 */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { Bird, hasBird, run, until } from '../bgp/kit/bird.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { Node, type NodeOptions } from '../bgp/kit/node.ts';
import { labTests, namespaceMissing, notInstalled } from '../kit/it.ts';

const missing = notInstalled({ bird2: hasBird() });
const { it } = labTests(missing);

function birdConfig(o: { birdPort: number; ourPort: number; v6: boolean; extra?: string; passive?: boolean }): string {
  const [bird, us] = o.v6 ? ['::1', '::1'] : ['127.0.0.2', '127.0.0.1'];
  return `
router id 10.0.0.2;
ipv4 table h4;
ipv6 table h6;
protocol device {}
protocol static s4 { ipv4; route 172.20.1.0/24 blackhole { bgp_community.add((64511,5)); };
  route 172.20.2.0/25 blackhole { bgp_large_community.add((64512,1,2)); }; ${o.extra ?? ''} }
protocol static s6 { ipv6; route fd42:1::/48 blackhole { bgp_path.prepend(4242420009); }; }
protocol static hops4 { ipv4 { table h4; }; route 10.9.9.1/32 via "lo"; }
protocol static hops6 { ipv6 { table h6; }; route fd00:9::1/128 via "lo"; }
protocol bgp peer1 {
  local ${bird} port ${o.birdPort} as 4242420002;
  neighbor ${us} port ${o.ourPort} as 4242420001;
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 30;
  ${o.passive ? 'passive on;' : ''}
  ipv4 { import all; export where source = RTS_STATIC; next hop address 10.9.9.2; igp table h4; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:9::2; igp table h6; };
}
`;
}

async function ourRouter(port: number, local: string, peer: Omit<NodeOptions['peers'][number], 'name'>): Promise<Node> {
  const node = new Node({ port, local, peers: [{ name: 'bird', ...peer }] });
  await node.start();
  return node;
}

async function exchange(t: ExecutionContext, v6: boolean): Promise<void> {
  const bird = new Bird();
  const birdPort = await freePort();
  const ourPort = await freePort();
  const us = await ourRouter(ourPort, v6 ? '::1' : '127.0.0.1', {
    address: Addr.parse(v6 ? '::1' : '127.0.0.2')!,
    port: birdPort,
  });
  try {
    await bird.start(birdConfig({ birdPort, ourPort, v6 }));
    await until(() => us.fib.size === 3, 'three routes from bird');
    t.deepEqual(Object.fromEntries(us.fib), {
      '172.20.1.0/24': '10.9.9.2',
      '172.20.2.0/25': '10.9.9.2',
      'fd42:1::/48': 'fd00:9::2',
    });
    const routes = [...us.speaker.routes('in')];
    t.deepEqual(routes.find((r) => r.prefix === '172.20.1.0/24')?.communities, ['64511:5']);
    t.deepEqual(routes.find((r) => r.prefix === '172.20.2.0/25')?.largeCommunities, ['64512:1:2']);
    t.is(routes.find((r) => r.prefix === 'fd42:1::/48')?.asPath, '4242420002 4242420009');

    await until(
      async () => (await bird.ask('show route protocol peer1')).includes('fd42:beef::/48'),
      'our routes in bird',
    );
    const theirs = await bird.ask('show route protocol peer1 all');
    t.regex(theirs, /172\.20\.229\.0\/27/);
    t.regex(theirs, /BGP\.as_path: 4242420001\n/);
    t.regex(theirs, /BGP\.next_hop: 10\.9\.9\.1/);
    t.regex(theirs, /BGP\.next_hop: fd00:9::1/);

    // Withdraw both ways.
    us.speaker.withdraw(Prefix.parse('172.20.229.0/27')!);
    await until(async () => !(await bird.ask('show route protocol peer1')).includes('172.20.229.0/27'), 'withdrawal');
    await bird.ask('disable s4');
    await until(() => us.fib.size === 1, 'withdrawal by bird');
    await bird.ask('enable s4');
    await until(() => us.fib.size === 3, 'routes again');

    // Route refresh both ways.
    t.true(us.speaker.peerRefresh('bird', 'in'));
    t.regex(await bird.ask('reload out peer1'), /reloading/);
    t.regex(await bird.ask('reload in peer1'), /reloading/);
    await until(() => us.speaker.snapshot()[0]!.messages.received.refresh >= 2, 'refresh requests of bird');
    t.is(us.speaker.snapshot()[0]!.state, 'Established');
    t.is(us.speaker.snapshot()[0]!.faults, 0);

    // BIRD is killed and comes back.
    await bird.kill();
    await until(() => us.fib.size === 0, 'routes of the dead peer gone');
    await bird.start(birdConfig({ birdPort, ourPort, v6 }));
    await until(() => us.fib.size === 3, 'routes after the restart');

    // Administrative shutdown with a text (RFC 9003).
    us.speaker.peerDown('bird', 'moving house');
    await until(async () => (await bird.ask('show protocols all peer1')).includes('moving house'), 'shutdown text');
    t.is(us.fib.size, 0);
  } finally {
    await us.stop();
    await bird.remove();
  }
}

it('routes are exchanged, withdrawn, refreshed and relearned over an IPv4 session', (t) => exchange(t, false));

it('routes are exchanged, withdrawn, refreshed and relearned over an IPv6 session', (t) => exchange(t, true));

it('a passive speaker is found by bird, and a text of its operator is shown', async (t) => {
  const bird = new Bird();
  const birdPort = await freePort();
  const ourPort = await freePort();
  const us = await ourRouter(ourPort, '127.0.0.1', {
    address: Addr.parse('127.0.0.2')!,
    port: birdPort,
    passive: true,
  });
  try {
    await bird.start(birdConfig({ birdPort, ourPort, v6: false }));
    await until(() => us.fib.size === 3, 'routes');
    await bird.ask('disable peer1 "back at noon"');
    await until(
      () => us.speaker.snapshot()[0]!.lastError?.text.includes('back at noon') === true,
      'text of the operator',
    );
    t.is(us.speaker.snapshot()[0]!.lastError?.origin, 'received');
    t.is(us.fib.size, 0);
  } finally {
    await us.stop();
    await bird.remove();
  }
});

for (const form of ['single', 'double', 'native'] as const) {
  const { it: inNamespace } = labTests(missing ?? namespaceMissing);
  inNamespace(`over link-local addresses alone both families work, next hop sent ${form}`, async (t) => {
    const main = join(import.meta.dirname, '../bgp/kit/link-local-main.js');
    const out = await run('unshare', ['-n', process.execPath, main, form]);
    t.deepEqual(JSON.parse(out), {
      fib: { '172.20.1.0/24': 'fe80::1 via us0', 'fd42:1::/48': 'fe80::1 via us0' },
      theirs: ['172.20.229.0/27', 'via fe80::2 on bird0', 'fd42:beef::/48', 'via fe80::2 on bird0'],
      extendedNextHop: true,
    });
  });
}
