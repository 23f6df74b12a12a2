/** Every suite of the guest: the host's tests are named after them, the guest runs them in this order. */
import type { BootKind, Case, Suite } from './guest/case.ts';
import { dockerSuite } from './guest/docker.ts';
import { endpoints } from './guest/endpoints.ts';
import { facts } from './guest/facts.ts';
import { hostNetwork } from './guest/host-network.ts';
import { device, source } from './guest/isolation.ts';
import { lifecycle } from './guest/lifecycle.ts';
import { lines } from './guest/lines.ts';
import { programsSuite } from './guest/programs.ts';
import { routes } from './guest/routes.ts';
import { systemd } from './guest/systemd.ts';
import { uplinks } from './guest/uplinks.ts';
import { wireguard, wireguardGo } from './guest/wireguard.ts';
import { yama } from './guest/yama.ts';

export const SUITES: readonly Suite[] = [
  facts,
  lines,
  hostNetwork,
  programsSuite,
  uplinks,
  lifecycle,
  device,
  source,
  endpoints,
  wireguard,
  wireguardGo,
  routes,
  yama,
  systemd,
  dockerSuite,
];

/** The one that runs alone, then the longest first. */
export const BOOTS: readonly BootKind[] = ['measured', 'daemon', 'plain', 'systemd'];

export interface Listed {
  readonly boot: BootKind;
  readonly name: string;
  readonly title: string;
}

/** The point that tells whether a suite has left the guest's network, programs and cgroups as they were. */
export const leftoverCase = (suite: Suite): Pick<Case, 'name' | 'title'> => ({
  name: `${suite.name}-leftovers`,
  title: `the cases of "${suite.name}" leave no link, address, rule, route, program, map, cgroup, pin or sysctl changed`,
});

/** Whether a case takes part: no names means all of them. */
export const isWanted = (only: readonly string[], suite: Suite, { name }: Pick<Case, 'name'>): boolean =>
  only.length === 0 || only.includes(name) || only.includes(suite.name);

/** The points a boot tells of, in order. */
export function listed(boot: BootKind, only: readonly string[] = []): Listed[] {
  return SUITES.filter((suite) => suite.boot === boot).flatMap((suite) => {
    const cases = suite.cases.filter((one) => isWanted(only, suite, one));
    return (cases.length === 0 ? [] : [...cases, leftoverCase(suite)]).map(({ name, title }) => ({
      boot,
      name,
      title,
    }));
  });
}
