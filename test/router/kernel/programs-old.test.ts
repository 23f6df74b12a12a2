/** The variant for kernels before 5.12, on this one. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { OBJECTS } from '../../../router/kernel/loader.ts';
import type { Programs } from '../../../router/kernel/programs.ts';
import { POLICY_CASES } from '../../kit/policy-cases.ts';
import { missingForPrograms, TwoWays } from '../../kit/two-ways.ts';
import { checkCase, checkSockets, type KernelLab, policy } from './program-cases.ts';

const missing = await missingForPrograms();
const title = (name: string): string => (missing === undefined ? name : `${name} (${missing})`);
const kernelTest = missing === undefined ? test.serial : test.skip;
const shared: { ways: TwoWays | undefined; programs: Programs | undefined } = { ways: undefined, programs: undefined };
const lab = (): KernelLab => ({ ways: shared.ways!, programs: shared.programs! });

if (missing === undefined) {
  test.before(async (t) => {
    const ways = new TwoWays();
    shared.ways = ways;
    await ways.build();
    const objects = join(ways.lab.dir, 'objects');
    mkdirSync(objects);
    copyFileSync(join(OBJECTS, 'policy-old.bpf.o'), join(objects, 'policy-old.bpf.o'));
    shared.programs = await ways.load(objects);
    t.is(shared.programs.variant, 'old');
    shared.programs.setPolicy(policy(ways, {}));
    await shared.programs.attach();
  });
  test.after.always(async () => {
    shared.programs?.close();
    await shared.ways?.close();
  });
}

for (const c of POLICY_CASES) kernelTest(title(`the old programs: ${c.name}`), (t) => checkCase(t, lab(), c));

kernelTest(title('the old programs: every kind of socket takes the uplink'), (t) => checkSockets(t, lab()));
