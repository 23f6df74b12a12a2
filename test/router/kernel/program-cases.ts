/** What the programs are asked in both of their variants: the shared policy cases, and every kind of socket. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { KernelPolicy, Programs } from '../../../router/kernel/programs.ts';
import type { UplinkGroup } from '../../../router/uplink/balancer.ts';
import { CASE_APPS, type CaseApp, type PolicyCase } from '../../kit/policy-cases.ts';
import type { TwoWays, WaysApp } from '../../kit/two-ways.ts';
import { addr, rule } from '../uplink/kit.ts';

export const SERVER4 = '203.0.113.7';
export const SERVER6 = '2001:db8::7';

export interface KernelLab {
  readonly ways: TwoWays;
  readonly programs: Programs;
}

export const member = (uplink: number, weight = 1): { uplink: number; weight: number } => ({ uplink, weight });
export const both = (balance: UplinkGroup['balance'], w0 = 1, w1 = 1): UplinkGroup => ({
  name: 'both',
  balance,
  members: [member(0, w0), member(1, w1)],
});

export function policy(ways: TwoWays, over: Partial<KernelPolicy>): KernelPolicy {
  return {
    rules: [rule({})],
    groups: [both('round_robin')],
    uplinks: [ways.uplink(0), ways.uplink(1)],
    vrfs: [undefined, undefined],
    isStrict: false,
    ownAddresses: [],
    ...over,
  };
}

const ERRNO: Readonly<Record<string, string>> = { EACCES: 'reject', ENETUNREACH: 'no-uplink' };
const WAY: Readonly<Record<string, string>> = { up0: 'uplink 0', up1: 'uplink 1', vrf1: 'vrf 1', '': 'default' };

export async function checkCase(t: ExecutionContext, { ways, programs }: KernelLab, c: PolicyCase): Promise<void> {
  const vrf = { ...ways.uplink(0), name: 'vrf1', device: 'lo', dns: [], source4: undefined, source6: undefined };
  const uplinks = [0, 1].map((i) => ways.uplink(i, c.v4Only.includes(i) ? { source6: undefined } : {}));
  programs.setPolicy(policy(ways, { rules: c.rules, groups: c.groups, uplinks, vrfs: [undefined, vrf] }));
  for (const i of [0, 1]) programs.setUsable(i, !c.unusable.includes(i));
  for (const [name, a] of c.names) programs.learn(addr(a), [name]);
  const apps = new Map<CaseApp, WaysApp>();
  const ids: bigint[] = [];
  for (const f of c.flows) {
    let app = apps.get(f.app);
    if (app === undefined) {
      const facts = CASE_APPS[f.app];
      const cgroup = join(ways.cgroup, `case-${apps.size}`);
      const id = ways.folder(cgroup);
      ids.push(id);
      programs.setCgroup(id, facts.cgroup, facts.group);
      app = await ways.app({ cgroup, uid: facts.uid });
      programs.setProcess(app.pid, facts);
      apps.set(f.app, app);
    }
    const { to, port: dstPort, from } = f;
    const tcp = f.protocol === 'tcp';
    const { device, error } = await app.one({ op: 'decide', to, port: dstPort, tcp, ...(from && { from }) });
    const said = device === 'lo' ? 'vrf 1' : (ERRNO[error ?? ''] ?? WAY[device]);
    t.is(said, f.expect === 'vrf 0' ? 'default' : f.expect, JSON.stringify({ ...f, device, error }));
  }
  for (const app of apps.values()) {
    await app.process.stop('SIGKILL');
    programs.removeProcess(app.pid);
  }
  for (const id of ids) programs.removeCgroup(id);
  for (const i of [0, 1]) programs.setUsable(i, true);
  for (const [, a] of c.names) programs.learn(addr(a), []);
  ways.removeFolders();
}

/** Each kind of socket, of both families, takes the uplink; the first datagram of an unconnected one is answered. */
export async function checkSockets(t: ExecutionContext, { ways, programs }: KernelLab): Promise<void> {
  const app = await ways.app();
  for (const only of [0, 1]) {
    programs.setPolicy(policy(ways, { groups: [{ name: 'one', balance: 'failover', members: [member(only)] }] }));
    for (const [to, local, v6] of [
      [SERVER4, `10.${only + 1}.0.2`, false],
      [SERVER6, `fd0${only + 1}::2`, true],
      [`::ffff:${SERVER4}`, `::ffff:10.${only + 1}.0.2`, true],
    ] as const) {
      for (const tcp of [true, false]) {
        const said = await app.one({ op: 'talk', to, port: 7000, tcp });
        t.like(said, { device: `up${only}`, local }, JSON.stringify({ to, tcp, said }));
        t.is(said.answer, `${local.replace('::ffff:', '')} ${to.replace('::ffff:', '')}`);
      }
      const sent = await app.one({ op: 'send', to, port: 7000, v6 });
      t.like(sent, { device: '', peer: to }, JSON.stringify({ to, sent }));
      t.is(sent.answer, `${local.replace('::ffff:', '')} ${to.replace('::ffff:', '')}`);
    }
  }
  await app.process.stop('SIGKILL');
}
