/**
 * `mlshim doctor`: independent checks of this host, the configuration, the running router and, if given, a program; each says
 * ok, warn or fail, and what to do. Changes nothing; a few datagrams and echo requests measure the ways out.
 */
import { createSocket } from 'node:dgram';
import { accessSync, constants, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { checkConfig, findConfig } from '../config/load.ts';
import type { Config, Diagnostic } from '../config/model.ts';
import { ask } from '../control/client.ts';
import type { RpkiStatus, Status, WgDevices } from '../control/messages.ts';
import { socketPaths } from '../control/paths.ts';
import { CAP_NET_BIND_SERVICE, hasCapability } from '../kernel/capabilities.ts';
import { firstMissing, impediment, needsOf, probeHost } from '../kernel/host-probes.ts';
import { PTRACE_SCOPE, ptraceScope, reach } from '../kernel/ptrace.ts';
import { Addr } from '../lib/addr.ts';
import { wallClockMs } from '../lib/clock.ts';
import type { Input } from './command.ts';
import { checkPaths } from './doctor-paths.ts';
import { checkHoldTimers, checkRoaAge } from './doctor-routing.ts';
import { BYPASS, unreachable } from './elf.ts';
import { textOf } from './host-files.ts';
import { hanging, plural } from './render.ts';
import { checkApp, NotRunnable, SHIM_LIBRARY } from './run.ts';

export type Verdict = 'ok' | 'warn' | 'fail';

export interface Check {
  /** Of the check, not of what it is about: scripts know it by this. */
  readonly name: string;
  readonly verdict: Verdict;
  readonly text: string;
  /** What to do; empty where there is nothing. */
  readonly hint: string;
}

export type Say = (name: string, verdict: Verdict, text: string, hint?: string) => void;

const WIREGUARD_CHILD = fileURLToPath(new URL('../../mlshim-wg', import.meta.url));
const ADDON = fileURLToPath(new URL('../../native/mlshim.node', import.meta.url));
/** The resolver of an endpoint's address is not asked: that is the router's business. */
const DISCARD_PORT = 9;

export async function doctor(input: Input): Promise<number> {
  const checks: Check[] = [];
  const say: Say = (name, verdict, text, hint = '') => checks.push({ name, verdict, text, hint });
  checkBuild(say, input.io.env);
  const config = await checkConfiguration(say, input);
  checkClock(say);
  const { control } = socketPaths(input.io.env);
  const status = await ask(control, 'status', {}).catch(() => undefined);
  if (config !== undefined) {
    checkPorts(say, config);
    await checkEgress(say, config);
    await checkPaths(say, config, status && (await tunnelsOf(control)));
    checkHoldTimers(say, config, status?.bgp_peers);
    checkRoaAge(say, config, status && (await roasOf(control)));
  }
  checkReach(say, config);
  await checkKernel(say, config);
  checkRouter(say, status);
  const app = input.rest ?? input.args;
  if (app.length > 0) checkProgram(say, app[0]!, input.io.env);
  if (input.options['json'] === true) input.io.out(`${JSON.stringify({ checks }, null, 2)}\n`);
  else input.io.out(doctorText(checks));
  return checks.some((c) => c.verdict === 'fail') ? 1 : 0;
}

export function doctorText(checks: readonly Check[]): string {
  const width = Math.max(0, ...checks.map((c) => c.name.length));
  const lines = checks.map(({ name, verdict, text, hint }) => {
    const mark = `${verdict.padEnd(4)}  ${name.padEnd(width)}  `;
    return (
      hanging(mark, text, mark.length) +
      (hint === '' ? '' : hanging(' '.repeat(mark.length), `hint: ${hint}`, mark.length))
    );
  });
  const count = (v: Verdict): number => checks.filter((c) => c.verdict === v).length;
  return `${lines.join('')}${plural(checks.length, 'check')}: ${count('fail')} failed, ${plural(count('warn'), 'warning')}\n`;
}

/** What `npm run build` makes. */
function checkBuild(say: Say, env: NodeJS.ProcessEnv): void {
  const parts = [
    ['addon-built', 'the native addon', env['MLSHIM_ADDON'] ?? ADDON],
    ['shim-built', 'the preload library', env['MLSHIM_LIBRARY'] ?? SHIM_LIBRARY],
    ['wireguard-built', 'the WireGuard child', env['MLSHIM_WG_BIN'] ?? WIREGUARD_CHILD],
  ] as const;
  for (const [name, what, path] of parts) {
    if (isReadable(path)) say(name, 'ok', `${what} is there`);
    else say(name, 'fail', `${what} is missing: ${path}`, 'npm run build makes it and says which package it lacks');
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

const READABLE_KEY = /^other users can read/;

async function checkConfiguration(say: Say, input: Input): Promise<Config | undefined> {
  const hint = 'mlshim config check prints each with its line';
  try {
    const source = findConfig(input.options['config'] as string | undefined, input.io.env);
    const { config, diagnostics } = await checkConfig(source, input.io.env);
    const isKey = (d: Diagnostic): boolean => READABLE_KEY.test(d.message);
    const errors = diagnostics.filter((d) => d.severity === 'error').length;
    const warnings = diagnostics.filter((d) => d.severity === 'warning' && !isKey(d)).length;
    if (errors > 0) say('config', 'fail', `${source.shown}: ${plural(errors, 'error')}`, hint);
    else if (warnings > 0) say('config', 'warn', `${source.shown}: ${plural(warnings, 'warning')}`, hint);
    else say('config', 'ok', `${source.shown} has no errors`);
    for (const d of diagnostics.filter(isKey)) say('key-permissions', 'warn', d.message);
    if (!diagnostics.some(isKey)) say('key-permissions', 'ok', 'no key file can be read by other users');
    return config;
  } catch (e) {
    say('config', 'warn', e instanceof Error ? e.message : String(e), 'name the file with -c');
    return undefined;
  }
}

/** A clock of before this program was built makes certificates, ROAs and handshakes look like the future's. */
function checkClock(say: Say): void {
  const builtMs = statSync(fileURLToPath(import.meta.url)).mtimeMs;
  if (wallClockMs() >= builtMs) say('clock', 'ok', 'the clock is later than this program');
  else
    say(
      'clock',
      'fail',
      `the clock says ${new Date(wallClockMs()).toISOString()}, which is before this program was built`,
      'WireGuard takes no handshake of a clock that has gone back: set it',
    );
}

/** Ports of the host that BGP wants to listen on. */
function checkPorts(say: Say, { bgp }: Config): void {
  const low = (bgp?.hostListen ?? []).filter((e) => e.port < unprivilegedPort());
  if (low.length === 0) return;
  const ports = low.map((e) => e.port).join(', ');
  if (hasCapability(CAP_NET_BIND_SERVICE)) say('port-179', 'ok', `may listen on port ${ports}`);
  else
    say(
      'port-179',
      'fail',
      `bgp.host_listen names port ${ports}, which needs CAP_NET_BIND_SERVICE`,
      'choose a port from 1024 on; peers behind uplinks need none of the host',
    );
}

function unprivilegedPort(): number {
  return Number(textOf('/proc/sys/net/ipv4/ip_unprivileged_port_start').trim() || '1024');
}

/** Whether the host has a way for UDP to the tunnels' ends; nothing is sent. */
async function checkEgress(say: Say, config: Config): Promise<void> {
  const peers = config.uplinks.flatMap((u) => (u.wireguard?.peers ?? []).map((p) => ({ uplink: u.name, ...p })));
  for (const { uplink, endpoint } of peers) {
    const [host = '', zone] = endpoint?.host.split('%') ?? [];
    const addr = Addr.parse(host);
    if (addr === undefined || zone !== undefined) continue;
    const failure = await udpFailure(addr);
    if (failure === undefined) say('udp-egress', 'ok', `uplink ${uplink}: the host has a route to ${addr}`);
    else
      say(
        'udp-egress',
        'fail',
        `uplink ${uplink}: UDP to ${addr} cannot leave this host (${failure})`,
        'the tunnel needs UDP out of this host: see its routes and firewall',
      );
  }
}

function udpFailure(to: Addr): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(to.family === 4 ? 'udp4' : 'udp6');
    const done = (why: string | undefined): void => {
      socket.close();
      resolve(why);
    };
    socket.once('error', (e: NodeJS.ErrnoException) => done(e.code ?? e.message));
    socket.once('connect', () => done(undefined));
    socket.connect(DISCARD_PORT, String(to));
  });
}

/** Whether sockets of apps can be ended when their path of the host's network fails; the kernel backend ends them otherwise. */
function checkReach(say: Say, config: Config | undefined): void {
  if (config === undefined || config.backend === 'kernel' || config.uplinks.every((u) => u.host === undefined)) return;
  const scope = ptraceScope();
  if (reach(scope) !== 'none')
    say('ptrace-scope', 'ok', scope === undefined ? 'no Yama restricts ptrace(2)' : `${PTRACE_SCOPE} is ${scope}`);
  else
    say(
      'ptrace-scope',
      'warn',
      `${PTRACE_SCOPE} is ${scope}: flows of apps through a path of the host's network that fails cannot be ended`,
      `sysctl ${PTRACE_SCOPE}=1; ${scope === 2 ? 'or give the router CAP_SYS_PTRACE' : 'a 3 lasts until the next boot'}`,
    );
}

/** What the kernel backend needs: a failure where that backend is asked for, something to know where it is not. */
export async function checkKernel(
  say: Say,
  config: Config | undefined,
  probe: typeof probeHost = probeHost,
): Promise<void> {
  if (config?.backend === 'userspace') return;
  const probes = await probe(needsOf(config));
  const missing: Verdict = config?.backend === 'kernel' ? 'fail' : 'warn';
  for (const { name, isPresent, isNeeded, detail, hint } of probes)
    say(name, isPresent ? 'ok' : isNeeded ? missing : 'warn', detail, isPresent ? '' : hint);
  const why = impediment(probes);
  if (why === undefined) say('kernel-backend', 'ok', 'the kernel backend can be had');
  else say('kernel-backend', missing, `the kernel backend cannot be had: ${why}`, firstMissing(probes)?.hint ?? '');
}

/** Undefined where the router has no tunnels. */
function tunnelsOf(control: string): Promise<WgDevices | undefined> {
  return ask(control, 'wg_show', { device: '' }).catch(() => undefined);
}

/** Undefined where the router has no part that knows of ROAs. */
function roasOf(control: string): Promise<RpkiStatus | undefined> {
  return ask(control, 'bgp_rpki', { action: '' }).catch(() => undefined);
}

/** The router that this environment uses, if one runs. */
function checkRouter(say: Say, status: Status | undefined): void {
  if (status === undefined) {
    say('router', 'ok', 'no router runs in this environment');
    return;
  }
  const problems = status.problems.length;
  if (problems === 0) say('router', 'ok', `the router runs, pid ${status.pid}`);
  else say('router', 'warn', `the router has ${plural(problems, 'problem')}`, 'mlshim status lists them');
  const tunnels = status.uplinks.filter((u) => u.kind === 'wg');
  for (const { name, state, handshake_age_s: age } of tunnels) {
    const words = age === undefined ? 'has had no handshake' : `had its last handshake ${Math.round(age)} s ago`;
    if (state !== 'down') say('wg-handshake-age', 'ok', `uplink ${name} ${words}`);
    else say('wg-handshake-age', 'fail', `uplink ${name} ${words}`, 'mlshim wg shows its peers and endpoints');
  }
}

const SET_ID_BITS = 0o6000;

/** Whether the preload library reaches a program. */
function checkProgram(say: Say, name: string, env: NodeJS.ProcessEnv): void {
  let path: string;
  try {
    path = checkApp(name, env);
  } catch (e) {
    if (!(e instanceof NotRunnable)) throw e;
    say('app-found', 'fail', e.message);
    return;
  }
  const why = unreachable(path);
  if (why === undefined) say('app-is-dynamic', 'ok', `${name} can be reached by a preload library`);
  else
    say(
      'app-is-dynamic',
      'fail',
      `${name} ${BYPASS[why]}: a preload library cannot reach it`,
      'it would use the host\'s network; "backend: kernel" reaches every program',
    );
  if ((statSync(path).mode & SET_ID_BITS) === 0) say('app-not-setuid', 'ok', `${name} runs as who starts it`);
  else
    say(
      'app-not-setuid',
      'fail',
      `${name} is set-user-ID or set-group-ID: the dynamic loader ignores LD_PRELOAD for it`,
      'run it as that user from the beginning',
    );
}
