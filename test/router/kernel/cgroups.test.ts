import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Cgroup, cgroupMount, GroupCgroups, NamedCgroups } from '../../../router/kernel/cgroups.ts';

const mount = cgroupMount();
/** Needs a mounted cgroup v2 hierarchy that we may write to. */
const native = mount !== undefined && process.getuid!() === 0 ? test : test.skip;

let made = 0;
const unique = (): string => `test-${process.pid}-${made++}`;

test('the hierarchy of version 2 is found among others; version 1 alone is none', (t) => {
  const v1 = '30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu';
  t.is(cgroupMount(v1), undefined);
  t.is(
    cgroupMount(`${v1}\n31 25 0:27 / /sys/fs/cgroup/uni\\040fied rw shared:1 - cgroup2 cgroup2 rw`),
    '/sys/fs/cgroup/uni fied',
  );
  t.is(cgroupMount('31 25 0:27 /user.slice /mnt rw - cgroup2 cgroup2 rw'), undefined, 'a part of it is not all of it');
});

native('a process that joins a group is in its cgroup, and goes on in the root when that is removed', async (t) => {
  const groups = new GroupCgroups(mount!, unique());
  t.teardown(() => groups.removeAll());
  const { id, path } = groups.ensure('backup');
  t.is(id, statSync(join(mount!, path), { bigint: true }).ino);
  t.deepEqual(groups.ensure('backup'), { id, path });
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  const cgroupOf = (): string => /^0::(.*)$/m.exec(readFileSync(`/proc/${child.pid}/cgroup`, 'utf8'))![1]!;
  groups.join('backup', child.pid!);
  t.is(cgroupOf(), path);
  t.deepEqual(groups.groups, ['backup']);
  mkdirSync(join(mount!, path, 'deeper'));
  groups.removeAll();
  t.is(cgroupOf(), '/');
  t.false(existsSync(join(mount!, path)));
});

native('the cgroup of a process that does not exist is refused in words', (t) => {
  const groups = new GroupCgroups(mount!, unique());
  t.teardown(() => groups.removeAll());
  t.throws(() => groups.join('x', 0x7fffffff), { code: 'HOST_REFUSED', message: /cannot move process 2147483647/ });
});

/** What is told, and a way to wait for more of it. */
function told(t: ExecutionContext) {
  const events: string[] = [];
  let wake = (): void => undefined;
  const seen = new Map<bigint, string>();
  const named = new NamedCgroups(
    mount!,
    ({ id, path }: Cgroup) => {
      seen.set(id, path);
      events.push(`+${path}`);
      wake();
    },
    (id) => {
      events.push(`-${seen.get(id)}`);
      wake();
    },
  );
  t.teardown(() => named.close());
  const until = async (count: number): Promise<string[]> => {
    while (events.length < count) await new Promise<void>((resolve) => (wake = resolve));
    return events;
  };
  return { named, until, events };
}

native(
  'cgroups that rules name are told as they come and go, those below them only when other globs hold',
  async (t) => {
    const name = unique();
    const at = (...parts: string[]): string => join(mount!, name, ...parts);
    const made: string[] = [];
    const make = (...parts: string[]): void => {
      mkdirSync(at(...parts));
      made.unshift(at(...parts));
    };
    t.teardown(() => {
      for (const folder of made) if (existsSync(folder)) rmdirSync(folder);
    });
    make();
    make('a.service');
    make('a.service', 'below');
    make('b');
    const { named, until, events } = told(t);
    named.configure([`/${name}/*.service`, `/${name}/*/marked`]);
    t.deepEqual(await until(1), [`+/${name}/a.service`]);
    make('c.service');
    t.deepEqual((await until(2)).slice(1), [`+/${name}/c.service`]);
    make('b', 'marked');
    t.deepEqual((await until(3)).slice(2), [`+/${name}/b/marked`]);
    make('a.service', 'marked');
    t.deepEqual((await until(4)).slice(3), [`+/${name}/a.service/marked`]);
    rmdirSync(at('c.service'));
    t.deepEqual((await until(5)).slice(4), [`-/${name}/c.service`]);
    mkdirSync(at('c.service'));
    t.deepEqual((await until(6)).slice(5), [`+/${name}/c.service`]);
    // Other rules: what holds still is not told of again.
    named.configure([`/${name}/c.service`, `/${name}/b`]);
    t.deepEqual(events.slice(6).sort(), [
      `+/${name}/b`,
      `-/${name}/a.service`,
      `-/${name}/a.service/marked`,
      `-/${name}/b/marked`,
    ]);
  },
);
