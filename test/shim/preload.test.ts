/**
 * The C programs under the shim, with the same expectations as over the kernel. The router is a data-plane worker whose
 * loopback is in our stack, so every octet crosses shim, pair, stack and back.
 */
import test from 'ava';
import { startDataplane } from '../kit/dataplane.ts';
import { KERNEL_ONLY, Programs, SOURCES, toolchains } from './programs.ts';

const programs = new Programs();
let checked: string | undefined;
let router: Awaited<ReturnType<typeof startDataplane>>;

test.before(async () => {
  router = await startDataplane();
});
test.after.always(async () => {
  await router.stop();
  programs[Symbol.dispose]();
});

for (const tools of toolchains())
  for (const source of SOURCES)
    test.serial(`${source} under the shim, ${tools.name}`, async (t) => {
      const outcome = await programs.run(programs.compile(source, tools), tools, router.socket);
      t.deepEqual(outcome.failures, []);
      t.is(outcome.status, 0);
      t.true(outcome.passed > 0);
    });

for (const source of SOURCES)
  test.serial(`${source} under the shim built with checks for undefined behaviour`, async (t) => {
    const tools = toolchains()[0]!;
    const library = (checked ??= programs.checkedLibrary());
    const outcome = await programs.run(programs.compile(source, tools), tools, router.socket, library);
    t.deepEqual(outcome.failures, []);
    t.is(outcome.status, 0);
  });

for (const [source, reason] of Object.entries(KERNEL_ONLY)) test.skip(`${source} under the shim: ${reason}`, () => {});
