/**
 * A laboratory of network namespaces for tests against real peers: makes namespaces, links and processes, and removes
 * every one of them again, also when a test fails. Needs root and iproute2; `Lab.missing()` says what a machine lacks.
 * Each lab has its own namespaces, so addresses and ports inside never meet those of another lab.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** The ordinary user tests run mlshim and its apps as. */
export const NOBODY = 65534;

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Run as nobody, or as another ordinary user: no capabilities, no_new_privs, no /dev/net/tun. */
  readonly unprivileged?: boolean | Account;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Milliseconds after which the process group is killed and `run` rejects. */
  readonly timeoutMs?: number;
  readonly input?: string;
  /** Standard input stays open for whoever has the process. */
  readonly isTalkedTo?: boolean;
  /** Folder of the cgroup (version 2) that it is put into; for unprivileged programs. */
  readonly cgroup?: string;
}

/** A process started by a lab. */
export class LabProcess {
  readonly child: ChildProcess;
  readonly name: string;
  stdout = '';
  stderr = '';
  readonly #exit: Promise<number>;
  #waiters: (() => void)[] = [];
  #exited = false;

  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.child = child;
    child.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
      this.#notify();
    });
    child.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
      this.#notify();
    });
    this.#exit = new Promise((resolve) => {
      child.on('error', (error) => {
        this.stderr += String(error);
        this.#exited = true;
        this.#notify();
        resolve(127);
      });
      child.on('close', (status, signal) => {
        this.#exited = true;
        this.#notify();
        resolve(status ?? (signal === null ? 1 : 128));
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  #notify(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Resolves when the output so far matches; rejects when the process ends first or time is up. */
  async until(pattern: RegExp, timeoutMs = 20_000 * Lab.patience): Promise<RegExpExecArray> {
    const find = (): RegExpExecArray | null => pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
    return (await this.#untilNot(null, find, `print ${pattern}`, timeoutMs))!;
  }

  /** The first whole line of standard output from a place on, with its line end; rejects as `until` does. */
  async line(from: number, timeoutMs = 60_000 * Lab.patience): Promise<string> {
    const find = (): number => this.stdout.indexOf('\n', from);
    const end = await this.#untilNot(-1, find, 'print another line', timeoutMs);
    return this.stdout.slice(from, end + 1);
  }

  /** Resolves when standard output is longer than that; rejects as `until` does. */
  async outputBeyond(length: number, timeoutMs = 60_000 * Lab.patience): Promise<void> {
    await this.#untilNot(false, () => this.stdout.length > length, 'print any more', timeoutMs);
  }

  async #untilNot<T>(missing: T, find: () => T, what: string, timeoutMs: number): Promise<T> {
    const limit = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const found = find();
      if (found !== missing) return found;
      const soFar = `:\n${this.stdout}${this.stderr}`;
      if (this.#exited) throw new Error(`${this.name} ended and did not ${what}${soFar}`);
      if (limit.aborted) throw new Error(`${this.name} did not ${what} in ${timeoutMs} ms${soFar}`);
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
        limit.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  /** Send `signal` to the process group and wait for the end; SIGKILL follows after `graceMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 5_000): Promise<number> {
    if (!this.#exited) {
      signalGroup(this.pid, signal);
      const timer = setTimeout(() => signalGroup(this.pid, 'SIGKILL'), graceMs);
      await this.#exit;
      clearTimeout(timer);
    }
    return this.#exit;
  }

  exit(): Promise<number> {
    return this.#exit;
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  if (pid <= 0) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone already.
  }
}

let labs = 0;

export class Lab {
  /** What times to wait are multiplied by, unless the caller says a time: more than 1 on an emulated processor. */
  static patience = 1;
  /** A folder of the lab's own, readable by everyone, removed at the end. */
  readonly dir: string;
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  readonly #processes: LabProcess[] = [];
  readonly #cleanups: (() => unknown)[] = [];

  constructor() {
    this.#prefix = `mls${process.pid}x${labs++}`;
    this.dir = mkdtempSync(join(tmpdir(), 'mlshim-lab-'));
    chmodSync(this.dir, 0o755);
  }

  /** Why a lab with these programs cannot run here, or undefined when it can. */
  static missing(...programs: readonly string[]): string | undefined {
    if (process.getuid?.() !== 0) return 'needs root for network namespaces';
    const path = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/sbin');
    const absent = ['ip', 'nsenter', 'setpriv', 'unshare', ...programs].filter(
      (program) => !path.some((folder) => existsSync(join(folder, program))),
    );
    if (absent.length > 0) return `not installed: ${absent.join(', ')}`;
    try {
      accessSync('/dev/net/tun', constants.W_OK);
    } catch {
      return 'no /dev/net/tun for the peer';
    }
    return undefined;
  }

  /** Make a network namespace with loopback up; returns its name. */
  async namespace(name: string): Promise<string> {
    const ns = `${this.#prefix}${name}`;
    await this.host('ip', ['netns', 'add', ns]);
    this.#namespaces.push(ns);
    await this.host('ip', ['-n', ns, 'link', 'set', 'lo', 'up']);
    return ns;
  }

  /** Join two namespaces by a veth pair; both ends are called `name` and get one address each. */
  async veth(name: string, a: string, addrA: string, b: string, addrB: string, mtu = 1500): Promise<void> {
    await this.host('ip', ['-n', a, 'link', 'add', name, 'type', 'veth', 'peer', 'name', name, 'netns', b]);
    for (const [ns, addr] of [
      [a, addrA],
      [b, addrB],
    ] as const) {
      const family = addr.includes(':') ? ['nodad'] : [];
      await this.host('ip', ['-n', ns, 'link', 'set', name, 'mtu', String(mtu), 'up']);
      await this.host('ip', ['-n', ns, 'addr', 'add', addr, 'dev', name, ...family]);
    }
  }

  /** Run a program in the host's namespace and expect success. */
  async host(command: string, args: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile(command, args, { env: withSbin(), maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${command} ${args.join(' ')}: ${stderr || error.message}`));
      });
    });
  }

  /** Start a program in a namespace. The lab ends it at the latest when it closes. */
  start(ns: string, command: string, args: readonly string[], options: RunOptions = {}): LabProcess {
    const { uid, gid } = typeof options.unprivileged === 'object' ? options.unprivileged : { uid: NOBODY, gid: NOBODY };
    const enter = options.cgroup === undefined ? '' : `echo $$ >${options.cgroup}/cgroup.procs; `;
    const drop = options.unprivileged
      ? [
          'unshare',
          '--mount',
          'sh',
          '-c',
          // The container has no TUN device; `exec` keeps one process, so that signals and pids are the program's.
          `mount -t tmpfs none /dev/net 2>/dev/null; ${enter}exec setpriv --reuid ${uid} --regid ${gid} --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs -- "$@"`,
          'sh',
        ]
      : [];
    const child = spawn('nsenter', [`--net=/run/netns/${ns}`, '--', ...drop, command, ...args], {
      cwd: options.cwd ?? this.dir,
      env: { ...withSbin(), HOME: this.dir, ...options.env },
      stdio: [options.input === undefined && !options.isTalkedTo ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      detached: true,
    });
    if (options.input !== undefined) child.stdin?.end(options.input);
    const process_ = new LabProcess(`${command} ${args.join(' ')}`, child);
    this.#processes.push(process_);
    return process_;
  }

  /** Run a program in a namespace to its end. Never rejects for a non-zero status. */
  async run(ns: string, command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const process_ = this.start(ns, command, args, options);
    const limit = options.timeoutMs ?? 60_000 * Lab.patience;
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      signalGroup(process_.pid, 'SIGKILL');
    }, limit);
    const status = await process_.exit();
    clearTimeout(timer);
    this.#processes.splice(this.#processes.indexOf(process_), 1);
    const { stdout, stderr } = process_;
    if (expired) throw new Error(`${process_.name} did not end in ${limit} ms:\n${stdout}${stderr}`);
    return { status, stdout, stderr };
  }

  /** Run and expect status 0; returns standard output. */
  async ok(ns: string, command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(ns, command, args, options);
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** Poll a condition that only another program's state can show (a routing table, a log of theirs). */
  async eventually(what: string, check: () => Promise<boolean>, timeoutMs = 30_000 * Lab.patience): Promise<void> {
    const limit = performance.now() + timeoutMs;
    while (!(await check())) {
      if (performance.now() > limit) throw new Error(`not in ${timeoutMs} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Do `cleanup` when the lab closes, before processes end. */
  onClose(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  /** Remove everything the lab made. */
  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    await Promise.all(this.#processes.map((p) => p.stop('SIGTERM', 3_000)));
    for (const ns of this.#namespaces) {
      const pids = await this.host('ip', ['netns', 'pids', ns]).catch(() => '');
      for (const pid of pids.split('\n').filter((text) => text !== '')) {
        try {
          process.kill(Number(pid), 'SIGKILL');
        } catch {
          // It ended by itself.
        }
      }
      await this.host('ip', ['netns', 'del', ns]).catch(() => undefined);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Where cgroups of version 2 are on this machine, if anywhere and if they can be made. */
export function cgroup2(): string | undefined {
  const line = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((l) => l.split(' ')[2] === 'cgroup2');
  const [, folder, , options] = line?.split(' ') ?? [];
  return folder !== undefined && options?.split(',').includes('rw') === true ? folder : undefined;
}

function withSbin(): NodeJS.ProcessEnv {
  // A user's own language versions (pyenv, nvm) are not readable by nobody: system paths come first.
  return { ...process.env, PATH: `/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:${process.env['PATH'] ?? ''}` };
}
