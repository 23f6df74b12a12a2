/** Restarts and refreshes where VPN families are spoken: of a peer whose routes are kept, and of ourselves with our VRFs. */
import test from 'ava';
import type { PeerConfig, Restarting } from '../../../bgp/speaker.ts';
import { VPN_LINK } from '../../../bgp/vpn/vrf-peers.ts';
import { encodeRouteRefresh } from '../../../bgp/wire/message.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, type VrfSim, vrf } from '../kit/vpn.ts';

const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;
const RED = { import: ['64601:100'], export: ['64601:100'] };
const KEPT: Restarting = { keptForwarding: true };

/** A peer of the VRF that never comes. */
const CUSTOMER: PeerConfig = { name: 'customer', address: Addr.parse('10.9.9.9')!, link: '(vrf none)', asn: 64700 };

/** A router with one VRF; both are made anew when it restarts. */
class Site {
  readonly router: SimRouter;
  red!: VrfSim;
  hasCustomer = false;
  #restarting: Restarting | undefined;
  /** What the VRF originates. */
  networks: string[];

  constructor(net: SimNet, name: string, networks: string[], longLivedS = 0) {
    this.networks = networks;
    const number = net.routers.length + 1;
    this.router = net.router(name, {
      asn: 64601,
      gracefulRestart: { restartTimeS: 60, staleTimeS: 100, longLivedS },
      vpn: () => {
        const room = roomOf(64601, () => this.router, { red: { ...RED, rd: `10.0.0.${number}:1` } });
        this.red = vrf(net, room, 'red', 64601, `10.1.0.${number}`, {
          networks: this.networks.map((n) => ({ prefix: Prefix.parse(n)! })),
          ...(this.#restarting && { restarting: { ...this.#restarting, peers: new Set([VPN_LINK, 'customer']) } }),
        });
        if (this.hasCustomer) this.red.speaker.addPeer(CUSTOMER);
        return room;
      },
    });
  }

  originate(prefix: string): void {
    if (this.networks.includes(prefix)) return;
    this.networks = [...this.networks, prefix];
    announce(this.red, prefix);
  }

  withdraw(prefix: string): void {
    this.networks = this.networks.filter((p) => p !== prefix);
    this.red.speaker.withdraw(Prefix.parse(prefix)!);
  }

  restart(restarting: Restarting): void {
    this.#restarting = restarting;
    this.router.restart(restarting);
  }

  /** VPN routes of a peer that are kept although they may be gone. */
  stale(peer: string): number {
    return this.router.session(peer).routes.vpnv4?.stale ?? 0;
  }
}

const MAY_RESTART = { families, gracefulRestart: true, routeReflectorClient: true } as const;

/** `b` may restart; `a` helps. */
function pair(longLivedS = 0, ofA: Partial<PeerConfig> = {}) {
  const net = new SimNet(3);
  const a = new Site(net, 'a', []);
  const b = new Site(net, 'b', ['192.168.1.0/24', '192.168.2.0/24'], longLivedS);
  net.join(a.router, b.router, { families, ...ofA }, MAY_RESTART);
  net.start();
  net.runUntil(() => a.red.fib.size === 2);
  net.run(2000);
  return { net, a, b };
}

test('VPN routes of a peer that restarts stay in use, and go only when it does not tell them again', (t) => {
  const { net, a, b } = pair();
  const before = a.red.changes;
  b.router.crash();
  net.run(100);
  t.is(a.stale('b'), 2);
  t.is(a.red.fib.size, 2);
  net.run(10_000);
  b.networks = ['192.168.2.0/24'];
  b.restart(KEPT);
  net.runUntil(() => a.router.session('b').state === 'Established');
  net.runUntil(() => a.stale('b') === 0);
  t.deepEqual([...a.red.fib.keys()], ['192.168.2.0/24']);
  t.is(a.red.changes, before + 1, 'the route that stayed was never touched');
});

test('a peer that does not come back, or was not to restart, loses its VPN routes', (t) => {
  const { net, a, b } = pair();
  b.router.crash();
  net.run(59_000);
  t.is(a.red.fib.size, 2);
  net.run(2000);
  t.is(a.red.fib.size, 0);
  const other = pair(0, { gracefulRestart: false });
  other.b.router.crash();
  other.net.run(1000);
  t.is(other.a.red.fib.size, 0);
});

test('policy that changed while a peer was away holds for what it tells again', (t) => {
  const { net, a, b } = pair();
  b.router.crash();
  net.run(5000);
  a.router.speaker.setPolicies('b', {
    import: [{ match: { prefixes: [{ prefix: Prefix.parse('192.168.1.0/24')! }] }, action: 'accept' }],
  });
  b.restart(KEPT);
  net.runUntil(() => a.router.session('b').state === 'Established' && a.stale('b') === 0);
  net.run(1000);
  t.deepEqual([...a.red.fib.keys()], ['192.168.1.0/24']);
});

test('VPN routes of a peer that has been away for long are marked, and go when their time is over (RFC 9494)', (t) => {
  const { net, a, b } = pair(100);
  b.router.crash();
  net.run(61_000);
  const communities = () => [...a.red.speaker.routes('best')].map((r) => r.communities.join());
  t.deepEqual(communities(), ['llgr-stale', 'llgr-stale']);
  a.router.speaker.setPolicies('b', { import: 'accept-all' });
  net.run(1000);
  t.deepEqual(communities(), ['llgr-stale', 'llgr-stale'], 'judged again, and still old');
  b.networks = ['192.168.2.0/24'];
  b.restart(KEPT);
  net.runUntil(() => a.red.fib.size === 1);
  t.deepEqual(communities(), ['']);
  b.router.crash();
  net.run(155_000);
  t.is(a.red.fib.size, 1);
  net.run(10_000);
  t.is(a.red.fib.size, 0);
});

test('between the marks of a refresh VPN routes that are not told again go (RFC 7313)', (t) => {
  const { net, a, b } = pair();
  const stream = a.router.streams.find((s) => !s.isClosed)!;
  const mark = (subtype: number) => stream.handler!.data(encodeRouteRefresh({ afi: 1, safi: 128, subtype }));
  // The peer's own refresh changes nothing.
  const before = a.red.changes;
  a.router.speaker.peerRefresh('b', 'in');
  net.run(5000);
  t.is(a.red.changes, before);
  t.is(a.stale('b'), 0);
  mark(1);
  t.is(a.stale('b'), 2);
  announce(b.red, '192.168.3.0/24');
  net.runUntil(() => a.red.fib.size === 3);
  mark(2);
  net.runUntil(() => a.red.fib.size === 1);
  t.deepEqual([...a.red.fib.keys()], ['192.168.3.0/24']);
});

test('after our restart VRFs select when all peers have told their VPN routes, and peers keep ours until then', (t) => {
  const net = new SimNet(4);
  const m = new Site(net, 'm', ['192.168.9.0/24']);
  const a = new Site(net, 'a', ['192.168.1.0/24']);
  const c = new Site(net, 'c', ['192.168.3.0/24']);
  net.join(m.router, a.router, MAY_RESTART);
  net.join(m.router, c.router, MAY_RESTART);
  net.start();
  net.runUntil(() => m.red.fib.size === 2 && a.red.fib.size === 2 && c.red.fib.size === 2);
  net.run(2000);
  const changes = a.red.changes;
  m.router.crash();
  c.router.crash();
  net.run(1000);
  m.restart(KEPT);
  net.runUntil(() => m.router.session('a').state === 'Established');
  net.run(20_000);
  t.is(m.red.settledWith, undefined);
  t.is(m.red.fib.size, 0);
  t.is(a.red.fib.size, 2, "m's routes and those it reflects");
  t.is(a.red.changes, changes);
  c.restart(KEPT);
  net.runUntil(() => m.red.settledWith !== undefined);
  t.deepEqual([...m.red.settledWith!].sort(), ['192.168.1.0/24', '192.168.3.0/24']);
  net.runUntil(() => a.stale('m') === 0 && c.red.fib.size === 2);
  net.run(1000);
  t.is(a.red.fib.size, 2);
  t.is(a.red.changes, changes);
});

test('after our restart peers hear no End-of-RIB before the VRF, which waits for a peer of its own, has told its routes', (t) => {
  const net = new SimNet(5);
  const m = new Site(net, 'm', ['192.168.9.0/24']);
  const a = new Site(net, 'a', ['192.168.1.0/24']);
  net.join(m.router, a.router, MAY_RESTART);
  net.start();
  net.runUntil(() => m.red.fib.size === 1 && a.red.fib.size === 1);
  net.run(2000);
  const { changes } = a.red;
  m.router.crash();
  m.hasCustomer = true;
  m.restart({ keptForwarding: true, deferralMs: 30_000 });
  net.runUntil(() => m.router.settlements === 1);
  net.run(20_000);
  t.is(a.stale('m'), 1, 'kept, and not told yet');
  net.runUntil(() => a.stale('m') === 0);
  net.run(1000);
  t.deepEqual([...m.red.settledWith!], ['192.168.1.0/24']);
  t.is(a.red.changes, changes);
});

test('whatever restarts, is reset, refreshed or changes: in the end all VRFs agree and nothing is stale', (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const net = new SimNet(seed);
    const reflector = new Site(net, 'r', ['10.0.0.0/24']);
    const sites = ['a', 'b', 'c'].map((name, i) => new Site(net, name, [`10.${i + 1}.0.0/24`]));
    for (const s of sites)
      net.join(reflector.router, s.router, MAY_RESTART, { families, gracefulRestart: true, addPath: 'both' });
    net.start();
    const all = [reflector, ...sites];
    const pick = <T>(list: readonly T[]): T => list[Math.floor(net.random() * list.length)]!;
    for (let step = 0; step < 25; step++) {
      const site = pick(all);
      const prefix = `10.${100 + Math.floor(net.random() * 4)}.0.0/24`;
      switch (Math.floor(net.random() * 6)) {
        case 0:
          site.originate(prefix);
          break;
        case 1:
          site.withdraw(prefix);
          break;
        case 2:
          site.router.crash();
          net.run(net.random() * 3000);
          site.restart(net.random() < 0.7 ? KEPT : { keptForwarding: false });
          break;
        case 3:
          reflector.router.speaker.peerReset(pick(sites).router.name);
          break;
        case 4:
          reflector.router.speaker.peerRefresh(pick(sites).router.name);
          break;
        default:
          reflector.router.speaker.setPolicies(pick(sites).router.name, {
            import: net.random() < 0.5 ? 'accept-all' : 'reject-all',
            export: net.random() < 0.5 ? 'accept-all' : 'reject-all',
          });
      }
      net.run(net.random() * 8000);
    }
    for (const { router } of sites)
      reflector.router.speaker.setPolicies(router.name, { import: 'accept-all', export: 'accept-all' });
    net.run(300_000);
    for (const site of all) {
      const others = new Set(all.filter((s) => s !== site).flatMap((s) => s.networks));
      const expected = [...others].filter((p) => !site.networks.includes(p)).sort();
      t.deepEqual([...site.red.fib.keys()].sort(), expected, `seed ${seed}, VRF of ${site.router.name}`);
    }
    for (const { router } of sites) t.is(reflector.stale(router.name), 0, `seed ${seed}`);
  }
});
