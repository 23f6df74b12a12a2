/** A wg-quick file as a configuration: one uplink named after the file, its DNS, its allowed IPs as routes. */
import { parseQuick, type QuickProblem } from '../../wg/quick.ts';
import { type Config, type Diagnostic, plainTunnel, type Severity } from './model.ts';
import { DEFAULT_BUFFER_BYTES, DEFAULT_ISOLATION, DEFAULT_MTU } from './schema.ts';

export function quickConfig(
  source: { readonly shown: string; readonly text: string },
  name: string,
): { readonly config: Config | undefined; readonly diagnostics: readonly Diagnostic[] } {
  const { config: quick, errors, warnings } = parseQuick(source.text);
  const lines = source.text.split('\n');
  const diagnostic =
    (severity: Severity) =>
    (p: QuickProblem): Diagnostic => {
      const text = (lines[p.line - 1] ?? '').replace(/\r$/, '');
      return {
        severity,
        file: source.shown,
        line: p.line,
        column: p.column,
        width: p.length,
        message: p.message,
        path: '',
        // A line that may hold key material is not shown.
        source: /key/i.test(text) ? undefined : text,
      };
    };
  const diagnostics = [...errors.map(diagnostic('error')), ...warnings.map(diagnostic('warning'))];
  if (quick === undefined) return { config: undefined, diagnostics };
  const config: Config = {
    file: source.shown,
    backend: 'auto',
    isolation: DEFAULT_ISOLATION,
    strict: false,
    uplinks: [
      plainTunnel(name, {
        addresses: quick.addresses,
        mtu: quick.mtu ?? DEFAULT_MTU,
        privateKey: quick.device.privateKey,
        listenPort: quick.device.listenPort,
        peers: quick.device.peers.map((p) => ({ ...p, name: p.name })),
        installRoutes: quick.table !== 'off',
      }),
    ],
    vrfs: [],
    routes: [],
    policy: { rules: [], groups: [] },
    dns: { servers: quick.dns.map((addr) => ({ addr, uplink: undefined })), search: quick.dnsSearch },
    source: { v4: undefined, v6: undefined },
    bgp: undefined,
    fpm: undefined,
    birdSocket: undefined,
    loopback: 'kernel',
    bufferBytes: DEFAULT_BUFFER_BYTES,
  };
  return { config, diagnostics };
}
