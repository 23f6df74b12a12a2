/**
 * A routing daemon without privileges: what the kernel refuses an ordinary user is refused under the shim too, and
 * granted, without any effect, to a program that was started as a routing daemon, which also sees our network instead of
 * the kernel's. The programs run as nobody where privileges matter.
 */
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startDataplane } from '../kit/dataplane.ts';
import { LIBRARY, Programs, type Toolchain, toolchains } from './programs.ts';

const NOBODY = 65534;
const programs = new Programs();
const places = new Map<string, string>();

test.before(() => {
  chmodSync(programs.dir, 0o755);
});
test.after.always(() => programs[Symbol.dispose]());

/** A copy of a library where everybody may read it. */
function readable(library: string, name: string): string {
  const known = places.get(name);
  if (known !== undefined) return known;
  const place = join(programs.dir, name);
  mkdirSync(place);
  copyFileSync(library, join(place, 'libmlshim.so'));
  places.set(name, join(place, 'libmlshim.so'));
  return join(place, 'libmlshim.so');
}

interface Way {
  readonly library?: string;
  readonly env?: Readonly<Record<string, string>>;
}

async function run(
  t: ExecutionContext,
  tools: Toolchain,
  what: 'refused' | 'granted' | 'view',
  way: Way,
): Promise<void> {
  const path = programs.compile('routing', tools);
  const preload = way.library === undefined ? {} : { LD_PRELOAD: [...tools.preload, way.library].join(':') };
  const user = process.getuid?.() === 0 && what !== 'view' ? { uid: NOBODY, gid: NOBODY } : {};
  const env = { PATH: process.env['PATH']!, ASAN_OPTIONS: 'detect_leaks=0', ...preload, ...way.env };
  const { status, text } = await new Promise<{ status: number | null; text: string }>((resolve) => {
    const child = spawn(path, [what], { env, ...user, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (b: Buffer) => (said += b.toString()));
    child.on('close', (code) => resolve({ status: code, text: said }));
  });
  t.deepEqual(
    text.split('\n').filter((l) => !l.startsWith('ok') && l !== ''),
    [],
  );
  t.is(status, 0);
}

for (const tools of toolchains()) {
  const ours = (): string => readable(LIBRARY, 'plain');
  test.serial(`an ordinary program is refused, with and without the shim, ${tools.name}`, async (t) => {
    await run(t, tools, 'refused', {});
    await run(t, tools, 'refused', { library: ours() });
    await run(t, tools, 'refused', { library: ours(), env: { MLSHIM_ROUTING: '0' } });
  });

  test.serial(`a routing daemon hears that all is done, and nothing is, ${tools.name}`, async (t) => {
    await run(t, tools, 'granted', { library: ours(), env: { MLSHIM_ROUTING: '1' } });
  });
}

test.serial('the same with checks for undefined behaviour', async (t) => {
  const library = readable(programs.checkedLibrary(), 'traps');
  await run(t, toolchains()[0]!, 'granted', { library, env: { MLSHIM_ROUTING: '1' } });
  await run(t, toolchains()[0]!, 'refused', { library });
});

test.serial("a routing daemon reads our network by rtnetlink, not the kernel's", async (t) => {
  const router = await startDataplane();
  try {
    const env = { MLSHIM_ROUTING: '1', MLSHIM_SOCKET: router.socket };
    for (const tools of toolchains()) await run(t, tools, 'view', { library: LIBRARY, env });
    await run(t, toolchains()[0]!, 'view', { library: readable(programs.checkedLibrary(), 'traps'), env });
  } finally {
    await router.stop();
  }
});
