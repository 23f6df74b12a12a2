/**
 * What a router has for people, whatever carries its flows: the control socket with the verbs that the routing worker answers,
 * BIRD's socket, watchers of BGP, and reloading. The daemons add what only they can answer.
 */
import type { Socket } from 'node:net';
import type { ConfigChange } from '../config/diff.ts';
import type { Config } from '../config/model.ts';
import type { Answers, BgpEvent } from '../control/messages.ts';
import { ControlServer, type Handlers, type Stream } from '../control/server.ts';
import type { Logger } from '../lib/log.ts';
import { BirdSocket } from './bird-socket.ts';
import { birdConfigure, Reloader, type ReloadPort } from './reload.ts';
import { withRules } from './route-answers.ts';
import type { RoutingClient } from './routing-client.ts';

/** Verbs that each kind of router answers in its own way. */
export type OwnVerbs = Pick<
  Handlers,
  'status' | 'bfd_show' | 'wg_show' | 'uplink_drain' | 'join_group' | 'capture' | 'down'
>;

/** A routing worker that says nothing for so long hangs: its turns are a hundred times shorter. */
const HANGS_MS = 2000;

export interface ControlRoomPort {
  /** The routing worker that runs now. */
  routing(): RoutingClient;
  /** Read the configuration again. @throws MlshimError CONFIG_INVALID, CONFIG_UNREADABLE */
  load: ReloadPort['load'];
  /** Go over to another configuration. @throws MlshimError when it cannot be; all is as it was then */
  carryOut(next: Config, changes: readonly ConfigChange[]): Promise<void>;
  /** The process at the other end of a connection, for verbs that want to know. */
  pidOf?(socket: Socket): number | undefined;
}

export class ControlRoom {
  readonly reloader: Reloader;
  readonly #port: ControlRoomPort;
  readonly #watchers = new Set<Stream<Answers['bgp_watch']>>();
  #server: ControlServer | undefined;
  #bird: BirdSocket | undefined;
  /** Looked at once: all who ask to stop are answered before that begins. */
  #hangs: Promise<boolean> | undefined;

  constructor(config: Config, port: ControlRoomPort, log: Logger) {
    this.#port = port;
    this.reloader = new Reloader(config, { load: port.load, apply: (next, c) => this.#apply(next, c) }, log);
  }

  get config(): Config {
    return this.reloader.current;
  }

  /** @throws MlshimError DAEMON_RUNNING, USAGE when the bird_socket cannot be listened on */
  async listen(path: string, own: OwnVerbs): Promise<void> {
    this.#server = new ControlServer({ ...this.#verbs(), ...own }, this.#port.pidOf);
    await this.#server.listen(path);
    this.#bird = await this.#birdSocketOn(this.config.birdSocket);
  }

  close(): void {
    this.reloader.stop();
    this.#server?.close();
    this.#bird?.close();
  }

  /** A routing worker has taken the place of another: it does not know that somebody watches. */
  restarted(client: RoutingClient): void {
    if (this.#watchers.size > 0) client.send({ kind: 'bgp-watch', isOn: true });
  }

  /** Answer `down`, and then stop: what hangs is not waited for. */
  async stopping(stop: () => void): Promise<Answers['down']> {
    this.#hangs ??= this.#port.routing().hangs(HANGS_MS);
    const hangs = await this.#hangs;
    setImmediate(stop);
    return { pid: process.pid, routing_hangs: hangs };
  }

  tellWatchers(events: readonly BgpEvent[], lost: number): void {
    for (const w of this.#watchers) w.send({ events, lost });
  }

  #verbs(): Omit<Handlers, keyof OwnVerbs> {
    const routing = (): RoutingClient => this.#port.routing();
    return {
      route_get: async (args) => withRules(await routing().ask({ verb: 'route_get', args }), this.config.policy.rules),
      route_show: (args) => routing().ask({ verb: 'route_show', args }),
      bgp_show: (args) => routing().ask({ verb: 'bgp_show', args }),
      bgp_routes: (args) => routing().ask({ verb: 'bgp_routes', args }),
      bgp_dump: (args) => routing().ask({ verb: 'bgp_dump', args }),
      bgp_vpn: (args) => routing().ask({ verb: 'bgp_vpn', args }),
      bgp_explain: (args) => routing().ask({ verb: 'bgp_explain', args }),
      bgp_rpki: (args) => routing().ask({ verb: 'bgp_rpki', args }),
      bgp_peer: (args) => routing().ask({ verb: 'bgp_peer', args }),
      bgp_watch: (_, stream) => this.#watchBgp(stream),
      reload: (args) => this.reloader.reload(args),
      confirm: () => {
        this.reloader.confirm();
        return {};
      },
    };
  }

  /** Sessions and routes are told to all watchers; the routing worker gathers them only while there are some. */
  #watchBgp(stream: Stream<Answers['bgp_watch']>): void {
    this.#watchers.add(stream);
    this.#port.routing().send({ kind: 'bgp-watch', isOn: true });
    stream.send({ events: [], lost: 0 }); // it has begun
    stream.onClose(() => {
      this.#watchers.delete(stream);
      if (this.#watchers.size === 0) this.#port.routing().send({ kind: 'bgp-watch', isOn: false });
    });
  }

  /** Looking glasses and exporters ask there what they ask BIRD. @throws MlshimError DAEMON_RUNNING, USAGE */
  async #birdSocketOn(path: string | undefined): Promise<BirdSocket | undefined> {
    if (path === undefined) return undefined;
    const socket = new BirdSocket({
      answer: (command, from) => this.#port.routing().bird(command, from),
      configure: (command) => birdConfigure(this.reloader, command),
    });
    await socket.listen(path);
    return socket;
  }

  /**
   * Make the difference between the running configuration and `next`: what it does not touch is not interrupted.
   * @throws MlshimError when it cannot be done; all is as it was then
   */
  async #apply(next: Config, changes: readonly ConfigChange[]): Promise<void> {
    const bird = next.birdSocket === this.config.birdSocket ? undefined : await this.#birdSocketOn(next.birdSocket);
    try {
      await this.#port.carryOut(next, changes);
    } catch (e) {
      bird?.close();
      throw e;
    }
    if (next.birdSocket === this.config.birdSocket) return;
    this.#bird?.close();
    this.#bird = bird;
  }
}
