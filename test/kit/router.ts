/**
 * mlshim as the interop tests run it: the built command line in a namespace of a lab, as uid nobody without any
 * capability, no_new_privs and no TUN device; and apps under its shim, equally unprivileged.
 */
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Account, type Finished, type Lab, type LabProcess, NOBODY, type RunOptions } from './lab.ts';
import { type KeyPair, type Peer, wgKeyPair } from './peer.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
export const CLI = join(ROOT, 'build', 'router', 'cli', 'main.js');

/** For the kernel backend: root with all its capabilities. */
export const ROOT_ACCOUNT: Account = { uid: 0, gid: 0 };

/** One tunnel of the router under test. */
export interface Tunnel {
  readonly name: string;
  readonly peer: Peer;
  /** UDP endpoint of the peer. */
  readonly endpoint: string;
  readonly linkLocal: string;
}

/** Addresses of the router under test. */
export const ROUTER = {
  asn: 4242420229,
  v4: '172.20.229.117',
  v6: 'fd42:229::117',
  networks: ['172.20.229.112/28', 'fd42:229::/48'],
} as const;

export class Router {
  readonly lab: Lab;
  readonly ns: string;
  readonly dir: string;
  readonly keys = new Map<string, KeyPair>();
  daemon: LabProcess | undefined;
  readonly #account: Account;

  /** @param account whom everything runs as, without capabilities unless it is ROOT_ACCOUNT */
  constructor(lab: Lab, ns: string, account: Account = { uid: NOBODY, gid: NOBODY }) {
    this.#account = account;
    this.lab = lab;
    this.ns = ns;
    this.dir = join(lab.dir, `${ns}-router`);
    mkdirSync(this.dir, { recursive: true });
    chmodSync(this.dir, 0o700);
    this.own(this.dir);
  }

  /** Give a file or folder to whom the daemon and its apps run as. */
  own(path: string): void {
    chownSync(path, this.#account.uid, this.#account.gid);
  }

  /** The key pair of a tunnel, made on first use. */
  key(name: string): KeyPair {
    const known = this.keys.get(name) ?? wgKeyPair();
    this.keys.set(name, known);
    return known;
  }

  /** Write the private keys of tunnels where `!file NAME.key` finds them. */
  keyFiles(...names: string[]): void {
    for (const name of names) {
      const file = join(this.dir, `${name}.key`);
      writeFileSync(file, `${this.key(name).privateKey}\n`, { mode: 0o600 });
      this.own(file);
    }
  }

  get config(): string {
    return join(this.dir, 'mlshim.yaml');
  }

  /**
   * Write the configuration: one uplink and one BGP session per tunnel; the first peer's resolver is used.
   * @param options more keys of every session, such as `bfd: true`
   */
  configure(tunnels: readonly Tunnel[], options = ''): void {
    const uplinks = tunnels.map((t) => {
      this.keyFiles(t.name);
      return `  ${t.name}:
    wireguard:
      private_key: !file ${t.name}.key
      addresses: [${t.linkLocal}/64, ${ROUTER.v4}/32, '${ROUTER.v6}/128']
      table: off
      peers:
        - public_key: ${t.peer.keys.publicKey}
          endpoint: ${t.endpoint}
          allowed_ips: [0.0.0.0/0, '::/0']
          persistent_keepalive: 25s
`;
    });
    const sessions = tunnels.map(
      (t) =>
        `    - { name: ${t.name}, asn: ${t.peer.plan.asn}, via: ${t.name}, address: '${t.peer.linkLocal}', hold_time: 9s${options === '' ? '' : `, ${options}`} }\n`,
    );
    this.write(`uplinks:
${uplinks.join('')}dns: { servers: [${tunnels[0]!.peer.plan.dns}], search: [${tunnels[0]!.peer.plan.domain}] }
source: { ipv4: ${ROUTER.v4}, ipv6: '${ROUTER.v6}' }
bgp:
  asn: ${ROUTER.asn}
  router_id: ${ROUTER.v4}
  networks: [${ROUTER.networks.map((n) => `'${n}'`).join(', ')}]
  policy: transit
  peers:
${sessions.join('')}`);
  }

  /** The configuration as it stands. */
  get text(): string {
    return readFileSync(this.config, 'utf8');
  }

  write(yaml: string): void {
    writeFileSync(this.config, yaml);
    this.own(this.config);
  }

  /** Append lines to the configuration: its last part is the list of BGP peers. */
  add(yaml: string): void {
    this.write(this.text + yaml);
  }

  #options(options: RunOptions): RunOptions {
    return {
      unprivileged: this.#account === ROOT_ACCOUNT ? false : this.#account,
      cwd: this.dir,
      ...options,
      env: { HOME: this.dir, XDG_RUNTIME_DIR: this.dir, NO_COLOR: '1', ...options.env },
    };
  }

  /** Start the daemon in the foreground and wait until it is ready. */
  async up(options: RunOptions = {}): Promise<void> {
    this.daemon = this.cliStart(['up', '--foreground', '-c', this.config], options);
    await this.daemon.until(/ready/);
  }

  async down(): Promise<number> {
    return (await this.daemon?.stop('SIGTERM', 30_000)) ?? 0;
  }

  /** Run a command of the command line to its end. */
  async cli(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.lab.run(this.ns, process.execPath, [CLI, ...args], this.#options(options));
  }

  /** The words of a command, and how it is to be run, for those who put something in front of it. */
  command(args: readonly string[]): { readonly words: readonly string[]; readonly options: RunOptions } {
    return { words: [process.execPath, CLI, ...args], options: this.#options({}) };
  }

  cliStart(args: readonly string[], options: RunOptions = {}): LabProcess {
    return this.lab.start(this.ns, process.execPath, [CLI, ...args], this.#options(options));
  }

  /** The JSON answer of a read verb. */
  async json<T>(...verb: string[]): Promise<T> {
    const { status, stdout, stderr } = await this.cli([...verb, '--json']);
    if (stdout === '') throw new Error(`mlshim ${verb.join(' ')} --json ended with ${status}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** Run an app under the shim of the running daemon. */
  async app(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.cli(['run', '--', command, ...args], options);
  }

  /** As `app`, and expect status 0; returns standard output. */
  async appOk(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.app(command, args, options);
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  }

  appStart(command: string, args: readonly string[], options: RunOptions = {}): LabProcess {
    return this.cliStart(['run', '--', command, ...args], options);
  }

  /** Wait until the routing table has a route to `dst`. */
  async routeTo(dst: string, timeoutMs = 30_000): Promise<void> {
    await this.lab.eventually(
      `a route to ${dst}`,
      async () => (await this.cli(['route', 'get', dst])).status === 0,
      timeoutMs,
    );
  }
}
