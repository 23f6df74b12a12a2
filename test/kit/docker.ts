/**
 * Debian's dockerd, started privately in a namespace of a lab: its own data, its own socket, no firewall rules, gone with
 * the lab. The image is an empty root whose /usr is the host's, read-only: the same node, curl and iperf3 the tests use.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Finished, Lab, LabProcess } from './lab.ts';

/** The bridge's address, where a peer in the same namespace answers containers. */
export const BRIDGE_ADDR = '10.200.0.1';

const IMAGE = 'mlshim-test:1';

/** Runs in a mount namespace of its own: dockerd must not see another engine's /run or plug-ins. */
const START = `
mount --make-rprivate /; mount -t tmpfs t /run; mount -t tmpfs t /opt
exec dockerd --data-root "$1/data" --exec-root "$1/exec" -p "$1/pid" -H "unix://$1/sock" --iptables=false --ip6tables=false \
  --ip-masq=false --bip ${BRIDGE_ADDR}/24 --cgroup-parent "$2" --storage-driver overlay2 --log-level error`;

export class Docker {
  readonly lab: Lab;
  readonly ns: string;
  readonly #dir: string;
  readonly #cgroup: string;
  readonly #dockerd: LabProcess;

  private constructor(lab: Lab, ns: string) {
    this.lab = lab;
    this.ns = ns;
    this.#dir = join(lab.dir, 'docker');
    this.#cgroup = `${ns}-docker`;
    mkdirSync(this.#dir);
    this.#dockerd = lab.start(ns, 'unshare', ['--mount', 'bash', '-c', START, 'dockerd', this.#dir, this.#cgroup]);
    lab.onClose(() => this.#close());
  }

  /** Start the engine and import the image; rejects with the engine's log when it cannot start here. */
  static async start(lab: Lab, ns: string): Promise<Docker> {
    const docker = new Docker(lab, ns);
    await lab.eventually('dockerd answers', async () => {
      if (docker.#dockerd.child.exitCode !== null) throw new Error(`dockerd cannot start: ${docker.#dockerd.stderr}`);
      return (await docker.#docker('version')).status === 0;
    });
    docker.#import();
    return docker;
  }

  #docker(...args: string[]): Promise<Finished> {
    return this.lab.run(this.ns, 'docker', ['-H', `unix://${this.#dir}/sock`, ...args]);
  }

  #import(): void {
    const root = join(this.#dir, 'root');
    for (const dir of ['usr', 'etc', 'tmp', 'proc', 'sys', 'dev', 'app', 'conf'])
      mkdirSync(join(root, dir), { recursive: true });
    for (const dir of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${dir}`, join(root, dir));
    writeFileSync(join(root, 'etc', 'passwd'), 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n');
    writeFileSync(join(root, 'etc', 'nsswitch.conf'), 'hosts: files dns\n');
    chmodSync(join(root, 'tmp'), 0o1777);
    const tar = join(this.#dir, 'root.tar');
    execFileSync('tar', ['-C', root, '-cf', tar, '.']);
    execFileSync('docker', ['-H', `unix://${this.#dir}/sock`, 'import', tar, IMAGE], { stdio: 'pipe' });
  }

  /**
   * Run a command in a container as application platforms do: uid nobody, every capability dropped, no_new_privs, the
   * engine's default seccomp profile, read-only root, 64 MiB of /tmp.
   * @param mounts host folder -> folder inside, all read-only
   */
  async run(
    mounts: Readonly<Record<string, string>>,
    command: readonly string[],
    timeoutMs = 120_000,
  ): Promise<Finished> {
    const volumes = Object.entries({ '/usr': '/usr', ...mounts }).flatMap(([host, inside]) => [
      '-v',
      `${host}:${inside}:ro`,
    ]);
    const jail = ['--read-only', '--tmpfs', '/tmp', '--user', '65534:65534', '--cap-drop', 'ALL'];
    return this.lab.run(
      this.ns,
      'docker',
      [
        ...['-H', `unix://${this.#dir}/sock`, 'run', '--rm', ...jail, '--security-opt', 'no-new-privileges'],
        ...volumes,
        IMAGE,
        ...command,
      ],
      { timeoutMs },
    );
  }

  async #close(): Promise<void> {
    await this.#dockerd.stop('SIGTERM', 10_000);
    for (const controller of ['', ...readdirSync('/sys/fs/cgroup')])
      removeTree(join('/sys/fs/cgroup', controller, this.#cgroup));
  }
}

/** Remove a cgroup and those below it; a cgroup is removed by rmdir, deepest first. */
function removeTree(dir: string): void {
  try {
    for (const entry of readdirSync(dir, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(join(dir, entry.name));
    rmdirSync(dir);
  } catch {
    // The engine removed it itself.
  }
}
