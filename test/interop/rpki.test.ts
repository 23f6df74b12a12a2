/**
 * Origin validation against real programs on loopback, as ordinary user: StayRTR serves a file, BIRD announces routes, and
 * what StayRTR says decides which of them our speaker uses, while the session goes on.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { eachRoute, RoaState, Speaker } from '../../bgp/speaker.ts';
import { RpkiRoom } from '../../router/app/rpki-room.ts';
import type { RtrServerConfig } from '../../router/config/rpki.ts';
import { Addr } from '../../router/lib/addr.ts';
import { systemClock } from '../../router/lib/clock.ts';
import { makeLogger } from '../../router/lib/log.ts';
import { Bird, hasBird, until } from '../bgp/kit/bird.ts';
import { driveByClock, freePort, hostTransport } from '../bgp/kit/loopback.ts';
import { dn42Json, type RegistryRoa } from '../bgp/kit/roas.ts';
import { labTests, notInstalled } from '../kit/it.ts';

const STAYRTR = '/usr/bin/stayrtr';
const { it } = labTests(notInstalled({ bird2: hasBird(), stayrtr: existsSync(STAYRTR) }));
const QUIET = makeLogger(() => undefined, 'test', 'error');
const ASN = 4242420002;

/** StayRTR serving a file of ROAs that is looked at every second. */
class Stayrtr {
  readonly dir = mkdtempSync(join(tmpdir(), 'mlshim-rtr-'));
  readonly port: number;
  #child: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
    chmodSync(this.dir, 0o755);
  }

  /** Replace the file at once, as a careful cron job does. */
  serve(roas: readonly RegistryRoa[]): void {
    writeFileSync(join(this.dir, 'new.json'), dn42Json(roas));
    renameSync(join(this.dir, 'new.json'), join(this.dir, 'roas.json'));
  }

  async start(metricsPort: number, protocol: number): Promise<void> {
    const drop = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const args = ['-bind', `127.0.0.1:${this.port}`, '-metrics.addr', `127.0.0.1:${metricsPort}`];
    args.push('-cache', join(this.dir, 'roas.json'), '-checktime=false', '-refresh', '1', '-loglevel', 'error');
    this.#child = spawn(STAYRTR, [...args, '-protocol', String(protocol)], { ...drop, stdio: 'ignore' });
    await new Promise((resolve, reject) => {
      this.#child!.once('spawn', resolve);
      this.#child!.once('error', reject);
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const birdConfig = (birdPort: number, ourPort: number): string => `
router id 10.0.0.2;
ipv4 table h4;
ipv6 table h6;
protocol device {}
protocol static s4 { ipv4; route 172.20.1.0/24 blackhole; route 172.20.2.0/24 blackhole; route 172.20.3.0/24 blackhole; }
protocol static s6 { ipv6; route fd42:1::/48 blackhole; }
protocol static hops4 { ipv4 { table h4; }; route 10.9.9.1/32 via "lo"; }
protocol static hops6 { ipv6 { table h6; }; route fd00:9::1/128 via "lo"; }
protocol bgp peer1 {
  local 127.0.0.2 port ${birdPort} as ${ASN};
  neighbor 127.0.0.1 port ${ourPort} as 4242420001;
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 30;
  ipv4 { import none; export where source = RTS_STATIC; next hop address 10.9.9.2; igp table h4; };
  ipv6 { import none; export where source = RTS_STATIC; next hop address fd00:9::2; igp table h6; };
}
`;

const FIRST: readonly RegistryRoa[] = [
  { prefix: '172.20.1.0/24', maxLength: 24, asn: ASN },
  { prefix: '172.20.2.0/24', maxLength: 24, asn: 4242429999 },
  { prefix: 'fd42:1::/48', maxLength: 48, asn: ASN },
];

function server(port: number, preference = 1): RtrServerConfig {
  const timers = { refreshS: 3600, retryS: 2, expireS: 7200 };
  return { name: `127.0.0.1:${port}`, host: '127.0.0.1', port, via: undefined, routed: false, preference, ...timers };
}

for (const protocol of [0, 1]) {
  const name = `invalid routes vanish when StayRTR (version ${protocol}) says so, and the session goes on`;
  const run = async (t: ExecutionContext): Promise<void> => {
    const ports = [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()] as const;
    const [ourPort, birdPort, rtrPort, metricsPort, deadPort] = ports;
    const rtr = new Stayrtr(rtrPort);
    t.teardown(() => rtr.remove());
    rtr.serve(FIRST);

    const fib = new Set<string>();
    const transport = hostTransport('127.0.0.1', ourPort);
    // The preferred cache is dead: the other one is used.
    const settings = { servers: [server(deadPort, 1), server(rtrPort, 2)], files: [], refreshS: 3600 };
    const room = new RpkiRoom(settings, transport, Math.random, QUIET, (roas) => speaker.revalidate(roas));
    const speaker: Speaker = new Speaker({
      asn: 4242420001,
      routerId: Addr.parse('10.0.0.1')!,
      clock: systemClock,
      random: Math.random,
      transport,
      sink: eachRoute(({ prefix, way }) => {
        if (way === undefined) fib.delete(String(prefix));
        else fib.add(String(prefix));
      }),
      resolver: { isUp: () => true, subscribe: () => {} },
      roas: room.table,
    });
    speaker.addPeer({
      name: 'bird',
      link: 'lo',
      address: Addr.parse('127.0.0.2')!,
      port: birdPort,
      asn: ASN,
      multihop: true,
      passive: true,
      import: [{ match: { roa: [RoaState.Valid] }, action: 'accept' }],
      export: 'reject-all',
    });
    const stopDriving = driveByClock(speaker);
    t.teardown(async () => {
      room.stop();
      speaker.shutdown();
      stopDriving();
      await transport.finished(1000);
      await transport.close();
    });
    speaker.start();
    room.start();
    await transport.listening();
    const bird = new Bird();
    t.teardown(() => bird.remove());
    await bird.start(birdConfig(birdPort, ourPort));
    const peer = () => speaker.snapshot()[0]!;
    await until(() => peer().routes.ipv4.received === 3 && peer().routes.ipv6.received === 1, 'routes of BIRD');
    t.is(fib.size, 0, 'nothing is valid before there are ROAs');

    await rtr.start(metricsPort, protocol);
    const used = (...prefixes: string[]): boolean => [...fib].sort().join() === [...prefixes].sort().join();
    await until(() => used('172.20.1.0/24', 'fd42:1::/48'), 'valid routes are used');
    const shown = room.show(0);
    t.is(shown.vrps_ipv4 + shown.vrps_ipv6, 3);
    t.is(shown.servers[0]!.last_error, 'connection refused');
    t.is(shown.servers[1]!.state, 'synchronized');
    t.is(shown.servers[1]!.version, protocol);
    const states = new Map([...speaker.routes('in')].map((r) => [r.prefix, r.roa]));
    t.is(states.get('172.20.2.0/24'), 'invalid');
    t.is(states.get('172.20.3.0/24'), 'unknown');

    rtr.serve([
      { prefix: '172.20.1.0/24', maxLength: 24, asn: 0 },
      { prefix: '172.20.2.0/23', maxLength: 24, asn: ASN },
      FIRST[2]!,
    ]);
    await until(() => used('172.20.2.0/24', '172.20.3.0/24', 'fd42:1::/48'), 'the change is followed');
    t.is(peer().establishments, 1);

    await rtr.stop();
    await until(() => room.show(0).servers[1]!.state !== 'synchronized', 'the cache is gone');
    t.true(used('172.20.2.0/24', '172.20.3.0/24', 'fd42:1::/48'), 'its ROAs stay until they expire');
    rtr.serve(FIRST);
    await rtr.start(metricsPort, protocol);
    await until(() => used('172.20.1.0/24', 'fd42:1::/48'), 'a restarted cache is asked for everything');
    t.is(peer().establishments, 1);
    t.is(peer().state, 'Established');
  };
  it(name, run);
}
