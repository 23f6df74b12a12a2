/**
 * Compiles the C programs of test/shim/c and runs them: over the kernel, or under the shim against a data plane whose
 * loopback is in our stack. Used by the tests of this folder.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The project's folder: compiled tests live in build/test/shim. */
export const ROOT = join(import.meta.dirname, '..', '..', '..');
export const LIBRARY = join(ROOT, 'build', 'shim', 'libmlshim.so');

export interface Toolchain {
  readonly name: string;
  readonly cc: string;
  readonly flags: readonly string[];
  /** Libraries to be loaded before the shim. */
  readonly preload: readonly string[];
}

const has = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' }).status === 0;

/** The compilers of this machine: glibc always, musl and the sanitizers where they are installed. */
export function toolchains(): Toolchain[] {
  const found: Toolchain[] = [{ name: 'glibc', cc: 'cc', flags: ['-O1'], preload: [] }];
  // musl has no headers of the kernel: those of the machine's libc serve.
  const multiarch = spawnSync('cc', ['-print-multiarch'], { encoding: 'utf8' }).stdout.trim();
  const kernel = ['-idirafter', '/usr/include', '-idirafter', `/usr/include/${multiarch}`];
  if (has('musl-gcc')) found.push({ name: 'musl', cc: 'musl-gcc', flags: ['-O1', ...kernel], preload: [] });
  const asan = spawnSync('cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout.trim();
  if (asan !== '' && existsSync(asan))
    found.push({
      name: 'asan',
      cc: 'cc',
      flags: ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-Wno-format-truncation'],
      preload: [asan],
    });
  return found;
}

export interface Outcome {
  readonly status: number | null;
  readonly passed: number;
  /** The lines that say `not ok`, and what was written to standard error. */
  readonly failures: readonly string[];
}

export class Programs {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'mlshim-programs-'));

  /** @returns the path of the program, compiled once */
  compile(source: string, tools: Toolchain): string {
    const out = join(this.dir, `${source}-${tools.name}`);
    if (existsSync(out)) return out;
    const file = join(ROOT, 'test', 'shim', 'c', `${source}.c`);
    const args = ['-Wall', '-Wextra', '-Werror', '-g', ...tools.flags, '-o', out, file, '-pthread'];
    const made = spawnSync(tools.cc, args, { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(`${tools.cc} ${source}.c: ${made.stderr}`);
    return out;
  }

  /** The library once more, with each undefined behaviour made a trap. */
  checkedLibrary(): string {
    const flags = 'CFLAGS=-O1 -g -fsanitize=undefined -fsanitize-undefined-trap-on-error';
    const made = spawnSync('make', ['-s', '-C', join(ROOT, 'shim'), `OUT=${join(this.dir, 'checked')}`, flags], {
      encoding: 'utf8',
    });
    if (made.status !== 0) throw new Error(`shim with checks: ${made.stderr}`);
    return join(this.dir, 'checked', 'libmlshim.so');
  }

  /** Run a program; with `socket` under the shim. */
  run(path: string, tools: Toolchain, socket?: string, library = LIBRARY, timeoutMs = 60_000): Promise<Outcome> {
    const env: NodeJS.ProcessEnv = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'halt_on_error=1' };
    delete env.MLSHIM_SOCKET;
    if (socket !== undefined) {
      env.LD_PRELOAD = [...tools.preload, library].join(':');
      env.MLSHIM_SOCKET = socket;
    }
    return new Promise((resolve) => {
      const child = spawn(path, [], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      let out = '';
      let err = '';
      child.stdout.on('data', (b: Buffer) => (out += b.toString()));
      child.stderr.on('data', (b: Buffer) => (err += b.toString()));
      // The group, because a program that hangs may have children.
      const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), timeoutMs);
      child.on('close', (status) => {
        clearTimeout(timer);
        const lines = out.split('\n');
        const failures = lines.filter((l) => l.startsWith('not ok'));
        if (status !== 0) failures.push(`status ${status}`, ...err.split('\n').slice(0, 20));
        resolve({ status, passed: lines.filter((l) => l.startsWith('ok')).length, failures });
      });
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What Linux does and the stack does not yet: run over the kernel only, named as skipped under the shim. */
export const KERNEL_ONLY = { urgent: 'our TCP ignores the urgent pointer' } as const;

export const SOURCES = ['tcp', 'connect', 'server', 'udp', 'options', 'names', 'process', 'transfer'] as const;
