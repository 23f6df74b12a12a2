/**
 * Finds, reads and judges the configuration: YAML or a wg-quick file in, a frozen `Config` out, or every complaint at
 * once with its place. The only file of the router that reads configuration from disk.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { MlshimError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { subtractPrefixes } from '../lib/ranges.ts';
import { systemReason } from '../lib/reason.ts';
import { toBgp } from './bgp-load.ts';
import { peerUplinks } from './bgp-wireguard.ts';
import { checkReferences, checkValues } from './check.ts';
import { formatDiagnostics } from './diagnostic.ts';
import type { Tunnel } from './dn42.ts';
import { toFpm } from './fpm.ts';
import { quickConfig } from './from-quick.ts';
import type { Config, Diagnostic, RouteTarget, StaticRoute, UplinkConfig, WireguardConfig } from './model.ts';
import { checkFilterModule, checkOutside } from './outside.ts';
import { toPolicy } from './policy.ts';
import { toProbe } from './probe.ts';
import { configSchema, type ParsedConfig } from './schema.ts';
import { type Path, SourceTree, type WrittenValue } from './tree.ts';

export interface Loaded {
  /** Undefined when there was an error. */
  readonly config: Config | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

export interface ConfigSource {
  /** As the user wrote it. */
  readonly shown: string;
  readonly path: string;
  readonly text: string;
}

/**
 * The configuration's text, from the first place that has one: `explicit`, MLSHIM_CONFIG, MLSHIM_CONFIG_YAML (the text
 * itself), ./mlshim.yaml, the user's and the system's configuration folder.
 * @throws MlshimError CONFIG_UNREADABLE
 */
export function findConfig(explicit: string | undefined, env: NodeJS.ProcessEnv = process.env): ConfigSource {
  const named = explicit ?? env['MLSHIM_CONFIG'];
  if (named !== undefined) return readSource(named);
  const inline = env['MLSHIM_CONFIG_YAML'];
  if (inline !== undefined) return { shown: 'MLSHIM_CONFIG_YAML', path: resolve('mlshim.yaml'), text: inline };
  const folder = env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config');
  const places = ['mlshim.yaml', join(folder, 'mlshim', 'mlshim.yaml'), '/etc/mlshim/mlshim.yaml'];
  for (const place of places) {
    try {
      return { shown: place, path: resolve(place), text: readFileSync(place, 'utf8') };
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'ENOENT') return readSource(place);
    }
  }
  throw new MlshimError('CONFIG_UNREADABLE', `no configuration: none of ${places.join(', ')} exists`);
}

function readSource(file: string): ConfigSource {
  try {
    return { shown: file, path: resolve(file), text: readFileSync(file, 'utf8') };
  } catch (e) {
    throw new MlshimError('CONFIG_UNREADABLE', `cannot read ${file}: ${systemReason(e)}`);
  }
}

/** Parse and check; never throws for what a file says. What it names outside of itself, but for users, is not looked at. */
export function parseConfig(source: ConfigSource, env: NodeJS.ProcessEnv = process.env): Loaded {
  return judged(isQuick(source) ? quickFile(source) : yamlConfig(source, env));
}

/** What the file and all that it includes say, and where. A wg-quick file has no such values. */
export function writtenValues(source: ConfigSource, env: NodeJS.ProcessEnv = process.env): readonly WrittenValue[] {
  return isQuick(source) ? [] : new SourceTree(source.shown, source.path, source.text, env).values();
}

/** As parseConfig, with everything the file names outside of itself. */
export function checkConfig(source: ConfigSource, env: NodeJS.ProcessEnv = process.env): Promise<Loaded> {
  return parseAnd(checkOutside, source, env);
}

async function parseAnd(check: typeof checkOutside, source: ConfigSource, env: NodeJS.ProcessEnv): Promise<Loaded> {
  if (isQuick(source)) return judged(quickFile(source));
  const found = yamlConfig(source, env);
  await check(found.tree, source);
  return judged(found);
}

/**
 * Find, parse and check, with the filter module; other files are told of by those who read them.
 * @throws MlshimError CONFIG_INVALID with every complaint as its message, CONFIG_UNREADABLE
 */
export async function loadConfig(
  explicit: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Required<Loaded> & { readonly config: Config }> {
  const { config, diagnostics } = await parseAnd(checkFilterModule, findConfig(explicit, env), env);
  if (config === undefined) throw new MlshimError('CONFIG_INVALID', formatDiagnostics(diagnostics));
  return { config, diagnostics };
}

function judged(found: Loaded): Loaded {
  const diagnostics = [...found.diagnostics].sort((a, b) => a.line - b.line || a.column - b.column);
  const failed = diagnostics.some((d) => d.severity === 'error');
  return { config: failed ? undefined : found.config && deepFreeze(found.config), diagnostics };
}

function isQuick({ path, text }: ConfigSource): boolean {
  return path.endsWith('.conf') || /^\s*\[Interface\]/im.test(text);
}

function quickFile(source: ConfigSource): Loaded {
  return quickConfig(source, basename(source.path, '.conf'));
}

function yamlConfig(source: ConfigSource, env: NodeJS.ProcessEnv): Loaded & { readonly tree: SourceTree } {
  const tree = new SourceTree(source.shown, source.path, source.text, env);
  const { diagnostics } = tree;
  // A file that is not YAML has one complaint, its own; checking the half of it that was read would add noise.
  if (diagnostics.some((d) => d.severity === 'error') && tree.root === undefined)
    return { config: undefined, diagnostics, tree };
  const parsed = configSchema.safeParse(tree.root);
  if (parsed.error !== undefined) for (const issue of parsed.error.issues) reportIssue(tree, issue, []);
  checkReferences(tree);
  if (!parsed.success) return { config: undefined, diagnostics, tree };
  checkValues(tree, parsed.data);
  return { config: toConfig(source, parsed.data, tree), diagnostics, tree };
}

type Issue = NonNullable<ReturnType<typeof configSchema.safeParse>['error']>['issues'][number];

function reportIssue(tree: SourceTree, issue: Issue, above: Path): void {
  const path: Path = [...above, ...(issue.path as (string | number)[])];
  switch (issue.code) {
    case 'unrecognized_keys':
      for (const key of issue.keys) {
        const near = nearest(key, issue.message.split(', '));
        const hint = near === undefined ? '' : `did you mean "${near}"? `;
        tree.reportKey('error', [...path, key], `unknown key "${key}" (${hint}known: ${issue.message})`);
      }
      return;
    case 'invalid_key':
      for (const inner of issue.issues) tree.reportKey('error', path, inner.message);
      return;
    case 'invalid_union': {
      // The branch that got furthest is the one that was meant.
      const depth = (branch: readonly Issue[]): number =>
        Math.max(...branch.map((i) => (i.code === 'invalid_type' ? i.path.length : i.path.length + 1)));
      const branches = [...(issue.errors as readonly (readonly Issue[])[])].sort((a, b) => depth(b) - depth(a));
      if (branches.length === 0) tree.report('error', path, issue.message);
      else for (const inner of branches[0]!) reportIssue(tree, inner, path);
      return;
    }
    default: {
      // A missing value is told at its parent, where the reader has to add it.
      const missing = issue.message === 'is missing';
      tree.report('error', path, missing ? `"${String(path.at(-1))}" is missing` : issue.message);
    }
  }
}

function toConfig({ shown, path }: ConfigSource, c: ParsedConfig, tree: SourceTree): Config {
  const listed = Object.entries(c.uplinks).map(([name, u]) => toUplink(name, u));
  const uplinks = [...listed, ...(c.bgp === undefined ? [] : peerUplinks(c.bgp, [c.source.ipv4, c.source.ipv6]))];
  const tunnelOf = (name: string): Tunnel => {
    const peers = uplinks.find((u) => u.name === name)?.wireguard?.peers ?? [];
    return peers.length > 0 && peers.every((p) => p.presharedKey !== undefined) ? 'wireguard-psk' : 'wireguard';
  };
  return {
    file: shown,
    backend: c.backend,
    isolation: c.isolation,
    strict: c.strict,
    uplinks,
    vrfs: Object.entries(c.vrfs).map(([name, v]) => ({
      name,
      rd: v.rd,
      importTargets: v.import,
      exportTargets: v.export,
      networks: v.networks,
    })),
    routes: c.routes.map((r) => toRoute(r, c)),
    policy: toPolicy(c),
    dns: c.dns,
    source: { v4: c.source.ipv4, v6: c.source.ipv6 },
    fpm: c.fpm && toFpm(c.fpm),
    birdSocket: c.bird_socket === undefined ? undefined : resolve(dirname(path), c.bird_socket),
    bgp: c.bgp && toBgp(c.bgp, path, tunnelOf, (at) => tree.placeOf(at)),
    loopback: c.loopback,
    bufferBytes: c.buffers,
  };
}

function toUplink(name: string, u: ParsedConfig['uplinks'][string]): UplinkConfig {
  return {
    name,
    vrf: u.vrf,
    bandwidth: u.bandwidth,
    probe: u.probe && toProbe(u.probe),
    whenDown: u.when_down,
    dns: u.dns,
    wireguard: u.wireguard && toWireguard(u.wireguard),
    host: u.kernel && { interface: u.kernel.interface, source: u.kernel.source },
  };
}

function toWireguard(w: NonNullable<ParsedConfig['uplinks'][string]['wireguard']>): WireguardConfig {
  return {
    addresses: w.addresses,
    mtu: w.mtu,
    privateKey: w.private_key,
    listenPort: w.listen_port,
    installRoutes: w.table === 'auto',
    peers: w.peers.map((p) => ({
      name: p.name,
      publicKey: p.public_key,
      presharedKey: p.preshared_key,
      endpoint: p.endpoint,
      allowedIps: subtractPrefixes(p.allowed_ips, p.excluded_ips),
      keepaliveS: p.persistent_keepalive,
    })),
  };
}

function toRoute(r: ParsedConfig['routes'][number], c: ParsedConfig): StaticRoute {
  const first = typeof r.via === 'string' ? r.via : r.via?.[0]?.via;
  const vrf = r.vrf ?? (first === undefined ? undefined : c.uplinks[first]?.vrf);
  const hop = (
    uplink: string,
    gateway: RouteTarget extends infer T ? (T extends { gateway: infer G } ? G : never) : never,
    weight: number,
  ): RouteTarget => ({
    kind: 'uplink',
    uplink,
    gateway,
    weight,
  });
  if (r.type !== undefined) return { to: r.to, vrf, targets: [{ kind: r.type }] };
  if (typeof r.via === 'string') return { to: r.to, vrf, targets: [hop(r.via, r.gateway, 1)] };
  return { to: r.to, vrf, targets: (r.via ?? []).map((h) => hop(h.via, h.gateway, h.weight)) };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const v of Object.values(value)) deepFreeze(v);
  }
  return value;
}
