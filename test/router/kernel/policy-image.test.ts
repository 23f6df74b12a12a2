import test from 'ava';
import fc from 'fast-check';
import { type ImageInput, PolicyImage } from '../../../router/kernel/policy-image.ts';
import type { UplinkGroup } from '../../../router/uplink/balancer.ts';
import { NO_PORT, NO_RULE } from '../../../router/uplink/port-table.ts';
import { matches, type ProcessFacts } from '../../../router/uplink/rule.ts';
import { CASE_APPS, type CaseApp, caseAddr, POLICY_CASES, type PolicyCase } from '../../kit/policy-cases.ts';
import { anyFlow, anyMatch, anyNamed } from '../uplink/any-policy.ts';
import { addr, prefix, rule } from '../uplink/kit.ts';
import { type Caller, Interpreter } from './interpreter.ts';

const VRF_WAY = 9;

function input(over: Partial<ImageInput>): ImageInput {
  return {
    rules: [],
    groups: [],
    wayOf: (uplink) => uplink,
    vrfWayOf: (vrf) => (vrf === 1 ? VRF_WAY : undefined),
    isUsable: () => true,
    hasFamily: () => true,
    carries: () => true,
    weightsOf: (group) => over.groups![group]!.members.map((m) => m.weight as number),
    isStrict: false,
    ownAddresses: [],
    names: [],
    ...over,
  };
}

/** Processes as the kernel sees them: cgroups are ids, the root is 1. */
class World {
  readonly image: PolicyImage;
  readonly maps: Interpreter;
  readonly #ids = new Map<string, number>();
  #pid = 100;

  constructor(o: Partial<ImageInput>) {
    this.image = new PolicyImage(input(o));
    this.maps = new Interpreter(this.image.quads);
    this.sync();
  }

  sync(): void {
    this.maps.apply(this.image.take());
  }

  /** @param isTold whether the daemon has told about it yet */
  caller(facts: ProcessFacts, isTold = true): Caller {
    const paths = facts.cgroup === '' ? [] : facts.cgroup.split('/').slice(1);
    const folders = facts.cgroup === '/' ? ['/'] : ['/', ...paths.map((_, i) => `/${paths.slice(0, i + 1).join('/')}`)];
    const cgroups = folders.map((path) => {
      const id = this.#ids.get(path) ?? this.#ids.size + 1;
      this.#ids.set(path, id);
      if (facts.cgroup !== '') this.image.setCgroup(BigInt(id), path, undefined);
      return id;
    });
    this.#pid++;
    if (isTold) this.image.setProcess(this.#pid, facts);
    this.sync();
    const name = facts.executable.slice(facts.executable.lastIndexOf('/') + 1);
    return { pid: this.#pid, name, uid: facts.uid, cgroups: facts.cgroup === '' ? [] : cgroups };
  }
}

function worldOf(c: PolicyCase): World {
  return new World({
    rules: c.rules,
    groups: c.groups,
    isUsable: (uplink) => !c.unusable.includes(uplink),
    hasFamily: (uplink, family) => family === 4 || !c.v4Only.includes(uplink),
    carries: (uplink) => !c.unusable.includes(uplink),
    names: c.names.map(([name, a]) => [caseAddr(a), [name]]),
  });
}

for (const c of POLICY_CASES)
  test(`the maps: ${c.name}`, (t) => {
    const world = worldOf(c);
    const callers = new Map<CaseApp, Caller>();
    for (const f of c.flows) {
      const caller = callers.get(f.app) ?? world.caller(CASE_APPS[f.app]);
      callers.set(f.app, caller);
      const v = world.maps.decide(caller, {
        protocol: f.protocol === 'tcp' ? 6 : 17,
        to: caseAddr(f.to),
        port: f.port,
        from: f.from === undefined ? undefined : caseAddr(f.from),
        hash: 0,
      });
      const said =
        v.kind === 'way' ? (v.way === VRF_WAY ? 'vrf 1' : `uplink ${v.way}`) : v.kind === 'main' ? 'vrf 0' : v.kind;
      t.is(said, f.expect, JSON.stringify(f));
    }
  });

test('a process nobody has told about yet goes by the name of its task', (t) => {
  const world = new World({
    rules: [rule({ apps: ['/usr/bin/curl', 'a-very-long-name-of-a-program'] }, { kind: 'reject' })],
  });
  const q = { protocol: 6, to: addr('192.0.2.1'), port: 80, from: undefined, hash: 0 };
  const early = world.caller(CASE_APPS.curl, false);
  t.is(world.maps.decide(early, q).kind, 'reject');
  t.is(world.maps.decide({ ...early, name: 'a-very-long-name-of-a-program' }, q).kind, 'reject');
  t.is(world.maps.decide({ ...early, name: 'wget' }, q).kind, 'default');
  // Another program of that name: known to be none of the rule's as soon as it is told.
  world.image.setProcess(early.pid, { ...CASE_APPS.curl, executable: '/opt/other/curl', argv0: 'curl' });
  world.sync();
  t.is(world.maps.decide(early, q).kind, 'default');
  world.image.removeProcess(early.pid);
  world.sync();
  t.is(world.maps.decide(early, q).kind, 'reject');
});

const GROUP: UplinkGroup = {
  name: 'g',
  balance: 'round_robin',
  members: [
    { uplink: 0, weight: 3 },
    { uplink: 1, weight: 1 },
    { uplink: 2, weight: 2 },
  ],
};

function share(world: World, count: number): number[] {
  const counts = [0, 0, 0];
  const q = { protocol: 6, to: addr('192.0.2.1'), port: 80, from: undefined };
  for (let hash = 0; hash < count; hash++) {
    const v = world.maps.decide({ pid: 1, name: '', uid: 0, cgroups: [] }, { ...q, hash });
    if (v.kind === 'way') counts[v.way]!++;
  }
  return counts;
}

test('rings are exact by weight, without uplinks that cannot be used', (t) => {
  const down = new Set<number>();
  const world = new World({ rules: [rule({})], groups: [GROUP], isUsable: (u) => !down.has(u) });
  t.deepEqual(share(world, 600), [300, 100, 200]);
  const change = (uplink: number, isUsable: boolean): void => {
    if (isUsable) down.delete(uplink);
    else down.add(uplink);
    world.image.usabilityChanged(uplink);
    world.sync();
    t.true(world.image.isCurrent, 'no rule says what else to do');
  };
  change(0, false);
  t.deepEqual(share(world, 600), [0, 200, 400]);
  change(1, false);
  t.deepEqual(share(world, 600), [0, 0, 600]);
  change(2, false);
  t.deepEqual(share(world, 600), [0, 0, 0]);
  change(0, true);
  t.deepEqual(share(world, 600), [600, 0, 0]);
});

test('losing one uplink of a hash moves only the flows that it had', (t) => {
  const group = { ...GROUP, balance: 'hash' } as const;
  const owners = (isUsable: (u: number) => boolean): number[] => {
    const world = new World({ rules: [rule({})], groups: [group], isUsable });
    return Array.from({ length: 512 }, (_, hash) => {
      const q = { protocol: 6, to: addr('192.0.2.1'), port: 80, from: undefined, hash };
      const v = world.maps.decide({ pid: 1, name: '', uid: 0, cgroups: [] }, q);
      return v.kind === 'way' ? v.way : -1;
    });
  };
  const all = owners(() => true);
  const without = owners((u) => u !== 1);
  t.true(all.filter((u) => u === 1).length > 40, 'it had its share');
  for (const [hash, owner] of all.entries()) if (owner !== 1) t.is(without[hash], owner);
  t.false(without.includes(1));
});

// ---- The property: maps and definition agree.

const APPS: readonly ProcessFacts[] = [
  { executable: '/usr/bin/curl', argv0: 'curl', group: undefined, uid: 1000, cgroup: '/' },
  { executable: '/opt/x/curl-7', argv0: '-sh', group: 'wifi', uid: 0, cgroup: '/a.slice/b.service' },
  { executable: '/opt/x/y', argv0: 'y', group: 'lan', uid: 1, cgroup: '' },
];

test('what the programs find in their maps is what reading all rules in order finds', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyMatch, { maxLength: 12 }),
      fc.array(anyNamed, { maxLength: 6 }),
      fc.array(anyFlow, { minLength: 20, maxLength: 40 }),
      (all, answers, flows) => {
        const rules = all.map((m) => rule(m, { kind: 'vrf', vrf: 1 }));
        const world = new World({ rules });
        const names = new Map<string, string[]>();
        const callers = APPS.map((facts) => world.caller(facts));
        for (const [i, f] of flows.entries()) {
          const answer = answers[i];
          if (answer !== undefined) {
            const [name, a] = answer;
            names.set(String(a), [...new Set([...(names.get(String(a)) ?? []), name])]);
            world.image.learn(a, names.get(String(a))!);
          }
          // Half of what was learned is forgotten again.
          if (i === 12)
            for (const a of [...names.keys()].slice(0, names.size >> 1)) {
              names.delete(a);
              world.image.learn(addr(a), []);
            }
          world.sync();
          const q = { ...f, port: f.protocol === 1 ? NO_PORT : f.port, hash: 0 };
          const facts = { ...q, names: names.get(String(f.to)) ?? [] };
          const expected = rules.findIndex((r) => matches(r.match, APPS[f.app]!, facts));
          if ((expected < 0 ? NO_RULE : expected) !== world.maps.decide(callers[f.app]!, q).rule) return false;
        }
        return true;
      },
    ),
    { seed: 4, numRuns: 400 },
  );
  t.pass();
});

test('more kinds of processes than the maps hold are a clear error, not a wrong decision', (t) => {
  const rules = Array.from({ length: 12 }, (_, i) =>
    rule({ users: Array.from({ length: 60 }, (_, u) => u * 12 + i), from: [prefix(`10.${i}.0.0/16`)] }),
  ).flatMap((r, i) => [r, rule({ users: [i], apps: [`app${i}`] })]);
  const world = (): PolicyImage => {
    const image = new PolicyImage(input({ rules, groups: [GROUP] }));
    for (let i = 0; i < 12; i++) image.setProcess(i, { ...CASE_APPS.curl, executable: `/bin/app${i}`, argv0: '' });
    return image;
  };
  t.throws(world, { code: 'POLICY_TOO_LARGE' });
});
