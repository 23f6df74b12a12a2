/** The daemon with the kernel backend in the guest's first network namespace, over two access lines, as an administrator runs it. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../../../router/control/client.ts';
import type { Status } from '../../../router/control/messages.ts';
import { pathsIn } from '../../../router/control/paths.ts';
import { AccessLines, gateway, hostAddresses, LINES, type LinePlan, VIDEO } from '../../kit/access-lines.ts';
import { iperf, type Measured } from '../../kit/iperf.ts';
import { SERVER } from '../../kit/isps.ts';
import type { LabProcess } from '../../kit/lab.ts';
import { ROOT_ACCOUNT, Router } from '../../kit/router.ts';
import { HOST, type Trial } from './case.ts';
import { echoServer, type Opened, type Opening, type OpenKind, opener, readOpened, tally } from './opens.ts';

export const [WIRED, WIFI] = LINES as [LinePlan, LinePlan];

/** An application of each kind: of one line, of both in turn, of whichever is there. */
export const RULES = `groups:
  both: { uplinks: [wired, wifi], balance: round_robin }
  even: { uplinks: [{ uplink: wired, weight: 1 }, { uplink: wifi, weight: 1 }] }
rules:
  - { name: wired, match: { group: wired }, use: wired }
  - { name: wireless, match: { group: wireless }, use: wifi }
  - { name: mixed, match: { group: mixed }, use: even }
  - { name: forbidden, match: { port: 5999 }, reject: true }
  - { name: video, match: { domain: ${VIDEO.name} }, use: wifi }
  - { name: rest, use: both }
`;

/** A full line has a queue of 100 ms, and an emulated processor its own. */
export const PATIENT = `{ to: ${SERVER.v4}, every: 500ms, timeout: 490ms, fall: 4, rise: 1 }`;
/** Notices in 0.6 s. */
export const QUICK = `{ to: ${SERVER.v4}, every: 200ms, timeout: 180ms, fall: 2, rise: 2 }`;

/** Parts of a configuration. */
export interface Settings {
  readonly probe?: string;
  /** Further uplinks. */
  readonly more?: string;
  /** Groups, rules and what else comes after the uplinks. */
  readonly rest?: string;
  readonly top?: string;
}

export class HostRouter {
  readonly trial: Trial;
  readonly access: AccessLines;
  readonly router: Router;
  readonly #addressesOn: typeof hostAddresses;

  /** @param addressesOn what the server sees of sockets by a line */
  constructor(trial: Trial, addressesOn = hostAddresses) {
    this.trial = trial;
    this.#addressesOn = addressesOn;
    this.access = new AccessLines(trial.lab, HOST);
    this.router = new Router(trial.lab, HOST, ROOT_ACCOUNT);
  }

  /** Lines, servers and resolvers; no daemon yet. */
  async build(): Promise<void> {
    await this.access.build({ withDelay: true });
    await this.access.resolvers();
    const [command, ...args] = echoServer();
    await this.access.serve(command!, args).until(/ready/);
    rmSync('/etc/resolv.conf', { force: true }); // systemd's is a link
    writeFileSync('/etc/resolv.conf', `nameserver ${gateway(WIRED).v4}\noptions attempts:1 timeout:5\n`);
  }

  configure({ probe = PATIENT, more = '', rest = RULES, top = '' }: Settings = {}): void {
    const parts = LINES.map(
      (line) => `  ${line.name}:
    kernel: { interface: ${line.device} }
    bandwidth: ${line.rate}Mbit
    dns: [${gateway(line).v4}]
    probe: ${probe}
`,
    );
    this.router.write(`backend: kernel\n${top}uplinks:\n${parts.join('')}${more}${rest}`);
  }

  /** What the server sees of sockets by the lines, in their order. */
  addresses(family: 'v4' | 'v6'): string[] {
    return LINES.map((line) => this.#addressesOn(line)[family]);
  }

  /** Go over to the configuration as it is now. */
  async reload(): Promise<void> {
    await ask(this.control, 'reload', { check: false, confirm_s: 0 });
  }

  async up(): Promise<void> {
    await this.router.up();
    await this.usable({ wired: true, wifi: true });
  }

  /** Where commands reach the daemon. */
  get control(): string {
    return pathsIn(join(this.router.dir, 'mlshim')).control;
  }

  /** Asked directly: a command of ours takes a second to start on an emulated processor. */
  status(): Promise<Status> {
    return ask(this.control, 'status', {});
  }

  /** Wait until uplinks are as said. */
  async usable(wanted: Readonly<Record<string, boolean>>): Promise<void> {
    let uplinks: Status['uplinks'] = [];
    const isSo = async (): Promise<boolean> => {
      uplinks = (await this.status()).uplinks;
      return Object.entries(wanted).every(([name, is]) => uplinks.find((u) => u.name === name)?.usable === is);
    };
    await this.trial.lab.eventually(`uplinks are ${JSON.stringify(wanted)}`, isSo).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(uplinks)}`);
    });
  }

  /** Words that run a command as an application of a group. */
  #words(group: string | undefined, command: readonly string[]): string[] {
    return ['run', ...(group === undefined ? [] : ['--group', group]), '--', ...command];
  }

  /** Run an application to its end; returns its output. */
  async app(group: string | undefined, ...command: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.router.cli(this.#words(group, command));
    if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}: ${stdout}${stderr}`);
    return stdout;
  }

  start(group: string | undefined, ...command: string[]): LabProcess {
    return this.router.cliStart(this.#words(group, command));
  }

  iperf(group: string | undefined, ...args: string[]): Promise<Measured> {
    return iperf({ isps: this.access, router: this.router }, group, ...args);
  }

  async open(group: string | undefined, kind: OpenKind, opening: Opening): Promise<Opened[]> {
    return readOpened(await this.app(group, ...opener(kind, opening)));
  }

  /** End the daemon and take everything back. */
  async down(): Promise<void> {
    const { status, stdout, stderr } = await this.router.cli(['down']);
    const said = this.router.daemon?.stderr ?? '';
    if (status !== 0) throw new Error(`down ended with ${status}: ${stdout}${stderr}${said}`);
    await this.router.daemon?.exit();
  }
}

/** An application opens sockets of every kind, and both lines get the same number of each. */
export async function alternates(
  host: HostRouter,
  log: Trial['log'],
  kinds: readonly OpenKind[] = ['tcp', 'udp', 'udp-connected'],
  families: readonly ('v4' | 'v6')[] = ['v4', 'v6'],
): Promise<void> {
  for (const kind of kinds)
    for (const family of families) {
      const found = tally(await host.open('mixed', kind, { to: SERVER[family], count: 20, atOnce: 4 }));
      log(`${kind}, IP${family}: ${shown(found)}`);
      assert.deepEqual(found, Object.fromEntries(host.addresses(family).map((address) => [address, 10])));
    }
}

/** New sockets leave the wired line when it fails, and use it again. */
export async function failsOver(host: HostRouter, failure: 'cut' | 'unplug'): Promise<void> {
  const [wired, wifi] = host.addresses('v4') as [string, string];
  await host.access[failure](WIRED.name, true);
  await host.usable({ wired: false, wifi: true });
  assert.deepEqual(tally(await host.open('mixed', 'tcp', { count: 6 })), { [wifi]: 6 });
  await host.access[failure](WIRED.name, false);
  await host.usable({ wired: true, wifi: true });
  assert.deepEqual(tally(await host.open('mixed', 'tcp', { count: 6 })), { [wired]: 3, [wifi]: 3 });
}

/** Names are asked of the resolver of an application's own line, by UDP, TCP and the host's library. */
export async function asksByLine(host: HostRouter, log: Trial['log']): Promise<void> {
  for (const [group, line] of [
    ['wired', WIRED],
    ['wireless', WIFI],
  ] as const)
    for (const command of [
      ['dig', '+short', '+tries=1', 'which.example'],
      ['dig', '+short', '+tries=1', '+tcp', 'which.example'],
      ['getent', 'ahostsv4', 'which.example'],
    ]) {
      const answer = (await host.app(group, ...command)).trim();
      log(`${group}: ${command.join(' ')}: ${answer.split('\n')[0]}`);
      assert.ok(answer.startsWith(line.which), answer);
    }
}

export const shown = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([address, count]) => `${count} from ${address}`)
    .join(', ');
