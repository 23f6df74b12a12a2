/** A host with several ways out in a namespace of its own, and the kernel backend's host-network half at work in it. */
import { join } from 'node:path';
import type { PlainUplink, Request } from './host-driver.ts';
import { hostSnapshot } from './host-snapshot.ts';
import { Lab, type LabProcess } from './lab.ts';

export interface DriverState {
  readonly name: string;
  readonly isUp: boolean;
  readonly why: string | undefined;
  readonly bindDevice: string | undefined;
  readonly interface: string | undefined;
  readonly table: number;
  readonly addresses: readonly string[];
}

export interface Failure {
  readonly failure: string;
  readonly message: string;
  readonly hint: string;
}

/** A program of the kit that runs in a namespace and answers line by line. */
export class Answering<Asked> {
  protected readonly process: LabProcess;
  #read = 0;

  constructor(lab: Lab, ns: string, script: string, args: readonly string[]) {
    this.process = lab.start(ns, process.execPath, [join(import.meta.dirname, script), ...args], { isTalkedTo: true });
  }

  /** The next line that fits; others before it are passed over. */
  async event(fits: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    for (;;) {
      const end = this.process.stdout.indexOf('\n', this.#read);
      if (end < 0) {
        await this.process.outputBeyond(this.process.stdout.length);
        continue;
      }
      const line = JSON.parse(this.process.stdout.slice(this.#read, end)) as Record<string, unknown>;
      this.#read = end + 1;
      if (fits(line)) return line;
    }
  }

  async ask(request: Asked): Promise<unknown> {
    this.process.child.stdin!.write(`${JSON.stringify(request)}\n`);
    const line = await this.event((l) => 'answer' in l || 'failure' in l);
    return 'failure' in line ? line : line['answer'];
  }

  /** Whether it lives to answer. */
  ends(request: Asked): Promise<boolean> {
    const answer = this.ask(request).then(
      () => true,
      () => false,
    );
    return Promise.race([answer, this.process.exit().then(() => false)]);
  }

  kill(): Promise<number> {
    return this.process.stop('SIGKILL');
  }
}

/** The host-network half of a daemon. */
export class Driver extends Answering<Request> {
  /** @param dieAt the line of its journal that is the last thing it does */
  static async start(lab: Lab, ns: string, dieAt?: number): Promise<Driver> {
    const args = [join(lab.dir, `run-${ns}`), ...(dieAt === undefined ? [] : [String(dieAt)])];
    const driver = new Driver(lab, ns, 'host-driver.js', args);
    await driver.event((e) => e['event'] === 'ready');
    return driver;
  }

  apply(...uplinks: readonly PlainUplink[]): Promise<readonly DriverState[] | Failure> {
    return this.ask({ do: 'apply', uplinks }) as Promise<readonly DriverState[] | Failure>;
  }

  /** States of uplinks once they are as `fits` says. */
  async until(fits: (states: readonly DriverState[]) => boolean): Promise<readonly DriverState[]> {
    const line = await this.event((l) => l['event'] === 'states' && fits(l['states'] as DriverState[]));
    return line['states'] as DriverState[];
  }

  /** Whether it lives to tell that it has applied them. */
  survives(...uplinks: readonly PlainUplink[]): Promise<boolean> {
    return this.ends({ do: 'apply', uplinks });
  }
}

export interface TwoWays {
  readonly lab: Lab;
  /** The host: eth1 (10.1.0.2/24, fd01::2/64, default route metric 100) and eth2 (10.2.0.2/24, fd02::2/64, metric 200). */
  readonly host: string;
  /** What both ways lead to: 10.9.0.1 and fd09::1 on its loopback, .1 on both networks. */
  readonly far: string;
  snapshot(): Promise<string>;
}

/** Two networks to one far end that knows the way back by the network a packet came from. */
export async function twoWays(): Promise<TwoWays> {
  const lab = new Lab();
  try {
    const host = await lab.namespace('host');
    const far = await lab.namespace('far');
    await connect(lab, host, far);
    return { lab, host, far, snapshot: () => hostSnapshot(lab, host) };
  } catch (e) {
    await lab.close();
    throw e;
  }
}

async function connect(lab: Lab, host: string, far: string): Promise<void> {
  // Nobody else is on these links: addresses need not be looked for elsewhere before they are used.
  for (const ns of [host, far]) await lab.ok(ns, 'sysctl', ['-qw', 'net.ipv6.conf.default.accept_dad=0']);
  for (const n of [1, 2]) {
    await lab.veth(`eth${n}`, host, `10.${n}.0.2/24`, far, `10.${n}.0.1/24`);
    await lab.ok(far, 'ip', ['addr', 'add', `fd0${n}::1/64`, 'dev', `eth${n}`, 'nodad']);
    const way = ['dev', `eth${n}`, 'metric', `${n}00`];
    await lab.ok(host, 'ip', ['addr', 'add', `fd0${n}::2/64`, 'dev', `eth${n}`, 'nodad']);
    await lab.ok(host, 'ip', ['route', 'add', 'default', 'via', `10.${n}.0.1`, ...way, 'proto', 'dhcp']);
    await lab.ok(host, 'ip', ['-6', 'route', 'add', 'default', 'via', `fd0${n}::1`, ...way]);
  }
  await lab.ok(far, 'ip', ['addr', 'add', '10.9.0.1/32', 'dev', 'lo']);
  await lab.ok(far, 'ip', ['addr', 'add', 'fd09::1/128', 'dev', 'lo', 'nodad']);
}
