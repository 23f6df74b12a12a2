/**
 * A router of parts that nobody here wrote, in a namespace of a lab: wireguard-go on a kernel TUN, BIRD 2 speaking BGP
 * over the tunnel's link-local addresses, nginx, dnsmasq. The peer every interop test talks to.
 */
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab, LabProcess } from './lab.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
export const WIREGUARD_GO = join(ROOT, 'build', 'wireguard-go');

/** Build the stock wireguard-go daemon once (Go module proxy, pinned by test/interop/wireguard-go/go.sum). */
export function buildWireguardGo(): void {
  if (existsSync(WIREGUARD_GO)) return;
  execFileSync('go', ['build', '-trimpath', '-buildvcs=false', '-o', WIREGUARD_GO, 'golang.zx2c4.com/wireguard'], {
    cwd: join(ROOT, 'test', 'interop', 'wireguard-go'),
    stdio: 'pipe',
  });
}

export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** A fresh WireGuard key pair in base64 (Curve25519, RFC 7748). */
export function wgKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  const tail = (key: Buffer): string => key.subarray(key.length - 32).toString('base64');
  return {
    privateKey: tail(privateKey.export({ format: 'der', type: 'pkcs8' })),
    publicKey: tail(publicKey.export({ format: 'der', type: 'spki' })),
  };
}

/** What a peer is called and owns. All addresses live in the peer's own namespace. */
export interface PeerPlan {
  readonly asn: number;
  /** Its service addresses, on the loopback device: web server and resolver. */
  readonly v4: string;
  readonly v6: string;
  readonly dns: string;
  /** Prefixes it announces. */
  readonly announce4: string;
  readonly announce6: string;
  /** The domain whose hosts it serves: www.DOMAIN has v4 and v6, v4.DOMAIN and v6.DOMAIN one of them. */
  readonly domain: string;
}

export const PEER_B: PeerPlan = {
  asn: 4242420053,
  v4: '172.20.53.1',
  v6: 'fd42:53::1',
  dns: '172.20.53.53',
  announce4: '172.20.53.0/24',
  announce6: 'fd42:53::/48',
  domain: 'b.dn42',
};

export const PEER_C: PeerPlan = {
  asn: 4242420077,
  v4: '172.20.77.1',
  v6: 'fd42:77::1',
  dns: '172.20.77.53',
  announce4: '172.20.77.0/24',
  announce6: 'fd42:77::/48',
  domain: 'c.dn42',
};

export interface RemoteEnd {
  readonly publicKey: string;
  /** UDP endpoint ADDRESS:PORT, when the peer dials out. */
  readonly endpoint?: string;
  readonly asn: number;
  /** The remote's link-local address on the tunnel; ours is fe80::2. */
  readonly linkLocal: string;
}

export interface BirdSession {
  readonly state: string;
  readonly sinceMs: number;
}

/** Whether it is the same session: BIRD works the time out of two clocks at each question, and is off by a millisecond at times. */
export function isSameSession(a: BirdSession, b: BirdSession): boolean {
  return a.state === b.state && Math.abs(a.sinceMs - b.sinceMs) < 50;
}

let peers = 0;

export class Peer {
  readonly lab: Lab;
  readonly ns: string;
  readonly plan: PeerPlan;
  readonly keys: KeyPair = wgKeyPair();
  /** Its address on the tunnel. */
  readonly linkLocal: string;
  readonly dir: string;
  readonly #sums = new Map<string, string>();
  /** The tunnel's device; unique on the machine, since wireguard-go names its control socket after it. */
  readonly device: string;
  bird: LabProcess | undefined;
  wireguard: LabProcess | undefined;

  constructor(lab: Lab, ns: string, plan: PeerPlan, linkLocal = 'fe80::2') {
    this.linkLocal = linkLocal;
    this.lab = lab;
    this.ns = ns;
    this.plan = plan;
    this.device = `w${process.pid}n${peers++}`;
    this.dir = join(lab.dir, ns);
    lab.onClose(() => rmSync(`/var/run/wireguard/${this.device}.sock`, { force: true }));
    mkdirSync(this.dir, { recursive: true });
  }

  async ip(...args: string[]): Promise<string> {
    return this.lab.host('ip', ['-n', this.ns, ...args]);
  }

  /** Bring the tunnel and the service addresses up. `listenPort` is the peer's UDP port inside its own namespace. */
  async tunnel(remote: RemoteEnd, listenPort: number, mtu = 1420): Promise<void> {
    const device = this.device;
    buildWireguardGo();
    this.wireguard = this.lab.start(this.ns, WIREGUARD_GO, ['-f', device], { env: { LOG_LEVEL: 'error' } });
    await this.lab.eventually(`${device} exists`, async () => (await this.ip('link')).includes(`${device}:`));
    const conf = join(this.dir, `${device}.conf`);
    writeFileSync(
      conf,
      [
        '[Interface]',
        `PrivateKey = ${this.keys.privateKey}`,
        `ListenPort = ${listenPort}`,
        '[Peer]',
        `PublicKey = ${remote.publicKey}`,
        'AllowedIPs = 0.0.0.0/0, ::/0',
        ...(remote.endpoint === undefined ? [] : [`Endpoint = ${remote.endpoint}`, 'PersistentKeepalive = 25']),
        '',
      ].join('\n'),
      { mode: 0o600 },
    );
    await this.lab.eventually(
      'wireguard-go answers',
      async () => (await this.lab.run(this.ns, 'wg', ['setconf', device, conf])).status === 0,
    );
    await this.ip('link', 'set', device, 'mtu', String(mtu), 'up');
    await this.ip('addr', 'add', `${this.linkLocal}/64`, 'dev', device, 'nodad');
    if ((await this.ip('addr')).includes(this.plan.v6)) return;
    for (const addr of [`${this.plan.v4}/32`, `${this.plan.dns}/32`]) await this.ip('addr', 'add', addr, 'dev', 'lo');
    await this.ip('addr', 'add', `${this.plan.v6}/128`, 'dev', 'lo', 'nodad');
    for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'])
      await this.lab.ok(this.ns, 'sysctl', ['-qw', `${name}=1`]);
    for (const name of ['all', 'default', device])
      await this.lab.ok(this.ns, 'sysctl', ['-qw', `net.ipv4.conf.${name}.rp_filter=0`]);
  }

  /**
   * Start BIRD 2 with one BGP session over the tunnel's link-local addresses (MP-BGP, RFC 8950 extended next hop).
   * @param more lines of BIRD's language: further protocols, and options of the BGP session
   */
  async startBird(remote: RemoteEnd, more: { protocols?: string; session?: string } = {}): Promise<void> {
    const { plan, device } = this;
    const conf = join(this.dir, 'bird.conf');
    const channel = (family: string): string =>
      `${family} { import all; export where source = RTS_STATIC; ${family === 'ipv4' ? 'extended next hop on; ' : ''}};`;
    writeFileSync(
      conf,
      `log stderr all;
router id ${plan.v4};
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export filter { krt_prefsrc = ${plan.v4}; if source = RTS_BGP then accept; reject; }; }; }
protocol kernel { ipv6 { import none; export filter { krt_prefsrc = ${plan.v6}; if source = RTS_BGP then accept; reject; }; }; }
protocol static { ipv4; route ${plan.announce4} unreachable; }
protocol static { ipv6; route ${plan.announce6} unreachable; }
${more.protocols ?? ''}
protocol bgp upstream {
  local ${this.linkLocal} as ${plan.asn};
  neighbor ${remote.linkLocal}%${device} as ${remote.asn};
  direct; connect delay time 1; connect retry time 2; error wait time 1, 4;
  ${more.session ?? ''}
  ${channel('ipv4')}
  ${channel('ipv6')}
}
`,
    );
    this.bird = this.lab.start(this.ns, 'bird', [
      '-f',
      '-c',
      conf,
      '-s',
      this.birdSocket,
      '-P',
      join(this.dir, 'bird.pid'),
    ]);
    await this.lab.eventually(
      'BIRD answers',
      async () => (await this.lab.run(this.ns, 'birdc', ['-s', this.birdSocket, 'show', 'status'])).status === 0,
    );
  }

  get birdSocket(): string {
    return join(this.dir, 'bird.ctl');
  }

  /** BIRD's session with the router: its state, and since when in milliseconds of the day. */
  async session(): Promise<BirdSession> {
    const shown = await this.birdc('show', 'protocols', 'upstream');
    const [, state, hours, minutes, seconds] = /upstream\s+BGP\s+---\s+(\S+)\s+(\d+):(\d+):([\d.]+)/.exec(shown)!;
    return {
      state: state!,
      sinceMs: Math.round(((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000),
    };
  }

  async birdc(...words: string[]): Promise<string> {
    return this.lab.ok(this.ns, 'birdc', ['-s', this.birdSocket, ...words]);
  }

  /** Serve files of the given sizes over HTTP (PUT into /up/), and the domain over DNS, on the service addresses. */
  async serve(files: Readonly<Record<string, number>>): Promise<void> {
    const www = join(this.dir, 'www');
    mkdirSync(join(www, 'up'), { recursive: true });
    execFileSync('chmod', ['777', join(www, 'up')]);
    for (const [name, size] of Object.entries(files)) this.#sums.set(name, randomFile(join(www, name), size));
    const tmp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${join(this.dir, `t-${kind}`)};`)
      .join(' ');
    writeFileSync(
      join(this.dir, 'nginx.conf'),
      `daemon off; worker_processes 1; error_log stderr error; pid ${join(this.dir, 'nginx.pid')}; user root;
events { worker_connections 512; }
http { access_log off; sendfile on; client_max_body_size 0; ${tmp}
  server { listen ${this.plan.v4}:80; listen [${this.plan.v6}]:80; root ${www};
    location /up/ { dav_methods PUT; } } }
`,
    );
    this.lab.start(this.ns, 'nginx', ['-c', join(this.dir, 'nginx.conf'), '-p', this.dir]);
    const d = this.plan.domain;
    this.lab.start(this.ns, 'dnsmasq', [
      '--keep-in-foreground',
      '--no-resolv',
      '--no-hosts',
      '--bind-interfaces',
      '--user=root',
      `--listen-address=${this.plan.dns}`,
      `--pid-file=${join(this.dir, 'dnsmasq.pid')}`,
      `--local=/${d}/`,
      `--host-record=www.${d},${this.plan.v4},${this.plan.v6}`,
      `--host-record=v4.${d},${this.plan.v4}`,
      `--host-record=v6.${d},${this.plan.v6}`,
    ]);
    await this.lab.eventually('nginx and dnsmasq listen', async () => {
      const sockets = await this.lab.ok(this.ns, 'ss', ['-Hltun']);
      return sockets.includes(`${this.plan.v4}:80`) && sockets.includes(`${this.plan.dns}:53`);
    });
  }

  /** Start `iperf3 -s` on the service addresses; serves one client at a time. */
  async startIperf(port = 5201): Promise<LabProcess> {
    const server = this.lab.start(this.ns, 'iperf3', ['-s', '-p', String(port), '--forceflush']);
    await server.until(/listening/);
    return server;
  }

  /** SHA-256 of a file it serves. */
  sum(name: string): string {
    return this.#sums.get(name) ?? `no file ${name}`;
  }

  /** SHA-256 of a file uploaded by PUT. */
  uploaded(name: string): string {
    return execFileSync('sha256sum', [join(this.dir, 'www', 'up', name)], { encoding: 'utf8' }).slice(0, 64);
  }
}

/** Write a file of random octets; returns its SHA-256. */
export function randomFile(path: string, size: number): string {
  const hash = createHash('sha256');
  writeFileSync(path, '');
  for (let left = size; left > 0; ) {
    const block = randomBytes(Math.min(left, 1 << 20));
    writeFileSync(path, block, { flag: 'a' });
    hash.update(block);
    left -= block.length;
  }
  return hash.digest('hex');
}
