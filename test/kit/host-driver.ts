/**
 * Works the host-network half of the kernel backend from outside, one JSON request per line of standard input, one JSON answer per
 * line of standard output: run it in the namespace (or the guest) whose network is to be changed. Answers to nobody's question
 * have `event`. Usage: node host-driver.js FOLDER [DIE_AT]
 * With DIE_AT it kills itself when that line of the journal is on the disk and its change not made yet.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { createInterface } from 'node:readline';
import { HostTunnels } from '../../router/app/host-tunnels.ts';
import { HostNetwork, undoHostNetwork } from '../../router/kernel/host-network.ts';
import { countSockets, destroySockets, type SocketChoice } from '../../router/kernel/sockets.ts';
import type { HostUplink, WgHostConfig } from '../../router/kernel/uplink.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { MlshimError } from '../../router/lib/errors.ts';
import { makeLogger } from '../../router/lib/log.ts';

/** An uplink with its addresses as texts and keys in base64. */
export interface PlainUplink {
  readonly name: string;
  readonly kind: HostUplink['kind'];
  readonly table: number;
  readonly isolation?: 'vrf' | 'device';
  readonly interface?: string;
  readonly source?: string;
  readonly mtu?: number;
  readonly addresses?: readonly string[];
  readonly underlay?: string;
  readonly wireguard?: {
    readonly privateKey: string;
    readonly listenPort?: number;
    readonly peers: readonly {
      readonly publicKey: string;
      readonly endpoint?: readonly [string, number];
      readonly allowedIps: readonly string[];
    }[];
  };
}

export type Request =
  | { readonly do: 'apply'; readonly uplinks: readonly PlainUplink[] }
  | { readonly do: 'watch' | 'undo' | 'undo-left' | 'states' }
  | { readonly do: 'count' | 'destroy'; readonly device?: string; readonly source?: string };

const folder = process.argv[2]!;
let linesToLive = Number(process.argv[3] ?? Number.POSITIVE_INFINITY);
const { fsyncSync } = fs;
fs.fsyncSync = (fd) => {
  fsyncSync(fd);
  if (--linesToLive <= 0) process.kill(process.pid, 'SIGKILL');
};
syncBuiltinESMExports();

const say = (answer: unknown): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
const log = makeLogger(
  ({ level, message, fields }) => say({ event: 'log', level, message, ...fields }),
  'host',
  'debug',
);
const tunnels = new HostTunnels(log);
const network = new HostNetwork({ folder, log, tunnels });

function wireguardOf({ privateKey, listenPort = 0, peers }: NonNullable<PlainUplink['wireguard']>): WgHostConfig {
  return {
    privateKey: new Uint8Array(Buffer.from(privateKey, 'base64')),
    listenPort,
    peers: peers.map((p) => ({
      publicKey: new Uint8Array(Buffer.from(p.publicKey, 'base64')),
      presharedKey: undefined,
      endpoint: p.endpoint && { addr: Addr.parse(p.endpoint[0])!, port: p.endpoint[1] },
      allowedIps: p.allowedIps.map((text) => Prefix.parse(text)!),
      keepaliveS: 0,
    })),
  };
}

function uplinkOf(p: PlainUplink): HostUplink {
  const { name, table, isolation = 'device' } = p;
  switch (p.kind) {
    case 'interface':
      return {
        kind: p.kind,
        name,
        table,
        isolation,
        interface: p.interface!,
        ...(p.mtu !== undefined && { mtu: p.mtu }),
      };
    case 'source':
      return { kind: p.kind, name, table, source: Addr.parse(p.source!)! };
    case 'wireguard': {
      const addresses = (p.addresses ?? []).map((text) => Prefix.parseLoose(text)!);
      const wireguard = wireguardOf(p.wireguard!);
      const more = {
        mtu: p.mtu ?? 1420,
        addresses,
        wireguard,
        ...(p.underlay !== undefined && { underlay: p.underlay }),
      };
      return { kind: p.kind, name, table, isolation, ...more };
    }
  }
}

const plain = (states: ReturnType<HostNetwork['states']>): unknown =>
  states.map((s) => ({ ...s, addresses: s.addresses.map(String) }));

async function answer(r: Request): Promise<unknown> {
  switch (r.do) {
    case 'apply':
      await network.apply(r.uplinks.map(uplinkOf));
      return plain(network.states());
    case 'watch':
      network.watch((states) => say({ event: 'states', states: plain(states) }));
      return 'watching';
    case 'undo':
      return network.undo();
    case 'undo-left':
      return undoHostNetwork(folder, log);
    case 'states':
      return plain(network.states());
    case 'count':
    case 'destroy': {
      const choice: SocketChoice =
        r.device !== undefined ? { device: r.device } : { source: Addr.parse(r.source ?? '')! };
      return r.do === 'count' ? countSockets(choice) : destroySockets(choice);
    }
  }
}

say({ event: 'ready' });
for await (const line of createInterface(process.stdin)) {
  try {
    say({ answer: await answer(JSON.parse(line) as Request) });
  } catch (e) {
    if (!(e instanceof MlshimError)) throw e;
    say({ failure: e.code, message: e.message, hint: e.hint });
  }
}
network.close();
await tunnels.end();
