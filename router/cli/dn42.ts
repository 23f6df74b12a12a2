/** `mlshim dn42 card|add-peer|lint`: what a DN42 operator tells others, takes from them, and should look after. Needs no daemon. */
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { formatKey, parseKey, publicKey } from '../../wg/keys.ts';
import { parseEndpoint } from '../../wg/quick.ts';
import type { BgpConfig, BgpPeerConfig } from '../config/bgp-model.ts';
import { customLinkLocal, customPort } from '../config/bgp-wireguard.ts';
import { formatDiagnostics } from '../config/diagnostic.ts';
import { parseBandwidth } from '../config/dn42.ts';
import { type Finding, lintDn42 } from '../config/dn42-lint.ts';
import { NAME } from '../config/fields.ts';
import { findConfig, parseConfig } from '../config/load.ts';
import type { Config } from '../config/model.ts';
import { Addr } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { parseAsn } from '../lib/ranges.ts';
import { systemReason } from '../lib/reason.ts';
import type { Input } from './command.ts';
import { hanging, plural, textTable } from './render.ts';

const USUAL_MTU = 1420;
const FOLDER = 'peers.d';

/** What a peer has to know of us. */
export interface Card {
  readonly asn: number;
  /** HOST:PORT, or what is missing of it. */
  readonly endpoint: string;
  readonly public_key: string;
  readonly link_local: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mtu: number;
  readonly networks: readonly string[];
  readonly mp_bgp: boolean;
  readonly extended_next_hop: boolean;
  readonly extended_messages: boolean;
}

/** @throws MlshimError CONFIG_INVALID, CONFIG_UNREADABLE, USAGE */
function load(input: Input): { readonly config: Config; readonly bgp: BgpConfig; readonly path: string } {
  const source = findConfig(input.options['config'] as string | undefined, input.io.env);
  const { config, diagnostics } = parseConfig(source, input.io.env);
  if (config === undefined) throw new MlshimError('CONFIG_INVALID', formatDiagnostics(diagnostics));
  if (config.bgp === undefined) throw new MlshimError('USAGE', `${source.shown} has no "bgp" part`);
  return { config, bgp: config.bgp, path: source.path };
}

function asnOf(text: string): number {
  const asn = parseAsn(text);
  if (asn === undefined) throw new MlshimError('USAGE', `"${text}" is not an AS number`);
  return asn;
}

/** Whom a card is for: the port and the key are those of their tunnel. */
interface Recipient {
  readonly asn: number;
  /** Undefined where there is no session yet: customs say the port. */
  readonly session: BgpPeerConfig | undefined;
}

/** @throws MlshimError USAGE when nobody is called so, or several are */
function recipient(bgp: BgpConfig, text: string): Recipient {
  const named = bgp.peers.find((p) => p.name === text);
  if (named !== undefined && typeof named.asn === 'number') return { asn: named.asn, session: named };
  const asn = asnOf(text);
  const sessions = bgp.peers.filter((p) => p.asn === asn);
  if (sessions.length > 1)
    throw new MlshimError(
      'USAGE',
      `AS${asn} has several sessions: name one of ${sessions.map((p) => p.name).join(', ')}`,
    );
  return { asn, session: sessions[0] };
}

export function cardOf(config: Config, bgp: BgpConfig, peer: Recipient | undefined): Card {
  const session = peer?.session;
  const tunnel = config.uplinks.find((u) => u.name === session?.via)?.wireguard;
  const port = tunnel?.listenPort ?? (peer === undefined ? undefined : customPort(peer.asn));
  const key = tunnel === undefined ? bgp.dn42.publicKey : publicKey(tunnel.privateKey);
  const local = tunnel?.addresses.find((a) => a.addr.family === 6 && a.addr.isLinkLocal)?.addr ?? bgp.dn42.linkLocal;
  const host = bgp.dn42.endpoint;
  const shownHost = host === undefined ? '' : Addr.parse(host)?.family === 6 ? `[${host}]` : host;
  const shownPort = port === undefined ? '20000 + last 4 digits of your ASN' : String(port);
  return {
    asn: bgp.asn,
    endpoint: port === 0 ? '' : host === undefined ? `port ${shownPort}` : `${shownHost}:${shownPort}`,
    public_key: key === undefined ? '' : formatKey(key),
    link_local: String(local ?? customLinkLocal(bgp.asn)),
    ipv4: config.source.v4 === undefined ? '' : String(config.source.v4),
    ipv6: config.source.v6 === undefined ? '' : String(config.source.v6),
    mtu: tunnel?.mtu ?? USUAL_MTU,
    networks: bgp.networks.map((n) => String(n.prefix)),
    mp_bgp: session === undefined || session.families.length > 1,
    extended_next_hop: session?.extendedNextHop ?? true,
    extended_messages: true,
  };
}

export function cardText(c: Card): string {
  const words = [
    c.mp_bgp ? 'MP-BGP: IPv4 and IPv6 in one session' : 'one address family',
    c.extended_next_hop ? 'extended next hop (RFC 8950)' : 'no extended next hop',
    c.extended_messages ? 'extended messages (RFC 8654)' : '',
  ];
  const rows: [string, string][] = [
    ['ASN', String(c.asn)],
    ['Endpoint', c.endpoint === '' ? 'none: we dial out' : c.endpoint],
    ['Public key', c.public_key === '' ? 'not set (bgp.dn42.private_key)' : c.public_key],
    ['Link-local', c.link_local],
    ['IPv4', c.ipv4],
    ['IPv6', c.ipv6],
    ['MTU', String(c.mtu)],
    ['Networks', c.networks.join(', ')],
    ['BGP', words.filter((w) => w !== '').join(', ')],
  ];
  return rows.map(([k, v]) => (v === '' ? '' : hanging(k.padEnd(12), v, 12))).join('');
}

export async function card(input: Input): Promise<number> {
  const { config, bgp } = load(input);
  const c = cardOf(config, bgp, input.args[0] === undefined ? undefined : recipient(bgp, input.args[0]));
  input.io.out(input.options['json'] === true ? `${JSON.stringify(c, null, 2)}\n` : cardText(c));
  return c.public_key === '' ? 1 : 0;
}

/** The YAML of one peer, as one item of a list. */
export function peerYaml(asn: number, o: Readonly<Record<string, string | undefined>>): string {
  const lines = [`# AS${asn}`, `- asn: ${asn}`];
  if (o['name'] !== undefined) lines.push(`  name: ${o['name']}`);
  if (o['link-local'] !== undefined) lines.push(`  address: '${o['link-local']}'`);
  lines.push('  wireguard:', `    public_key: ${o['public-key']}`);
  if (o['endpoint'] !== undefined) lines.push(`    endpoint: '${o['endpoint']}'`);
  if (o['preshared-key-file'] !== undefined) lines.push(`    preshared_key: !file ${o['preshared-key-file']}`);
  if (o['port'] !== undefined) lines.push(`    listen_port: ${o['port']}`);
  if (o['mtu'] !== undefined) lines.push(`    mtu: ${o['mtu']}`);
  if (o['bandwidth'] !== undefined) lines.push('  dn42:', `    bandwidth: ${o['bandwidth']}`);
  return `${lines.join('\n')}\n`;
}

/** Numbers that options may have; an IPv6 link has an MTU of 1280 at least. */
const NUMBERS: readonly (readonly [option: string, from: number, to: number])[] = [
  ['port', 0, 65_535],
  ['mtu', 1280, 65_535],
];

/** @throws MlshimError USAGE */
function peerOptions(input: Input): Record<string, string | undefined> {
  const o = input.options as Record<string, string | undefined>;
  const refuse = (what: string): never => {
    throw new MlshimError('USAGE', what);
  };
  if (o['public-key'] === undefined) refuse('--public-key is missing: the WireGuard key of the peer');
  if (parseKey(o['public-key']!) === undefined) refuse(`"${o['public-key']}" is not a WireGuard key`);
  if (o['endpoint'] !== undefined && parseEndpoint(o['endpoint']) === undefined)
    refuse(`"${o['endpoint']}" is not HOST:PORT, or [IPV6]:PORT`);
  const local = o['link-local'];
  if (local !== undefined && Addr.parse(local)?.family !== 6) refuse(`"${local}" is not an IPv6 address`);
  for (const [key, from, to] of NUMBERS) {
    const text = o[key];
    if (text !== undefined && !(/^\d{1,5}$/.test(text) && Number(text) >= from && Number(text) <= to))
      refuse(`--${key} is a number from ${from} to ${to}, not "${text}"`);
  }
  const { name, bandwidth, 'preshared-key-file': file } = o;
  if (name !== undefined && !NAME.test(name))
    refuse(`"${name}" is not a name (letters, digits, "_", ".", "-"; at most 32)`);
  if (bandwidth !== undefined && parseBandwidth(bandwidth) === undefined)
    refuse(`"${bandwidth}" is not a bandwidth from 100k on, such as 100M or 1G`);
  if (file !== undefined && !/^[A-Za-z0-9_./-]+$/.test(file)) refuse(`"${file}" is no plain name of a file`);
  return o;
}

/**
 * Two tunnels cannot listen on one port.
 * @param given by `--port`; undefined = the custom's
 * @throws MlshimError USAGE when another tunnel listens there
 */
function checkPort(config: Config, asn: number, given: string | undefined): void {
  const port = given === undefined ? customPort(asn) : Number(given);
  const owner = port === 0 ? undefined : config.uplinks.find((u) => u.wireguard?.listenPort === port);
  if (owner === undefined) return;
  const advice = given === undefined ? 'give --port for this one (0: any)' : 'give another --port (0: any)';
  throw new MlshimError('USAGE', `the tunnel ${owner.name} listens on port ${port} already: ${advice}`);
}

/** All of a file or nothing: half of one would spoil the whole configuration. @throws MlshimError NOT_WRITTEN */
function writePeer(file: string, yaml: string): void {
  let isOurs = false;
  try {
    mkdirSync(dirname(file), { recursive: true });
    const fd = openSync(file, 'wx', 0o644);
    isOurs = true;
    try {
      writeFileSync(fd, yaml);
    } finally {
      closeSync(fd);
    }
  } catch (e) {
    if (isOurs) rmSync(file, { force: true });
    throw new MlshimError('NOT_WRITTEN', `cannot write ${file}: ${systemReason(e)}`);
  }
}

/** Writes peers.d/NAME.yaml and looks whether the configuration holds together with it; if not, it is taken back. */
export async function addPeer(input: Input): Promise<number> {
  const asn = asnOf(input.args[0]!);
  const options = peerOptions(input);
  const yaml = peerYaml(asn, options);
  if (input.options['dry-run'] === true) {
    input.io.out(input.options['json'] === true ? `${JSON.stringify({ yaml }, null, 2)}\n` : yaml);
    return 0;
  }
  const { config: before, bgp, path } = load(input);
  if (bgp.peers.some((p) => p.asn === asn) && options['name'] === undefined)
    throw new MlshimError('USAGE', `there is a peer AS${asn} already: give the second one a --name`);
  const name = options['name'] ?? `AS${asn}`;
  checkPort(before, asn, options['port']);
  const file = join(dirname(path), FOLDER, `${name}.yaml`);
  if (existsSync(file)) throw new MlshimError('USAGE', `${file} exists`);
  writePeer(file, yaml);
  const source = findConfig(input.options['config'] as string | undefined, input.io.env);
  const { config, diagnostics } = parseConfig(source, input.io.env);
  if (config === undefined) {
    rmSync(file);
    throw new MlshimError('CONFIG_INVALID', formatDiagnostics(diagnostics));
  }
  const about = diagnostics.filter((d) => d.file === join(dirname(source.shown), FOLDER, `${name}.yaml`));
  if (about.length > 0) input.io.err(`${formatDiagnostics(about)}\n`);
  const session = config.bgp?.peers.find((p) => p.name === name);
  const isUsed = session !== undefined;
  const told = cardOf(config, config.bgp!, { asn, session });
  if (input.options['json'] === true) input.io.out(`${JSON.stringify({ file, used: isUsed, card: told }, null, 2)}\n`);
  else {
    input.io.out(`wrote ${file}; the peer needs of us:\n\n${cardText(told)}\n`);
    input.io.out(isUsed ? 'mlshim reload takes it in\n' : '');
  }
  if (!isUsed)
    input.io.err(
      `${source.shown} does not read it yet; it should say:\n  bgp:\n    peers: !include ${FOLDER}/*.yaml\n`,
    );
  return isUsed ? 0 : 1;
}

export function lintText(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'no findings: the configuration follows the customs of DN42\n';
  const rows = findings.map((f) => [f.severity, f.check, f.where === '' ? '-' : f.where, f.text]);
  const count = (s: Finding['severity']): number => findings.filter((f) => f.severity === s).length;
  return `${textTable(undefined, rows)}\n${plural(count('error'), 'error')}, ${plural(count('warning'), 'warning')}\n`;
}

export async function lint(input: Input): Promise<number> {
  const { config } = load(input);
  const findings = lintDn42(config);
  input.io.out(input.options['json'] === true ? `${JSON.stringify({ findings }, null, 2)}\n` : lintText(findings));
  return findings.some((f) => f.severity !== 'info') ? 1 : 0;
}
