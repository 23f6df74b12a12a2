import test from 'ava';
import { RecordFlag } from '../../../router/lib/link.ts';
import { Random } from '../../../router/lib/rand.ts';
import { PortBinding } from '../../../router/stack/ports.ts';
import type { TcpConnection } from '../../../router/tcp/connection.ts';
import { TcpEngine } from '../../../router/tcp/engine.ts';
import type { TcpListener } from '../../../router/tcp/listener.ts';
import type { FlowKey, TcpOwner } from '../../../router/tcp/port.ts';
import { decode } from '../../kit/checkers.ts';
import { icmp4, icmp6, ip4, ip6, octets, tcp } from '../../kit/packets.ts';
import { Rig, type Sent, type TestLink, words } from '../../kit/stack.ts';

/** An application that sends what it is given and keeps what it gets. */
class App implements TcpOwner<TcpConnection> {
  readonly got: Uint8Array[] = [];
  isEstablished = false;
  isFinished = false;
  errno: number | undefined;
  readonly #rig: Rig;

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  established(): void {
    this.isEstablished = true;
  }

  deliver(_c: TcpConnection, at: number, length: number): number {
    this.got.push(this.#rig.world.u8.slice(at, at + length));
    return length;
  }

  peerFinished(): void {
    this.isFinished = true;
  }

  sendSpace(): void {}

  closed(_c: TcpConnection, errno: number): void {
    this.errno = errno;
  }
}

class Host {
  readonly rig = new Rig({ pages: 512, pageSize: 16384, seed: 5 });
  readonly engine: TcpEngine;
  readonly app = new App(this.rig);

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
    rig.fib.add('0.0.0.0/0', 1).add('::/0', 1);
  }

  listen(addr: string, port: number): PortBinding<TcpListener> {
    const ports = this.rig.stack.tcpPorts;
    const binding = new PortBinding<TcpListener>(0, addr.includes(':') ? 6 : 4);
    binding.setLocal(...words(addr));
    ports.bind(binding, port);
    ports.listen(binding);
    binding.receiver = this.engine.listen(binding, 16, {
      acceptable: (l) => {
        this.#waiting = l;
      },
    });
    return binding;
  }

  #waiting: TcpListener | undefined;

  accept(): TcpConnection | undefined {
    const c = this.#waiting?.accept(this.app);
    c?.pull();
    return c;
  }

  connect(local: string, remote: string, port: number): TcpConnection | undefined {
    const [l0, l1, l2, l3] = words(local);
    const [r0, r1, r2, r3] = words(remote);
    const binding = new PortBinding<TcpListener>(0, local.includes(':') ? 6 : 4);
    Object.assign(binding, { l0, l1, l2, l3, r0, r1, r2, r3, remotePort: port });
    if (this.rig.stack.tcpPorts.bindForConnect(binding, () => false) !== 0) return undefined;
    const isV4 = !local.includes(':');
    const flow: FlowKey = {
      vrf: 0,
      scope: 0,
      device: 0,
      isV4,
      l0,
      l1,
      l2,
      l3,
      localPort: binding.port,
      r0,
      r1,
      r2,
      r3,
      remotePort: port,
    };
    this.rig.stack.tcpDemux.claim = binding;
    const c = this.engine.connect(flow, this.app, {}, this.rig.clock);
    this.rig.stack.tcpDemux.claim = undefined;
    return c;
  }
}

/** Carry records from one link to another host until nobody has anything to say. */
function pass(...ends: [TestLink, Rig, TestLink][]): Sent[] {
  const seen: Sent[] = [];
  for (let quiet = 0; quiet < 3; ) {
    let moved = 0;
    for (const [from, rig, into] of ends)
      for (const s of from.takeRaw()) {
        seen.push(s);
        moved++;
        const flags = (s.flags & RecordFlag.Gso) | (s.flags & RecordFlag.NeedsCsum ? RecordFlag.CsumValid : 0);
        rig.inject(into, s.bytes, { flags, gsoType: s.gsoType, hdrLen: s.hdrLen, gsoSize: s.gsoSize });
      }
    for (const rig of new Set(ends.map(([, r]) => r))) {
      rig.stack.endVector();
      rig.advance(moved > 0 ? 1 : 50);
      rig.stack.endVector();
    }
    quiet = moved > 0 ? 0 : quiet + 1;
  }
  return seen;
}

for (const [name, us, them] of [
  ['IPv4', '10.0.0.1', '192.0.2.9'],
  ['IPv6', '2001:db8::1', '2001:db8:9::9'],
] as const)
  test(`${name}: a connection through a transit node delivers every octet, in super-segments, and closes`, (t) => {
    const client = new Host();
    const server = new Host();
    const middle = new Rig();
    middle.fib.add('10.0.0.0/8', 1).add('192.0.2.0/24', 2).add('2001:db8::/48', 1).add('2001:db8:9::/48', 2);
    const m1 = middle.link(1, ['fe80::1/64']);
    const m2 = middle.link(2, ['fe80::1/64'], { mtu: 1380 });
    const c1 = client.rig.link(1, [`${us}/${name === 'IPv4' ? 32 : 128}`]);
    const s1 = server.rig.link(1, [`${them}/${name === 'IPv4' ? 32 : 128}`]);
    const binding = server.listen('::', 80);
    const c = client.connect(us, them, 80)!;
    const run = (): Sent[] => pass([c1, middle, m1], [m2, server.rig, s1], [s1, middle, m2], [m1, client.rig, c1]);
    run();
    t.true(client.app.isEstablished);
    const far = server.accept()!;
    t.truthy(far);
    const data = octets(300_000);
    const seen: Sent[] = [];
    for (let done = 0; done < data.length; ) {
      const { at } = client.rig.put(data.subarray(done, done + 60_000));
      done += c.write(at, Math.min(60_000, data.length - done));
      client.rig.stack.endVector();
      seen.push(...run());
    }
    t.deepEqual(Buffer.concat(server.app.got), Buffer.from(data));
    t.true(seen.some((s) => s.gsoSize > 0 && s.bytes.length > 5000));
    // The transit node has lowered the MSS to its narrower link.
    t.true(seen.every((s) => s.gsoSize <= 1380 - (name === 'IPv4' ? 40 : 60)));
    c.shutdownWrite();
    run();
    t.true(server.app.isFinished);
    far.close();
    run();
    t.is(server.rig.stack.tcpDemux.size, 0);
    server.rig.stack.tcpPorts.release(binding);
    t.is(server.rig.stack.tcpPorts.size, 0);
    t.is(client.rig.stack.tcpPorts.size, 1); // TIME-WAIT keeps its port
    t.deepEqual(middle.dropped, {});
  });

test('a SYN to a port without listener is reset, in both families', (t) => {
  const host = new Host();
  const a = host.rig.link(1, ['10.0.0.1/32', '2001:db8::1/128']);
  host.rig.inject(a, ip4({ src: '192.0.2.9', dst: '10.0.0.1' }, tcp({ src: 5, dst: 80, seq: 100, flags: 'S' })));
  host.rig.inject(a, ip6({ src: '2001:db8:9::9', dst: '2001:db8::1' }, tcp({ src: 5, dst: 80, seq: 7, flags: 'S' })));
  t.like(a.take(), [
    { src: '10.0.0.1', dst: '192.0.2.9', tcp: { src: 80, dst: 5, flags: 'RA', ack: 101 } },
    { src: '2001:db8::1', tcp: { flags: 'RA', ack: 8 } },
  ]);
  host.rig.inject(a, ip4({ src: '192.0.2.9', dst: '10.0.0.1' }, tcp({ src: 5, dst: 80, flags: 'R' })));
  t.is(a.sent.length, 0);
});

test('segments with a wrong checksum or a cut header are dropped', (t) => {
  const host = new Host();
  const a = host.rig.link(1, ['10.0.0.1/32']);
  const p = ip4({ src: '192.0.2.9', dst: '10.0.0.1' }, tcp({ src: 5, dst: 80, flags: 'S' }));
  p[24]! ^= 1;
  host.rig.inject(a, p);
  host.rig.inject(a, ip4({ src: '192.0.2.9', dst: '10.0.0.1', protocol: 6 }, octets(19)));
  t.is(a.sent.length, 0);
  t.like(host.rig.dropped, { 'bad-transport-checksum': 1, 'bad-transport-header': 1 });
});

test('a hard ICMP error ends a connection attempt; one that quotes another sequence number does not', (t) => {
  const host = new Host();
  const a = host.rig.link(1, ['10.0.0.1/32']);
  host.connect('10.0.0.1', '192.0.2.9', 80);
  host.rig.stack.endVector();
  const [syn] = a.takeRaw();
  const forged = syn!.bytes.slice();
  forged[24]! ^= 0x40;
  const send = (quote: Uint8Array): void =>
    host.rig.inject(a, ip4({ src: '192.0.2.9', dst: '10.0.0.1' }, icmp4(3, 3, 0, quote.slice(0, 28))));
  send(forged);
  t.is(host.app.errno, undefined);
  send(syn!.bytes);
  t.is(host.app.errno, 111);
  t.is(host.rig.stack.tcpDemux.size, 0);
});

for (const [name, us, them] of [
  ['IPv4', '10.0.0.1', '192.0.2.9'],
  ['IPv6', '2001:db8::1', '2001:db8:9::9'],
] as const)
  test(`${name}: a path MTU error for an outstanding segment makes TCP send smaller ones`, (t) => {
    const client = new Host();
    const server = new Host();
    const bits = name === 'IPv4' ? 32 : 128;
    const c1 = client.rig.link(1, [`${us}/${bits}`]);
    const s1 = server.rig.link(1, [`${them}/${bits}`]);
    server.listen('::', 80);
    const c = client.connect(us, them, 80)!;
    const run = (): Sent[] => pass([c1, server.rig, s1], [s1, client.rig, c1]);
    run();
    t.truthy(server.accept());
    const { at } = client.rig.put(octets(20_000));
    t.is(c.write(at, 20_000), 20_000);
    client.rig.stack.endVector();
    const lost = c1.takeRaw();
    t.true(lost.length > 0);
    const quote = lost[0]!.bytes.slice(0, 100);
    const error = (mtu: number, q: Uint8Array): Uint8Array =>
      name === 'IPv4'
        ? ip4({ src: '198.51.100.1', dst: us }, icmp4(3, 4, mtu, q))
        : ip6({ src: '2001:db8:7::1', dst: us }, icmp6(2, 0, mtu, q));
    const forged = quote.slice();
    forged[name === 'IPv4' ? 24 : 44]! ^= 0x40;
    client.rig.inject(c1, error(1300, forged));
    t.is(client.rig.stack.core.pathMtu.size, 0);
    client.rig.inject(c1, error(1300, quote));
    t.is(client.rig.stack.core.pathMtu.size, 1);
    client.rig.stack.endVector();
    const again = run();
    t.deepEqual(Buffer.concat(server.app.got), Buffer.from(octets(20_000)));
    const head = name === 'IPv4' ? 40 : 60;
    for (const s of again.filter((p) => p.bytes.length > 200))
      t.true(
        (s.gsoSize > 0 ? s.gsoSize : decode(s.bytes, { noTransportChecksum: true }).tcp!.data.length) <= 1300 - head,
      );
  });

test('connections over our own loopback link work', (t) => {
  const host = new Host();
  const lo = host.rig.link(9, ['127.0.0.1/8', '::1/128'], { mtu: 65535, isLoopback: true });
  host.listen('::', 80);
  const c = host.connect('127.0.0.1', '127.0.0.1', 80)!;
  pass([lo, host.rig, lo]);
  t.true(host.app.isEstablished);
  t.truthy(host.accept());
  const { at } = host.rig.put(octets(1000));
  c.write(at, 1000);
  host.rig.stack.endVector();
  pass([lo, host.rig, lo]);
  t.deepEqual(Buffer.concat(host.app.got), Buffer.from(octets(1000)));
});

test('what came through a router does not reach a listener or connection that asks for a neighbour (RFC 5082)', (t) => {
  const host = new Host();
  const a = host.rig.link(1, ['10.0.0.1/32']);
  const { receiver } = host.listen('10.0.0.1', 179);
  receiver!.termsFor = (flow) => (flow.r3 === words('192.0.2.9')[3] ? { minTtl: 255, ttl: 255 } : undefined);
  const send = (src: string, ttl: number, flags: string, seq = 1, ack = 0): Sent[] => {
    host.rig.inject(a, ip4({ src, dst: '10.0.0.1', ttl }, tcp({ src: 5, dst: 179, seq, ack, flags })));
    host.rig.stack.endVector();
    return a.take() as unknown as Sent[];
  };
  t.deepEqual(send('192.0.2.9', 254, 'S'), []);
  t.is(host.rig.drops('ttl-security'), 1);
  t.like(send('192.0.2.10', 60, 'S'), [{ ttl: 64, tcp: { flags: 'SA' } }]);
  const [answer] = send('192.0.2.9', 255, 'S') as unknown as { ttl: number; tcp: { flags: string; seq: number } }[];
  t.like(answer, { ttl: 255, tcp: { flags: 'SA' } });
  send('192.0.2.9', 255, 'A', 2, answer!.tcp.seq + 1);
  const c = host.accept()!;
  t.is(c.state, 1);
  // A reset with all the right numbers, from far away.
  send('192.0.2.9', 100, 'R', 2);
  t.is(c.state, 1);
  t.is(host.rig.drops('ttl-security'), 2);
  send('192.0.2.9', 255, 'R', 2);
  t.is(host.app.errno, 104);
});
