import test from 'ava';
import { Random } from '../../../router/lib/rand.ts';
import { EPHEMERAL_FIRST, EPHEMERAL_LAST, PortBinding, PortTable } from '../../../router/stack/ports.ts';
import { words } from '../../kit/stack.ts';

interface Claim {
  readonly addr: string;
  readonly family?: 4 | 6;
  readonly v6only?: boolean;
  readonly reuseAddr?: boolean;
  readonly reusePort?: boolean;
  readonly device?: number;
  readonly uid?: number;
  readonly vrf?: number;
}

function make(c: Claim): PortBinding<string> {
  const b = new PortBinding<string>(c.vrf ?? 0, c.family ?? (c.addr.includes(':') ? 6 : 4));
  b.setLocal(...words(c.addr));
  b.v6only = c.v6only ?? false;
  b.reuseAddr = c.reuseAddr ?? false;
  b.reusePort = c.reusePort ?? false;
  b.device = c.device ?? 0;
  b.uid = c.uid ?? 0;
  return b;
}

/**
 * May `second` bind the port that `first` has bound? Measured with plain sockets on Linux 6.18, except the rows about
 * another user and other VRFs, which follow its source.
 */
const CONFLICTS: readonly [string, Claim, Claim, { tcp: boolean; udp: boolean }][] = [
  ['the same address', { addr: '10.0.0.1' }, { addr: '10.0.0.1' }, { tcp: false, udp: false }],
  ['other addresses', { addr: '10.0.0.1' }, { addr: '10.0.0.2' }, { tcp: true, udp: true }],
  ['wildcard over address', { addr: '10.0.0.1' }, { addr: '0.0.0.0' }, { tcp: false, udp: false }],
  ['address over wildcard', { addr: '0.0.0.0' }, { addr: '10.0.0.1' }, { tcp: false, udp: false }],
  ['dual-stack over IPv4 wildcard', { addr: '0.0.0.0' }, { addr: '::' }, { tcp: false, udp: false }],
  ['IPv4 wildcard over dual-stack', { addr: '::' }, { addr: '0.0.0.0' }, { tcp: false, udp: false }],
  ['dual-stack over IPv4 address', { addr: '10.0.0.1' }, { addr: '::' }, { tcp: false, udp: false }],
  ['v6only beside IPv4 wildcard', { addr: '0.0.0.0' }, { addr: '::', v6only: true }, { tcp: true, udp: true }],
  ['IPv4 wildcard beside v6only', { addr: '::', v6only: true }, { addr: '0.0.0.0' }, { tcp: true, udp: true }],
  ['two IPv6 wildcards, one v6only', { addr: '::', v6only: true }, { addr: '::' }, { tcp: false, udp: false }],
  ['IPv6 address under IPv6 wildcard', { addr: '::' }, { addr: '2001:db8::1' }, { tcp: false, udp: false }],
  ['IPv6 address beside IPv4 wildcard', { addr: '0.0.0.0' }, { addr: '2001:db8::1' }, { tcp: true, udp: true }],
  [
    'mapped address against IPv4 address',
    { addr: '10.0.0.1' },
    { addr: '10.0.0.1', family: 6 },
    { tcp: false, udp: false },
  ],
  [
    'SO_REUSEADDR on both',
    { addr: '0.0.0.0', reuseAddr: true },
    { addr: '0.0.0.0', reuseAddr: true },
    { tcp: true, udp: true },
  ],
  ['SO_REUSEADDR on one', { addr: '0.0.0.0' }, { addr: '0.0.0.0', reuseAddr: true }, { tcp: false, udp: false }],
  [
    'SO_REUSEPORT on both',
    { addr: '::', reusePort: true },
    { addr: '0.0.0.0', reusePort: true },
    { tcp: true, udp: true },
  ],
  [
    'SO_REUSEPORT of another user',
    { addr: '::', reusePort: true, uid: 1 },
    { addr: '::', reusePort: true, uid: 2 },
    { tcp: false, udp: false },
  ],
  ['SO_REUSEPORT on one', { addr: '::', reusePort: true }, { addr: '::' }, { tcp: false, udp: false }],
  ['other devices', { addr: '0.0.0.0', device: 1 }, { addr: '0.0.0.0', device: 2 }, { tcp: true, udp: true }],
  ['device against any', { addr: '0.0.0.0', device: 1 }, { addr: '0.0.0.0' }, { tcp: false, udp: false }],
  ['other VRFs', { addr: '0.0.0.0', vrf: 1 }, { addr: '0.0.0.0', vrf: 2 }, { tcp: true, udp: true }],
];

for (const protocol of ['tcp', 'udp'] as const)
  for (const [name, first, second, expected] of CONFLICTS)
    test(`${protocol} bind: ${name} is ${expected[protocol] ? 'allowed' : 'refused'}`, (t) => {
      const table = new PortTable<string>(protocol, new Random(1));
      t.is(table.bind(make(first), 8080), 0);
      t.is(table.bind(make(second), 8080), expected[protocol] ? 0 : 98);
      t.is(table.bind(make(second), 8081), 0);
    });

test('TCP: SO_REUSEADDR does not share a port with a listener, and only one of two may listen', (t) => {
  const table = new PortTable<string>('tcp', new Random(1));
  const a = make({ addr: '0.0.0.0', reuseAddr: true });
  const b = make({ addr: '10.0.0.1', reuseAddr: true });
  t.is(table.bind(a, 80), 0);
  t.is(table.bind(b, 80), 0);
  t.is(table.listen(a), 0);
  t.is(table.listen(b), 98);
  t.is(table.bind(make({ addr: '0.0.0.0', reuseAddr: true }), 80), 98);
});

test('TCP: after the listener closed, its connections keep the port from all but SO_REUSEADDR', (t) => {
  const table = new PortTable<string>('tcp', new Random(1));
  const a = make({ addr: '0.0.0.0', reuseAddr: true });
  table.bind(a, 80);
  table.listen(a);
  table.hold(a); // a connection
  table.release(a);
  t.is(table.bind(make({ addr: '0.0.0.0' }), 80), 98);
  const again = make({ addr: '0.0.0.0', reuseAddr: true });
  t.is(table.bind(again, 80), 0);
  t.is(table.listen(again), 0);
  table.release(again);
  table.unhold(a);
  t.is(table.size, 0);
  t.is(table.bind(make({ addr: '0.0.0.0' }), 80), 0);
});

test('port 0 gives a free ephemeral port until none is left', (t) => {
  const table = new PortTable<string>('udp', new Random(1));
  const seen = new Set<number>();
  for (let i = EPHEMERAL_FIRST; i <= EPHEMERAL_LAST; i++) {
    const b = make({ addr: '0.0.0.0' });
    if (table.bind(b, 0) !== 0) break;
    seen.add(b.port);
  }
  t.is(seen.size, EPHEMERAL_LAST - EPHEMERAL_FIRST + 1);
  t.true(Math.min(...seen) >= EPHEMERAL_FIRST && Math.max(...seen) <= EPHEMERAL_LAST);
  t.is(table.bind(make({ addr: '0.0.0.0' }), 0), 98);
});

test('a port chosen for the app is never shared through SO_REUSEADDR in TCP', (t) => {
  const table = new PortTable<string>('tcp', new Random(1));
  const seen = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    const b = make({ addr: '0.0.0.0', reuseAddr: true });
    t.is(table.bind(b, 0), 0);
    seen.add(b.port);
  }
  t.is(seen.size, 2000);
});

test('connections to one destination get different ports; those to another may share', (t) => {
  const table = new PortTable<string>('tcp', new Random(1));
  const flows = new Set<string>();
  const connect = (remote: string): number => {
    const b = make({ addr: '10.0.0.1' });
    [b.r0, b.r1, b.r2, b.r3] = words(remote);
    b.remotePort = 80;
    const errno = table.bindForConnect(b, (port) => flows.has(`${remote} ${port}`));
    if (errno === 0) flows.add(`${remote} ${b.port}`);
    return errno;
  };
  for (let i = EPHEMERAL_FIRST; i <= EPHEMERAL_LAST; i++) t.is(connect('192.0.2.1'), 0);
  t.is(connect('192.0.2.1'), 99);
  t.is(connect('192.0.2.2'), 0);
  t.is(table.bind(make({ addr: '0.0.0.0' }), 40000), 98);
});

test('find prefers address and device, the latest claim among equals, and skips those without a receiver', (t) => {
  const table = new PortTable<string>('udp', new Random(1));
  const add = (name: string | undefined, c: Claim): PortBinding<string> => {
    const b = make({ ...c, reuseAddr: true });
    b.receiver = name;
    t.is(table.bind(b, 53), 0);
    return b;
  };
  const find = (dst: string, link = 1): string | undefined =>
    table.find(0, link, ...words(dst), 53, ...words('192.0.2.1'), 9)?.receiver;
  add('dual', { addr: '::' });
  t.is(find('10.0.0.1'), 'dual');
  t.is(find('2001:db8::1'), 'dual');
  add('four', { addr: '0.0.0.0' });
  t.is(find('10.0.0.1'), 'four');
  add('late', { addr: '0.0.0.0' });
  t.is(find('10.0.0.1'), 'late');
  const dev = add('device', { addr: '0.0.0.0', device: 2 });
  t.is(find('10.0.0.1', 2), 'device');
  add('specific', { addr: '10.0.0.1' });
  t.is(find('10.0.0.1', 1), 'specific');
  add(undefined, { addr: '2001:db8::1' });
  t.is(find('2001:db8::1'), 'dual');
  table.release(dev);
  t.is(find('10.0.0.9', 2), 'late');
  t.is(find('10.0.0.9', 3), 'late');
});
