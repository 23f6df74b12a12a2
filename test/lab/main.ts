/**
 * The guest by hand: `node build/test/lab/main.js [--only NAME,...] [--boot measured|plain|daemon|systemd] [--kernel SPEC] [--shell] [--list]`.
 * See README.md.
 */
import { parseArgs } from 'node:util';
import { BOOTS, listed } from './cases.ts';
import { missing } from './qemu.ts';
import { bootAll, GuestRun } from './run.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    boot: { type: 'string' },
    kernel: { type: 'string', default: 'stock' },
    shell: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});
const only = values.only.flatMap((names) => names.split(','));
const boots = BOOTS.filter(
  (kind) => (values.boot === undefined || kind === values.boot) && listed(kind, only).length > 0,
);

if (values.list)
  for (const { boot, name, title } of BOOTS.flatMap((kind) => listed(kind))) console.log(`${boot}\t${name}\t${title}`);
else if (boots.length === 0) fail(`no case is called ${only.join(' or ')} (--list shows them)`);
else await main();

async function main(): Promise<void> {
  const reason = await missing();
  if (reason !== undefined) return fail(reason);
  const guest = await GuestRun.prepare({ kernel: values.kernel, only, say: (line) => console.log(`# ${line}`) });
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      guest.close();
      process.exit(130);
    });
  try {
    if (values.shell) await guest.shell();
    else await bootAll(boots, (kind) => bootOnce(guest, kind));
  } finally {
    guest.close();
  }
}

async function bootOnce(guest: GuestRun, kind: (typeof BOOTS)[number]): Promise<void> {
  const open = new Set(listed(kind, only).map(({ name }) => name));
  await guest.boot(kind, ({ name, isOk, seconds, log, error }) => {
    open.delete(name);
    console.log(`${isOk ? 'ok' : 'not ok'} - ${name} (${seconds.toFixed(1)} s)`);
    for (const line of log) console.log(`  # ${line}`);
    if (error !== undefined) console.log(error.replace(/^/gm, '    '));
    if (!isOk) process.exitCode = 1;
  });
  if (open.size > 0) fail(`did not run: ${[...open].join(', ')}\n${guest.lastWords(kind)}`);
}

function fail(why: string): void {
  console.error(`lab: ${why}`);
  process.exitCode = 1;
}
