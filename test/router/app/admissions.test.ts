import { type ChildProcess, spawn } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { Admissions } from '../../../router/app/admissions.ts';

function sleeper(t: ExecutionContext): ChildProcess {
  const child = spawn('sleep', ['1000']);
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

const spawned = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => child.once('spawn', () => resolve(child.pid!)));

test('where Yama restricts us, each process is told once', async (t) => {
  const [one, other] = await Promise.all([spawned(sleeper(t)), spawned(sleeper(t))]);
  const admissions = new Admissions(() => 'admitted');
  t.true(admissions.isDue(one));
  t.false(admissions.isDue(one));
  t.true(admissions.isDue(other));
});

test('nobody is told where it changes nothing', async (t) => {
  const pid = await spawned(sleeper(t));
  for (const reach of ['all', 'none'] as const) t.false(new Admissions(() => reach).isDue(pid), reach);
});
