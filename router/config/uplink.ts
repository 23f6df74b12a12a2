/** What an uplink is: a WireGuard tunnel, or a path of the host's own network. */
import type { Addr } from '../lib/addr.ts';
import { addr, INTERFACE, object, Refusal, text } from './fields.ts';
import { asList, asMap, type Path, type SourceTree } from './tree.ts';
import { Unique } from './unique.ts';

/** Exactly one of the two; checkKinds refuses both and neither. */
export const hostPath = object({
  /** All that leaves by this interface. */
  interface: text('the name of an interface', (s): string | Refusal => {
    return INTERFACE.test(s) && s !== 'lo' ? s : new Refusal(`"${s}" is not the name of an interface that leads out`);
  }).optional(),
  /** All that carries this address of ours. */
  source: addr
    .transform((a, ctx): Addr => {
      if (a.isUnspecified || a.isMulticast || a.isLoopback || a.isLinkLocal)
        ctx.issues.push({ code: 'custom', message: `${a} is not an address that leads out`, input: undefined });
      return a;
    })
    .optional(),
});

/** Each uplink is of one kind. Needs the plain tree alone. */
export function checkKinds(tree: SourceTree): void {
  for (const [name, uplink] of Object.entries(asMap(asMap(tree.root)['uplinks']))) {
    const at: Path = ['uplinks', name];
    const { wireguard, kernel } = asMap(uplink);
    if (wireguard !== undefined && kernel !== undefined)
      tree.report(
        'error',
        [...at, 'kernel'],
        "an uplink is a tunnel (wireguard) or a path of the host's network (kernel), not both",
      );
    if (wireguard === undefined && kernel === undefined)
      tree.report('error', at, 'needs "wireguard" (a tunnel) or "kernel" (an interface or an address of the host)');
    if (kernel === undefined || typeof kernel !== 'object' || Array.isArray(kernel)) continue;
    const { interface: device, source } = asMap(kernel);
    if ((device === undefined) === (source === undefined))
      tree.report('error', [...at, 'kernel'], 'needs one of "interface" and "source"');
  }
}

interface Parsed {
  readonly backend: string;
  readonly isolation: string;
  readonly strict: boolean;
  readonly uplinks: Readonly<
    Record<
      string,
      { readonly kernel?: { readonly interface?: string | undefined; readonly source?: Addr | undefined } | undefined }
    >
  >;
}

/** No two uplinks are the same path; what only the kernel backend reads is told where that is ruled out. */
export function checkHostPaths(tree: SourceTree, config: Parsed): void {
  const interfaces = new Unique<string>(tree, 'interface');
  const sources = new Unique<string>(tree, 'source');
  for (const [name, { kernel }] of Object.entries(config.uplinks)) {
    const at: Path = ['uplinks', name, 'kernel'];
    if (kernel?.interface !== undefined) interfaces.add(kernel.interface, [...at, 'interface']);
    if (kernel?.source !== undefined) sources.add(String(kernel.source), [...at, 'source']);
  }
  if (config.backend !== 'userspace') return;
  for (const key of ['isolation', 'strict'] as const)
    if (asMap(tree.root)[key] !== undefined)
      tree.report('warning', [key], `${key} has no effect with backend: userspace`);
  checkNoRoutes(tree, config);
}

/** Our own stack has no link for a path of the host. Where the backend is not said, it is known at the start only (app/plan.ts). */
function checkNoRoutes(tree: SourceTree, { uplinks }: Parsed): void {
  const refuse = (uplink: unknown, at: Path): void => {
    if (typeof uplink !== 'string' || uplinks[uplink]?.kernel === undefined) return;
    const what = `"${uplink}" is a path of the host's network`;
    tree.report('error', at, `${what}: the user-space backend routes by tunnels only`);
  };
  const root = asMap(tree.root);
  for (const [i, route] of asList(root['routes']).entries()) {
    const { via } = asMap(route);
    refuse(via, ['routes', i, 'via']);
    for (const [j, hop] of asList(via).entries()) refuse(asMap(hop)['via'], ['routes', i, 'via', j, 'via']);
  }
  for (const [i, peer] of asList(asMap(root['bgp'])['peers']).entries())
    refuse(asMap(peer)['via'], ['bgp', 'peers', i, 'via']);
  for (const [i, server] of asList(asMap(root['dns'])['servers']).entries())
    refuse(String(server).split('%')[1], ['dns', 'servers', i]);
}
