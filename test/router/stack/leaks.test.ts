/** What must not cross from one link to another, and sockets that are bound to one. */
import test from 'ava';
import { GsoType, RecordFlag } from '../../../router/lib/link.ts';
import { Random } from '../../../router/lib/rand.ts';
import { Errno } from '../../../router/stack/port.ts';
import { PortBinding } from '../../../router/stack/ports.ts';
import type { TcpConnection } from '../../../router/tcp/connection.ts';
import { TcpEngine } from '../../../router/tcp/engine.ts';
import type { TcpListener } from '../../../router/tcp/listener.ts';
import type { TcpOwner } from '../../../router/tcp/port.ts';
import { TcpState } from '../../../router/tcp/settings.ts';
import { ip4, ip6, octets, tcp, udp } from '../../kit/packets.ts';
import { Rig, type TestLink, to, words } from '../../kit/stack.ts';

class Host {
  readonly rig = new Rig({ pages: 512, pageSize: 16384, seed: 5 });
  readonly engine: TcpEngine;
  readonly a: TestLink;
  readonly b: TestLink;
  readonly owner: TcpOwner<TcpConnection> = {
    established: () => {},
    deliver: (_c, _at, length) => length,
    peerFinished: () => {},
    sendSpace: () => {},
    closed: () => {},
  };
  waiting = 0;

  constructor() {
    const { rig } = this;
    this.engine = new TcpEngine({
      world: rig.world,
      pool: rig.pages,
      ip: rig.stack.ip,
      table: rig.stack.tcpDemux,
      random: new Random(3),
      secret: octets(16),
      tick: rig.clock,
    });
    rig.stack.attachTcp(this.engine);
    rig.link(9, [], { isLoopback: true });
    this.a = rig.link(1, ['10.1.0.1/24', '2001:db8:1::1/64', 'fe80::1/64']);
    this.b = rig.link(2, ['10.2.0.1/24', 'fe80::1/64']);
    rig.fib.add('0.0.0.0/0', 1).add('::/0', 1);
  }

  listen(device: number, port = 80): TcpListener {
    const ports = this.rig.stack.tcpPorts;
    const binding = new PortBinding<TcpListener>(0, 6);
    binding.device = device;
    ports.bind(binding, port);
    ports.listen(binding);
    const listener = this.engine.listen(binding, 16, { acceptable: () => this.waiting++ });
    binding.receiver = listener;
    return listener;
  }

  connect(device: number, local: string, remote: string): TcpConnection {
    const [l0, l1, l2, l3] = words(local);
    const [r0, r1, r2, r3] = words(remote);
    const isV4 = !local.includes(':');
    const flow = { vrf: 0, scope: 0, device, isV4, l0, l1, l2, l3, r0, r1, r2, r3, localPort: 4000, remotePort: 80 };
    return this.engine.connect(flow, this.owner, {}, this.rig.clock)!;
  }

  /** Links that something was sent on since the last call. */
  get sentOn(): number[] {
    this.rig.stack.endVector();
    return [this.a, this.b].filter((l) => l.takeRaw().length > 0).map((l) => l.index);
  }
}

const SYN = (src: string, dst: string): Uint8Array =>
  src.includes(':')
    ? ip6({ src, dst }, tcp({ src: 5000, dst: 80, flags: 'S', seq: 7 }))
    : ip4({ src, dst }, tcp({ src: 5000, dst: 80, flags: 'S', seq: 7 }));

test('a connection bound to a link leaves by it, whatever the routes say, and by no other when it is down', (t) => {
  const h = new Host();
  const c = h.connect(2, '10.2.0.1', '192.0.2.9');
  t.deepEqual(h.sentOn, [2]);
  h.rig.stack.setLinkState(2, false);
  h.rig.advance(10_000);
  t.deepEqual(h.sentOn, []);
  h.rig.stack.setLinkState(2, true);
  h.rig.advance(10_000);
  t.deepEqual(h.sentOn, [2]);
  c.setDevice(1);
  h.rig.advance(30_000);
  t.deepEqual(h.sentOn, [1]);
  c.setDevice(-1);
  h.rig.advance(60_000);
  t.deepEqual(h.sentOn, [], 'a link that is gone is not any link');
});

test('a connection bound to a link hears nothing from another', (t) => {
  const h = new Host();
  const c = h.connect(2, '10.2.0.1', '192.0.2.9');
  t.deepEqual(h.sentOn, [2]);
  const reset = ip4(
    { src: '192.0.2.9', dst: '10.2.0.1' },
    tcp({ src: 80, dst: 4000, seq: 1, ack: (c.iss + 1) >>> 0, flags: 'RA' }),
  );
  h.rig.inject(h.a, reset);
  t.is(c.state, TcpState.SynSent);
  h.rig.inject(h.b, reset);
  t.is(c.state, TcpState.Closed);
});

for (const how of ['goes down', 'is removed'] as const)
  test(`flows that wait for a full link move to the next route when it ${how}`, (t) => {
    const h = new Host();
    const c = h.connect(0, '10.1.0.1', '192.0.2.9');
    h.sentOn;
    const syn = tcp({ src: 80, dst: 4000, seq: 1, ack: (c.iss + 1) >>> 0, flags: 'SA' });
    h.rig.inject(h.a, ip4({ src: '192.0.2.9', dst: '10.1.0.1' }, syn));
    h.sentOn;
    h.a.backlog = h.a.highWater + 1;
    const { at, length } = h.rig.put(octets(1000));
    c.write(at, length);
    t.deepEqual(h.sentOn, []);
    h.rig.fib.add('192.0.2.0/24', 2);
    if (how === 'goes down') h.rig.stack.setLinkState(1, false);
    else h.rig.stack.removeLink(1);
    t.deepEqual(h.sentOn, [2]);
  });

test('a listener bound to a link accepts only from it, and its connections stay there', (t) => {
  const h = new Host();
  h.listen(2);
  h.rig.inject(h.a, SYN('192.0.2.9', '10.2.0.1'));
  t.is(h.rig.drops('no-listener'), 1);
  h.sentOn;
  h.rig.inject(h.b, SYN('192.0.2.9', '10.2.0.1'));
  t.deepEqual(h.sentOn, [2], 'the answer does not follow the default route');
});

test('a connection to our link-local address answers by the link it came in by', (t) => {
  const h = new Host();
  h.listen(0);
  h.rig.inject(h.b, SYN('2001:db8::9', 'fe80::1'));
  t.deepEqual(h.sentOn, [2]);
});

test('a datagram socket connected to a link-local peer does not hear its namesake on another link', (t) => {
  const h = new Host();
  const inbox = h.rig.inbox();
  const e = h.rig.stack.udp.open(0, 6, inbox);
  t.is(e.connect(...words('fe80::2'), 1, 53), 0);
  const packet = ip6({ src: 'fe80::2', dst: 'fe80::1' }, udp({ src: 53, dst: e.binding.port }, 'answer'));
  h.rig.inject(h.b, packet);
  t.is(inbox.received.length, 0);
  h.rig.inject(h.a, packet);
  t.is(inbox.received.length, 1);
  e.setDevice(2);
  t.is(e.binding.device, 1, 'the peer has chosen');
  e.disconnect();
  t.is(e.binding.device, 2);
});

test('nothing for loopback or unspecified addresses leaves by a tunnel, whatever the routes say', (t) => {
  const h = new Host();
  const e6 = h.rig.stack.udp.open(0, 6, h.rig.inbox());
  const { at, length } = h.rig.put('x');
  for (const dst of ['::1', '::', '::7f00:1', '127.0.0.1', '127.1.2.3', '0.0.0.0'])
    t.is(e6.send(to(dst, 53), at, length), Errno.ENETUNREACH, dst);
  e6.binding.device = 1;
  t.is(e6.send(to('::1', 53), at, length), Errno.ENETUNREACH);
  t.deepEqual(h.sentOn, []);
});

test('IPv4 link-local addresses are not forwarded', (t) => {
  const h = new Host();
  for (const [src, dst] of [
    ['169.254.1.1', '192.0.2.9'],
    ['192.0.2.9', '169.254.1.1'],
  ] as const)
    h.rig.inject(h.b, ip4({ src, dst }, udp({ src: 1, dst: 2 }, 'x')));
  t.is(h.rig.drops('link-local-transit'), 2);
  t.deepEqual(h.sentOn, []);
});

test('a super-segment whose header is not what its child says is counted and dropped, not cut to dust', (t) => {
  const h = new Host();
  h.rig.fib.add('192.0.2.0/24', 2);
  h.a.mtu = 9000;
  h.b.mtu = 1280;
  const big = ip4({ src: '10.1.0.9', dst: '192.0.2.9' }, udp({ src: 1, dst: 2 }, octets(8000)));
  const header = { flags: RecordFlag.Gso, gsoType: GsoType.UdpL4, hdrLen: 2000, gsoSize: 1 };
  h.rig.inject(h.a, big, header);
  h.rig.inject(h.a, big, { ...header, gsoType: GsoType.TcpV4 });
  t.deepEqual(h.sentOn, []);
  t.is(h.rig.drops('bad-transport-header'), 2);
});
