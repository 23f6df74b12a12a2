/**
 * Debian packages for the guest, fetched by apt-get as an ordinary user could: into a folder of the cache, against an
 * empty package database, so that nothing of the machine's own is read as installed and nothing is installed.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What cases may use; their dependencies come along. */
export const GUEST_PACKAGES: readonly string[] = [
  ...['bash', 'coreutils', 'findutils', 'grep', 'sed', 'procps', 'util-linux', 'mount', 'kmod', 'busybox-static'],
  ...['libc-bin', 'libstdc++6', 'libbpf1', 'bpftool'],
  ...['iproute2', 'iputils-ping', 'wireguard-tools', 'bird2', 'bind9-dnsutils', 'dnsmasq-base'],
  ...['iperf3', 'curl', 'aria2', 'transmission-daemon', 'transmission-cli'],
  ...['systemd', 'systemd-sysv', 'systemd-resolved', 'dbus', 'docker.io'],
];

/** The package that depends on the newest kernel of the small flavour, by the name Debian gives the machine. */
export const KERNEL_PACKAGE = 'linux-image-cloud-amd64';

/** Part of every Debian machine. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Run a program to its end; rejects with what it printed. */
export function run(command: string, args: readonly string[], cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
    execFile(command, args, { env, cwd, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')}: ${stderr.trim() || error.message}`));
    });
  });
}

export class Packages {
  readonly #dir: string;
  readonly #options: readonly string[];
  /** The suite whose packages these are, or undefined for this machine's own. */
  readonly #suite: string | undefined;

  /** @param cache where lists and packages are kept @param suite such as bookworm-backports */
  constructor(cache: string, suite?: string) {
    this.#suite = suite;
    this.#dir = join(cache, `apt-${suite ?? 'own'}`);
    mkdirSync(join(this.#dir, 'cache', 'archives', 'partial'), { recursive: true });
    writeFileSync(join(this.#dir, 'status'), '');
    this.#options = [
      ...[`Dir::State::status=${join(this.#dir, 'status')}`, `Dir::Cache=${join(this.#dir, 'cache')}`],
      ...['Debug::NoLocking=1', 'APT::Install-Recommends=0', 'APT::Sandbox::User='],
      ...(suite === undefined ? [] : this.#ownLists()),
    ].flatMap((option) => ['-o', option]);
  }

  /** Options for lists of another suite, of the server this machine's own packages come from. */
  #ownLists(): string[] {
    mkdirSync(join(this.#dir, 'lists', 'partial'), { recursive: true });
    const source = join(this.#dir, 'sources.list');
    return [
      `Dir::State::lists=${join(this.#dir, 'lists')}`,
      `Dir::Etc::sourcelist=${source}`,
      'Dir::Etc::sourceparts=/dev/null',
    ];
  }

  async #readLists(): Promise<void> {
    if (this.#suite === undefined || existsSync(join(this.#dir, 'sources.list'))) return;
    const targets = await run('apt-get', ['indextargets', '--format', '$(ORIGIN) $(SITE)']);
    const own = targets.split('\n').map((line) => line.split(' '));
    const [, site] = own.find(([origin]) => origin === 'Debian') ?? [];
    if (site === undefined) throw new Error('apt-get knows no Debian server: no package lists on this machine');
    const source = join(this.#dir, 'sources.list');
    writeFileSync(source, `deb [signed-by=${KEYRING}] ${site} ${this.#suite} main\n`);
    await run('apt-get', [...this.#options, '-qq', 'update']).catch((error: unknown) => {
      rmSync(source);
      throw error;
    });
  }

  /** The newest kernel's package file. */
  async kernel(): Promise<string> {
    await this.#readLists();
    return this.#once('kernel', [KERNEL_PACKAGE], async (into) => {
      const depends = await run('apt-cache', [...this.#options, 'depends', KERNEL_PACKAGE]);
      const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
      if (name === undefined) throw new Error(`${KERNEL_PACKAGE} is in no package list: run apt-get update`);
      await run('apt-get', [...this.#options, '-qq', 'download', name], into);
    }).then(([file]) => file!);
  }

  /** The files of packages and of all they depend on. */
  guest(names: readonly string[]): Promise<string[]> {
    return this.#once('guest', names, async (into) => {
      mkdirSync(join(into, 'partial'));
      const where = ['-o', `Dir::Cache::archives=${into}`];
      await run('apt-get', [...this.#options, ...where, '-qq', '-y', '-d', 'install', ...names]);
    });
  }

  /** Fill a folder unless an earlier run has filled it for the same names; returns its package files. */
  async #once(kind: string, names: readonly string[], fill: (into: string) => Promise<void>): Promise<string[]> {
    const dir = join(this.#dir, kind);
    const asked = join(dir, 'names');
    if (!existsSync(asked) || readFileSync(asked, 'utf8') !== names.join(' ')) {
      const fresh = `${dir}.${process.pid}`;
      mkdirSync(fresh, { recursive: true });
      await fill(fresh);
      writeFileSync(join(fresh, 'names'), names.join(' '));
      rmSync(dir, { recursive: true, force: true });
      renameSync(fresh, dir);
    }
    return readdirSync(dir)
      .filter((file) => file.endsWith('.deb'))
      .sort()
      .map((file) => join(dir, file));
  }
}
