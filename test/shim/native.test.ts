/** What the C programs expect is what Linux does: they run over the kernel first. */
import test from 'ava';
import { KERNEL_ONLY, Programs, SOURCES, toolchains } from './programs.ts';

const programs = new Programs();
test.after.always(() => programs[Symbol.dispose]());

for (const tools of toolchains())
  for (const source of [...SOURCES, ...Object.keys(KERNEL_ONLY)])
    test.serial(`${source} over the kernel, ${tools.name}`, async (t) => {
      const outcome = await programs.run(programs.compile(source, tools), tools);
      t.deepEqual(outcome.failures, []);
      t.is(outcome.status, 0);
      t.true(outcome.passed > 0);
    });
